"""Kept datasets whose rows change anywhere: the save writes what differs from the last version, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from blake3 import blake3

import modelkeep as mk
from modelkeep.atrest import AtRest
from modelkeep.codecs import PATCH, RAW
from modelkeep.datasetversion import Dataset
from modelkeep.errors import IntegrityError
from modelkeep.layout import data_prefix
from modelkeep.manifest import MAX_DEPTH, Manifest, Piece
from modelkeep.nearby import Nearby
from modelkeep.packs import read_manifest
from modelkeep.stores import open_store
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Recording

LINE = "datasets/sales"
ROWS = 60_000
WORDS = np.array(["a", "few", "words", "of", "other", "lengths", "that", "free", "text", "has", "here", "and", "there"])


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else open_store(str(tmp_path / "registry"))


@pytest.fixture
def registry(store: Store) -> mk.Registry:
    return mk.Registry(store)


def table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Numbers that share no byte by chance, few words, and texts of any length."""
    chance = np.random.default_rng(seed)
    picked = WORDS[chance.integers(0, len(WORDS), (rows, 6))]
    return pa.table(
        {
            "id": np.arange(rows),
            "x": chance.normal(size=rows),
            "count": chance.poisson(3, rows).astype(np.int32),
            "region": np.array(["north", "south", "overseas"])[chance.integers(0, 3, rows)],
            "text": [f"{' '.join(row)} {number}" for number, row in enumerate(picked.tolist())],
        }
    )


def strewn(old: pa.Table, seed: int, share: float = 0.01) -> pa.Table:
    """The same, with other rows at random places."""
    chance, rows = np.random.default_rng(seed), len(old)
    few = int(rows * share)
    take = np.arange(rows)
    take[chance.choice(rows, few, replace=False)] = rows + np.arange(few)
    return pa.concat_tables([old, table(few, seed + 1000)]).take(pa.array(take)).combine_chunks()


