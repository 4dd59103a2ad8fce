"""The command: what it prints, with which status it exits, and that no error ends in a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.exits import Exit
from modelkeep.pages import printable


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MODELKEEP_REGISTRY", raising=False)
    monkeypatch.setenv("MODELKEEP_ACTOR", "ada@example.org")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry in which churn went from 1 to 2 and back."""
    folder = tmp_path / "registry"
    registry = mk.Registry(folder, durable=False)
    for auc in (0.90, 0.93):
        version = registry.save({"w": np.full(3, auc)}, "churn", metrics={"auc": auc}, bump="minor")
        version.promote("production", reason=f"auc is {auc}")
    registry.model("churn").rollback("production", reason="calibration drift")
    return folder


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def one(folder: Path, pattern: str) -> Path:
    return min(path for path in folder.glob(pattern) if path.is_file())


def flip_a_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def assert_said_in_a_sentence(result: Result, *words: str, status: int) -> None:
    assert result.exit_code == status
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.output
    assert all(word in result.stderr for word in words), result.stderr


# -- verify --------------------------------------------------------------------------------------------------


def test_verify_says_in_one_line_that_all_is_well(folder: Path) -> None:
    result = run("verify", "--registry", folder)
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("ok: 1 model, 2 versions and ")


@pytest.mark.parametrize(
    "pattern",
    ["models/churn/data/*", "models/churn/versions/*.json", "models/churn/releases/*.json", "models/churn/texts/*"],
)
def test_verify_finds_a_flipped_byte_and_names_the_object(folder: Path, pattern: str) -> None:
    damaged = one(folder, pattern)
    flip_a_byte(damaged)
    result = run("verify", "--registry", folder)
    assert result.exit_code == 6
    assert damaged.relative_to(folder).as_posix() in result.stdout
    assert "damaged" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("not ok: ")


def test_verify_names_each_object_in_a_row_that_is_not_wrapped(folder: Path) -> None:
    packs = sorted((folder / "models/churn/data").iterdir())
    for pack in packs:
        flip_a_byte(pack)
    rows = [line for line in run("verify", "--registry", folder).stdout.splitlines() if line.startswith("models/")]
    assert {row.split()[0] for row in rows} == {f"models/churn/data/{pack.name}" for pack in packs}
    assert all("damaged" in row for row in rows)


def test_verify_names_a_pack_that_is_missing(folder: Path) -> None:
    gone = one(folder, "models/churn/data/*")
    gone.unlink()
    result = run("verify", "--registry", folder)
    assert result.exit_code == Exit.INTEGRITY
    assert gone.name in result.stdout
    assert "missing" in result.stdout


def test_a_leftover_upload_is_shown_and_does_no_harm(folder: Path) -> None:
    (folder / "models/churn/data/0123456789abcdef0123456789abcdef-1.pack").write_bytes(b"half")
    result = run("verify", "--registry", folder)
    assert result.exit_code == 0
    assert "leftover" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("ok: ")


def test_verify_as_json_can_be_parsed_whether_or_not_all_is_well(folder: Path) -> None:
    result = run("verify", "--json", "--registry", folder)
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["ok"], report["models"], report["versions"], report["findings"]) == (True, 1, 2, [])
    assert report["url"] == folder.as_uri()
    flip_a_byte(one(folder, "models/churn/data/*"))
    result = run("verify", "--json", "--registry", folder)
    report = json.loads(result.stdout)
    assert result.exit_code == Exit.INTEGRITY
    assert report["ok"] is False
    assert {finding["kind"] for finding in report["findings"]} == {"damaged"}


def test_without_registry_the_environment_says_where_and_then_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_said_in_a_sentence(run("verify"), ".modelkeep", status=3)
    monkeypatch.setenv("MODELKEEP_REGISTRY", str(folder))
    assert run("verify").exit_code == 0
    monkeypatch.delenv("MODELKEEP_REGISTRY")
    folder.rename(".modelkeep")
    assert run("verify").exit_code == 0


