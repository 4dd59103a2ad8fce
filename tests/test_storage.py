"""Verification names every object that is not as it was written, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from modelkeep import Registry, _publish, packwriter, zstd
from modelkeep.errors import FormatError, StoreError
from modelkeep.folds import releases
from modelkeep.folds.versions import Create
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Wrapper


def _registry() -> tuple[MemoryStore, Registry]:
    store = MemoryStore()
    registry = Registry(store)
    for number in (1, 2, 3):
        version = registry.save({"w": np.full(5, number)}, "churn", metrics={"auc": 0.5}, notes="some notes")
        version.promote("production", reason="because")
        version.tag(n=str(number)).describe("a description")
    return store, registry


def _all(store: MemoryStore) -> dict[str, bytes]:
    return {item.key: store.get(item.key) for item in store.list("")}


def _with(objects: dict[str, bytes]) -> Registry:
    store = MemoryStore()
    for key, value in objects.items():
        store.put_pack(key, [value])
    return Registry(store)


def test_what_was_written_is_found_as_written() -> None:
    _, registry = _registry()
    report = registry.storage.verify()
    assert report.findings == ()
    assert (report.models, report.versions) == (1, 3)


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "its first bit flipped": lambda value: bytes([value[0] ^ 1]) + value[1:],
    "its middle bit flipped": lambda value: (
        value[: len(value) // 2] + bytes([value[len(value) // 2] ^ 16]) + value[len(value) // 2 + 1 :]
    ),
    "its last bit flipped": lambda value: value[:-1] + bytes([value[-1] ^ 128]),
    "its last byte cut off": lambda value: value[:-1],
    "its second half cut off": lambda value: value[: len(value) // 2],
    "all of it cut off": lambda _: b"",
    "a byte added": lambda value: value + b"\0",
}


@pytest.mark.parametrize("how", ALTERATIONS)
def test_every_altered_object_is_named(how: str) -> None:
    store, _ = _registry()
    objects = _all(store)
    for key, value in objects.items():
        if not value:  # a marker of the catalog
            continue
        report = _with({**objects, key: ALTERATIONS[how](value)}).storage.verify()
        assert not report.ok, key
        assert key in {finding.key for finding in report.findings}


def test_every_swapped_object_is_named() -> None:
    store, _ = _registry()
    objects = _all(store)
    for folder in ("models/churn/versions/", "models/churn/releases/", "models/churn/data/", "models/churn/texts/"):
        first, second = [key for key in objects if key.startswith(folder)][:2]
        if objects[first] == objects[second]:
            continue
        report = _with({**objects, first: objects[second], second: objects[first]}).storage.verify()
        assert {first, second} & {finding.key for finding in report.findings}, folder


def test_a_deleted_entry_or_pack_is_named() -> None:
    store, _ = _registry()
    objects = _all(store)
    newest = {max(key for key in objects if key.startswith(f"models/churn/{name}/")) for name in ("releases", "notes")}
    for key in objects:
        if key.startswith("models/churn/texts/") or key in newest:
            continue  # a text may be erased; a shorter journal is a legal one unless another has seen its end
        report = _with({other: value for other, value in objects.items() if other != key}).storage.verify()
        assert key in {finding.key for finding in report.findings}, key


def test_a_lost_journal_is_seen_though_every_entry_of_it_is_gone() -> None:
    store, _ = _registry()
    left = {key: value for key, value in _all(store).items() if not key.startswith("models/churn/versions/")}
    report = _with(left).storage.verify()
    assert not report.ok
    assert "models/churn/versions/00000000000000000001.json" in {finding.key for finding in report.findings}


def test_a_lost_marker_is_a_finding_and_an_empty_place_is_not_a_registry() -> None:
    store, _ = _registry()
    left = {key: value for key, value in _all(store).items() if key != "modelkeep.json"}
    assert [finding.key for finding in _with(left).storage.verify().findings] == ["modelkeep.json"]
    with pytest.raises(FormatError, match="no registry yet"):
        Registry(MemoryStore()).storage.verify()


def test_an_upload_that_no_entry_names_is_told_and_does_no_harm() -> None:
    store, registry = _registry()
    store.put_pack(f"models/churn/data/{'0' * 32}-1.pack", [b"left over"])
    report = registry.storage.verify()
    assert report.ok
    assert [finding.kind for finding in report.findings] == ["leftover"]


def test_a_model_that_is_not_listed_is_told() -> None:
    store, registry = _registry()
    store.delete(["catalog/churn"])
    report = registry.storage.verify()
    assert report.ok
    assert [finding.kind for finding in report.findings] == ["unlisted"]


def test_a_sealed_entry_is_no_longer_a_finding_and_its_number_is_not_given_again() -> None:
    store, _ = _registry()
    objects = _all(store)
    key = "models/churn/versions/00000000000000000003.json"
    registry = _with({**objects, key: b"{}"})
    registry.storage.seal(key)
    report = registry.storage.verify()
    assert report.ok
    assert {finding.kind for finding in report.findings} == {"leftover"}  # the bytes of the lost version
    assert registry.save({"w": np.ones(1)}, "churn").number == 4
    assert [version.number for version in registry.model("churn").versions()] == [4, 2, 1]


def test_a_sealed_entry_that_was_brought_back_is_named() -> None:
    store, _ = _registry()
    key = "models/churn/versions/00000000000000000002.json"
    sound = store.get(key)
    store.put_pack(key, [b"{}"])
    registry = Registry(store)
    registry.storage.seal(key)
    store.put_pack(key, [sound])
    report = Registry(store).storage.verify()
    assert [(finding.key, finding.kind) for finding in report.findings] == [(key, "sealed")]
    assert not report.ok


@pytest.mark.parametrize("harm", ["altered", "deleted"])
def test_a_marker_that_was_harmed_since_this_process_read_it_is_named(harm: str) -> None:
    store, registry = _registry()
    if harm == "altered":
        store.put_pack("modelkeep.json", [b"{}"])
    else:
        store.delete(["modelkeep.json"])
    assert [finding.key for finding in registry.storage.verify().findings] == ["modelkeep.json"]


def _in_three_packs(monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryStore, Registry, list[str]]:
    monkeypatch.setattr(packwriter, "MAX_PACK", 1_000_000)
    store = MemoryStore()
    registry = Registry(store)
    registry.save({f"w{n}": np.full(100_000, n) for n in range(3)}, "churn")
    return store, registry, [item.key for item in store.list("models/churn/data/")]


def test_packs_of_a_version_whose_manifest_is_lost_are_no_leftovers(monkeypatch: pytest.MonkeyPatch) -> None:
    store, registry, keys = _in_three_packs(monkeypatch)
    store.delete(keys[-1:])
    assert [(f.key, f.kind) for f in registry.storage.verify().findings] == [(keys[-1], "missing")]
    store.delete(keys[:1])
    found = {(finding.key, finding.kind) for finding in registry.storage.verify().findings}
    assert found == {(keys[0], "missing"), (keys[-1], "missing")}


@pytest.mark.parametrize(
    "part", ["data/", "versions/00000000000000000002", "releases/00000000000000000002", "texts/", "notes/t1/"]
)
def test_an_object_that_cannot_be_read_is_named_and_the_others_are_checked(part: str) -> None:
    store, registry = _registry()
    for number in range(100):
        registry.get("churn:1").tag(n=str(number))
    bad = next(item.key for item in store.list("models/churn/") if part in item.key)
    other = max(item.key for item in store.list("models/churn/data/"))
    raw = store.get(other)
    store.put_pack(other, [raw[:-1], bytes([raw[-1] ^ 1])])

    class Unreadable(Wrapper):
        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            if key == bad:
                raise StoreError(f"{key}: Input/output error", key=key)
            return super().get(key, span)

        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            asked = list(keys)
            if bad in asked:
                raise StoreError(f"{bad}: Input/output error", key=bad)
            return super().get_many(asked)

    findings = Registry(Unreadable(store)).storage.verify().findings
    assert (bad, "unreadable") in {(finding.key, finding.kind) for finding in findings}
    if "data/" in part or "texts/" in part:
        assert (other, "damaged") in {(finding.key, finding.kind) for finding in findings}


CLAIMS: dict[str, dict[str, Any]] = {
    "content": {"content": "0" * 64},
    "size": {"size": 1},
    "serializer": {"serializer": "torch"},
    "params": {"params": {"depth": 7}},
    "metrics": {"metrics": {"auc": 0.999}},
}


@pytest.mark.parametrize("what", CLAIMS)
def test_an_entry_that_claims_what_its_manifest_does_not_say_is_named(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = _publish._Operations.__call__

    def lying(self: Any, state: Any) -> list[Any]:
        *others, create = decided(self, state)
        return [*others, attrs.evolve(create, **CLAIMS[what])]

    monkeypatch.setattr(_publish._Operations, "__call__", lying)
    registry = Registry(MemoryStore())
    registry.save({"w": np.ones(3)}, "churn", params={"depth": 6}, metrics={"auc": 0.1})
    (finding,) = registry.storage.verify().findings
    assert f"differ in the {what} of version 1" in finding.problem


def test_an_entry_that_names_fewer_packs_than_its_manifest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    decided = _publish._Operations.__call__

    def lying(self: Any, state: Any) -> list[Any]:
        *others, create = decided(self, state)
        assert isinstance(create, Create)
        return [*others, attrs.evolve(create, packs=create.packs[-1:])]

    monkeypatch.setattr(_publish._Operations, "__call__", lying)
    _, registry, _ = _in_three_packs(monkeypatch)
    assert "packs" in " ".join(finding.problem for finding in registry.storage.verify().findings)


@pytest.mark.parametrize(("number", "identity"), [(99, "a" * 64), (1, "b" * 64)])
def test_an_alias_on_what_is_no_version_is_named(number: int, identity: str) -> None:
    store, registry = _registry()
    line = registry.get("churn:1")._line
    at = line.versions.state.lines[1].at
    line.append("releases", lambda _: [releases.SetAlias("staging", number, identity, at)])
    (finding,) = Registry(store).storage.verify().findings
    assert finding.key == "models/churn/releases/00000000000000000004.json"
    assert not Registry(store).storage.verify().ok


def test_a_piece_that_unpacks_to_other_bytes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.bin").write_bytes(b"ab" * 2500)
    registry = Registry(MemoryStore())
    packed = zstd.compress
    with monkeypatch.context() as patch:
        patch.setattr(zstd, "compress", lambda data: packed(bytes(len(data)) if len(data) == 5000 else data))
        registry.save(tmp_path / "a.bin", "churn")
    (finding,) = registry.storage.verify().findings
    assert "of 'a.bin' of version 1, are not as written" in finding.problem
