"""Today's library reads the registry that was frozen when format 1 was made, and goes on writing to it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import ClosedError, UnknownVersionError
from modelkeep.ref import decode_name
from modelkeep.stores.wrappers import ReadOnly

DATA = Path(__file__).parent / "data"
EXPECTED: dict[str, dict[str, Any]] = json.loads((DATA / "v1.json").read_text("utf-8"))["models"]
MODELS = {decode_name(prefix.split("/")[1]): facts for prefix, facts in EXPECTED.items()}
LIMIT = 1_000_000  # bytes that a clone is asked to carry


@pytest.fixture
def frozen() -> mk.Registry:
    return mk.Registry(ReadOnly(mk.open_store(DATA / "v1")))


@pytest.fixture
def thawed(tmp_path: Path) -> mk.Registry:
    shutil.copytree(DATA / "v1", tmp_path / "v1")
    return mk.Registry(tmp_path / "v1", durable=False)


@pytest.mark.parametrize("name", MODELS)
def test_facts_are_as_they_were(frozen: mk.Registry, name: str) -> None:
    model = frozen.model(name)
    known = model.versions(deleted=True)
    assert {
        "versions": {str(v.number): {f.path: [f.size, f.digest] for f in v.files} for v in reversed(known)},
        "labels": {v.label: v.number for v in known if v.label},
        "deleted": [v.number for v in known if v.deleted],
        "aliases": {alias: version.number for alias, version in model.aliases.items()},
        "title": model.title,
        "open": model.is_open,
    } == MODELS[name]


@pytest.mark.parametrize("name", MODELS)
def test_every_version_loads(frozen: mk.Registry, name: str, tmp_path: Path) -> None:
    for version in frozen.model(name).versions(deleted=True):
        if version.serializer == "files":
            version.load(into=tmp_path / str(version.number))
        else:
            version.load()


def test_values_are_as_they_were(frozen: mk.Registry) -> None:
    one, two, three = (frozen.model("churn").version(number) for number in (1, 2, 3))
    assert one.load()["w"].tolist() == np.arange(20_000, dtype=np.float32).tolist()
    assert one.params == {
        "depth": 6,
        "layers": [64, 8],
        "big": 1 << 70,
        "when": datetime(2026, 2, 28, tzinfo=UTC),
        "$x": 1,
    }
    assert one.metrics["auc"] == 0.9
    assert one.metrics["loss"] == math.inf
    assert math.isnan(one.metrics["gap"])
    assert [str(parent) for parent in two.parents] == ["churn:1"]
    assert (two.notes, two.tags, two.measured) == ("wider trees", {"owner": "grace"}, {"auc_live": 0.89})
    assert two.description == "In **production** since March."
    assert three.params == {"many": "x" * 20_000}  # too large for the journal
    assert three.load()[1] == {"text": "é", "n": 1}


def test_history_is_as_it_was(frozen: mk.Registry) -> None:
    events = frozen.model("churn").history()
    assert len(events) == 19
    assert [(event.action, event.version, event.text) for event in events if event.text] == [
        ("promote", 1, "the first"),
        ("rollback", 2, "calibration drift"),
        ("delete", 3, "too slow"),
        ("describe", 2, "In **production** since March."),
    ]
    assert {event.actor for event in events} == {"ada@example.org"}


def test_adopted_files_are_as_they_were(frozen: mk.Registry, tmp_path: Path) -> None:
    version = frozen.get("Taux d'été:2")
    version.load(into=tmp_path / "files")
    assert (tmp_path / "files" / "text.txt").read_bytes() == b"compress me " * 400
    assert (tmp_path / "files" / "empty").read_bytes() == b""
    assert version.record.origin is not None
    assert version.record.origin.modified == "2023-11-14T22:13:20.000000Z"


def test_a_sealed_loss_stays_lost(frozen: mk.Registry) -> None:
    assert [version.number for version in frozen.model("mended").versions()] == [4, 3, 1]
    with pytest.raises(UnknownVersionError):
        frozen.get("mended:2")


def test_the_tile_is_read_and_not_its_entries() -> None:
    from modelkeep.stores.wrappers import Recording

    store = Recording(mk.open_store(DATA / "v1"))
    assert len(mk.Registry(store).model("tiles").versions()) == 103
    read = [key for verb, key in store.requests if verb == "get" and key.startswith("models/tiles/versions/")]
    assert "models/tiles/versions/t1/00000000000000000000.zst" in read
    assert "models/tiles/versions/00000000000000000099.json" not in read  # the last, 100, proves the tile


def test_every_byte_is_as_it_was(frozen: mk.Registry) -> None:
    report = frozen.storage.verify()
    # the packs of the version that was lost with its entry are named by nothing
    assert [finding.kind for finding in report.findings] == ["leftover"]
    assert report.models == len(MODELS)


def test_a_closed_model_warns_and_loads(frozen: mk.Registry) -> None:
    with pytest.warns(UserWarning, match="closed"):
        frozen.get("shut:1")
    assert "shut" not in [model.name for model in frozen.models()]


NEXT = {"churn": 5, "Taux d'été": 3, "mended": 5, "tiles": 104, "Reopened": 3}


@pytest.mark.parametrize(("name", "number"), NEXT.items())
def test_numbers_go_on(thawed: mk.Registry, name: str, number: int) -> None:
    saved = thawed.save({"w": np.zeros(1)}, name).promote("production", reason="newer")
    assert saved.number == number
    assert thawed.model(name).aliases["production"] == saved
    assert thawed.storage.verify().ok


CHANGES: list[Callable[[mk.Registry], object]] = [
    lambda registry: registry.model("churn").rollback("production"),
    lambda registry: registry.get("churn:4").tag(team="b").set_label(bump="major"),
    lambda registry: registry.model("churn").version(3).restore().promote("staging", expect=None),
    lambda registry: registry.model("shut").open(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_begun_goes_on(thawed: mk.Registry, change: Callable[[mk.Registry], object]) -> None:
    change(thawed)
    assert thawed.storage.verify().ok


def test_a_closed_model_stays_closed(thawed: mk.Registry) -> None:
    with pytest.raises(ClosedError):
        thawed.save({"w": np.zeros(1)}, "shut")


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in (DATA / "v1").rglob("*") if path.is_file()) < LIMIT
