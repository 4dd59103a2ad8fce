"""Whatever a file holds, its extents are all of it; those that are tensors are the tensors that were put there."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelkeep import splitters
from modelkeep.chunking import content_pieces
from modelkeep.splitters import SMALL, Extent, extents
from splitters.files_of import FILES, HELD, OTHER, Counting, check_cover, found_in, npy, tensors_in


@pytest.mark.parametrize("name", sorted(FILES.keys() - HELD.keys()))
def test_a_file_without_tensors_is_one_run(name: str) -> None:
    file = FILES[name]
    assert found_in(file) == ([Extent(0, len(file), tensor=False)] if file else [])


@pytest.mark.parametrize("name", HELD)
def test_tensors_are_found_by_content(name: str) -> None:
    assert sorted(tensors_in(FILES[name])) == sorted(HELD[name])


def test_a_tensor_below_the_limit_belongs_to_the_rest() -> None:
    assert tensors_in(npy(OTHER)) == [OTHER.tobytes()]
    assert tensors_in(npy(OTHER[1:])) == []


@pytest.mark.parametrize(("name", "names"), [
    ("safetensors", ["big", "other"]), ("safetensors, ours", ["a"]), ("npz", ["big.npy", "other.npy"]), ("npy", [""]),
    ("torch", ["archive/data/0", "archive/data/2"]),
])  # fmt: skip
def test_a_tensor_is_called_as_the_file_calls_it_and_the_rest_is_not_called(name: str, names: list[str]) -> None:
    found = found_in(FILES[name])
    assert sorted(extent.name for extent in found if extent.tensor) == names
    assert {extent.name for extent in found if not extent.tensor} == {""}


SPANS = st.lists(st.tuples(st.integers(0, 120_000), st.integers(0, 60_000)).map(lambda s: (s[0], s[0] + s[1])))


@given(SPANS, st.integers(0, 120_000))
@example([(0, 40_000), (20_000, 60_000)], 100_000)
@example([(50_000, 90_000), (0, 40_000)], 100_000)
@settings(deadline=None)
def test_spans_that_overlap_or_pass_the_end_are_ignored(spans: list[tuple[int, int]], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        named = [(*span, "") for span in spans]
        patch.setattr(splitters, "_FORMATS", ((lambda _head: True, lambda _stream, _size: named),))
        found = extents(io.BytesIO(), size)
    check_cover(found, size)
    tensors = {(extent.start, extent.stop) for extent in found if extent.tensor}
    assert tensors <= set(spans)
    for start, stop in set(spans) - tensors:
        clash = any(start < end and begin < stop for begin, end in tensors)
        assert clash or stop - start < SMALL or stop > size


NUMBERS = st.sampled_from([
    b"\xff" * 8, bytes(8), *(struct.pack("<Q", n) for n in (1, 1 << 14, 1 << 31, 1 << 32, 1 << 62, 1 << 63)),
    *(struct.pack("<L", n) for n in (1, 1 << 14, (1 << 31) - 1, (1 << 32) - 1)), b"PK\x05\x06", b"PK\x01\x02",
])  # fmt: skip
ENDS = st.integers(0, 400) | st.integers(-400, -1) | st.integers(0, 1 << 17)  # headers lie at both ends
CHANGES = st.lists(st.tuples(ENDS, st.binary(min_size=1, max_size=6) | NUMBERS, st.booleans()), max_size=4)
HEADS = [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x03\x00", b"\x20" + bytes(7) + b"{"]


def damaged(file: bytes, changes: list[tuple[int, bytes, bool]]) -> bytes:
    changed = bytearray(file)
    for at, text, insert in changes:
        place = at % (len(changed) + 1)
        changed[place : place if insert else place + len(text)] = text
    return bytes(changed)


@given(st.sampled_from(sorted(FILES)), CHANGES, st.none() | ENDS)
@settings(deadline=None, max_examples=1000)
def test_no_damage_is_an_error(name: str, changes: list[tuple[int, bytes, bool]], end: int | None) -> None:
    found_in(damaged(FILES[name], changes)[:end])


@given(st.sampled_from(HEADS), st.binary())
@settings(deadline=None, max_examples=500)
def test_no_bytes_at_all_are_an_error(head: bytes, rest: bytes) -> None:
    found_in(head + rest)


@given(st.sampled_from(sorted(FILES)), st.integers(0, 1 << 17))
@settings(deadline=None)
def test_a_file_that_shrinks_meanwhile_is_no_error(name: str, end: int) -> None:
    file = FILES[name]
    check_cover(extents(io.BytesIO(file[:end]), len(file)), len(file))


def cut_by_content(file: bytes) -> list[bytes]:
    stream = io.BytesIO(file)

    def pieces(extent: Extent) -> list[bytes]:
        def fill(start: int, target: memoryview) -> None:
            stream.seek(extent.start + start)
            assert stream.readinto(target) == len(target)

        batches = content_pieces(fill, extent.stop - extent.start, 1000, batch=5000)
        return [bytes(piece) for batch in batches for piece in batch]

    return [piece for extent in extents(stream, len(file)) for piece in pieces(extent)]


@given(st.sampled_from(sorted(FILES)), CHANGES)
@settings(deadline=None, max_examples=60)
def test_the_pieces_of_all_extents_are_the_file(name: str, changes: list[tuple[int, bytes, bool]]) -> None:
    file = damaged(FILES[name], changes)
    assert b"".join(cut_by_content(file)) == file


@pytest.mark.parametrize("name", FILES)
def test_headers_alone_are_read(name: str) -> None:
    stream = Counting(FILES[name])
    found = extents(stream, len(FILES[name]))
    arrays = 4 if FILES[name].startswith(b"PK") else 1  # one of them, in npz, holds objects
    assert stream.reads <= 4 + 3 * max(arrays, sum(extent.tensor for extent in found))
    tail = (1 << 16) + 100 if FILES[name].startswith(b"PK") else 0  # of a zip, for its comment
    assert stream.bytes <= tail + 3000


@pytest.fixture
def gigabyte(tmp_path: Path) -> Path:
    """An .npy file of a gibibyte that takes no room."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 27,)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + (1 << 30))
    return path


def test_a_gigabyte_costs_no_more_than_its_header(gigabyte: Path) -> None:
    size = gigabyte.stat().st_size
    with gigabyte.open("rb", buffering=0) as stream:
        assert extents(stream, size) == [
            Extent(0, size - (1 << 30), tensor=False),
            Extent(size - (1 << 30), size, tensor=True),
        ]
        assert stream.tell() < 1000


@pytest.mark.parametrize("name", HELD)
def test_a_file_that_gives_its_bytes_in_drops_is_read_all_the_same(name: str) -> None:
    file = FILES[name]
    assert extents(Counting(file, most=7), len(file)) == found_in(file)


@pytest.mark.parametrize("name", HELD)
def test_a_file_that_cannot_be_read_is_an_error_and_not_the_rest(name: str) -> None:
    file = FILES[name]
    whole = Counting(file)
    extents(whole, len(file))
    assert whole.reads > 1
    for after in range(whole.reads):
        with pytest.raises(OSError, match="the disk"):
            extents(Counting(file, after=after), len(file))


@pytest.mark.parametrize("name", ["npz", "torch", "safetensors"])
def test_files_on_disk_are_read_as_those_in_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "of no known name"
    path.write_bytes(FILES[name])
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        assert extents(stream, len(FILES[name])) == found_in(FILES[name])


def test_an_array_behind_the_end_of_the_file_is_none() -> None:
    assert extents(io.BytesIO(npy(OTHER)), SMALL) == [Extent(0, SMALL, tensor=False)]
