"""``modelkeep cache``: what this machine keeps of remote registries, and how to be rid of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.stores.memory import MemoryStore


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of all caches."""
    monkeypatch.setenv("MODELKEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELKEEP_ACTOR", "ada@example.org")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["cache", *args])


def saved(url: str) -> mk.Registry:
    registry = mk.Registry(MemoryStore(url), cache=True)
    registry.save({"w": np.ones(3)}, "churn").promote("production")
    return registry


def test_an_empty_cache_is_said_to_be_empty(folder: Path) -> None:
    result = run("list")
    assert result.exit_code == 0
    assert result.stdout == f"nothing is kept in {folder}\n"
    assert json.loads(run("list", "--json").stdout) == {"folder": str(folder), "registries": []}
    assert not folder.exists(), "looking writes nothing"


def test_list_shows_each_registry_with_id_objects_bytes_and_when_it_was_used() -> None:
    one, other = saved("memory://one"), saved("memory://other")
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["registry", "id", "objects", "bytes", "last", "used", "(UTC)"]
    assert [line.split()[:4] for line in lines[2:]] == [
        ["memory://one", one._home.id(), "2", "12288"],
        ["memory://other", other._home.id(), "2", "12288"],
    ]
    rows = json.loads(run("list", "--json").stdout)["registries"]
    assert [(row["url"], row["objects"], row["bytes"]) for row in rows] == [
        ("memory://one", 2, 12288),
        ("memory://other", 2, 12288),
    ]
    assert rows[0]["used"].endswith("Z")


def test_clear_says_how_many_bytes_were_freed(folder: Path) -> None:
    saved("memory://one")
    saved("memory://other")
    assert run("clear", "memory://one").stdout == f"12,288 bytes freed in {folder}\n"
    assert [row["url"] for row in json.loads(run("list", "--json").stdout)["registries"]] == ["memory://other"]
    assert run("clear").stdout == f"12,288 bytes freed in {folder}\n"
    assert run("clear").stdout == f"0 bytes freed in {folder}\n"


def test_a_folder_is_named_as_one_names_it_elsewhere() -> None:
    mk.Registry("registry", durable=False, cache=True).save({"w": np.ones(3)}, "churn")
    assert run("clear", "registry/").exit_code == 0


def test_clearing_what_is_not_kept_is_an_error_in_a_sentence(folder: Path) -> None:
    result = run("clear", "s3://acme/typo")
    assert result.exit_code == 3
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr == (
        f"Error: nothing of s3://acme/typo is kept in {folder}; `modelkeep cache list` shows what is\n"
    )


def test_a_cache_that_is_off_can_still_be_looked_at_and_cleared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELKEEP_CACHE", "off")
    saved("memory://one")
    assert "memory://one" in run("list").stdout
    assert run("clear").stdout.startswith("12,288 bytes freed in ")
