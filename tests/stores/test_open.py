from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.errors import InvalidValueError
from modelkeep.stores import open_store
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore


def _opened(url: str | Path, *, durable: bool = True) -> LocalStore:
    store = open_store(url, durable=durable)
    assert isinstance(store, LocalStore)
    return store


def test_a_path_opens_a_folder(tmp_path: Path) -> None:
    assert _opened(tmp_path).root == tmp_path
    assert _opened(str(tmp_path)).root == tmp_path


def test_a_relative_path_is_taken_from_here_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = _opened("models")
    monkeypatch.chdir("/")
    assert store.root == tmp_path / "models"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _opened("~/models").root == tmp_path / "models"


@pytest.mark.parametrize("name", ["plain", "with space", "50%", "a#b", "a?b", "été", "a%20b", "a:b"])
def test_the_url_of_a_store_opens_the_same_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    assert _opened(_opened(folder).url).root == folder


def test_localhost_is_this_machine() -> None:
    assert _opened("file://localhost/srv/models").root == Path("/srv/models")


@pytest.mark.parametrize("url", ["file://models", "file://", "file://server/models", "file:///a?b", "file:///a#b"])
def test_a_file_url_that_names_no_folder_here_is_refused(url: str) -> None:
    with pytest.raises(InvalidValueError, match="names no folder on this machine") as caught:
        open_store(url)
    assert repr(url) in str(caught.value)


def test_no_place_at_all_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="no place was given"):
        open_store("")


def test_opening_writes_nothing(tmp_path: Path) -> None:
    store = _opened(tmp_path / "new")
    assert list(store.list("")) == []
    assert list(tmp_path.iterdir()) == []


def test_durable_is_the_default_and_can_be_left_out(tmp_path: Path) -> None:
    assert _opened(tmp_path).durable
    assert not _opened(tmp_path, durable=False).durable


def test_memory_is_shared_by_name() -> None:
    store = open_store("memory://test-open-shared")
    assert isinstance(store, MemoryStore)
    assert open_store("memory://test-open-shared") is store
    assert open_store("memory://test-open-other") is not store


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/models", "gs://key:secret@bucket/models"])
def test_credentials_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidValueError, match="holds no credentials") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.facts)


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///models", "s3://b/a//b", "gs://b/../x", "s3://b/x?versionId=1", "gs://b/x#1"]
)
def test_a_url_that_names_no_bucket_and_prefix_is_refused(url: str) -> None:
    with pytest.raises(InvalidValueError, match=r"storage_options|names no bucket"):
        open_store(url)


@pytest.mark.parametrize(("url", "shown"), [("s3://b/x/", "s3://b/x"), ("gs://b", "gs://b"), ("s3://b/", "s3://b")])
def test_a_bucket_is_known_by_its_url(url: str, shown: str) -> None:
    assert open_store(url).url == shown