def test_verify_of_an_empty_place_says_that_there_is_no_registry(tmp_path: Path) -> None:
    assert_said_in_a_sentence(run("verify", "--registry", tmp_path / "nothing"), "holds no registry yet", status=3)


def test_verify_of_a_folder_with_something_else_says_that_it_is_not_a_registry(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert_said_in_a_sentence(run("verify", "--registry", tmp_path), "not a registry", status=3)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_scheme_that_nobody_serves_is_said_in_a_sentence() -> None:
    assert_said_in_a_sentence(run("verify", "--registry", "gopher://models"), "gopher://", status=2)


# -- log -----------------------------------------------------------------------------------------------------


def test_log_shows_a_line_for_each_event_with_the_reason_of_the_rollback(folder: Path) -> None:
    result = run("log", "churn", "--registry", folder)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()[2:]
    assert len(lines) == len(mk.Registry(folder).model("churn").history())
    last = lines[-1].split()
    assert last[2:] == ["ada@example.org", "rollback", "production", "1", "calibration", "drift"]


def test_log_tells_time_actor_label_and_version_of_a_save(folder: Path) -> None:
    lines = run("log", "churn", "--registry", folder).stdout.splitlines()
    saved = mk.Registry(folder).get("churn:1")
    (line,) = [line for line in lines if "create 1.0.0" in line]
    assert line.split() == [*f"{saved.created:%Y-%m-%d %H:%M:%S}".split(), "ada@example.org", "create", "1.0.0", "1"]


def test_log_as_json_can_be_parsed_and_has_every_fact(folder: Path) -> None:
    result = run("log", "churn", "--json", "--registry", folder)
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    events = mk.Registry(folder).model("churn").history()
    assert [row["action"] for row in rows] == [event.action for event in events]
    assert rows[-1] == {
        "time": events[-1].time.isoformat(),
        "actor": "ada@example.org",
        "action": "rollback",
        "version": 1,
        "subject": "production",
        "text": "calibration drift",
        "journal": "releases",
        "entry": 3,
        "evidence": None,
    }


def test_a_reason_cannot_steer_the_terminal_or_break_a_row(folder: Path) -> None:
    registry = mk.Registry(folder, durable=False)
    registry.get("churn:2").promote("production", reason="\x1b[2J[bold]fine[/]\r\nsecond :smile: line")
    (line,) = [line for line in run("log", "churn", "--registry", folder).stdout.splitlines() if "fine" in line]
    assert r"\x1b[2J[bold]fine[/] second :smile: line" in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [("wider trees", "wider trees"), ("  a  b", "  a  b"), ("a\u2028b", "a b"), ("\u202e", "\\u202e")],
)
def test_text_is_shown_as_it_is_save_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_an_unknown_model_is_said_in_a_sentence(folder: Path) -> None:
    for result in (run("log", "nobody", "--registry", folder), run("log", "nobody", "--json", "--registry", folder)):
        assert_said_in_a_sentence(result, "there is no model 'nobody'", status=3)


def test_a_name_that_cannot_be_one_is_quoted(folder: Path) -> None:
    assert_said_in_a_sentence(run("log", "Churn/7", "--registry", folder), "'Churn/7'", status=2)


def test_a_damaged_journal_is_said_in_a_sentence_that_names_the_object(folder: Path) -> None:
    damaged = one(folder, "models/churn/versions/*.json")
    flip_a_byte(damaged)
    assert_said_in_a_sentence(run("log", "churn", "--registry", folder), damaged.name, status=6)


