"""A folder that the disk refuses to sync once: nothing is acknowledged on the word of a second sync.

Nothing in this registry, that is. Who opens it again has read the message that says to look at the disk first.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import OutcomeUnknownError, StoreError, UnsettledError
from modelkeep.stores.local import LocalStore


def refuse_once(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """Let the next sync of *folder* fail, and none after; gives the syncs of it, as they came."""
    fsync = os.fsync
    came: list[str] = []

    def refusing(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == folder:
            came.append("refused" if not came else "done")
            if came == ["refused"]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    return came


@pytest.fixture
def registry(tmp_path: Path) -> mk.Registry:
    registry = mk.Registry(tmp_path / "registry")
    registry.save({"w": np.zeros(3)}, "churn")
    return registry


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")


@needs_proc
def test_a_save_whose_folder_was_not_synced_is_left_open_and_can_be_settled(
    registry: mk.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = refuse_once(monkeypatch, tmp_path / "registry/models/churn/versions")
    with pytest.raises(UnsettledError) as caught:
        registry.save({"w": np.ones(3)}, "churn")
    assert came == ["refused"], "a second sync cannot tell what the first has lost"
    assert registry.settle(caught.value.token).ref == "churn:2"
    assert mk.Registry(tmp_path / "registry").save({"w": np.ones(4)}, "churn").number == 3
    assert registry.storage.verify().ok


@needs_proc
def test_a_folder_that_was_not_synced_stops_every_later_write_to_its_model(
    registry: mk.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = refuse_once(monkeypatch, tmp_path / "registry/models/churn/versions")
    with pytest.raises(UnsettledError):
        registry.save({"w": np.ones(3)}, "churn")
    with pytest.raises(UnsettledError, match="open the registry again"):
        registry.save({"w": np.ones(4)}, "churn")
    assert registry.save({"w": np.ones(5)}, "other").number == 1
    assert came == ["refused"]


@needs_proc
@pytest.mark.usefixtures("registry")
def test_a_refusal_heard_by_a_write_that_may_fail_holds_for_the_next_that_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "registry/models/churn/versions"
    came = refuse_once(monkeypatch, folder)
    store = LocalStore(os.fspath(tmp_path / "registry"))
    assert store.get("models/churn/versions/00000000000000000001.json")
    with suppress(StoreError):
        store.create("models/churn/tiles/harmless", b"")
    with pytest.raises(StoreError, match="open the registry again"):
        store.create("models/churn/versions/00000000000000000002.json", b"{}")
    assert came == ["refused"]


@needs_proc
@pytest.mark.parametrize("folder", ["versions", "data"])
def test_a_push_whose_folder_was_not_synced_is_not_finished_and_runs_again(
    registry: mk.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    target = mk.Registry(tmp_path / "target")
    came = refuse_once(monkeypatch, tmp_path / "target/models/churn" / folder)
    with pytest.raises(OutcomeUnknownError, match="run it again"):
        registry.push("churn", to=target)
    assert came == ["refused"]
    registry.push("churn", to=mk.Registry(tmp_path / "target"))
    assert target.load("churn")["w"].tolist() == [0, 0, 0]


@needs_proc
@pytest.mark.usefixtures("registry")
def test_a_folder_that_was_read_and_is_not_synced_stops_a_write_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "registry/models/churn/versions"
    version = mk.Registry(tmp_path / "registry").get("churn:1")
    came = refuse_once(monkeypatch, folder)
    with pytest.raises(StoreError, match=re.escape(str(folder))):
        version.promote("production")
    assert came == ["refused"]
    assert mk.Registry(tmp_path / "registry").model("churn").aliases == {}


@needs_proc
def test_a_model_that_was_read_and_cannot_be_synced_stops_no_write_to_another(
    registry: mk.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save({"w": np.zeros(3)}, "other")
    reader = mk.Registry(tmp_path / "registry")
    assert [reader.get(name).number for name in ("other", "churn")] == [1, 1]
    came = refuse_once(monkeypatch, tmp_path / "registry/models/other/versions")
    reader.get("churn:1").promote("production")
    assert came == [], "nothing in one model hangs on what lies in another"


@needs_proc
def test_a_folder_that_could_not_be_opened_for_a_sync_is_asked_again(
    registry: mk.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, opened = tmp_path / "registry/models/churn/versions", os.open
    refused: list[str] = []

    def without_descriptors(path: str, flags: int) -> int:
        if path == str(folder) and not refused:
            refused.append(path)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, flags)

    monkeypatch.setattr(os, "open", without_descriptors)
    assert registry.save({"w": np.ones(3)}, "churn").number == 2
    assert refused
