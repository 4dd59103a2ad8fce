"""The bytes of variants: their own, there as long as their version, and judged by themselves when they are damaged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import modelkeep as mk
from modelkeep._compact import plan_compaction
from modelkeep.errors import ConflictError, DeletedError, IntegrityError
from modelkeep.layout import data_prefix, pack_key
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Wrapper
from modelkeep.version import transaction_of
from test_variants import NOW, begun, model, of_int8, opened, packs, packs_of, same, small, tensor


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def registry(store: MemoryStore) -> mk.Registry:
    return begun(store)


# -- its bytes are its own -----------------------------------------------------------------------------------------


def test_a_variant_shares_no_pack_in_either_direction(store: MemoryStore, registry: mk.Registry) -> None:
    known = packs(store) - packs_of(of_int8(registry))
    variant = of_int8(registry)
    assert packs_of(variant).isdisjoint(known)
    assert all(file.shared == 0 for file in variant.files)
    registry.load("churn:1/int8")
    registry.get("churn:1").add_variant(small(1), kind="again")
    version = registry.save(small(1) | {"w": tensor(7)}, "churn", parent="churn:1")
    assert sum(file.shared for file in version.files) > 0, "what versions have is shared"
    needed = {pack_key("churn", pack) for pack in version._known.packs}
    apart = {key for one in registry.get("churn:1").variants.values() for key in packs_of(one)}
    assert needed.isdisjoint(apart)
    assert len({transaction_of(key) for key in apart}) == 2


def test_usage_counts_a_variant_with_its_version(store: MemoryStore, registry: mk.Registry) -> None:
    (found,) = registry.storage.usage().models
    sizes = {item.key: item.size for item in store.list(data_prefix("churn"))}
    apart = sum(sizes[key] for key in packs_of(of_int8(registry)))
    one, two = found.versions
    version = registry.get("churn:1")
    assert one.logical == version.size + of_int8(registry).size
    assert one.needed == one.stored == sum(sizes[pack_key("churn", p)] for p in version._known.own) + apart
    assert one.exclusive == apart, "what version 2 shares stays"
    assert (found.stored, found.leftover, two.logical) == (sum(sizes.values()), 0, registry.get("churn:2").size)


def test_compaction_leaves_variants_where_they_are_and_comes_to_an_end(
    store: MemoryStore, registry: mk.Registry
) -> None:
    registry.get("churn:2").add_variant(small(2), kind="int8")
    apart = packs_of(of_int8(registry)) | packs_of(registry.get("churn:2").variants["int8"])
    registry.model("churn").unset("production")
    done = registry.storage.compact("churn").models[0]
    assert done.moved == (1, 2)
    assert done.after < done.before
    assert apart < packs(store)
    line = registry.model("churn")._read()
    assert plan_compaction(line).order == []
    before = packs(store)
    assert registry.storage.compact("churn").models[0].moved == ()
    registry.storage.collect(grace=NOW)
    assert packs(store) == before
    for reader in (registry, opened(store)):
        assert same(reader.load("churn:1/int8"), small(1))
        assert same(reader.load("churn:2/int8"), small(2))
        assert same(reader.load("churn:1"), model(1))
    assert registry.storage.verify().findings == ()


# -- it lives as long as its version -------------------------------------------------------------------------------


def test_a_variant_of_a_deleted_version_stays_and_is_found_once_that_is_back(registry: mk.Registry) -> None:
    registry.model("churn").unset("production")
    registry.get("churn:1").delete()
    registry.storage.collect(grace=NOW)
    with pytest.raises(DeletedError, match="is deleted"):
        registry.load("churn:1/int8")
    assert same(of_int8(registry).load(), small(1)), "who has it at hand still can"
    registry.model("churn").version(1).restore()
    assert same(registry.load("churn:1/int8"), small(1))


def test_a_collection_takes_the_variants_of_what_it_purges_and_no_others(
    store: MemoryStore, registry: mk.Registry
) -> None:
    gone, kept = of_int8(registry), registry.get("churn:2").add_variant(small(2), kind="int8")
    away = packs_of(gone)
    registry.policy.set("[retention]\nlast = 1\naliased = false\n")
    assert registry.storage.collect(grace=NOW).purged == (), "a rollback may come back to it"
    registry.model("churn").unset("production")
    done = registry.storage.collect(grace=NOW)
    assert [one.number for one in done.purged] == [1]
    assert {one.key: one.reason for one in done.removals if one.key in away}.keys() == away
    assert all("churn:1 was purged" in one.reason for one in done.removals)
    assert packs_of(kept) < packs(store)
    assert away.isdisjoint(packs(store))
    for ask in (gone.load, gone.verify, lambda: registry.load("churn:1/int8")):
        with pytest.raises(DeletedError, match="churn:1 was purged"):
            ask()
    assert registry.storage.verify().findings == ()


def test_a_hold_keeps_the_variants_of_a_version(store: MemoryStore, registry: mk.Registry) -> None:
    registry.model("churn").unset("production")
    registry.get("churn:1").hold()
    registry.policy.set("[retention]\nlast = 1\n")
    assert registry.storage.collect(grace=NOW).removals == ()
    assert same(opened(store).load("churn:1/int8"), small(1))


def test_an_erasure_takes_the_variants_at_once_and_tells_of_them(store: MemoryStore, registry: mk.Registry) -> None:
    registry.model("churn").unset("production")
    away = packs_of(of_int8(registry))
    own = small(1)["own"].tobytes()[4096:8192]
    assert any(own in store.get(key) for key in packs(store))
    done = registry.get("churn:1").erase("request 17")
    assert {pack_key("churn", pack) for pack in done.packs} > away
    assert "the variants int8" in done.remains[0]
    assert not [key for key in packs(store) if own in store.get(key)]
    assert same(registry.load("churn:2"), model(2))
    assert registry.storage.verify().findings == ()


def test_an_erasure_leaves_the_variants_of_others_alone(store: MemoryStore, registry: mk.Registry) -> None:
    kept = registry.get("churn:2").add_variant(small(1), kind="int8")
    registry.model("churn").unset("production")
    registry.get("churn:1").erase("request 17")
    assert packs_of(kept) < packs(store)
    assert same(opened(store).load("churn:2/int8"), small(1))


def test_a_variant_that_comes_while_its_version_is_erased_is_erased_or_refused(store: MemoryStore) -> None:
    class Late(Wrapper):
        """Lets another add a variant after the purge was written, by what it knew before."""

        act: Callable[[], object] | None = None

        def create(self, key: str, value: bytes) -> None:
            if "/versions/" in key and b'"condemn"' in value and (act := self.act) is not None:
                self.act = None
                act()
            super().create(key, value)

    late = Late(store)
    registry, blind = opened(late), opened(store)
    version, other = registry.save(model(1), "churn"), blind.get("churn:1")
    line = other._line
    line.releases.refresh = lambda *_: None  # type: ignore[method-assign]  # it looked before the purge
    late.act = lambda: other.add_variant(small(1), kind="int8")
    done = version.erase("request 17")
    assert len(done.packs) == 2
    assert packs(store) == set()
    with pytest.raises((DeletedError, ConflictError), match="was purged"):
        other.add_variant(small(1), kind="half")


# -- damage --------------------------------------------------------------------------------------------------------


def flip(store: MemoryStore, key: str, at: int) -> None:
    raw = bytearray(store.get(key))
    raw[at] ^= 1
    store.put_pack(key, [bytes(raw)])


@pytest.mark.parametrize("at", ["piece", "manifest"])
def test_a_damaged_variant_is_reported_as_such_and_its_version_is_whole(
    store: MemoryStore, registry: mk.Registry, at: str
) -> None:
    variant = of_int8(registry)
    (key,) = packs_of(variant)
    flip(store, key, 4096 if at == "piece" else variant._known.made.at.offset + 40)
    report = registry.storage.verify()
    (finding,) = report.findings
    assert (finding.key, finding.kind) == (key, "damaged")
    assert "of the variant int8 of version 1" in finding.problem
    assert [(loss.ref, loss.aliases, loss.objects) for loss in report.lost] == [("churn:1/int8", (), (key,))]
    assert (report.versions, report.whole) == (2, 2)
    assert str(report).endswith("not ok: 1 findings; 2 versions are whole, 0 are lost, and 1 variants")
    with pytest.raises(IntegrityError):
        opened(store).load("churn:1/int8")
    with pytest.raises(IntegrityError):
        variant.verify()
    assert opened(store).get("churn:1").verify() > 0
    assert same(opened(store).load("churn@production"), model(1))


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("harm", ["gone", "cut", "longer"])
def test_a_variant_that_is_missing_or_of_another_length_is_found_by_its_structure_too(
    store: MemoryStore, registry: mk.Registry, quick: bool, harm: str
) -> None:
    (key,) = packs_of(of_int8(registry))
    raw = store.get(key)
    store.delete([key])
    if harm != "gone":
        store.put_pack(key, [raw[:-100] if harm == "cut" else raw + bytes(9)])
    report = registry.storage.verify(quick=quick)
    assert {finding.key for finding in report.findings} <= {key}
    lost = [loss.ref for loss in report.lost]
    if harm == "longer":
        assert lost == []
        return
    assert not report.ok
    assert (lost, report.whole) == (["churn:1/int8"], 2)
    if harm == "gone":
        assert "it is missing although the variant int8 of version 1 needs it" in report.findings[0].problem
        with pytest.raises(IntegrityError, match="is missing"):
            opened(store).load("churn:1/int8")


def test_a_version_that_is_lost_does_not_take_its_variant_along(store: MemoryStore, registry: mk.Registry) -> None:
    version = registry.get("churn:2")
    version.add_variant(small(2), kind="int8")
    key = pack_key("churn", version._known.at.pack)
    store.delete([key])
    report = registry.storage.verify()
    assert [loss.ref for loss in report.lost] == ["churn:2"]
    assert same(opened(store).load("churn:2/int8"), small(2))


def test_verify_repairs_beside_variants_and_finds_them_sound(store: MemoryStore, registry: mk.Registry) -> None:
    store.delete(["catalog/churn"])
    report = registry.storage.verify(repair=True)
    assert (report.ok, [one.key for one in report.repairs], report.lost) == (True, ["catalog/churn"], ())


def test_the_command_counts_lost_variants_apart(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "r", durable=False)
    variant = opened(store).save(model(1), "churn").add_variant(small(1), kind="int8")
    store.delete(packs_of(variant))
    done = subprocess.run(
        [sys.executable, "-m", "modelkeep", "verify", "--registry", str(tmp_path / "r")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "churn:1/int8" in done.stdout
    assert "1 variant lost, 1 whole" in done.stdout


# -- elsewhere -----------------------------------------------------------------------------------------------------


def test_a_push_carries_variants_and_brings_those_that_came_later(registry: mk.Registry) -> None:
    target = MemoryStore()
    registry.push("churn", to=target)
    assert same(opened(target).load("churn@production/int8"), small(1))
    registry.get("churn:2").add_variant(small(2), kind="half")
    later = registry.push("churn", to=target)
    assert (later.versions, later.entries, later.packs) == (0, 1, 1)
    assert same(opened(target).load("churn:2/half"), small(2))
    assert opened(target).get("churn:2").variants["half"].digest == registry.get("churn:2").variants["half"].digest
    assert opened(target).storage.verify().findings == ()


def test_a_push_refuses_a_damaged_variant(store: MemoryStore, registry: mk.Registry) -> None:
    (key,) = packs_of(of_int8(registry))
    flip(store, key, 4096)
    with pytest.raises(IntegrityError, match="of the variant int8 of version 1"):
        registry.push("churn", to=MemoryStore())