def thinned(old: pa.Table) -> pa.Table:
    rows = len(old)
    kept = np.sort(np.random.default_rng(5).choice(rows, rows - rows // 100, replace=False))
    return old.take(pa.array(kept)).combine_chunks()


def grown(old: pa.Table) -> pa.Table:
    return pa.concat_tables([strewn(old, 1), table(len(old) // 100, 77)]).combine_chunks()


def stored(store: Store) -> int:
    return sum(item.size for item in store.list(data_prefix(LINE)))


def pieces(registry: mk.Registry, number: int) -> list[Piece]:
    """The pieces of the one file of a version, as its manifest has them."""
    version = registry.dataset(f"sales:{number}")
    [(_, found)] = manifest(registry, version).files
    return list(found)


def manifest(registry: mk.Registry, version: Dataset) -> Manifest:
    line = version._line
    return read_manifest(registry._home.store, line.name, line.versions.state.lines[version.number].at)[0]


def keep(registry: mk.Registry, *tables: Any) -> list[Dataset]:
    return [registry.save_dataset(one, "sales", keep=True, profile=False) for one in tables]


def harm(store: Store, key: str, at: int) -> None:
    raw = bytearray(store.get(key))
    raw[at] ^= 1
    store.delete([key])
    store.put_pack(key, [bytes(raw)])


def test_places_are_scaled_to_the_size_of_the_file_before(store: Store) -> None:
    size, count = 4096, 1200
    data = [np.random.default_rng(number).bytes(size) for number in range(count)]
    store.put_pack("models/m/data/a-1.pack", data)
    digests = [blake3(one).digest() for one in data]
    rows = tuple(Piece(own, own, 0, RAW, size, at * size, size) for at, own in enumerate(digests))
    at_rest = AtRest(("a-1",), dict(zip(digests, rows, strict=True)), {"f": rows})
    near = Nearby(store, "m", at_rest, "f", size * count // 2)  # every second row is gone
    for at in (0, 100, 599):
        assert near.at(at * size, (at + 1) * size, b"as nothing begins") == (rows[2 * at + 1], data[2 * at + 1])
    assert near.at(100 * size, 101 * size, data[209][:32]) == (rows[209], data[209])  # it begins so, a few places on
    assert near.at(100 * size, 101 * size, data[400][:32]) == (rows[400], data[400])  # in the next block
    assert near.at(100 * size, 101 * size, data[900][:32]) == (rows[201], data[201])  # too far to be looked for
    assert Nearby(store, "m", at_rest, "another", size).at(0, size, b"") is None


# -- what it costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "limit"),
    [(lambda old: strewn(old, 1), 0.10), (thinned, 0.10), (grown, 0.20)],
    ids=["replaced", "deleted", "replaced and appended"],
)
def test_rows_that_change_at_random_places_cost_little(change: Callable[[pa.Table], pa.Table], limit: float) -> None:
    registry, old = mk.Registry(store := MemoryStore()), table(200_000)
    keep(registry, old)
    first = stored(store)
    keep(registry, new := change(old))
    assert stored(store) - first < limit * first
    assert mk.Registry(store).dataset("sales:2").load().equals(new)


def test_lines_of_a_file_that_change_at_random_places_cost_little_too(
    registry: mk.Registry, store: Store, tmp_path: Path
) -> None:
    chance = np.random.default_rng(0)
    lines = [f"{number},{chance.normal()},{WORDS[number % 7]}\n" for number in range(60_000)]
    file = tmp_path / "sales.csv"
    file.write_text("".join(lines))
    keep(registry, str(file))
    first = stored(store)
    for number in chance.choice(len(lines), 600, replace=False):
        lines[number] = f"{number},changed,{chance.normal()}\n"
    file.write_text("".join(lines))
    keep(registry, str(file))
    assert stored(store) - first < 0.15 * first
    mk.Registry(store).dataset("sales:2").load(into=tmp_path / "back")
    assert (tmp_path / "back" / "sales.csv").read_bytes() == file.read_bytes()


def test_a_table_that_has_nothing_of_the_last_one_is_stored_by_itself_and_little_is_read_for_it() -> None:
    store = Recording(MemoryStore())
    keep(mk.Registry(store), table(200_000))
    [base] = [item.key for item in store.list(data_prefix(LINE))]
    chance = np.random.default_rng(3)
    strange = pa.table({name: chance.integers(0, 2**62, 200_000) for name in "abcdefgh"})
    registry = mk.Registry(store)
    store.requests.clear()
    keep(registry, strange)
    assert not any(piece.codec == PATCH for piece in pieces(registry, 2))
    assert [key for _, key in store.requests].count(base) < 10  # of some 20 blocks
    assert mk.Registry(store).dataset("sales:2").load().equals(strange)


def test_only_datasets_are_stored_as_patches(registry: mk.Registry, store: Store) -> None:
    for seed in (None, 1):
        old = table().to_pandas()
        registry.save(old if seed is None else strewn(table(), seed).to_pandas(), "churn")
    line = registry.get("churn:2")._line
    known = read_manifest(store, "churn", line.versions.state.lines[2].at)[0]
    assert not any(piece.codec == PATCH for piece in known.pieces())


# -- and that nothing is lost --------------------------------------------------------------------------------------


def test_of_many_versions_each_loads_as_it_was_and_none_lies_deep(registry: mk.Registry, store: Store) -> None:
    tables = [table()]
    for seed in range(7):
        tables.append(strewn(tables[-1], seed))
    keep(registry, *tables)
    fresh = mk.Registry(store)
    depths = [max(piece.depth() for piece in pieces(fresh, number)) for number in range(1, 9)]
    assert depths == [0, 1, 2, 3, 4, 4, 4, 4]
    assert MAX_DEPTH == 4
    for number, one in enumerate(tables, 1):
        assert fresh.dataset(f"sales:{number}").load().equals(one)
        assert fresh.dataset(f"sales:{number}").verify() > 0
    assert fresh.storage.verify().ok


def test_what_others_are_patches_of_outlives_its_version(registry: mk.Registry, store: Store) -> None:
    tables = [table(), strewn(table(), 1)]
    keep(registry, *tables)
    registry.policy.set('[retention.models."datasets/*"]\nlast = 1\n')
    done = registry.storage.collect()
    assert [one.number for one in done.purged] == [1]
    fresh = mk.Registry(store)
    assert fresh.dataset("sales:2").load().equals(tables[1])
    assert any(piece.codec == PATCH for piece in pieces(fresh, 2))
    fresh.storage.compact()
    assert mk.Registry(store).dataset("sales:2").load().equals(tables[1])
    assert not any(piece.codec == PATCH for piece in pieces(mk.Registry(store), 2))
    assert mk.Registry(store).storage.verify().ok


def test_of_an_erased_version_no_byte_stays_that_others_are_patches_of(registry: mk.Registry, store: Store) -> None:
    secret = table().set_column(4, "text", pa.array(f"secret {number * 7919 % 1000003}" for number in range(ROWS)))
    tables = [secret, strewn(secret, 1)]
    keep(registry, *tables)
    old = {item.key for item in store.list(data_prefix(LINE))}
    registry.dataset("sales:1").erase("request 17")
    assert old.isdisjoint(item.key for item in store.list(data_prefix(LINE)))
    fresh = mk.Registry(store)
    assert fresh.dataset("sales:2").load().equals(tables[1])
    assert all(piece.base is None for piece in pieces(fresh, 2))
    assert fresh.storage.verify().ok


def test_patches_are_pushed_with_what_they_are_of(registry: mk.Registry) -> None:
    tables = [table(), strewn(table(), 1), strewn(strewn(table(), 1), 2)]
    keep(registry, *tables)
    team = mk.Registry(MemoryStore("memory://team-of-patches"))
    registry.push(LINE, to=team)
    assert all(team.dataset(f"sales:{n}").load().equals(one) for n, one in enumerate(tables, 1))
    assert team.storage.verify().ok


def test_compaction_keeps_what_patches_are(registry: mk.Registry, store: Store) -> None:
    tables = [table(), strewn(table(), 1), strewn(strewn(table(), 1), 2)]
    keep(registry, *tables)
    before = stored(store)
    registry.storage.compact()
    assert stored(store) <= before
    fresh = mk.Registry(store)
    assert all(fresh.dataset(f"sales:{n}").load().equals(one) for n, one in enumerate(tables, 1))


def test_a_flipped_bit_below_a_patch_is_an_error_that_names_where_it_lies(registry: mk.Registry, store: Store) -> None:
    keep(registry, table(), strewn(table(), 1))
    [base] = {piece.base for piece in pieces(registry, 2)[:1]}
    assert base is not None
    packs = manifest(registry, registry.dataset("sales:2")).packs
    key = next(item.key for item in store.list(data_prefix(LINE)) if packs[base.pack] in item.key)
    harm(store, key, base.offset + 50)
    for number in (1, 2):
        with pytest.raises(IntegrityError, match=f"{key} is damaged at bytes {base.offset} to") as raised:
            mk.Registry(store).dataset(f"sales:{number}").load()
        assert raised.value.key == key
    lost = mk.Registry(store).storage.verify().lost
    assert {loss.ref for loss in lost} == {f"{LINE}:1", f"{LINE}:2"}


def test_a_base_that_cannot_be_read_stops_no_save_and_is_not_built_upon(registry: mk.Registry, store: Store) -> None:
    keep(registry, table())
    [key] = [item.key for item in store.list(data_prefix(LINE))]
    for piece in pieces(registry, 1):
        harm(store, key, piece.offset + 20)
    fresh = mk.Registry(store)
    new = strewn(table(), 1)
    keep(fresh, new)
    assert not any(piece.codec == PATCH for piece in pieces(fresh, 2))
    assert mk.Registry(store).dataset("sales:2").load()["x"].equals(new["x"])
