"""Tensors of safetensors files, by whomever they were written."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.serializers.safetensors import Tensor
from modelkeep.splitters import SMALL, extents
from splitters.files_of import Counting, found_in, ours, tensors_in, with_header

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
LENGTHS = st.dictionaries(NAMES, st.integers(0, 3 * SMALL), max_size=6)


@given(LENGTHS, st.booleans())
@settings(deadline=None)
def test_the_tensors_that_are_large_enough_are_found(lengths: dict[str, int], reference: bool) -> None:
    data = {name: np.random.default_rng(length).bytes(length) for name, length in lengths.items()}
    if reference:
        file = safetensors.numpy.save({name: np.frombuffer(raw, np.uint8) for name, raw in data.items()})
    else:
        file = ours(*(Tensor(name, "U8", (len(raw),), raw) for name, raw in data.items()))
    assert sorted(tensors_in(file)) == sorted(raw for raw in data.values() if len(raw) >= SMALL)


def row(start: int, stop: int) -> dict[str, object]:
    return {"dtype": "U8", "shape": [stop - start], "data_offsets": [start, stop]}


WELL = {"a": row(0, SMALL), "b": row(SMALL, 40_000)}


def test_the_header_of_the_cases_below_is_well_but_for_what_is_changed() -> None:
    assert [extent.tensor for extent in found_in(with_header(WELL, bytes(40_000)))] == [False, True, True]


@pytest.mark.parametrize("header", [
    {"a": row(0, 30_000), "b": row(20_000, 40_000)}, {"a": row(0, 40_000), "b": row(0, 40_000)}, {"a": row(0, 39_999)},
    {"a": row(0, 40_001)}, {"a": row(1, 40_000)}, {"a": row(0, 1 << 63)}, {"a": row(0, 10**4000)}, {"a": 3}, {"a": {}},
    {"a": row(0, 40_000) | {"shape": [10**4000]}}, {"a": row(0, 40_000) | {"shape": None}}, {},
    {"a": row(0, 40_000) | {"dtype": ["U8"]}}, {"a": row(0, 40_000), "__metadata__": {"a": 1}},
], ids=str)  # fmt: skip
def test_a_header_that_is_not_right_makes_all_of_it_the_rest(header: object) -> None:
    assert [extent.tensor for extent in found_in(with_header(header, bytes(40_000)))] == [False]


@pytest.mark.parametrize(
    "header", [b'{"a":' + b"[" * 200_000, b'{"a":' + b"9" * 9_999 + b"}", b'{"a"', b"{\xff}", b"{"]
)
def test_a_header_that_is_no_json_makes_all_of_it_the_rest(header: bytes) -> None:
    file = len(header).to_bytes(8, "little") + header + bytes(40_000)
    assert [extent.tensor for extent in found_in(file)] == [False]


@pytest.mark.parametrize("length", [100_000_001, 1 << 40, (1 << 64) - 1])
def test_a_header_longer_than_the_file_or_the_limit_is_not_read(length: int) -> None:
    stream = Counting(length.to_bytes(8, "little") + b"{}" + bytes(99))
    assert len(extents(stream, 1 << 34)) == 1
    assert stream.bytes < 100


def test_a_hundred_thousand_tensors_are_read_in_a_moment() -> None:
    header = {f"layer.{n}.weight": row(n, n + 1) for n in range(100_000)}
    file = with_header(header, bytes(100_000))
    start = time.process_time()
    assert len(extents(io.BytesIO(file), len(file))) == 1
    assert time.process_time() - start < 10
