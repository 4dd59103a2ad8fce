"""Pieces that lie as what they differ by from others are read in few requests, and damage names what is damaged."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep import chains, packfiles
from modelkeep.chains import Kept, runs
from modelkeep.codecs import RAW, WIDTHS, ZSTD, Link, pack, unpack
from modelkeep.digest import Buffer, raw_digest
from modelkeep.errors import IntegrityError
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, Piece
from modelkeep.packfiles import PackFiles
from modelkeep.packs import MAGIC
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording

NAME = "churn"
PACKS = tuple(f"{1:032x}-{number}" for number in range(1, 6))


def key(pack_index: int) -> str:
    return pack_key(NAME, PACKS[pack_index])


def value(level: int, index: int, length: int) -> bytes:
    return bytes((index + at * (level + 3)) % 251 for at in range(length))


def stored(
    store: MemoryStore, levels: Sequence[Sequence[bytes]], widths: Sequence[int], *, raw: bool = True
) -> PackFiles:
    """A version of the last level; each level lies in a pack of its own and differs from the one before."""
    below: list[Piece | None] = [None] * len(levels[0])
    for number, (values, width) in enumerate(zip(levels, widths, strict=True)):
        body, own = bytearray(MAGIC), list[Piece | None]()
        for data, base, under in zip(values, below, levels[number - 1] if number else values, strict=True):
            is_raw = raw and base is None
            put = data if is_raw else pack(data, width=width, base=None if base is None else under)
            own.append(
                Piece(raw_digest(data), raw_digest(put), number, RAW if is_raw else ZSTD, len(put), len(body),
                      len(data), 0 if is_raw else width, base)
            )  # fmt: skip
            body += put
        store.put_pack(key(number), [body])
        below = own
    pieces = tuple(piece for piece in below if piece is not None)
    return PackFiles(store, NAME, Manifest(PACKS[: len(levels)], (("a", pieces),), b"{}"))


def version(store: MemoryStore, *, depth: int, count: int = 8, length: int = 1000, raw: bool = True) -> PackFiles:
    levels = [[value(level, index, length) for index in range(count)] for level in range(depth + 1)]
    return stored(store, levels, [4] * (depth + 1), raw=raw)


def top(depth: int, count: int = 8, length: int = 1000) -> bytes:
    return b"".join(value(depth, index, length) for index in range(count))


def recorded(files: PackFiles) -> tuple[PackFiles, Recording]:
    store = Recording(files.store)
    return attrs.evolve(files, store=store), store


def pieces_of(files: PackFiles) -> tuple[Piece, ...]:
    return files.manifest.files[0][1]


def harm(files: PackFiles, piece: Piece, at: int = 0, bits: int = 0xFF) -> None:
    """Change a stored byte of a piece."""
    where = files._chains.key(piece)
    raw = bytearray(files.store.get(where))
    raw[piece.offset + at] ^= bits
    files.store.delete([where])
    files.store.create(where, bytes(raw))


def assert_names(error: IntegrityError, files: PackFiles, piece: Piece) -> None:
    facts = {"key": error.key, **{name: error.facts[name] for name in ("offset", "length")}}
    assert facts == {"key": files._chains.key(piece), "offset": piece.offset, "length": piece.stored}


@st.composite
def levels_of(draw: st.DrawFn) -> list[list[bytes]]:
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    depth = draw(st.integers(0, 4))
    return [[draw(st.binary(min_size=n, max_size=n)) for n in lengths] for _ in range(depth + 1)]


@given(levels_of(), st.data())
@settings(deadline=None)
def test_files_of_chains_come_back_bit_for_bit(levels: list[list[bytes]], data: st.DataObject) -> None:
    widths = data.draw(st.lists(st.sampled_from(WIDTHS), min_size=len(levels), max_size=len(levels)))
    store = MemoryStore()
    files = stored(store, levels, widths, raw=data.draw(st.booleans()))
    whole = b"".join(levels[-1])
    assert bytes(files.read("a")) == whole
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert [bytes(view) for view in files.views("a", [(start, stop)])] == [whole[start:stop]]
    with files.open("a") as stream:
        assert stream.read() == whole
    assert files.check() == sum(len(store.get(key(number))) - len(MAGIC) for number in range(len(levels)))


# What it costs


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_neighbours_are_one_request_and_one_more_for_each_level_below(depth: int) -> None:
    files, store = recorded(version(MemoryStore(), depth=depth, raw=False))
    requests = [("get", key(number)) for number in range(depth + 1)]
    assert bytes(files.read("a")) == top(depth)
    assert sorted(store.requests) == requests
    for cost in (lambda: files.views("a", [(0, 8000)]), lambda: files.open("a").read(), files.check):
        store.forget()
        cost()
        assert set(store.requests) == set(requests)
    assert len(store.requests) == depth + 1, "the check"


def test_what_several_pieces_were_turned_by_is_read_once() -> None:
    files, store = recorded(version(MemoryStore(), depth=1))
    first = pieces_of(files)[0]
    files = attrs.evolve(files, manifest=attrs.evolve(files.manifest, files=(("a", (first, first, first)),)))
    assert bytes(files.read("a")) == value(1, 0, 1000) * 3
    assert store.requests.count(("get", key(0))) <= 3
    store.forget()
    assert files.check() == first.stored + 1000
    assert store.counts()["get"] == 2


def test_a_base_that_lies_beside_the_piece_costs_nothing() -> None:
    store = MemoryStore()
    root, above = value(0, 0, 1000), value(1, 0, 1000)
    put = pack(above, width=2, base=root)
    store.put_pack(key(0), [MAGIC, root, put])
    base = Piece(raw_digest(root), raw_digest(root), 0, RAW, 1000, 16, 1000)
    piece = Piece(raw_digest(above), raw_digest(put), 0, ZSTD, len(put), 1016, 1000, 2, base)
    files, recording = recorded(PackFiles(store, NAME, Manifest(PACKS[:1], (("a", (base, piece)),), b"{}")))
    assert bytes(files.read("a")) == root + above
    assert recording.counts()["get"] == 1


def test_verifying_unpacks_each_chain_once(monkeypatch: pytest.MonkeyPatch) -> None:
    files = version(MemoryStore(), depth=4)
    unpacked: list[int] = []

    def counting(links: Sequence[Link], length: int) -> Buffer:
        unpacked.append(len(links))
        return unpack(links, length)

    monkeypatch.setattr(chains, "unpack", counting)
    files.check()
    assert unpacked == [5] * 8


def test_a_run_takes_no_more_memory_with_all_that_its_pieces_were_turned_by(monkeypatch: pytest.MonkeyPatch) -> None:
    files = version(MemoryStore(), depth=4)
    pieces = pieces_of(files)
    needed = [sum(one.stored for one in piece.chain()) for piece in pieces]
    assert min(needed) > 1000
    monkeypatch.setattr(chains, "RUN", needed[0] + needed[1])
    assert next(len(run) for run in runs(pieces)) == 2
    monkeypatch.setattr(chains, "RUN", needed[0] + needed[1] - 1)
    assert next(len(run) for run in runs(pieces)) == 1
    assert bytes(files.read("a")) == top(4)


def test_a_far_version_is_read_by_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    class Far(Recording):
        remote = True

    monkeypatch.setattr(chains, "RUN", 5000)
    monkeypatch.setattr(packfiles, "_AT_ONCE", 0)
    store = Far(MemoryStore())
    files = attrs.evolve(version(store, depth=4), store=store)  # type: ignore[arg-type]
    assert bytes(files.read("a")) == top(4)
    assert files.check()


# Damage


@given(st.integers(0, 4), st.integers(0, 7), st.data())
@settings(deadline=None, max_examples=60)
def test_a_wrong_byte_anywhere_is_an_error_that_names_its_place(level: int, index: int, data: st.DataObject) -> None:
    files = version(MemoryStore(), depth=4, raw=data.draw(st.booleans()))
    wrong = list(pieces_of(files)[index].chain())[level]
    harm(files, wrong, data.draw(st.integers(0, wrong.stored - 1)), 1 << data.draw(st.integers(0, 7)))
    with pytest.raises(IntegrityError) as checked:
        files.check()
    assert_names(checked.value, files, wrong)
    try:
        found = bytes(files.read("a"))
    except IntegrityError as error:
        assert_names(error, files, wrong)
    else:
        assert found == top(4), "a few bits of a frame change nothing of what it holds"


@pytest.mark.parametrize("level", range(5))
def test_verifying_finds_bytes_that_are_wrong_and_change_nothing(level: int) -> None:
    files = version(MemoryStore(), depth=4, raw=False)
    wrong = list(pieces_of(files)[2].chain())[level]
    harm(files, wrong, 4, 0x10)  # RFC 8878, 3.1.1.1.1.3: a bit that nobody looks at
    assert bytes(files.read("a")) == top(4)
    with pytest.raises(IntegrityError) as error:
        files.check()
    assert_names(error.value, files, wrong)


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("left", [0, 16, 300])
def test_a_pack_that_was_cut_off_is_named_whatever_hangs_on_it(level: int, left: int) -> None:
    files = version(MemoryStore(), depth=4)
    where = key(4 - level)
    raw = files.store.get(where)[:left]
    files.store.delete([where])
    files.store.create(where, raw)
    for use in (files.check, lambda: files.read("a"), lambda: files.open("a").read()):
        with pytest.raises(IntegrityError, match="belong there and") as error:
            use()
        assert error.value.key == where


def test_a_piece_whose_stored_bytes_are_all_right_and_that_is_not_what_it_says_is_named_itself() -> None:
    files = version(MemoryStore(), depth=4)
    forged = attrs.evolve(pieces_of(files)[3], digest=bytes(32))
    files = attrs.evolve(files, manifest=attrs.evolve(files.manifest, files=(("a", (forged,)),)))
    for use in (files.check, lambda: files.read("a")):
        with pytest.raises(IntegrityError, match="not the bytes that were written") as error:
            use()
        assert_names(error.value, files, forged)


def test_a_frame_of_another_length_in_a_chain_is_an_error_of_the_piece() -> None:
    store = MemoryStore()
    files = version(store, depth=2)
    (piece, *_) = pieces_of(files)
    put = pack(b"too short", width=4)
    store.put_pack(key(4), [MAGIC, put])
    assert piece.base is not None
    base = attrs.evolve(piece.base, pack=4, offset=16, stored=len(put), stored_digest=raw_digest(put))
    files = PackFiles(store, NAME, Manifest(PACKS, (("a", (attrs.evolve(piece, base=base),)),), b"{}"))
    with pytest.raises(IntegrityError, match="it unpacks to 9 bytes, and 1000 belong there") as error:
        files.read("a")
    assert_names(error.value, files, pieces_of(files)[0])


# What is at hand, and what this machine keeps


class Keeping(Kept):
    """Keeps packs in memory; what was never written is not there."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], bytes] = {}

    def read_into(self, key: str, offset: int, target: memoryview) -> bool:
        found = self.held.get((key, offset), b"")
        if len(found) != target.nbytes:
            return False
        target[:] = found
        return True

    def write(self, key: str, offset: int, data: Buffer) -> None:
        self.held[key, offset] = bytes(data)


