"""Files go into packs and come back bit for bit; a wrong byte anywhere is an error that names the object."""

from __future__ import annotations

import gc
import io
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelkeep import chains, packfiles, packwriter, pieces, zstd
from modelkeep import packs as packs_module
from modelkeep.codecs import RAW, ZSTD
from modelkeep.digest import Buffer, digest, raw_digest
from modelkeep.errors import IntegrityError, InvalidValueError, MissingObjectError, SerializerError, StoreError
from modelkeep.folds.versions import Create, Versions
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, Piece
from modelkeep.packfiles import PackFiles
from modelkeep.packs import MAGIC, padding_faults, read_manifest
from modelkeep.packwriter import Written, content_of, write_packs
from modelkeep.pieces import read_pieces
from modelkeep.sink import SaveSink
from modelkeep.sources import InMemory, Source, file_source, memory_source
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Recording
from modelkeep.version import Place

NAME = "churn"
RNG = np.random.default_rng(7)
NOISE = RNG.bytes(1 << 20)


def ids() -> Iterator[str]:
    return (f"{1:032x}-{n}" for n in range(1, 1000))


def key(number: int) -> str:
    return pack_key(NAME, f"{1:032x}-{number}")


def source(path: str, *buffers: Buffer, opaque: bool = False) -> Source:
    return memory_source(path, buffers, opaque=opaque)


def saved(store: Store, *sources: Source, record: bytes = b"{}") -> Written:
    return write_packs(store, NAME, ids(), sources, record)


def opened(store: Store, place: Place) -> PackFiles:
    return PackFiles(store, NAME, *read_manifest(store, NAME, place))


def overwrite(store: MemoryStore, where: str, value: bytes) -> None:
    store.delete([where])
    store.create(where, value)


def extents(written: Written, pack: int) -> list[tuple[int, int]]:
    """All that lies in pack *pack* (an index)."""
    found = [(p.offset, p.stored) for _, own in written.manifest.files for p in own if p.pack == pack]
    last = pack == len(written.manifest.packs) - 1
    return found + [(written.place.offset, written.place.length)] * last


# Round trips

FILES = st.dictionaries(
    st.sampled_from(["a", "b.bin", "c/d", "c/e.txt", "ä"]),
    st.tuples(
        st.lists(
            st.binary(max_size=90)
            | st.integers(0, 300).map(bytes)
            | st.tuples(st.integers(0, 999), st.integers(0, 200)).map(lambda cut: NOISE[cut[0] : cut[0] + cut[1]]),
            max_size=5,
        ),
        st.booleans(),
    ),
    min_size=1,
)


