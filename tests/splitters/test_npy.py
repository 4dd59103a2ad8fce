"""Arrays of .npy files, in every order and type that lies there as it is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays_of

from modelkeep.splitters import SMALL
from modelkeep.splitters import npy as splitter
from splitters.files_of import BIG, OTHER, RECORDS, found_in, npy, tensors_in


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_found_in_either_order(order: Any) -> None:
    array = np.asarray(BIG, order=order)
    assert tensors_in(npy(array)) == [array.tobytes(order)]


def test_records_are_an_array_whatever_their_fields_are_called() -> None:
    records = np.zeros(2000, [("\u0416", "f8"), ("b", "i4", (3,))])
    file = npy(records)
    assert file[6:8] == b"\x03\x00"
    assert tensors_in(file) == [records.tobytes()]
    assert tensors_in(npy(RECORDS)) == [RECORDS.tobytes()]


def test_a_long_header_is_read() -> None:
    records = np.zeros(1000, [(f"a name of many letters {n:>050}", "u1") for n in range(90)])
    assert tensors_in(npy(records)) == [records.tobytes()]


DTYPES = arrays_of.scalar_dtypes() | arrays_of.array_dtypes(allow_subarrays=True)


@given(arrays_of.arrays(DTYPES, arrays_of.array_shapes(min_dims=0, min_side=0)))
@settings(deadline=None)
def test_the_span_is_what_numpy_wrote(array: np.ndarray[Any, Any]) -> None:
    raw = npy(array)
    span = splitter.array(io.BytesIO(b"before" + raw + b"behind"), 6, 6 + len(raw))
    assert span == [(6 + len(raw) - array.nbytes, 6 + len(raw), "")]


def test_an_array_that_is_cut_off_is_none() -> None:
    assert tensors_in(npy(BIG)[:-1]) == []


def test_what_follows_an_array_is_the_rest() -> None:
    assert [extent.tensor for extent in found_in(npy(BIG) + b"more")] == [False, True, False]


def headed(header: bytes, version: bytes = b"\x02\x00") -> bytes:
    length = len(header).to_bytes(2 if version[0] < 2 else 4, "little")
    return b"\x93NUMPY" + version + length + header + bytes(2 * SMALL)


WELL = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2048,)}\n"


@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"])
def test_the_header_of_the_cases_below_is_well_but_for_what_is_changed(version: bytes) -> None:
    assert tensors_in(headed(WELL, version)) == [bytes(SMALL)]


@pytest.mark.parametrize("header", [
    b"", b"{", b"[]", b"3", b"{}", b"()", b"\x00", b"\xff", b"(" * 9_999, b"-" * 9_998 + b"1", b"[" * 90 + b"]" * 90,
    b"9" * 9_999, b"{[]: 1}", b"import os", b"__import__('os')", b"1" + b"+1" * 4_000, b"'\\N{no such letter}'",
    WELL.replace(b"'<f8'", b"'O'"), WELL.replace(b"'<f8'", b"'|O8'"), WELL.replace(b"'<f8'", b"[('a', 'O')]"),
    WELL.replace(b"'<f8'", b"'no type'"), WELL.replace(b"'<f8'", b"3"), WELL.replace(b"'<f8'", b"1 << 3"),
    WELL.replace(b"'<f8'", b"[" * 90 + b"]" * 90), WELL.replace(b"'<f8'", b"('<f8', (-1,))"),
    WELL.replace(b"2048", b"-2048"), WELL.replace(b"2048", b"2048.0"), WELL.replace(b"(2048,)", b"2048"),
    WELL.replace(b"2048", b"2048, True"), WELL.replace(b"2048", b"9" * 4_000), WELL.replace(b"2048", b"1 << 11"),
    WELL.replace(b"2048,", b"9999," * 1_900), WELL.replace(b"2048", b"-16, -128"), WELL[:-1] + b" " * 10_000 + b"\n",
], ids=lambda header: header[:60].decode("latin-1"))  # fmt: skip
def test_what_is_no_header_is_the_rest(header: bytes) -> None:
    assert [extent.tensor for extent in found_in(headed(header))] == [False]


@pytest.mark.parametrize("version", [b"\x00\x00", b"\x01\x01", b"\x04\x00"])
def test_another_version_is_the_rest(version: bytes) -> None:
    assert tensors_in(headed(WELL, version)) == []


def test_a_parser_without_memory_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_text: str) -> object:
        raise MemoryError  # as CPython's does at too deep a nesting

    monkeypatch.setattr("ast.literal_eval", exhausted)
    assert tensors_in(headed(WELL)) == []


def test_a_header_that_claims_gigabytes_is_not_read() -> None:
    assert tensors_in(b"\x93NUMPY\x02\x00" + b"\xff\xff\xff\x7f" + npy(OTHER)) == []
