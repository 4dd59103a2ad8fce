"""The command ``modelkeep doctor``: its table, its JSON, its status."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.exits import Exit


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MODELKEEP_REGISTRY", raising=False)
    monkeypatch.chdir(tmp_path)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["doctor", *map(str, args)])


def rows(result: Result) -> dict[str, list[str]]:
    """The words of each row by the first word of its check."""
    return {line.split()[1]: line.split() for line in result.stdout.splitlines()[2:-1]}


def test_a_sound_place_is_a_table_without_anything_to_do_and_status_0(tmp_path: Path) -> None:
    mk.Registry("registry", durable=False).save({"w": np.arange(3)}, "churn")
    result = run("registry")
    assert result.exit_code == 0
    head, *_ = result.stdout.splitlines()
    assert head.split() == ["check", "ms", "found"]
    assert {row[0] for row in rows(result).values()} == {"ok"}
    assert float(rows(result)["create"][2]) >= 0
    assert result.stdout.splitlines()[-1] == "ok: no fault"
    assert not (tmp_path / "registry" / "doctor").exists()


def test_a_fault_shows_what_to_do_and_exits_with_5(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    result = run(tmp_path)
    assert result.exit_code == 5
    assert result.stdout.splitlines()[0].split() == ["check", "ms", "found", "to", "do"]
    assert rows(result)["place"][0] == "fault"
    assert rows(result)["create"][0] == "note"
    assert "an empty one" in result.stdout
    assert result.stdout.splitlines()[-1] == "not ok: 1 fault"


def test_json_has_every_check_and_the_same_status(tmp_path: Path) -> None:
    result = run("--json", "memory://cli-doctor")
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (told["ok"], told["url"]) == (True, "memory://cli-doctor")
    assert set(told["checks"][0]) == {"name", "ok", "detail", "remedy", "seconds"}
    assert told["checks"][3]["name"] == "create"
    assert told["checks"][3]["seconds"] > 0
    (tmp_path / "thesis.tex").write_text("mine")
    result = run("--json", tmp_path)
    assert result.exit_code == Exit.STORAGE
    assert json.loads(result.stdout)["ok"] is False


def test_without_url_the_environment_says_where_and_then_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (tmp_path / ".modelkeep").as_uri() in run().stdout
    monkeypatch.setenv("MODELKEEP_REGISTRY", "memory://from-environment")
    assert "memory://from-environment" in run().stdout
    assert list(tmp_path.iterdir()) == []


def test_race_adds_a_row(tmp_path: Path) -> None:
    result = run("--race", tmp_path / "registry")
    assert result.exit_code == 0
    assert rows(result)["race"][:4] == ["ok", "race", "16", "processes"]


def test_a_place_that_cannot_be_opened_is_said_in_a_sentence() -> None:
    result = run("gopher://models")
    assert result.exit_code == 2
    assert "gopher://" in result.stderr
    assert result.stdout == ""


def test_a_missing_client_library_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise ModuleNotFoundError('s3:// needs s3fs: pip install "modelkeep[s3]"')

    monkeypatch.setattr("modelkeep.registryplace.open_store", cannot)
    result = run("s3://acme-ml/registry")
    assert result.exit_code == 2
    assert result.stderr == 'Error: s3:// needs s3fs: pip install "modelkeep[s3]"\n'


def test_what_a_store_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "\x1b[2Jmine").write_text("")
    assert "\x1b[2J" not in run(tmp_path).stdout