def test_what_is_kept_costs_no_request_and_what_is_kept_wrongly_is_fetched_anew() -> None:
    kept = Keeping()
    files, store = recorded(attrs.evolve(version(MemoryStore(), depth=2), kept=kept))
    assert bytes(files.read("a")) == top(2)
    assert set(kept.held) == {(key(number), 16) for number in range(3)}
    sound = dict(kept.held)
    store.forget()
    assert bytes(files.read("a")) == top(2)
    assert store.requests == []
    for number in range(3):
        kept.held[key(number), 16] = bytes(len(sound[key(number), 16]))
        assert bytes(files.read("a")) == top(2)
        assert kept.held == sound
        del kept.held[key(number), 16]
        store.forget()
        assert bytes(files.read("a")) == top(2)
        assert store.requests == [("get", key(number))]
        assert kept.held == sound


def test_of_what_is_kept_wrongly_and_what_is_not_kept_each_is_fetched_once() -> None:
    kept = Keeping()
    files, store = recorded(attrs.evolve(version(MemoryStore(), depth=1), kept=kept))
    files.read("a")
    kept.held = {(key(0), 16): bytes(8000)}
    store.forget()
    assert bytes(files.read("a")) == top(1)
    assert store.requests == [("get", key(1)), ("get", key(0))]


