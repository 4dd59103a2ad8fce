"""A version in another form: it is found by its kind, shares no bytes, and lives exactly as long as its version."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import (
    ClosedError,
    DeletedError,
    InvalidRefError,
    InvalidValueError,
    ObjectExistsError,
    OutcomeUnknownError,
    SerializerError,
    StoreError,
    TakenError,
    TrustError,
    UnknownVariantError,
    UnsettledError,
)
from modelkeep.layout import data_prefix, pack_key
from modelkeep.modelvariant import Variant
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording, Wrapper
from modelkeep.version import Parent

NOW = timedelta(0)


def tensor(seed: int) -> np.ndarray[Any, Any]:
    """A tensor of 160 KB."""
    return np.random.default_rng(seed).standard_normal(40_000).astype(np.float32)


def model(seed: int) -> dict[str, Any]:
    return {"base": tensor(0), "own": tensor(seed)}


def small(seed: int) -> dict[str, Any]:
    """What a version is converted to: most of it is new, and one tensor is that of the version."""
    return {"own": (tensor(seed) * 8).astype(np.int8), "base": tensor(0)}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[k].tobytes() == other[k].tobytes() for k in one)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def begun(store: MemoryStore) -> mk.Registry:
    """Two versions, of which the first has a variant; `production` stands on it."""
    registry = opened(store)
    for seed in (1, 2):
        registry.save(model(seed), "churn", metrics={"auc": 0.9})
    registry.get("churn:1").promote("production")
    registry.get("churn:1").add_variant(small(1), kind="int8", metrics={"auc": 0.89}, notes="by hand")
    return registry


@pytest.fixture
def registry(store: MemoryStore) -> mk.Registry:
    return begun(store)


def opened(store: Any) -> mk.Registry:
    return mk.Registry(store, cache=False)


def packs(store: MemoryStore) -> set[str]:
    return {item.key for item in store.list(data_prefix("churn"))}


def packs_of(variant: Variant) -> set[str]:
    return {pack_key("churn", pack) for pack in variant._known.made.packs}


def of_int8(registry: mk.Registry) -> Variant:
    return registry.model("churn").version(1).variants["int8"]


# -- adding and finding --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", ["churn:1/int8", "churn@production/int8", mk.ModelRef("churn", 1, "int8")])
@pytest.mark.parametrize("cold", [False, True])
def test_a_variant_loads_by_the_reference_of_its_version_and_its_kind(
    store: MemoryStore, registry: mk.Registry, ref: Any, cold: bool
) -> None:
    reader = opened(store) if cold else registry
    assert same(reader.load(ref), small(1))
    assert same(reader.load("churn:1"), model(1))
    assert same(reader.load("churn"), model(2)), "it is no version, and so not the latest"


def test_a_variant_knows_what_it_is_and_what_it_was_made_from(registry: mk.Registry) -> None:
    version = registry.get("churn:1")
    variant = version.variants["int8"]
    assert (variant.ref, variant.kind, str(variant.serializer)) == ("churn:1/int8", "int8", "tree")
    assert variant.metrics == {"auc": 0.89}
    assert version.metrics == {"auc": 0.9}
    assert variant.record.notes == "by hand"
    assert variant.record.parents == (Parent("churn", 1, version.digest),)
    assert variant.size == sum(file.size for file in variant.files) > 0
    assert (variant.author, variant.created >= version.created) == (version.author, True)
    assert variant.digest not in (version.digest, version.content, variant.content)
    assert variant == of_int8(registry)
    assert variant != version
    assert len({variant, of_int8(registry)}) == 1


def test_variants_of_a_version_are_listed_by_kind_and_those_of_another_are_its_own(registry: mk.Registry) -> None:
    assert registry.get("churn:2").variants == {}
    for number, kind in ((1, "half"), (2, "int8"), (1, "onnx.v2")):
        assert registry.get(f"churn:{number}").add_variant(small(number), kind=kind).ref == f"churn:{number}/{kind}"
    assert list(registry.get("churn:1").variants) == ["half", "int8", "onnx.v2"]
    assert list(registry.get("churn:2").variants) == ["int8"]
    assert same(registry.load("churn:2/int8"), small(2))


def test_another_process_sees_a_variant_once_it_is_acknowledged(store: MemoryStore, registry: mk.Registry) -> None:
    other = opened(store)
    seen = other.get("churn:1")
    registry.get("churn:1").add_variant(small(1), kind="half")
    assert list(seen.variants) == ["half", "int8"]
    registry.get("churn:2").add_variant(small(2), kind="half")
    assert same(other.load("churn/half"), small(2))


def test_a_kind_that_a_version_lacks_is_an_error_that_tells_those_that_there_are(registry: mk.Registry) -> None:
    with pytest.raises(UnknownVariantError, match="churn:1 has no variant 'onnx'; it has int8"):
        registry.load("churn@production/onnx")
    with pytest.raises(UnknownVariantError, match="churn:2 has no variant 'int8'; it has none"):
        registry.load("churn/int8")


def test_get_gives_versions_and_says_where_variants_are(registry: mk.Registry) -> None:
    with pytest.raises(InvalidRefError, match=r"get\('churn@production'\).variants\['int8'\], or load it"):
        registry.get("churn@production/int8")
    with pytest.raises(InvalidRefError, match="is a variant and no version"):
        registry.save(model(3), "churn", parent="churn:1/int8")


def test_what_is_made_from_a_variant_has_the_version_as_its_parent(registry: mk.Registry) -> None:
    pytest.importorskip("torch")
    module = __import__("torch").nn.Linear(3, 1)
    version = registry.save(module.state_dict(), "net")
    version.add_variant(module, kind="whole", serializer="torch")
    loaded = registry.load("net:1/whole", trust=True)
    assert registry.save(loaded, "net").parents == (Parent("net", 1, version.digest),)


def test_an_export_has_the_native_files_of_the_variant(registry: mk.Registry, tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(b"onnx" * 9)
    variant = registry.get("churn:2").add_variant(source, kind="onnx")
    assert (variant.export(tmp_path / "out") / "model.onnx").read_bytes() == source.read_bytes()
    assert (registry.load(variant.ref, into=tmp_path / "in") / "model.onnx").read_bytes() == source.read_bytes()
    with pytest.raises(InvalidValueError, match="not empty"):
        variant.export(tmp_path / "out")


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_kind_is_given_once_and_the_first_stays(store: MemoryStore, registry: mk.Registry) -> None:
    before = packs(store)
    for who in (registry, opened(store)):
        with pytest.raises(TakenError, match="churn:1 has a variant int8 already, and variants never change"):
            who.get("churn:1").add_variant(small(9), kind="int8")
    assert packs(store) == before, "nothing was uploaded"
    assert same(registry.load("churn:1/int8"), small(1))


@pytest.mark.parametrize("kind", ["", "Int8", "int 8", "-int8", "a/b", "x" * 101, 8, None])
def test_a_kind_that_references_cannot_say_is_refused(registry: mk.Registry, kind: Any) -> None:
    with pytest.raises(InvalidRefError, match="kind"):
        registry.get("churn:1").add_variant(small(1), kind=kind)


def test_what_cannot_be_kept_of_a_save_cannot_be_kept_of_a_variant(registry: mk.Registry) -> None:
    version = registry.get("churn:1")
    with pytest.raises(InvalidValueError, match="metrics"):
        version.add_variant(small(1), kind="half", metrics={"auc": "high"})
    with pytest.raises(SerializerError, match="unknown"):
        version.add_variant(small(1), kind="half", serializer="unknown")
    assert list(version.variants) == ["int8"]


def test_a_model_that_is_closed_takes_no_variants_and_those_that_it_has_load(registry: mk.Registry) -> None:
    version = registry.get("churn:1")
    registry.model("churn").close()
    with pytest.raises(ClosedError):
        version.add_variant(small(1), kind="half")
    with pytest.warns(UserWarning, match="was closed"):
        assert same(registry.load("churn@production/int8"), small(1))


def test_a_version_that_is_deleted_takes_no_variants_until_it_is_back(store: MemoryStore) -> None:
    registry = opened(store)
    version = registry.save(model(1), "churn")
    stale = opened(store).get("churn:1")
    version.delete()
    for handle in (version, stale):
        with pytest.raises(DeletedError, match="bring it back"):
            handle.add_variant(small(1), kind="int8")
    version.restore()
    assert stale.add_variant(small(1), kind="int8").ref == "churn:1/int8"


class Meanwhile(Wrapper):
    """Has something done at the moment at which the next pack is put."""

    act: Callable[[], object] | None = None

    def put_pack(self, key: str, source: Any) -> None:
        super().put_pack(key, source)
        if (act := self.act) is not None:
            self.act = None
            act()


def test_a_variant_that_is_uploaded_while_its_version_is_purged_is_refused(store: MemoryStore) -> None:
    late = Meanwhile(store)
    registry, other = opened(late), opened(store)
    version = registry.save(model(1), "churn")
    late.act = lambda: other.get("churn:1").erase("a request")
    with pytest.raises(DeletedError, match="churn:1 was purged"):
        version.add_variant(small(1), kind="int8")
    assert version.variants == {}
    assert packs(store) == set()


def test_a_variant_that_is_uploaded_while_its_version_is_deleted_is_refused(store: MemoryStore) -> None:
    late = Meanwhile(store)
    version = opened(late).save(model(1), "churn")
    late.act = opened(store).get("churn:1").delete
    with pytest.raises(DeletedError, match="churn:1 is deleted"):
        version.add_variant(small(1), kind="int8")
    assert (version.variants, len(packs(store))) == ({}, 1)


def test_of_two_that_add_the_same_kind_one_is_told_and_leaves_no_bytes(
    store: MemoryStore, registry: mk.Registry
) -> None:
    late = Meanwhile(store)
    version = opened(late).get("churn:1")
    late.act = lambda: registry.get("churn:1").add_variant(small(2), kind="half")
    with pytest.raises(TakenError, match="has a variant half already"):
        version.add_variant(small(3), kind="half")
    assert same(registry.load("churn:1/half"), small(2))
    found = registry.get("churn:1").variants
    assert packs_of(found["half"]) | packs_of(found["int8"]) < packs(store)
    assert registry.storage.collect(grace=NOW).removals == ()


def test_a_version_that_is_stored_anew_meanwhile_gets_its_variant(store: MemoryStore) -> None:
    late = Meanwhile(store)
    registry = opened(late)
    for seed in (1, 2):
        version = registry.save(model(seed), "churn")
    late.act = lambda: opened(store).storage.compact("churn")
    version.add_variant(small(2), kind="int8")
    assert [event.action for event in registry.model("churn").history()][-1] == "variant"
    assert same(opened(store).load("churn/int8"), small(2))
    assert opened(store).storage.verify().ok


# -- answers that are lost, and processes that are killed ----------------------------------------------------------


class Silent(Wrapper):
    """Gives no answer to creates while it is told to; they are carried out or not."""

    carries_out = True
    is_silent = False

    def create(self, key: str, value: bytes) -> None:
        if not self.is_silent:
            super().create(key, value)
            return
        if self.carries_out:
            with suppress(ObjectExistsError):
                super().create(key, value)
        raise OutcomeUnknownError("no answer")


@pytest.mark.parametrize("carries_out", [True, False])
def test_a_variant_without_an_answer_is_settled_as_any_save_is(store: MemoryStore, carries_out: bool) -> None:
    deaf = Silent(store)
    registry = mk.Registry(deaf, cache=False, system=mk.System(sleep=lambda _: None))
    version = registry.save(model(1), "churn")
    deaf.is_silent, deaf.carries_out = True, carries_out
    with pytest.raises(UnsettledError) as caught:
        version.add_variant(small(1), kind="int8")
    deaf.is_silent = False
    found = opened(store).settle(caught.value.token)
    assert (found.committed, found.ref) == (carries_out, "churn:1/int8" if carries_out else None)
    assert list(version.variants) == (["int8"] if carries_out else [])
    if carries_out:
        assert same(opened(store).load("churn:1/int8"), small(1))
    else:
        assert version.add_variant(small(2), kind="int8").ref == "churn:1/int8"


def test_a_variant_that_the_store_refused_is_not_there_and_leaves_no_bytes(store: MemoryStore) -> None:
    class Full(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "/versions/" in key:
                raise StoreError("no space")
            super().create(key, value)

    opened(store).save(model(1), "churn")
    before = packs(store)
    with pytest.raises(StoreError, match="no space"):
        opened(Full(store)).get("churn:1").add_variant(small(1), kind="int8")
    assert packs(store) == before
    assert opened(store).get("churn:1").variants == {}


def test_an_upload_of_a_killed_writer_is_collected_as_that_of_a_save(store: MemoryStore, registry: mk.Registry) -> None:
    class KilledError(Exception):
        pass

    class Dies(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "/versions/" in key:
                raise KilledError
            super().create(key, value)

    with pytest.raises(KilledError):
        opened(Dies(store)).get("churn:1").add_variant(small(5), kind="half")
    (gone,) = registry.storage.collect(grace=NOW).removals
    assert (gone.kind, "no version names it" in gone.reason) == ("upload", True)
    assert registry.storage.verify().findings == ()
    assert list(registry.get("churn:1").variants) == ["int8"]


def test_a_variant_takes_two_writes_and_two_looks_at_releases_when_warm(store: MemoryStore) -> None:
    recorded = Recording(store)
    version = opened(recorded).save(model(1), "churn")
    assert version.aliases == ()  # `releases` was read
    recorded.forget()
    version.add_variant(small(1), kind="int8")
    assert recorded.counts() == {"get": 2, "put_pack": 1, "create": 1}


# -- trust, and what is told ---------------------------------------------------------------------------------------


class Anything:
    """What only cloudpickle keeps."""


def test_the_gate_of_trust_stands_before_variants_too(registry: mk.Registry) -> None:
    variant = registry.get("churn:1").add_variant(Anything(), kind="object", serializer="cloudpickle")
    with pytest.raises(TrustError, match="churn:1/object"):
        registry.load("churn:1/object")
    with pytest.raises(TrustError):
        registry.load("churn:1/object", trust=registry.get("churn:1").digest)
    assert type(registry.load("churn:1/object", trust=variant.digest)).__name__ == "Anything"
    with pytest.raises(SerializerError, match="churn:1/object holds a"):
        variant.load(trust=True, as_=dict)


def test_the_history_tells_of_variants(registry: mk.Registry) -> None:
    (event,) = [event for event in registry.model("churn").history() if event.action == "variant"]
    assert (event.version, event.subject, event.journal) == (1, "int8", "versions")
    assert str(event).endswith("variant version 1 int8")
