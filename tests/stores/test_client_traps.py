"""What client libraries do behind one's back: each of these once broke a promise of a store."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

import modelkeep as mk
from modelkeep.errors import InvalidValueError, ModelkeepError, ObjectExistsError, OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
from modelkeep.stores.port import Store
from modelkeep.stores.retries import Retries
from modelkeep.testing.stores import StoreContract
from servers import running
from servers.answering import HANG_UP, STORED, Answering, Asked, Said, gcs_error, gcs_json, s3_error
from servers.running import free_ports, s3_server

FAST = Retries(attempts=3, first=0.01, longest=0.02, answer=5)
MEBIBYTE = 1 << 20


def on_s3(server: Answering, **more: Any) -> Store:
    options = {**s3_server("answering", 1).at(server.endpoint).options, **more}
    return open_store("s3://bucket/team", storage_options=options, retries=FAST)


def on_gcs(server: Answering, **more: Any) -> Store:
    options = {**running.gcs_server("gcs", 1).at(server.endpoint).options, **more}
    return open_store("gs://bucket/team", storage_options=options, retries=FAST)


# -- aiohttp repeats every PUT by itself when the connection is lost


@pytest.mark.parametrize("later", [s3_error(503, "SlowDown", "slow"), s3_error(403, "AccessDenied", "no")], ids=str)
def test_a_put_whose_reply_is_lost_leaves_the_outcome_open_whatever_comes_after(server: Answering, later: Said) -> None:
    store = on_s3(server)
    server.says(STORED)
    store.create("d/first", b"1")
    server.says(HANG_UP, later)
    with pytest.raises(OutcomeUnknownError):
        store.create("d/a", b"1")


def test_a_request_that_is_hung_up_on_is_counted_once(server: Answering) -> None:
    store = on_s3(server)
    server.says(HANG_UP)
    with pytest.raises(OutcomeUnknownError):
        store.create("d/a", b"1")
    assert len(server.asked) == FAST.attempts


def test_a_server_that_does_not_know_the_condition_is_refused_at_once(server: Answering) -> None:
    store = on_s3(server)
    server.says(s3_error(501, "NotImplemented", "A header you provided implies functionality that is not implemented"))
    with pytest.raises(StoreError) as caught:
        store.create("d/a", b"1")
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert len(server.asked) == 1


@pytest.mark.parametrize("said", [Said(404), Said(404, b"<html>not here</html>")], ids=["empty", "html"])
def test_a_bare_404_is_no_missing_object_where_none_was_asked_for(server: Answering, said: Said) -> None:
    store = on_s3(server)
    server.says(said)
    works: list[Callable[[], object]] = [lambda: store.create("d/a", b"1"), lambda: list(store.list(""))]
    for work in works:
        with pytest.raises(StoreError):
            work()


# -- test_s3_options.py


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint_url": "127.0.0.1:9000"},
        {"oops": 1},
        {"client_kwargs": {"regoin_name": "x"}},
        {"client_kwargs": {"region_name": "x y"}},
        {"config_kwargs": {"proxie": {}}},
        {"config_kwargs": {"signature_version": "s9"}},
        {"config_kwargs": {"s3": {"addressing_style": "s9"}}},
    ],
    ids=str,
)
def test_options_that_the_client_does_not_take_are_refused_at_once(server: Answering, options: dict[str, Any]) -> None:
    server.says(STORED)
    store = on_s3(server, **options)
    with pytest.raises(StoreError) as caught:
        store.create("d/a", b"1")
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert "tried" not in str(caught.value)
    assert "storage_options" in str(caught.value)


def test_names_that_are_no_secrets_are_shown(server: Answering) -> None:
    with pytest.raises(StoreError, match="acme-production"):
        on_s3(server, profile="acme-production", key=None, secret=None).get("d/a")
    server.says(s3_error(400, "IllegalLocationConstraintException", "The us-east-1 location constraint is wrong"))
    with pytest.raises(StoreError, match="us-east-1"):
        on_s3(server).get("d/a")


def test_no_credentials_says_what_to_do(server: Answering, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError, match=r"storage_options|profile|anon"):
        on_s3(server, key=None, secret=None).get("d/a")


@pytest.mark.parametrize("value", ["3", None, [1]])
def test_retries_that_are_no_numbers_are_refused(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="attempts"):
        Retries(attempts=value)


# -- test_gcs_uploads.py


def test_an_upload_whose_bytes_are_all_there_is_not_done_before_the_server_says_so(server: Answering) -> None:
    """The last chunk's answer is 308 with all bytes: the object is made by one more, empty, PUT."""
    done = []

    def script(asked: Asked) -> Said:
        if asked.method == "POST":
            return gcs_json({}, Location=f"{server.endpoint}/upload/storage/v1/b/bucket/o?upload_id=u1")
        if asked.headers.get("content-range") == f"bytes */{9 * MEBIBYTE}":
            done.append(True)
            return gcs_json({"name": "team/d/a"})
        end = min(9 * MEBIBYTE, int(asked.headers["content-range"].split("-")[1].split("/")[0]) + 1)
        return Said(308, headers={"Range": f"bytes=0-{end - 1}"})

    server.says(script)
    try:
        on_gcs(server).put_pack("d/a", [bytes(9 * MEBIBYTE)])
    except StoreError:
        return  # as good: it did not say that the pack is there
    assert done == [True]


