"""Arrays in archives: of numpy, of torch, of nobody, and those that somebody has tampered with."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.splitters import SMALL, extents, zips
from splitters.files_of import BIG, FILES, OTHER, TINY, Counting, npy, npz, tensors_in, torch_file, zipped

LENGTHS = st.lists(st.integers(0, 4 * SMALL), max_size=6)


@given(LENGTHS, st.booleans())
@settings(deadline=None, max_examples=50)
def test_arrays_of_an_npz_are_found_unless_they_are_compressed(lengths: list[int], compressed: bool) -> None:
    arrays = {f"a{n}": np.random.default_rng(n).bytes(length) for n, length in enumerate(lengths)}
    save: Any = np.savez_compressed if compressed else np.savez
    found = tensors_in(npz(save, **{name: np.frombuffer(raw, np.uint8) for name, raw in arrays.items()}))
    assert found == ([] if compressed else [raw for raw in arrays.values() if len(raw) >= SMALL])


@given(LENGTHS)
@settings(deadline=None, max_examples=50)
def test_storages_of_torch_are_found(lengths: list[int]) -> None:
    state = {f"a{n}": torch.randn(length // 4) for n, length in enumerate(lengths)}
    wanted = [tensor.numpy().tobytes() for tensor in state.values() if tensor.nbytes >= SMALL]
    assert sorted(tensors_in(torch_file(state))) == sorted(wanted)


@pytest.mark.parametrize("root", ["model", "a/b", "größe", "data", "a\nb"])
def test_a_storage_is_found_whatever_the_archive_was_called(root: str) -> None:
    file = zipped({f"{root}/data.pkl": b"", f"{root}/data/0": BIG.tobytes()})
    assert tensors_in(file) == [BIG.tobytes()]


@pytest.mark.parametrize("name", ["data/0", "n/data/0", "m/data/x", "m/data/0/x", "m/data/", "m/code/0", "m/data/0\n"])
def test_a_member_that_only_looks_like_a_storage_is_the_rest(name: str) -> None:
    assert tensors_in(zipped({"m/data.pkl": b"", name: BIG.tobytes()})) == []


def test_members_are_found_in_the_order_of_their_bytes_whatever_the_directory_says() -> None:
    file = npz(a=BIG, b=OTHER)
    one, other, end = file.index(ENTRY), file.rindex(ENTRY), file.rindex(b"PK\x05\x06")
    turned = file[:one] + file[other:end] + file[one:other] + file[end:]
    assert zipfile.ZipFile(io.BytesIO(turned)).namelist() == ["b.npy", "a.npy"]
    assert tensors_in(turned) == tensors_in(file) == [BIG.tobytes(), OTHER.tobytes()]


def members_in(file: bytes) -> list[tuple[bytes, int, int]]:
    return [(m.name, m.start, m.size) for m in zips._members(zips._directory(io.BytesIO(file), len(file)))]


def by_the_library(file: bytes) -> list[tuple[bytes, int, int]]:
    """The members that zipfile finds to lie there as they are."""
    return [
        (entry.filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437"), entry.header_offset, entry.file_size)
        for entry in zipfile.ZipFile(io.BytesIO(file)).infolist()
        if entry.compress_type == zipfile.ZIP_STORED
    ]


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if file.startswith(b"PK\x03\x04")])
def test_the_directory_is_read_as_the_standard_library_does(name: str) -> None:
    assert members_in(FILES[name]) == by_the_library(FILES[name])


def test_an_archive_with_a_comment_is_read() -> None:
    file = io.BytesIO(FILES["npz"])
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"c" * 65_535
    assert tensors_in(file.getvalue()) == tensors_in(FILES["npz"]) != []


def test_an_archive_with_64_bit_numbers_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20_000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    file = npz(a=BIG, b=OTHER, c=BIG[1:])
    assert b"PK\x06\x06" in file
    assert b"\xff" * 8 in file[file.index(ENTRY) :]
    assert members_in(file) == by_the_library(file)
    assert tensors_in(file) == [BIG.tobytes(), OTHER.tobytes(), BIG[1:].tobytes()]


LOCAL, ENTRY = b"PK\x03\x04", b"PK\x01\x02"


def wide_end(file: bytes, length: int | None = None, start: int | None = None, place: int | None = None) -> bytes:
    """The archive with a 64-bit end, as those of more than 4 GiB have it, or with wrong numbers in it."""
    at = file.rindex(b"PK\x05\x06")
    *_, own_length, own_start, _ = zips._END.unpack_from(file, at)
    numbers = (own_length if length is None else length, own_start if start is None else start)
    end = zips._END64.pack(b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, *numbers)
    locator = zips._LOCATOR.pack(b"PK\x06\x07", 0, at if place is None else place, 1)
    short = zips._END.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return file[:at] + end + locator + short


def test_an_archive_with_a_64_bit_end_is_read() -> None:
    file = wide_end(FILES["npz"])
    assert members_in(file) == by_the_library(file) == members_in(FILES["npz"])


HUGE = (1 << 64) - 1


@pytest.mark.parametrize("wrong", [{"length": HUGE}, {"start": HUGE}, {"start": HUGE, "length": 0}, {"place": HUGE}])
def test_a_64_bit_end_that_points_nowhere_is_the_rest(wrong: dict[str, int]) -> None:
    assert tensors_in(wide_end(FILES["npz"], **wrong)) == []


@pytest.mark.parametrize(("extra", "found"), [
    (struct.pack("<HHL", 0x5455, 4, 1), True),
    (struct.pack("<HHLHHLL", 0x5455, 4, 1, 1, 8, 50_000, 0), True),
    (struct.pack("<HHLHHB", 0x5455, 4, 1, 1, 1, 1), True),
    (struct.pack("<HHQQ", 0x5455, 16, 43_328, 43_328), False),
    (struct.pack("<HHQHHQQ", 0x5455, 8, 3, 1, 16, 43_328, 43_328), True),
    (struct.pack("<HHQQ", 1, 60_000, 43_328, 43_328), True),
    (struct.pack("<HHQB", 1, 9, 43_328, 0), False),
    (struct.pack("<HHL", 1, 4, 43_328), False),
], ids=str)  # fmt: skip
def test_a_large_size_is_taken_from_its_extra_field_alone(extra: bytes, found: bool) -> None:
    file = npz(a=BIG)
    assert zipfile.ZipFile(io.BytesIO(file)).infolist()[0].file_size == 43_328
    at = file.index(ENTRY)
    fields = list(zips._ENTRY.unpack_from(file, at))
    if struct.pack("<L", 43_328) in extra:
        fields[8:10] = [0xFFFFFFFF, 0xFFFFFFFF]
    fields[11] = len(extra)
    entry = zips._ENTRY.pack(*fields) + b"a.npy" + extra
    assert bool(tensors_in(ended(file[:at], entry))) is found


@pytest.mark.parametrize(("magic", "offset", "value"), [
    (ENTRY, 8, b"\x01\x00"), (LOCAL, 6, b"\x01\x00"), (ENTRY, 8, b"\x00\x20"), (ENTRY, 10, b"\x08"),
    (LOCAL, 8, b"\x08"), (ENTRY, 20, b"\x01"), (ENTRY, 20, struct.pack("<LL", 1 << 31, 1 << 31)),
    (ENTRY, 20, b"\xff" * 8), (ENTRY, 42, b"\xff" * 4), (ENTRY, 42, b"\x01"), (ENTRY, 42, b"\xfe" * 4),
    (LOCAL, 26, b"\xff\xff\xff\xff"), (ENTRY, 0, b"XX"), (LOCAL, 0, b"XX"),
], ids=[
    "encrypted", "encrypted here", "masked", "deflated", "deflated here", "two sizes", "too large",
    "64 bits that are missing", "place of 64 bits that are missing", "place without a header", "place behind the end",
    "long name", "no entry", "no header",
])  # fmt: skip
def test_a_member_that_is_odd_is_the_rest(magic: bytes, offset: int, value: bytes) -> None:
    file = npz(t=TINY, a=BIG)
    at = file.rindex(magic) + offset
    assert len(tensors_in(file)) == 1
    assert tensors_in(file[:at] + value + file[at + len(value) :]) == []


@pytest.mark.parametrize("start", [HUGE, 1 << 63, 1 << 62])
def test_a_member_at_no_place_at_all_is_the_rest(start: int) -> None:
    file = npz(a=BIG)
    at = file.index(ENTRY)
    fields = list(zips._ENTRY.unpack_from(file, at))
    fields[11], fields[16] = 12, 0xFFFFFFFF
    entry = zips._ENTRY.pack(*fields) + b"a.npy" + struct.pack("<HHQ", 1, 8, start)
    assert tensors_in(ended(file[:at], entry)) == []


def ended(file: bytes, directory: bytes) -> bytes:
    return file + directory + zips._END.pack(b"PK\x05\x06", 0, 0, 0, 0, len(directory), len(file), 0)


def test_members_that_overlap_are_read_once() -> None:
    whole = npz(a=BIG)
    size = zipfile.ZipFile(io.BytesIO(whole)).infolist()[0].file_size
    entry = zips._ENTRY.pack(ENTRY, 20, 20, 0, 0, 0, 0, 0, size, size, 1, 0, 0, 0, 0, 0, 0) + b"a"
    hostile = ended(whole[: whole.index(ENTRY)], entry * 100_000)
    stream = Counting(hostile)
    start = time.process_time()
    assert sum(extent.tensor for extent in extents(stream, len(hostile))) == 1
    assert time.process_time() - start < 10
    assert stream.reads < 10


def test_a_directory_above_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    file = FILES["npz"]
    length = zips._END.unpack(file[-zips._END.size :])[-3]
    monkeypatch.setattr(zips, "_MAX_DIRECTORY", length)
    assert len(tensors_in(file)) == 2
    monkeypatch.setattr(zips, "_MAX_DIRECTORY", length - 1)
    assert tensors_in(file) == []


def test_an_array_that_passes_the_end_of_its_member_is_the_rest() -> None:
    assert tensors_in(zipped({"a.npy": npy(BIG)[:-8], "b": bytes(9000)})) == []


def test_a_storage_that_begins_like_an_array_and_is_none_is_a_storage() -> None:
    raw = npy(BIG)[:-8]
    assert tensors_in(zipped({"m/data.pkl": b"", "m/data/0": raw})) == [raw]


def test_an_array_in_a_storage_is_the_array() -> None:
    assert tensors_in(zipped({"m/data.pkl": b"", "m/data/0": npy(BIG)})) == [BIG.tobytes()]