def cut_small(monkeypatch: pytest.MonkeyPatch, average: int, pack: int = packs_module.MAX_PACK) -> None:
    """Pieces of *average* bytes, at most four times as many, packs of *pack* bytes, and threads as for large files."""
    monkeypatch.setattr(pieces, "half_window", lambda _: average // 2)
    monkeypatch.setattr(pieces, "_AT_ONCE", 3 * average)
    monkeypatch.setattr(pieces, "SMALL", 0)
    monkeypatch.setattr(packwriter, "MAX_PACK", pack)


@pytest.fixture(params=["as shipped", "tiny"])
def _sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shipped limits, and with tiny ones, so that small files take many pieces, packs, runs and threads."""
    if request.param == "tiny":
        cut_small(monkeypatch, 16, 150)
        monkeypatch.setattr(packs_module, "WHOLE", 500)
        monkeypatch.setattr(chains, "RUN", 64)
        monkeypatch.setattr(chains, "GAP", 8)
        monkeypatch.setattr(packfiles, "_FIRST_AHEAD", 8)
        monkeypatch.setattr(packfiles, "_AT_ONCE", 32)


@pytest.mark.usefixtures("_sizes")
@given(FILES)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_come_back_bit_for_bit(tmp_path: Path, files: dict[str, tuple[list[bytes], bool]]) -> None:
    store = MemoryStore()
    sources = [source(path, *buffers, opaque=opaque) for path, (buffers, opaque) in files.items()]
    written = saved(store, *sources, record=b"the record")
    kept = opened(store, written.place)
    assert kept.manifest == written.manifest
    assert kept.manifest.record == b"the record"
    assert kept.names() == tuple(sorted(files))
    assert kept.manifest.content() == content_of(sources)
    out = Path(tempfile.mkdtemp(dir=tmp_path))
    kept.extract(out)
    for path, (buffers, _) in files.items():
        whole = b"".join(buffers)
        assert bytes(kept.read(path)) == whole
        assert kept.size(path) == len(whole)
        assert (out / path).read_bytes() == whole
        with kept.open(path) as stream:
            assert stream.read() == whole
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == sorted(files)
    for index, pack in enumerate(written.manifest.packs):
        assert list(padding_faults(store.get(pack_key(NAME, pack)), extents(written, index))) == []
    assert {item.key for item in store.list("")} == {pack_key(NAME, pack) for pack in written.manifest.packs}


MOVES = st.lists(
    st.tuples(st.just("seek"), st.integers(-50, 400), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END]))
    | st.tuples(st.just("read"), st.integers(-1, 200), st.just(0)),
    max_size=20,
)


@pytest.mark.usefixtures("_sizes")
@given(st.integers(0, 300), MOVES)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_reads_and_seeks_as_the_bytes_would(length: int, moves: list[tuple[str, int, int]]) -> None:
    store = MemoryStore()
    place = saved(store, source("a", NOISE[:length])).place
    plain = io.BytesIO(NOISE[:length])
    with opened(store, place).open("a") as stream:
        assert stream.seekable()
        assert stream.readable()
        for verb, amount, whence in moves:
            if verb == "read":
                assert stream.read(amount) == plain.read(amount)
            elif {os.SEEK_SET: 0, os.SEEK_CUR: plain.tell(), os.SEEK_END: length}[whence] + amount >= 0:
                assert stream.seek(amount, whence) == plain.seek(amount, whence)
            assert stream.tell() == plain.tell()


def test_a_file_that_is_not_there_is_refused_with_those_that_are() -> None:
    store = MemoryStore()
    kept = opened(store, saved(store, source("a", b"1"), source("b", b"2")).place)
    for ask in (kept.read, kept.size, kept.open):
        with pytest.raises(InvalidValueError, match="'c'; it has a, b"):
            ask("c")


def test_pieces_can_be_read_by_themselves() -> None:
    store = MemoryStore()
    kept = opened(store, saved(store, source("a", b"12345")).place)
    assert [bytes(piece) for piece in kept.pieces(kept.manifest.files[0][1])] == [b"12345"]


def test_buffers_of_any_kind_and_shape_are_taken() -> None:
    store = MemoryStore()
    arrays: list[Any] = [
        np.arange(6, dtype="f8").reshape(2, 3),
        np.array(5, "i4"),
        np.arange(3, dtype="u1"),
        np.zeros(0),
    ]
    kept = opened(store, saved(store, source("a", *(memoryview(array) for array in arrays))).place)
    assert bytes(kept.read("a")) == b"".join(array.tobytes() for array in arrays)


def test_a_buffer_of_no_elements_in_several_dimensions_is_taken() -> None:
    empty: Any = np.zeros((0, 3))
    assert list(read_pieces([source("a", memoryview(empty))])) == []


@given(st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_a_span_of_several_buffers_is_read_whole(buffers: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(buffers)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    content, target = InMemory([bytearray(buffer) for buffer in buffers]), memoryview(bytearray(stop - start))
    content.read_into(start, target)
    assert bytes(target) == whole[start:stop]


# How they lie


def test_raw_pieces_begin_where_they_can_be_mapped() -> None:
    store = MemoryStore()
    lengths = [1, 63, 64, 65, 65_535, 65_536, 65_537, 100, 70_000]
    sources = [source(f"{n}", NOISE[n * 80_000 :][:length]) for n, length in enumerate(lengths)]
    written = saved(store, *sources)
    for (_, (piece,)), length in zip(written.manifest.files, lengths, strict=True):
        assert piece.codec == RAW
        assert piece.offset % (4096 if length >= 65_536 else 64) == 0
        assert store.get(key(1), (piece.offset, length)) == bytes(opened(store, written.place).read(_))


def test_compressed_pieces_lie_without_a_gap() -> None:
    store = MemoryStore()
    written = saved(store, *(source(f"{n}", bytes([n]) * 1000, opaque=True) for n in range(3)))
    found = sorted(extents(written, 0))
    assert found[0][0] == len(MAGIC)
    assert all(at + length == after for (at, length), (after, _) in pairwise(found))


def test_equal_pieces_are_stored_once_within_and_between_files() -> None:
    store = MemoryStore()
    written = saved(store, source("a", NOISE[:100]), source("b", NOISE[:100]), source("c", NOISE[200:300]))
    assert len({p.offset for _, own in written.manifest.files for p in own}) == 2
    assert store.get(key(1)).count(NOISE[:100]) == 1
    kept = opened(store, written.place)
    assert [bytes(kept.read(path)) for path in "abc"] == [NOISE[:100], NOISE[:100], NOISE[200:300]]


def test_a_piece_is_compressed_only_where_that_is_worth_it_and_was_asked_for() -> None:
    store = MemoryStore()
    written = saved(
        store,
        source("noise", NOISE[:5000], opaque=True),
        source("tensor", bytes(5000)),
        source("text", b"to be or not to be " * 300, opaque=True),
    )
    codecs = {path: piece.codec for path, (piece,) in written.manifest.files}
    assert codecs == {"noise": RAW, "tensor": RAW, "text": ZSTD}
    for _, (piece,) in written.manifest.files:
        assert piece.stored_digest == raw_digest(store.get(key(1), (piece.offset, piece.stored)))
        assert piece.stored <= piece.length


def test_a_save_larger_than_a_pack_takes_several_and_the_manifest_ends_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut_small(monkeypatch, 100, 1000)
    store = Recording(MemoryStore())
    written = saved(store, source("a", NOISE[:4000]))
    packs = written.manifest.packs
    assert store.requests == [("put_pack", key(number)) for number in range(1, len(packs) + 1)]
    assert len(packs) > 3
    assert written.place.pack == packs[-1]
    assert written.place.offset + written.place.length == len(store.get(key(len(packs))))
    for number in range(1, len(packs)):
        assert 200 < len(store.get(key(number))) <= 1000
    assert bytes(opened(store, written.place).read("a")) == NOISE[:4000]


def test_a_piece_is_never_split_between_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packwriter, "MAX_PACK", 1000)
    store = MemoryStore()
    written = saved(store, source("a", NOISE[:3000]), source("b", NOISE[3000:3900]))
    assert [len(own) for _, own in written.manifest.files] == [1, 1]
    assert {p.pack for _, own in written.manifest.files for p in own} == {0, 1}


def test_a_model_of_any_size_can_be_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch, 8, 256)  # one millionth: a model of 16 GB is one of 16 kB here
    written = saved(MemoryStore(), source("a", NOISE[:16_000]))
    create = Create(
        number=1,
        identity=digest(b""),
        content=digest(b""),
        at=written.place,
        packs=written.manifest.packs,
        size=16_000,
        serializer="files",
    )
    create.check(Versions(is_open=True))


# What it costs


def test_a_small_version_is_read_with_one_request() -> None:
    store = Recording(MemoryStore())
    place = saved(store, source("a", b"1"), source("b", b"2" * 1000, opaque=True)).place
    store.forget()
    kept = opened(store, place)
    assert bytes(kept.read("a") + kept.read("b")) == b"1" + b"2" * 1000
    with kept.open("b") as stream:
        stream.read()
    assert store.requests == [("get", key(1))]


class Far(MemoryStore):
    remote = True


def test_a_large_version_far_away_costs_a_request_for_the_manifest_and_one_for_each_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packs_module, "WHOLE", 100)
    cut_small(monkeypatch, 1000)
    store = Recording(Far())
    place = saved(store, source("a", NOISE[:9000]), source("b", NOISE[9000:9500])).place
    store.forget()
    kept = opened(store, place)
    assert bytes(kept.read("a")) == NOISE[:9000]
    assert store.counts() == {"get": 2}
    assert bytes(kept.read("b")) == NOISE[9000:9500]
    assert store.counts() == {"get": 3}


# Wrong bytes


def faults(store: MemoryStore, written: Written) -> list[str]:
    """What reading everything and looking at the padding find."""
    try:
        kept = opened(store, written.place)
        for name in kept.names():
            kept.read(name)
    except IntegrityError as error:
        return [error.key] if error.key in str(error) else ["an error that does not name its object"]
    found = []
    for index, pack in enumerate(written.manifest.packs):
        raw = store.get(pack_key(NAME, pack))
        stored = [p for _, own in kept.manifest.files for p in own if p.pack == index]
        found += [
            pack for p in stored if raw_digest(raw[p.offset : p.offset + p.stored]) != p.stored_digest
        ]  # zstd may ignore a bit
        found += padding_faults(raw, extents(written, index))
    return found


def test_every_single_flipped_bit_of_a_pack_is_noticed() -> None:
    store = MemoryStore()
    written = saved(store, source("a", b"raw"), source("b", b"to be or not " * 50, opaque=True), source("c", b"x" * 7))
    whole = store.get(key(1))
    assert {p.codec for _, own in written.manifest.files for p in own} == {RAW, ZSTD}
    assert faults(store, written) == []
    unseen = []
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        overwrite(store, key(1), bytes(flipped))
        if not faults(store, written):
            unseen.append(bit)
    assert unseen == []


def test_a_flipped_bit_in_a_file_never_comes_back_as_that_file() -> None:
    store = MemoryStore()
    written = saved(store, source("b", b"to be or not " * 50, opaque=True))
    whole = store.get(key(1))
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        overwrite(store, key(1), bytes(flipped))
        try:
            came_back = bytes(opened(store, written.place).read("b"))
        except IntegrityError as error:
            came_back = error.key.encode()
        assert came_back in (b"to be or not " * 50, key(1).encode())


@pytest.mark.parametrize("limit", [1 << 20, 0])
def test_every_truncation_and_extension_is_noticed(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "WHOLE", limit)
    store = MemoryStore()
    written = saved(store, source("a", b"raw"), source("b", b"to be or not " * 50, opaque=True))
    whole = store.get(key(1))
    for length in range(len(whole)):
        overwrite(store, key(1), whole[:length])
        assert faults(store, written) == [key(1)]
    overwrite(store, key(1), whole + b"\0")
    assert faults(store, written) == [f"{len(whole)} bytes belong there and {len(whole) + 1} are there"]


def test_padding_that_is_not_zero_and_a_wrong_beginning_are_noticed() -> None:
    pack = MAGIC + bytes(48) + b"data" + bytes(60) + b"more"
    places = [(64, 4), (128, 4)]
    assert list(padding_faults(pack, places)) == []
    assert list(padding_faults(b"x" + pack[1:], places)) == ["it does not begin as a pack does"]
    assert list(padding_faults(pack[:70] + b"x" + pack[71:], places)) == ["bytes 68 to 128 should be zero"]
    assert list(padding_faults(pack, places[1:])) == ["bytes 16 to 128 should be zero"]
    assert list(padding_faults(pack, places[:1])) == ["68 bytes belong there and 132 are there"]


def test_two_packs_that_changed_places_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch, 100, 300)
    store = MemoryStore()
    written = saved(store, source("a", NOISE[:1000]))
    first, second = store.get(key(1)), store.get(key(2))
    overwrite(store, key(1), second)
    overwrite(store, key(2), first)
    with pytest.raises(IntegrityError, match=f"{key(1)} is damaged at bytes") as error:
        opened(store, written.place).read("a")
    assert error.value.key == key(1)
    assert {"offset", "length"} <= set(error.value.facts)


def test_a_pack_that_is_gone_is_missing_and_not_empty() -> None:
    store = MemoryStore()
    written = saved(store, source("a", b"1"))
    store.delete([key(1)])
    with pytest.raises(MissingObjectError):
        opened(store, written.place)


def test_a_wrong_manifest_is_an_error_that_names_the_pack() -> None:
    store = MemoryStore()
    written = saved(store, source("a", b"1"))
    for place in (attrs.evolve(written.place, offset=0), attrs.evolve(written.place, length=written.place.length - 1)):
        with pytest.raises(IntegrityError, match=f"the manifest in {key(1)} is damaged") as error:
            read_manifest(store, NAME, place)
        assert error.value.key == key(1)


def forged(codec: int, plain_digest: bytes, stored: bytes, length: int) -> PackFiles:
    """Files of a manifest that somebody wrote by hand."""
    store = MemoryStore()
    honest = saved(store, source("a", stored)).manifest
    piece = attrs.evolve(
        honest.files[0][1][0],
        codec=codec,
        digest=plain_digest,
        stored_digest=raw_digest(stored),
        length=length,
    )
    return PackFiles(store, NAME, Manifest(honest.packs, (("a", (piece,)),), b""), None)


def test_a_piece_that_unpacks_to_more_than_it_says_is_refused() -> None:
    bomb = zstd.compress(bytes(100_000_000))
    assert len(bomb) < 20_000
    for length in (0, 5, 99_999_999):
        with pytest.raises(IntegrityError, match="more"):
            forged(ZSTD, raw_digest(bytes(5)), bomb, length).check()
        if length:
            with pytest.raises(IntegrityError, match="more"):
                forged(ZSTD, raw_digest(bytes(5)), bomb, length).read("a")


def test_a_piece_that_unpacks_to_less_than_it_says_is_refused() -> None:
    kept = forged(ZSTD, raw_digest(b"12345"), zstd.compress(b"12345"), 9)
    with pytest.raises(IntegrityError, match=key(1)):
        kept.read("a")
    with pytest.raises(IntegrityError, match=key(1)), kept.open("a") as stream:
        stream.read()


def test_a_file_that_is_damaged_is_not_extracted_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch, 100)
    store = MemoryStore()
    written = saved(store, source("a", NOISE[:1000]))
    raw = bytearray(store.get(key(1)))
    raw[written.manifest.files[0][1][7].offset] ^= 1
    overwrite(store, key(1), bytes(raw))
    with pytest.raises(IntegrityError):
        opened(store, written.place).extract(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_extracting_one_file_leaves_the_others_alone_whatever_they_are_called(tmp_path: Path) -> None:
    store = MemoryStore()
    files = {".a.part": b"1", "a": b"2", "a.part": b"3"}
    opened(store, saved(store, *(source(path, value) for path, value in files.items())).place).extract(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_file_with_the_longest_name_that_a_disk_takes_is_extracted(tmp_path: Path) -> None:
    store = MemoryStore()
    opened(store, saved(store, source("n" * 255, b"1")).place).extract(tmp_path)
    assert (tmp_path / ("n" * 255)).read_bytes() == b"1"


# Failing on the way


def test_a_source_that_fails_leaves_no_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packwriter, "MAX_PACK", 1 << 20)
    store = Recording(MemoryStore())

    class Breaking(InMemory):
        def read_into(self, start: int, target: memoryview) -> None:
            if start:
                raise ZeroDivisionError
            super().read_into(start, target)

    content = Breaking([bytearray(RNG.bytes(9 << 20))])
    with pytest.raises(ZeroDivisionError):
        saved(store, Source("a", content.size, opaque=False, content=content))
    assert store.counts()["put_pack"] > 2
    assert list(store.list("")) == []


@pytest.mark.parametrize("error", [StoreError, KeyboardInterrupt])
def test_a_store_that_fails_is_left_without_packs(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch, 100, 300)

    class Full(MemoryStore):
        def put_pack(self, key: str, source: Any) -> None:
            super().put_pack(key, source)
            if len(list(self.list(""))) == 3:
                raise error("full")

    store = Full()
    with pytest.raises(error, match="full"):
        saved(store, source("a", NOISE[:2000]))
    assert list(store.list("")) == []


def test_the_error_of_the_save_is_told_even_if_cleaning_up_fails_too() -> None:
    class Broken(MemoryStore):
        def put_pack(self, key: str, source: Any) -> None:
            del key, source
            raise StoreError("full")

        def delete(self, keys: Any) -> None:
            del keys
            raise StoreError("no delete either")

    with pytest.raises(StoreError, match="full"):
        saved(Broken(), source("a", b"1"))


@pytest.mark.parametrize("harm", [b"123456", b"1234", b"54321", None])
def test_a_file_that_changes_while_it_is_saved_is_refused(tmp_path: Path, harm: bytes | None) -> None:
    path, target = tmp_path / "a", memoryview(bytearray(3))
    path.write_bytes(b"12345")
    file = file_source("a", path)
    file.content.read_into(0, target)
    assert bytes(target) == b"123"
    time.sleep(0.02)  # a disk's clock is coarse
    path.unlink() if harm is None else path.write_bytes(harm)
    with pytest.raises(InvalidValueError, match=r"changed while it was saved|cannot be read: No such file"):
        file.content.read_into(1, target)
    store = MemoryStore()
    with pytest.raises(InvalidValueError):
        saved(store, file)
    assert list(store.list("")) == []


# The sink


def test_a_sink_takes_buffers_streams_files_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"from a file")
    store = MemoryStore()
    with SaveSink() as sink:
        sink.put("put", b"1", b"2", opaque=False)
        with sink.stream("stream") as stream:
            stream.write(b"streamed")
        sink.add("file", tmp_path / "x")
        folder = sink.folder()
        (folder / "sub").mkdir()
        (folder / "sub" / "y").write_bytes(b"from the folder")
        assert sink.folder() == folder
        assert sorted(each.path for each in sink.sources()) == ["file", "put", "stream", "sub/y"]
        kept = opened(store, saved(store, *sink.sources()).place)
    assert {name: bytes(kept.read(name)) for name in kept.names()} == {
        "put": b"12",
        "stream": b"streamed",
        "file": b"from a file",
        "sub/y": b"from the folder",
    }
    assert not folder.exists()


def test_the_sources_of_a_sink_can_be_read_as_often_as_need_be() -> None:
    with SaveSink() as sink:
        sink.put("a", b"1")
        with sink.stream("b") as stream:
            stream.write(b"2")
        assert content_of(sink.sources()) == content_of(sink.sources())


def test_a_sink_refuses_what_could_not_be_read_back() -> None:
    with SaveSink() as sink:
        with pytest.raises(SerializerError, match="wrote no files"):
            sink.sources()
        sink.put("a", b"1")
        with pytest.raises(SerializerError, match="wrote 'a' twice"):
            sink.put("a", b"2")
        for path in ("../a", "/a", "a:b", ""):
            with pytest.raises(InvalidValueError):
                sink.put(path, b"1")


def test_a_sink_refuses_a_file_below_a_file() -> None:
    with SaveSink() as sink:
        sink.put("a", b"1")
        sink.put("a/b", b"2")
        with pytest.raises(InvalidValueError, match="'a' is also the folder of 'a/b'"):
            sink.sources()


def test_a_stream_that_fails_adds_no_file() -> None:
    with SaveSink() as sink:
        with pytest.raises(ZeroDivisionError), sink.stream("a"):
            raise ZeroDivisionError
        with pytest.raises(SerializerError, match="wrote no files"):
            sink.sources()


def test_a_long_stream_leaves_no_open_file_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep.sink._SPOOL", 10)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with SaveSink() as sink, sink.stream("a") as stream:
            stream.write(b"x" * 100)
        del sink, stream
        gc.collect()
    assert [str(each.message) for each in said if issubclass(each.category, ResourceWarning)] == []


def test_an_array_that_is_trained_on_while_it_is_saved_can_be_loaded() -> None:
    array = np.zeros(1 << 16, np.uint8)

    class Training(MemoryStore):
        def put_pack(self, key: str, source: Any) -> None:
            def trained() -> Iterator[Buffer]:
                for part in source:
                    array[:] += 1  # between the digest of a piece and its way to the store
                    yield part

            super().put_pack(key, trained())

    store = Training()
    written = saved(store, source("a", array.data))
    assert len(opened(store, written.place).read("a")) == len(array)


def test_bytes_that_nobody_can_change_are_not_copied() -> None:
    taken: list[Any] = []

    class Looking(MemoryStore):
        def put_pack(self, key: str, source: Any) -> None:
            parts = list(source)
            taken.extend(part.obj for part in parts if isinstance(part, memoryview))
            super().put_pack(key, parts)

    few = NOISE[:50_000]
    saved(Looking(), source("a", few))
    assert taken[0] is few


def test_a_stream_of_many_small_pieces_is_not_searched_from_the_first_for_each_read() -> None:
    one = raw_digest(b"\0")
    raw = bytes(16) + b"\0"
    pieces = tuple(Piece(one, one, 0, RAW, 1, 16, 1) for _ in range(30_000))
    files = PackFiles(MemoryStore(), NAME, Manifest((f"{1:032x}-1",), (("f", pieces),), b"{}"), raw)
    began = time.process_time()
    assert files.open("f").read() == bytes(30_000)
    assert time.process_time() - began < 5  # 25 s and more when it was


def test_a_file_that_came_while_others_were_written_is_left_alone_and_the_others_go(tmp_path: Path) -> None:
    store = MemoryStore()
    place = saved(store, source("a", b"1"), source("b", b"2")).place

    class Racing(MemoryStore):
        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            (tmp_path / "b").write_bytes(b"mine")
            return store.get(key, span)

    manifest, _ = read_manifest(store, NAME, place)
    with pytest.raises(InvalidValueError, match="b exists already"):
        PackFiles(Racing(), NAME, manifest).extract(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"mine"}
