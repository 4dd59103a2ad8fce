"""Verification names every object that is not as it was written, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from modelkeep import Registry
from modelkeep.errors import FormatError
from modelkeep.stores.memory import MemoryStore


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