@pytest.mark.parametrize("reason", ["rateLimitExceeded", "userRateLimitExceeded"])
def test_too_many_requests_is_not_denied(server: Answering, reason: str) -> None:
    server.says(gcs_error(403, reason, "Rate Limit Exceeded"), gcs_json({"name": "team/d/a"}))
    on_gcs(server).create("d/a", b"1")
    assert len(server.asked) == 2


def test_a_token_shows_in_no_error_as_a_url_writes_it_either() -> None:
    token = "ya29.secret/with+odd=signs"
    options = {"token": token, "endpoint_url": "http://127.0.0.1:1"}
    with pytest.raises(StoreError) as caught:
        open_store("gs://bucket/team", storage_options=options, retries=FAST).get("d/a")
    assert "secret" not in str(caught.value)


# -- test_foreign.py


def test_a_place_that_nobody_serves_is_a_store_error() -> None:
    url = f"ftp://127.0.0.1:{free_ports(1)[0]}/models"
    works: list[Callable[[], object]] = [
        lambda: open_store(url).get("d/a"),
        lambda: list(open_store(url).list("")),
        lambda: open_store(url).get_many(["d/a"]),
        lambda: mk.Registry(url).load("churn"),
    ]
    for work in works:
        with pytest.raises(ModelkeepError):
            work()


def test_a_listing_that_failed_is_not_empty() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}/models"
    with pytest.raises(StoreError):
        list(open_store(url).list(""))


class Shaky(LocalFileSystem):  # type: ignore[misc]
    """fsspec's disk over a bad line: looking fails, writing works."""

    protocol = "shaky"
    down: ClassVar[bool] = False

    def info(self, path: str, **kwargs: Any) -> Any:
        if self.down:
            raise OSError("the connection timed out")
        return super().info(path, **kwargs)


def test_a_look_that_failed_does_not_overwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("shaky", Shaky, clobber=True)
    store = open_store(f"shaky://{tmp_path}", single_writer=True)
    store.create("d/a", b"old")
    monkeypatch.setattr(Shaky, "down", True)
    with pytest.raises((StoreError, ObjectExistsError)):
        store.create("d/a", b"new")
    assert (tmp_path / "d" / "a").read_bytes() == b"old"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Tests look at what was read."""


def test_every_name_is_read_behind_a_web_server_and_nothing_is_called_damaged(tmp_path: Path) -> None:
    mk.Registry(tmp_path / "models", durable=False).save({"w": np.arange(3)}, "Größe X")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=lambda: server.serve_forever(0.05), daemon=True).start()
    try:
        registry = mk.Registry(f"http://127.0.0.1:{server.server_port}/models")
        assert [model.name for model in registry.models()] == ["Größe X"]
        assert registry.load("Größe X")["w"].tolist() == [0, 1, 2]
        assert registry.storage.verify().findings == ()
    finally:
        server.shutdown()
        server.server_close()


def test_a_place_that_cannot_be_written_is_refused_and_not_open(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=lambda: server.serve_forever(0.05), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(StoreError) as caught:
            open_store(url, single_writer=True).create("d/a", b"1")
        assert not isinstance(caught.value, OutcomeUnknownError)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("url", ["file::zip://x", "file::relative://x"])
def test_a_file_url_of_another_shape_names_no_folder_here(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError):
        open_store(url)


# -- the contract


class TestFsspecStore(StoreContract):
    """The contract over fsspec's own file system of the disk, with one process writing."""

    lacks: ClassVar[dict[str, str]] = {
        "processes": "single_writer=True: of two processes both may win",
        "whole": "fsspec's disk shows a file while it is being written",
        "unfinished": "fsspec names no times that hold everywhere, so nothing could be told to be old",
    }

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        self.root = tmp_path / "models"
        return open_store(f"local://{self.root}", single_writer=True)

    def peek(self, store: Store, key: str) -> bytes | None:
        del store
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def plant(self, store: Store, key: str, value: bytes) -> None:
        del store
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)

    def names(self, store: Store) -> set[str]:
        del store
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
