"""Places where create-if-absent is not sound: read by everyone, written only by whoever says that nobody else does."""

from __future__ import annotations

import functools
import shutil
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import AccessError, InvalidValueError, ModelkeepError, StoreError, UnknownModelError
from modelkeep.stores import open_store
from modelkeep.stores.foreign import FsspecStore
from servers import running
from servers.doors import doors
from servers.fixtures import or_skipped
from servers.running import Server
from servers.sites import SOON

TWO_WAYS_OUT = ("single_writer=True", "S3, GCS or a disk")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry on the disk with a model, a second version and an alias."""
    registry = mk.Registry(tmp_path / "models", durable=False)
    registry.save({"w": np.arange(3)}, "churn").promote("production")
    registry.save({"w": np.arange(40_000.0)}, "churn")
    return tmp_path / "models"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Tests look at what was read."""


@pytest.fixture
def site_of_files(tmp_path: Path) -> Iterator[str]:
    """The temporary folder behind a plain web server that lists folders."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=lambda: server.serve_forever(0.05), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def reads(registry: mk.Registry) -> None:
    """It holds what *folder* holds."""
    assert [model.name for model in registry.models()] == ["churn"]
    assert len(registry.load("churn")["w"]) == 40_000
    assert registry.load("churn:1")["w"].tolist() == [0, 1, 2]
    assert registry.get("churn@production").number == 1
    with pytest.raises(UnknownModelError):
        registry.load("unknown")


def refuses(registry: mk.Registry) -> str:
    works: list[Callable[[], object]] = [
        lambda: registry.save({"w": np.ones(2)}, "churn"),
        lambda: registry.get("churn").promote("production"),
        lambda: registry.get("churn").tag(team="growth"),
    ]
    for work in works:
        with pytest.raises(AccessError) as caught:
            work()
        assert registry.url in str(caught.value)
        assert [way for way in TWO_WAYS_OUT if way not in str(caught.value)] == []
    return str(caught.value)


# -- rclone ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="module")
def rclone(shelf: Path) -> Iterator[Server]:
    """An rclone whose folder the tests can see."""
    with or_skipped(lambda: running.rclone(shelf), "s3fs") as server:
        yield server


@pytest.fixture
def bucket(rclone: Server) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    rclone.bucket(name)
    return name


def test_rclone_is_refused_for_writing_and_nothing_is_left(rclone: Server, shelf: Path, bucket: str) -> None:
    registry = mk.Registry(f"s3://{bucket}/team/models", storage_options=rclone.options, retries=SOON)
    for _ in range(2):
        with pytest.raises(StoreError, match="two writers could both win") as caught:
            registry.save({"w": np.arange(3)}, "churn")
        text = str(caught.value)
        assert registry.url in text
        assert "Use a store with create-if-absent" in text
        assert "single_writer=True" in text
    assert [found for found in (shelf / bucket).rglob("*") if found.is_file()] == []
    assert doors(rclone, bucket).names() == set()


def test_a_registry_copied_to_rclone_file_by_file_is_read(
    rclone: Server, shelf: Path, bucket: str, folder: Path
) -> None:
    shutil.copytree(folder, shelf / bucket / "team" / "models")
    registry = mk.Registry(f"s3://{bucket}/team/models", storage_options=rclone.options, retries=SOON)
    reads(registry)
    before = doors(rclone, bucket).names()
    with pytest.raises(StoreError, match="two writers could both win"):
        registry.save({"w": np.ones(2)}, "churn")
    assert doors(rclone, bucket).names() == before
    reads(mk.Registry(registry.url, storage_options=rclone.options, retries=SOON))


def test_a_single_writer_writes_to_rclone(rclone: Server, bucket: str, tmp_path: Path, shelf: Path) -> None:
    options: dict[str, Any] = {"storage_options": rclone.options, "retries": SOON}
    registry = mk.Registry(f"s3://{bucket}/models", single_writer=True, **options)
    for size in (3, 4):
        registry.save({"w": np.arange(size)}, "churn").promote("production")
    other = mk.Registry(registry.url, **options)
    assert len(other.load("churn@production")["w"]) == 4
    assert other.get("churn@production").number == 2
    shutil.copytree(shelf / bucket / "models", tmp_path / "back")
    assert len(mk.Registry(tmp_path / "back").load("churn")["w"]) == 4


def test_what_a_single_writer_put_there_conflicts(rclone: Server, bucket: str) -> None:
    store = open_store(f"s3://{bucket}/team", storage_options=rclone.options, single_writer=True, retries=SOON)
    store.create("d/a", b"")
    with pytest.raises(ModelkeepError, match="already") as caught:
        store.create("d/a", b"2")
    assert caught.value.kind == "object-exists"
    client = boto3.client(
        "s3", endpoint_url=rclone.endpoint, aws_access_key_id="test", aws_secret_access_key="testtest",
        region_name="us-east-1",
    )  # fmt: skip
    assert client.get_object(Bucket=bucket, Key="team/d/a")["Body"].read() == b""


# -- other file systems of fsspec --------------------------------------------------------------------------------------


def test_a_registry_behind_a_web_server_is_read_and_never_written(folder: Path, site_of_files: str) -> None:
    before = sorted(folder.rglob("*"))
    registry = mk.Registry(f"{site_of_files}/models")
    reads(registry)
    refuses(registry)
    assert sorted(folder.rglob("*")) == before


def test_a_registry_in_an_archive_is_read_and_never_written(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "models.zip", "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"team/{file.relative_to(folder)}")
    before = (tmp_path / "models.zip").read_bytes()
    for url, options in (
        (f"zip://team::file://{tmp_path}/models.zip", {}),
        ("zip://team", {"fo": str(tmp_path / "models.zip")}),
    ):
        registry = mk.Registry(url, storage_options=options)
        reads(registry)
        refuses(registry)
    assert (tmp_path / "models.zip").read_bytes() == before


@pytest.mark.parametrize("scheme", ["local", "dir"])
def test_another_scheme_is_read_by_all_and_written_by_a_single_writer(
    folder: Path, tmp_path: Path, scheme: str
) -> None:
    places = {
        "local": (f"local://{folder}", {}),
        "dir": ("dir://models", {"target_protocol": "file", "path": str(tmp_path)}),
    }
    url, options = places[scheme]
    registry = mk.Registry(url, storage_options=options)
    reads(registry)
    refuses(registry)
    writer = mk.Registry(url, storage_options=options, single_writer=True)
    v = writer.save({"w": np.arange(7)}, "churn")
    v.promote("production")
    assert v.number == 3
    fresh = mk.Registry(folder)
    assert len(fresh.load("churn@production")["w"]) == 7
    assert fresh.storage.verify().findings == ()


def test_an_empty_place_is_refused_and_left_empty(tmp_path: Path) -> None:
    registry = mk.Registry(f"local://{tmp_path}/models")
    assert list(registry.models()) == []
    with pytest.raises(AccessError, match="reading only"):
        registry.save({"w": np.ones(2)}, "churn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["nosuch://place/x", "nosuch://joe:hunter2-secret@place/x", "nosuch::file:///x"])
def test_an_unknown_scheme_is_refused_without_secrets(url: str) -> None:
    options = {"password": "correct-horse-battery"}
    for work in (
        lambda: open_store(url, storage_options=options).get("d/a"),
        lambda: list(open_store(url, storage_options=options).list("")),
        lambda: open_store(url, storage_options=options, single_writer=True).create("d/a", b"1"),
        lambda: mk.Registry(url, storage_options=options).models(),
    ):
        with pytest.raises(InvalidValueError, match="nosuch") as caught:
            work()
        shown = f"{caught.value} {caught.value!r} {caught.value.facts}"
        assert [one for one in ("hunter2", "battery") if one in shown] == []


def test_credentials_in_a_url_show_nowhere(site_of_files: str, folder: Path) -> None:
    assert folder.exists()
    url = site_of_files.replace("://", "://joe:hunter2-secret@")
    store = open_store(f"{url}/models")
    registry = mk.Registry(store)
    with pytest.raises(ModelkeepError) as caught:
        store.get("d/missing")
    with pytest.raises(ModelkeepError) as refused:
        registry.save({"w": np.ones(2)}, "churn")
    shown = [store.url, repr(store), repr(registry), str(caught.value), repr(caught.value.facts), str(refused.value)]
    assert not any("hunter2" in one for one in shown)


def test_a_store_of_fsspec_is_made_without_a_look(tmp_path: Path) -> None:
    store = FsspecStore(f"local://{tmp_path}/models")
    assert repr(store) == f"FsspecStore('local://{tmp_path}/models')"
    assert list(tmp_path.iterdir()) == []