# -- push and pull -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_model_is_copied_and_what_was_done_is_said_in_a_sentence(folder: Path, tmp_path: Path, verb: str) -> None:
    team = tmp_path / "team"
    way = ("--to", team, "--registry", folder) if verb == "push" else ("--from", folder, "--registry", team)
    result = run(verb, "churn", *way)
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("churn: 2 versions, 5 entries and 2 packs (")
    assert line.endswith(f" copied to {team.as_uri()}")
    assert run("log", "churn", "--registry", team).stdout == run("log", "churn", "--registry", folder).stdout
    again = run(verb, "churn", *way)
    assert (again.exit_code, again.stdout) == (0, f"churn: nothing is new to {team.as_uri()}\n")


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_what_was_copied_can_be_read_as_json(folder: Path, tmp_path: Path, verb: str) -> None:
    team = tmp_path / "team"
    way = ("--to", team, "--registry", folder) if verb == "push" else ("--from", folder, "--registry", team)
    done = json.loads(run(verb, "churn", "--json", *way).stdout)
    assert {name: done[name] for name in ("name", "versions", "entries", "packs", "ahead")} == {
        "name": "churn", "versions": 2, "entries": 5, "packs": 2, "ahead": False,
    }  # fmt: skip
    assert (done["source"], done["target"]) == (folder.as_uri(), team.as_uri())


def test_a_history_of_its_own_at_the_other_end_is_said_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    mk.Registry(tmp_path / "team", durable=False).save({"w": np.zeros(1)}, "churn")
    pushed = run("push", "churn", "--to", tmp_path / "team", "--registry", folder)
    assert_said_in_a_sentence(pushed, "of its own", status=4)
    assert_said_in_a_sentence(run("pull", "nobody", "--from", folder), "there is no model 'nobody'", status=3)


# -- the command as a whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args", [["log"], ["verify", "--jsn"], ["bogus"], ["log", "churn", "tumour"], ["push", "churn"], ["pull", "churn"]]
)
def test_a_wrong_call_exits_with_2(args: list[str]) -> None:
    assert_said_in_a_sentence(run(*args), "Usage: ", status=2)


def test_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"modelkeep {mk.__version__}\n"


def test_the_demo_refuses_a_place_that_a_second_process_cannot_see() -> None:
    assert_said_in_a_sentence(run("demo", "--registry", "memory://demo"), "memory://demo", "folder", status=2)


def python(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **environment},
    )


def test_the_package_run_alone_shows_the_help() -> None:
    done = python("-m", "modelkeep")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"\n  {command} " in done.stdout for command in ("demo", "log", "pull", "push", "verify"))
    assert done.stdout.startswith("Usage: python")


def test_the_status_reaches_the_shell(folder: Path) -> None:
    flip_a_byte(one(folder, "models/churn/data/*"))
    done = python("-m", "modelkeep", "verify", "--registry", str(folder))
    assert (done.returncode, done.stderr) == (Exit.INTEGRITY, "")


def test_a_reason_that_the_terminal_cannot_spell_does_not_end_the_log(folder: Path) -> None:
    mk.Registry(folder, durable=False).get("churn:2").promote("production", reason="καλύτερο")
    done = python("-m", "modelkeep", "log", "churn", "--registry", str(folder), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u03ba\u03b1\u03bb" in done.stdout


@pytest.mark.parametrize(("missing", "said"), [("click", ""), ("rich", "Error: ")])
def test_without_click_or_rich_the_command_says_what_to_install(missing: str, said: str) -> None:
    code = (
        f"import sys, runpy; sys.modules[{missing!r}] = None; sys.argv[1:] = ['show']; "
        "runpy.run_module('modelkeep', run_name='__main__')"
    )
    done = python("-c", code)
    assert done.returncode == 2
    assert done.stderr == f'{said}the command modelkeep needs {missing}: pip install "modelkeep[cli]"\n'


def test_without_scikit_learn_the_demo_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['sklearn'] = None; from modelkeep.cli import cli; cli(['demo'])"
    done = python("-c", code)
    assert done.returncode == 2
    assert done.stderr == 'Error: the demo trains with scikit-learn: pip install "modelkeep[demo]"\n'
    assert list(tmp_path.iterdir()) == []