def test_damage_is_not_kept_and_whoever_verifies_asks_the_store() -> None:
    kept = Keeping()
    files = attrs.evolve(version(MemoryStore(), depth=2), kept=kept)
    files.read("a")
    sound = dict(kept.held)
    base = pieces_of(files)[5].base
    assert base is not None
    harm(files, base)
    assert bytes(files.read("a")) == top(2)
    with pytest.raises(IntegrityError) as error:
        files.check()
    assert_names(error.value, files, base)
    kept.held.clear()
    with pytest.raises(IntegrityError) as error:
        files.read("a")
    assert_names(error.value, files, base)
    assert kept.held == {}
    kept.held.update(sound)
    kept.held[key(0), 16] = bytes(len(sound[key(0), 16]))
    with pytest.raises(IntegrityError) as error:
        files.read("a")
    assert_names(error.value, files, base)


@pytest.mark.parametrize("level", [0, 2])
def test_the_last_pack_that_is_at_hand_costs_no_request(level: int) -> None:
    files, store = recorded(version(MemoryStore(), depth=2))
    order = [number for number in range(3) if number != level] + [level]
    pieces = tuple(piece.repacked({number: at for at, number in enumerate(order)}) for piece in pieces_of(files))
    packs = tuple(PACKS[number] for number in order)
    files = PackFiles(store, NAME, Manifest(packs, (("a", pieces),), b"{}"), store.get(key(level)))
    store.forget()
    assert bytes(files.read("a")) == top(2)
    assert sorted(store.requests) == [("get", key(number)) for number in sorted(order[:-1])]
