"""`ModelVersion`: one point of a model's line, its facts, and what one does with it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.digest import digest
from modelkeep.errors import (
    ConflictError,
    DeletedError,
    InUseError,
    InvalidError,
    InvalidRefError,
    InvalidValueError,
    StaleError,
    TakenError,
)
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore


def weights(seed: int = 0) -> dict[str, Any]:
    return {"w": np.arange(4) + seed}


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


@pytest.fixture
def version(registry: Registry) -> mk.ModelVersion:
    return registry.save(weights(), "churn")


def anew(version: mk.ModelVersion) -> mk.ModelVersion:
    """The same version as a registry sees it that knows nothing yet."""
    return Registry(version._line.home.store).model(version.name).version(version.number)


def keys(registry: Registry) -> set[str]:
    return {item.key for item in registry._store.list("")}


# -- facts ---------------------------------------------------------------------------------------------------------


def test_a_version_shows_itself_as_its_reference_and_label(registry: Registry) -> None:
    assert repr(registry.save(weights(), "churn")) == "ModelVersion churn:1"
    assert repr(registry.save(weights(), "churn", label="1.2.0")) == "ModelVersion churn:2 (1.2.0)"


def test_versions_are_equal_by_what_they_are(registry: Registry, version: mk.ModelVersion) -> None:
    assert version == anew(version)
    assert hash(version) == hash(anew(version))
    assert version != registry.save(weights(), "churn")
    assert version != registry.save(weights(), "other")
    assert version != "churn:1"


def test_files_tell_path_size_and_the_digest_that_b3sum_prints(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.txt").write_bytes(b"abc" * 100)
    (tmp_path / "model" / "b.txt").write_bytes(b"")
    version = registry.save(tmp_path / "model", "churn")
    facts = {file.path.rpartition("/")[2]: (file.size, file.digest) for file in version.files}
    assert facts == {"a.txt": (300, digest(b"abc" * 100)), "b.txt": (0, digest(b""))}
    assert version.size == 300


def test_equal_files_have_equal_content_and_an_identity_of_their_own(registry: Registry) -> None:
    one, two, other = (registry.save(weights(seed), "churn") for seed in (0, 0, 1))
    assert one.content == two.content != other.content
    assert len({one.digest, two.digest, other.digest}) == 3


def test_a_row_holds_the_facts_flat(registry: Registry) -> None:
    version = registry.save(weights(), "churn", params={"depth": 6}, metrics={"auc": 0.9}, bump="minor")
    row = version.to_dict()
    assert row == {
        "version": 1,
        "label": "1.0.0",
        "created": version.created,
        "author": version.author,
        "size": version.size,
        "serializer": version.serializer,
        "digest": version.digest,
        "params.depth": 6,
        "metrics.auc": 0.9,
    }


def test_facts_given_out_are_copies(registry: Registry) -> None:
    version = registry.save(weights(), "churn", params={"a": [1]}, tags={"t": "x"})
    version.params["a"].append(2)
    version.params["b"] = 3
    version.tags["t"] = "y"
    version.metrics["m"] = 1
    assert (version.params, version.tags, version.metrics) == ({"a": [1]}, {"t": "x"}, {})


# -- promote -------------------------------------------------------------------------------------------------------


def test_promote_without_expect_takes_the_alias_from_whoever_holds_it(registry: Registry) -> None:
    one, two = (registry.save(weights(n), "churn") for n in range(2))
    one.promote("production")
    assert two.promote("production") is two
    assert (anew(one).aliases, anew(two).aliases) == ((), ("production",))


def test_a_version_can_stand_under_several_aliases(version: mk.ModelVersion) -> None:
    version.promote("staging").promote("production").promote("_canary.eu-1")
    assert anew(version).aliases == ("_canary.eu-1", "production", "staging")


def test_expecting_nothing_refuses_an_alias_that_is_set(registry: Registry) -> None:
    one, two = (registry.save(weights(n), "churn") for n in range(2))
    one.promote("production", expect=None)
    with pytest.raises(StaleError, match=r"churn@production stands on version 1, not on nothing") as caught:
        two.promote("production", expect=None)
    assert (caught.value.alias, caught.value.expected, caught.value.found) == ("production", None, 1)
    assert anew(one).aliases == ("production",)


@pytest.mark.parametrize("given", ["number", "version"])
def test_expecting_a_holder_refuses_any_other(registry: Registry, given: str) -> None:
    versions = [registry.save(weights(n), "churn") for n in range(3)]
    one, two, three = versions if given == "version" else [1, 2, 3]
    with pytest.raises(StaleError, match="stands on nothing, not on version 1"):
        versions[1].promote("production", expect=one)
    versions[0].promote("production")
    versions[1].promote("production", expect=one)
    with pytest.raises(StaleError, match="stands on version 2, not on version 3"):
        versions[0].promote("production", expect=three)
    assert versions[2].promote("production", expect=two).aliases == ("production",)


def test_expect_is_checked_against_what_stands_now_and_not_against_what_was_read(registry: Registry) -> None:
    one, two = (registry.save(weights(n), "churn") for n in range(2))
    one.promote("production")
    elsewhere = Registry(registry._store)
    elsewhere.get("churn:2").promote("production")
    with pytest.raises(StaleError):
        two.promote("production", expect=1)
    one.promote("production", expect=2)
    assert elsewhere.get("churn@production").number == 1


def test_a_refused_promote_leaves_neither_entry_nor_reason(registry: Registry, version: mk.ModelVersion) -> None:
    before = keys(registry)
    with pytest.raises(StaleError):
        version.promote("production", expect=5, reason="because")
    assert keys(registry) == before


# -- labels --------------------------------------------------------------------------------------------------------


def test_a_label_is_set_once_and_for_ever(registry: Registry, version: mk.ModelVersion) -> None:
    assert version.set_label("1.3.0").label == "1.3.0"
    assert anew(version).label == "1.3.0"
    for label in ("1.3.0", "1.4.0"):
        with pytest.raises(TakenError, match=r"churn:1 has the label 1\.3\.0 already, and labels stay"):
            version.set_label(label)
    with pytest.raises(TakenError, match=r"label 1\.3\.0 is taken by churn:1"):
        registry.save(weights(), "churn").set_label("1.3.0")


def test_a_bump_counts_from_the_highest_label(registry: Registry) -> None:
    one, two, three = (registry.save(weights(n), "churn") for n in range(3))
    two.set_label("1.9.3")
    assert one.set_label(bump="minor").label == "1.10.0"
    assert three.set_label(bump="major").label == "2.0.0"


@pytest.mark.parametrize(
    "given", [{}, {"label": "1"}, {"label": "01.0.0"}, {"bump": "huge"}, {"label": "1.0.0", "bump": "minor"}]
)
def test_a_label_that_cannot_be_is_refused(registry: Registry, version: mk.ModelVersion, given: dict[str, Any]) -> None:
    before = keys(registry)
    with pytest.raises(InvalidRefError):
        version.set_label(**given)
    assert keys(registry) == before
    assert anew(version).label is None


# -- delete and restore --------------------------------------------------------------------------------------------


def test_a_deleted_version_is_hidden_and_its_bytes_stay(registry: Registry, version: mk.ModelVersion) -> None:
    packs = {key for key in keys(registry) if key.endswith(".pack")}
    version.delete(reason="wrong data")
    assert anew(version).deleted
    assert {key for key in keys(registry) if key.endswith(".pack")} == packs
    for ask in (registry.load, registry.get):
        with pytest.raises(DeletedError, match="churn:1 is deleted"):
            ask("churn:1")
    with pytest.raises(DeletedError):
        version.delete()
    with pytest.raises(DeletedError):
        version.promote("production")


def test_a_restored_version_is_as_before(registry: Registry, version: mk.ModelVersion) -> None:
    version.delete()
    assert not anew(version).restore(reason="it was fine").deleted
    assert np.array_equal(registry.load("churn:1")["w"], weights()["w"])
    with pytest.raises(ConflictError, match="churn:1 is not deleted"):
        version.restore()


def test_a_version_under_an_alias_is_not_deleted(registry: Registry, version: mk.ModelVersion) -> None:
    version.promote("staging").promote("production")
    with pytest.raises(InUseError, match="churn:1 stands under production, staging") as caught:
        version.delete()
    assert caught.value.aliases == ["production", "staging"]
    assert not anew(version).deleted
    registry.model("churn").unset("staging")
    registry.save(weights(1), "churn").promote("production")
    version.delete()
    assert anew(version).deleted


# -- what people say -----------------------------------------------------------------------------------------------


def test_tags_are_those_of_the_save_and_what_was_said_since(registry: Registry) -> None:
    version = registry.save(weights(), "churn", tags={"team": "growth", "stage": "trial"})
    version.tag(stage="live", owner="ada").tag(team=None)
    assert anew(version).tags == {"stage": "live", "owner": "ada"}
    version.tag(team="risk")
    assert anew(version).tags == {"stage": "live", "owner": "ada", "team": "risk"}
    assert version.record.tags == {"team": "growth", "stage": "trial"}


@pytest.mark.parametrize("tags", [{"t": 5}, {"t": "x" * 1001}, {"": "x"}, {"n" * 1001: "x"}, {"t": b"x"}])
def test_tags_that_are_no_short_texts_are_refused_at_a_save_and_later(registry: Registry, tags: Any) -> None:
    version = registry.save(weights(), "churn")
    before = keys(registry)
    with pytest.raises(InvalidValueError, match="tag"):
        version.tag(**tags)
    with pytest.raises(InvalidValueError, match="tag"):
        registry.save(weights(), "churn", tags=tags)
    assert keys(registry) == before


def test_a_tag_of_nothing_at_a_save_is_no_tag(registry: Registry) -> None:
    tags: Any = {"team": None, "stage": "trial"}
    try:
        version = registry.save(weights(), "churn", tags=tags)
    except InvalidValueError:
        return
    assert anew(version).tags == {"stage": "trial"}


def test_a_description_replaces_the_one_before(version: mk.ModelVersion) -> None:
    assert version.description is None
    version.describe("first").describe("second, with **Markdown** and\nlines — été")
    assert anew(version).description == "second, with **Markdown** and\nlines — été"


def test_later_metrics_stand_beside_those_of_the_save(registry: Registry) -> None:
    version = registry.save(weights(), "churn", metrics={"auc": 0.9})
    version.measure(auc=0.8, auc_live=np.float64(0.85)).measure(auc_live=math.nan, n=10**20)
    read = anew(version)
    assert read.metrics == {"auc": 0.9}
    assert (read.measured["auc"], read.measured["n"]) == (0.8, 10**20)
    assert math.isnan(read.measured["auc_live"])


@pytest.mark.parametrize("value", ["0.9", None, [1.0], {"a": 1}, object()])
def test_what_is_no_number_is_no_metric_and_the_error_names_it(registry: Registry, value: Any) -> None:
    version = registry.save(weights(), "churn")
    before = keys(registry)
    with pytest.raises(InvalidValueError, match=r"metrics\.auc"):
        version.measure(auc=value)
    with pytest.raises(InvalidValueError, match=r"metrics\.auc"):
        registry.save(weights(), "churn", metrics={"auc": value})
    assert keys(registry) == before


@pytest.mark.parametrize("text", ["\ud800", "fine \udcff"])
def test_text_that_is_not_unicode_is_refused_wherever_text_is_taken(registry: Registry, text: str) -> None:
    version = registry.save(weights(), "churn")
    before = keys(registry)
    for act in (
        lambda: version.tag(t=text),
        lambda: version.describe(text),
        lambda: version.promote("production", reason=text),
        lambda: version.delete(reason=text),
        lambda: registry.model("churn").set_title(text),
        lambda: registry.model("churn").describe(text),
        lambda: registry.save(weights(), "churn", notes=text),
        lambda: registry.save(weights(), "churn", tags={"t": text}),
        lambda: registry.save(weights(), "churn", params={"p": text}),
    ):
        with pytest.raises(InvalidError):
            act()
    assert keys(registry) == before


# -- loading and exporting -----------------------------------------------------------------------------------------


def test_a_version_loads_itself_even_when_deleted(version: mk.ModelVersion) -> None:
    assert np.array_equal(anew(version).load()["w"], weights()["w"])
    version.delete()
    assert np.array_equal(anew(version).load()["w"], weights()["w"])


def test_files_are_loaded_into_a_folder_and_nothing_there_is_touched(version: mk.ModelVersion, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert version.load(into=tmp_path / "out") == tmp_path / "out"
    written = {file.path: (tmp_path / "out" / file.path).read_bytes() for file in version.files}
    assert {path: digest(raw) for path, raw in written.items()} == {file.path: file.digest for file in version.files}
    with pytest.raises(InvalidValueError, match="exists already"):
        version.load(into=tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_an_export_makes_its_folder_and_refuses_one_that_is_in_use(version: mk.ModelVersion, tmp_path: Path) -> None:
    assert version.export(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert any((tmp_path / "a" / "b").iterdir())
    with pytest.raises(InvalidValueError, match="is not empty; choose an empty folder"):
        version.export(tmp_path / "a")
    version.export(str(tmp_path / "c"))
    assert {p.name for p in (tmp_path / "c").iterdir()} == {p.name for p in (tmp_path / "a" / "b").iterdir()}


def test_a_file_that_was_saved_is_exported_as_it_was(registry: Registry, tmp_path: Path) -> None:
    raw = bytes(range(256)) * 100_000  # several pieces
    (tmp_path / "model.bin").write_bytes(raw)
    version = registry.save(tmp_path / "model.bin", "churn")
    assert [file.size for file in version.files] == [len(raw)]
    (exported,) = version.export(tmp_path / "out").rglob("*.bin")
    assert exported.read_bytes() == raw


def test_the_time_of_a_version_is_in_utc(version: mk.ModelVersion) -> None:
    assert version.created.tzinfo is UTC
    assert abs((datetime.now(UTC) - version.created).total_seconds()) < 3600
