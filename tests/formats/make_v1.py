"""Make the frozen registry of format 1: ``python tests/formats/make_v1.py FOLDER``.

Run once, and again only while format 1 is not released. The clock, ids, author and host are fixed, so that it comes
out the same each time, but for the versions of Python and packages in the records and what zstd makes of tiles.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from modelkeep import Registry, System
from modelkeep.layout import model_prefix
from modelkeep.stores.memory import MemoryStore

TILED = 103  # versions: one tile, and a few entries beyond it


def fixed_system() -> System:
    """A machine whose clock ticks a second each time it is looked at."""
    ticks, ids = count(), count(1)
    return System(
        now=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=next(ticks)),
        new_id=lambda: blake3(str(next(ids)).encode()).hexdigest()[:32],
        sleep=lambda _: None,
        jitter=lambda: 0.5,
        actor=lambda: "ada@example.org",
        host=lambda: "workbench",
    )


def make(store: MemoryStore, system: System, files: Path) -> dict[str, Any]:
    """Fill *store*; returns what a reader must find there."""
    registry = Registry(store, system=system)
    fill_churn(registry)
    fill_adopted(registry, files)
    fill_mended(registry, store)
    for number in range(1, TILED + 1):
        registry.save({"w": np.full(2, number, np.int16)}, "tiles")
    registry.get("tiles:101").promote("production")
    again = Registry(store, system=system)  # what was damaged is not remembered there
    return {"models": {model_prefix(m.name): expected(m) for m in [*again.models(), again.model("shut")]}}


def fill_churn(registry: Registry) -> None:
    """All that people do to a model."""
    metrics = {"auc": 0.9, "loss": float("inf"), "gap": float("nan")}
    params = {"depth": 6, "layers": [64, 8], "big": 1 << 70, "when": datetime(2026, 2, 28, tzinfo=UTC), "$x": 1}
    weights = np.arange(20_000, dtype=np.float32)
    one = registry.save({"w": weights, "b": np.zeros(3)}, "churn", params=params, metrics=metrics, label="1.0.0")
    two = registry.save(
        {"w": weights + 1, "b": np.ones(3)}, "churn", parent=one, bump="minor", notes="wider trees", tags={"team": "a"}
    )
    three = registry.save(
        [np.zeros((2, 2)), {"text": "é", "n": 1}], "churn", params={"many": "x" * 20_000}, parent=None
    )
    churn = registry.model("churn")
    one.promote("production", expect=None, reason="the first")
    two.promote("production", expect=1)
    two.promote("staging")
    three.promote("production").set_label("2.0.0-rc.1")
    churn.rollback("production", reason="calibration drift")
    churn.unset("staging")
    three.delete(reason="too slow")
    two.tag(team=None, owner="grace").measure(auc_live=0.89)
    two.describe("In **production** since March.")
    churn.set_title("Who leaves?")
    registry.save({"w": np.zeros(1)}, "churn").delete()
    churn.version(4).restore()
    registry.save({"w": np.zeros(1)}, "shut").promote("production")
    registry.model("shut").close()
    registry.save({"w": np.zeros(1)}, "Reopened")
    registry.model("Reopened").close()
    registry.model("Reopened").open()
    registry.save({"w": np.ones(1)}, "Reopened")


def fill_adopted(registry: Registry, files: Path) -> None:
    """Files as they are, compressed, empty and in folders, under a name that must be encoded."""
    for number in (1, 2):
        folder = files / f"v{number}"
        (folder / "sub").mkdir(parents=True)
        (folder / "text.txt").write_bytes(b"compress me " * 200 * number)
        (folder / "empty").write_bytes(b"")
        (folder / "sub" / "same.txt").write_bytes(b"compress me " * 200)
        for path in [*folder.rglob("*"), folder]:
            os.utime(path, (1_700_000_000, 1_700_000_000))
    registry.adopt(files / "v*", "Taux d'été")


def fill_mended(registry: Registry, store: MemoryStore) -> None:
    """A damaged entry that was sealed, a write that was cancelled, and a number that is skipped."""
    for number in range(3):
        registry.save({"w": np.full(2, number)}, "mended")
    key = "models/mended/versions/00000000000000000002.json"
    store.put_pack(key, [store.get(key)[:100]])
    again = Registry(store, system=registry._system)
    again.storage.seal(key)
    again.settle(f"models/mended/versions/5/{'0' * 32}")
    again.save({"w": np.full(2, 9)}, "mended")


def expected(model: Any) -> dict[str, Any]:
    """What a reader must find about a model."""
    known = model.versions(deleted=True)
    return {
        "versions": {str(v.number): {file.path: [file.size, file.digest] for file in v.files} for v in reversed(known)},
        "labels": {v.label: v.number for v in known if v.label},
        "deleted": [v.number for v in known if v.deleted],
        "aliases": {alias: version.number for alias, version in model.aliases.items()},
        "title": model.title,
        "open": model.is_open,
    }


def write(store: MemoryStore, folder: Path) -> None:
    """Write every object as a file."""
    for item in store.list(""):
        path = folder / item.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(item.key))


def main(folder: Path) -> None:
    """Make the registry in *folder*, and what to expect beside it."""
    system = fixed_system()
    store = MemoryStore("memory://v1", now=system.now)
    with tempfile.TemporaryDirectory() as files:
        facts = make(store, system, Path(files))
    write(store, folder)
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    folder.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
