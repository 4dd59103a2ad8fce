"""Usage: bytes by model and version, counted again from the store; packs that versions share, purged and left over."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep import Registry
from modelkeep.digest import digest
from modelkeep.errors import FormatError, IntegrityError
from modelkeep.folds import releases, versions
from modelkeep.layout import entry_key, journal_prefix, pack_key
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording, Wrapper
from modelkeep.usage import ModelUsage, Usage, VersionUsage
from modelkeep.version import Place


def pack(number: int, part: int = 1) -> str:
    """The pack *part* of the save of version *number*."""
    return f"{number:032x}-{part}"


def put(registry: Registry, sizes: Mapping[str, int], name: str = "churn") -> None:
    registry._home.prepare()
    for each, size in sizes.items():
        registry._store.put_pack(pack_key(name, each), [bytes(size)])


def create(registry: Registry, needed: Sequence[str], *, at: str = "", size: int = 1000, name: str = "churn") -> None:
    """A version by a hand-made entry."""
    registry._home.prepare()
    line = registry._line(name)
    assert line is not None
    line.versions.refresh()
    number = line.versions.state.next_number()
    made = versions.Create(
        number=number,
        identity=digest(b"%d" % number),
        content=digest(b"c%d" % number),
        at=Place(at or needed[-1], 0, 9),
        packs=tuple(needed),
        size=size,
        serializer="tree",
    )
    ops = [made] if line.versions.head else [versions.Open(registry._home.prepare()), made]
    line.append("versions", lambda _: ops)


def purge(registry: Registry, number: int, name: str = "churn") -> None:
    line = registry._line(name)
    assert line is not None
    line.append("releases", lambda _: [releases.Delete(number), releases.Purge(number)])


def churn(registry: Registry) -> ModelUsage:
    (found,) = Registry(registry._store).storage.usage().models
    return found


def test_versions_that_share_nothing() -> None:
    store = MemoryStore()
    registry = Registry(store)
    for seed in (1, 2):
        registry.save({"w": np.full(1000, seed, np.uint8)}, "churn")
    registry.save({"w": np.zeros(9)}, "other")
    registry.model("other").close()
    usage = Registry(store).storage.usage()
    lying = {item.key: item.size for item in store.list("models/") if "/data/" in item.key}
    for model in usage.models:
        line = registry._existing(model.name)
        for row in model.versions:
            own = sum(lying[pack_key(model.name, each)] for each in line.versions.state.lines[row.number].packs)
            assert (row.stored, row.needed, row.exclusive) == (own, own, own)
            assert row.logical == line.versions.state.lines[row.number].made.size > 0
        assert model.leftover == 0
    assert [(model.name, len(model.versions)) for model in usage.models] == [("churn", 2), ("other", 1)]
    assert usage.stored == sum(lying.values()) == sum(model.stored for model in usage.models)
    assert usage.logical == sum(row.logical for model in usage.models for row in model.versions)


def test_packs_of_earlier_saves_count_where_they_were_added_and_for_all_who_need_them() -> None:
    registry = Registry(MemoryStore())
    put(registry, {pack(1): 100, pack(2): 10, pack(2, 2): 5, pack(3): 1})
    create(registry, [pack(1)])
    create(registry, [pack(1), pack(2), pack(2, 2)], size=1200)
    create(registry, [pack(1), pack(2), pack(3)])
    assert churn(registry) == ModelUsage(
        "churn",
        (
            VersionUsage(1, logical=1000, stored=100, needed=100, exclusive=0),
            VersionUsage(2, logical=1200, stored=15, needed=115, exclusive=5),
            VersionUsage(3, logical=1000, stored=1, needed=111, exclusive=1),
        ),
        logical=3200,
        stored=116,
        leftover=0,
    )


def test_a_purged_version_counts_nothing_and_what_it_alone_needed_is_left_over() -> None:
    registry = Registry(MemoryStore())
    put(registry, {pack(1): 100, pack(1, 2): 7, pack(2): 10})
    create(registry, [pack(1), pack(1, 2)])
    create(registry, [pack(1), pack(2)])
    before = churn(registry).versions[0].exclusive
    purge(registry, 1)
    found = churn(registry)
    assert found.versions == (VersionUsage(1, 0, 0, 0, 0), VersionUsage(2, 1000, 110, 110, 110))
    assert found.leftover == before == 7
    assert (found.stored, found.logical) == (117, 1000)


def test_what_a_purge_would_free_is_what_is_exclusive() -> None:
    registry = Registry(MemoryStore())
    put(registry, {pack(1): 100, pack(2): 10, pack(3): 1})
    for needed in ([pack(1)], [pack(1), pack(2)], [pack(2), pack(3)]):
        create(registry, needed)
    for number in (3, 2, 1):
        before = churn(registry)
        purge(registry, number)
        assert churn(registry).leftover - before.leftover == before.versions[number - 1].exclusive


def test_a_deleted_version_is_there_with_all_its_bytes() -> None:
    registry = Registry(MemoryStore())
    registry.save({"w": np.zeros(9)}, "churn")
    before = churn(registry)
    registry.get("churn").delete()
    assert churn(registry) == before
    assert before.versions[0].exclusive > 0


def test_a_version_that_was_moved_counts_where_it_lies_now() -> None:
    registry = Registry(MemoryStore())
    put(registry, {pack(1): 100, pack(2): 10, pack(9): 60})
    create(registry, [pack(1)])
    create(registry, [pack(1), pack(2)])
    line = registry._existing("churn")
    moved = Place(pack(9), 0, 9)
    line.append("versions", lambda _: [versions.Move(1, Place(pack(1), 0, 9), moved, (pack(9),))])
    found = churn(registry)
    assert [row.stored for row in found.versions] == [60, 110]
    line.append("versions", lambda _: [versions.Move(2, Place(pack(2), 0, 9), moved, (pack(9),))])
    line.append("versions", lambda _: [versions.Condemn((pack(1), pack(2)))])
    found = churn(registry)
    assert [(row.stored, row.needed, row.exclusive) for row in found.versions] == [(60, 60, 0), (0, 60, 0)]
    assert (found.stored, found.leftover) == (170, 110)


def test_uploads_that_no_entry_names_are_left_over() -> None:
    registry = Registry(MemoryStore())
    registry.save({"w": np.zeros(9)}, "churn")
    put(registry, {pack(5): 33})
    put(registry, {pack(6): 44}, name="never-opened")
    found = {model.name: model for model in registry.storage.usage().models}
    assert found["churn"].leftover == 33
    assert found["never-opened"] == ModelUsage("never-opened", (), 0, 44, 44)


def test_a_missing_pack_counts_nothing() -> None:
    registry = Registry(MemoryStore())
    put(registry, {pack(1): 100})
    create(registry, [pack(1)])
    create(registry, [pack(1), pack(2)])
    assert [(row.stored, row.needed) for row in churn(registry).versions] == [(100, 100), (0, 100)]


def test_a_place_without_a_registry() -> None:
    assert Registry(MemoryStore()).storage.usage() == Usage((), 0, 0)
    store = MemoryStore()
    store.put_pack("mine.txt", [b"x"])
    with pytest.raises(FormatError):
        Registry(store).storage.usage()


def test_what_is_no_model_is_left_aside() -> None:
    registry = Registry(MemoryStore())
    registry.save({"w": np.zeros(9)}, "churn")
    for key in ("models/UPPER/data/x.pack", "models/loose", "models/no-data/texts/x"):
        registry._store.put_pack(key, [b"123"])
    assert [model.name for model in registry.storage.usage().models] == ["churn"]


def test_a_damaged_journal_is_named() -> None:
    store = MemoryStore()
    registry = Registry(store)
    registry.save({"w": np.zeros(9)}, "churn")
    registry.save({"w": np.zeros(9)}, "churn")
    key = entry_key(journal_prefix("churn", "versions"), 2)
    store.put_pack(key, [store.get(key)[:-3] + b"x\n"])
    with pytest.raises(IntegrityError, match=key):
        Registry(store).storage.usage()


def test_a_version_saved_between_the_listing_and_the_journal_has_its_bytes() -> None:
    class Busy(Wrapper):
        """Saves once more when the listing is over."""

        other: Registry | None = None

        def list(self, prefix: str) -> Any:
            yield from self.within.list(prefix)
            other, self.other = self.other, None
            if other:
                other.save({"w": np.zeros(9)}, "churn")

    store = Busy(MemoryStore())
    other = Registry(store.within)
    other.save({"w": np.zeros(9)}, "churn")
    registry = Registry(store)
    assert registry._home.id()
    store.other = other
    rows = registry.storage.usage().models[0].versions
    assert len(rows) == 2
    assert rows[1].stored > 0
    assert rows == churn(other).versions


def test_no_manifest_is_read_and_one_listing_is_enough() -> None:
    within = MemoryStore()
    registry = Registry(within)
    for _ in range(3):
        registry.save({"w": np.zeros(9)}, "churn")
    store = Recording(within)
    Registry(store).storage.usage()
    assert [request for request in store.requests if "/data/" in request[1]] == []
    assert store.requests.count(("list", "models/")) == 1


def test_a_usage_is_plain_data() -> None:
    registry = Registry(MemoryStore())
    put(registry, {pack(1): 100})
    create(registry, [pack(1)])
    usage = registry.storage.usage()
    assert json.loads(json.dumps(usage.to_dict())) == usage.to_dict() == {
        "models": [
            {
                "name": "churn",
                "versions": [{"number": 1, "logical": 1000, "stored": 100, "needed": 100, "exclusive": 100}],
                "logical": 1000,
                "stored": 100,
                "leftover": 0,
                "drafts": 0,
            }
        ],
        "logical": 1000,
        "stored": 100,
    }  # fmt: skip
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        usage.stored = 0  # type: ignore[misc]


def test_on_a_disk_it_is_what_the_files_take(tmp_path: Path) -> None:
    registry = Registry(tmp_path, durable=False)
    for n in range(3):
        registry.save({"w": np.full(1000, n)}, f"model-{n}")
    lying = sum(os.stat(file).st_size for file in tmp_path.rglob("*.pack"))  # noqa: PTH116
    assert Registry(tmp_path).storage.usage().stored == lying


@given(
    needs=st.lists(st.sets(st.integers(1, 6), min_size=1), min_size=1, max_size=6),
    sizes=st.lists(st.integers(0, 100), min_size=6, max_size=6),
    purged=st.sets(st.integers(1, 6)),
)
def test_sums_hold_whatever_is_shared(needs: list[set[int]], sizes: list[int], purged: set[int]) -> None:
    registry = Registry(MemoryStore())
    put(registry, {pack(n): size for n, size in enumerate(sizes, 1)})
    for needed in needs:
        create(registry, [pack(n) for n in sorted(needed)])
    alive = {n: needed for n, needed in enumerate(needs, 1) if n not in purged}
    for number in purged & set(range(1, len(needs) + 1)):
        purge(registry, number)
    found = churn(registry)
    in_use = set().union(*alive.values())
    assert sum(row.stored for row in found.versions) == sum(sizes[n - 1] for n in in_use)
    assert found.stored == sum(sizes) == sum(row.stored for row in found.versions) + found.leftover
    for row in found.versions:
        needed = alive.get(row.number, set())
        others = set().union(*(each for n, each in alive.items() if n != row.number))
        assert row.needed == sum(sizes[n - 1] for n in needed)
        assert row.exclusive == sum(sizes[n - 1] for n in needed - others)
        assert row.stored <= row.needed
