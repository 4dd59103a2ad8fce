"""The commands that keep a registry small: what they show, what they do, and what they say when they may not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.layout import pack_key
from terminal import on_a_terminal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    registry = mk.Registry(tmp_path / "registry", durable=False)
    for seed in range(1, 5):
        registry.save({"w": np.random.default_rng(seed).standard_normal(20_000)}, "churn")
    return tmp_path / "registry"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def test_usage_shows_a_row_for_each_model_and_the_sum(folder: Path) -> None:
    mk.Registry(folder, durable=False).save({"w": np.ones(3)}, "other")
    shown = run("usage", "--registry", folder)
    assert shown.exit_code == 0
    rows = [line.split() for line in shown.stdout.splitlines()]
    (churn,) = [row for row in rows if row[:1] == ["churn"]]
    assert [*churn[:4], *churn[5:]] == ["churn", "4", "640.5", "kB", "kB", "0", "bytes", "0", "bytes"]
    stored = mk.Registry(folder).storage.usage().stored
    assert shown.stdout.splitlines()[-1].startswith(f"2 models: {stored // 1000}.")


def test_usage_of_a_model_shows_a_row_for_each_version(folder: Path) -> None:
    shown = run("usage", "churn", "--registry", folder)
    assert [line.split()[0] for line in shown.stdout.splitlines()[2:6]] == ["1", "2", "3", "4"]
    assert "4 versions: " in shown.stdout
    missing = run("usage", "chrun", "--registry", folder)
    assert (missing.exit_code, "there is no model 'chrun'" in missing.stderr) == (3, True)


def test_usage_as_json_has_every_figure(folder: Path) -> None:
    found = json.loads(run("usage", "--registry", folder, "--json").stdout)
    assert found == mk.Registry(folder).storage.usage().to_dict()


def test_compact_says_what_was_saved_and_what_loads_cost(folder: Path) -> None:
    shown = run("compact", "--registry", folder)
    assert shown.exit_code == 0
    assert "churn: 658." in shown.stdout
    assert "packed" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("4 versions stored anew: 658.")
    again = run("compact", "churn", "--registry", folder)
    assert again.stdout.startswith("0 versions stored anew")
    assert mk.Registry(folder).storage.verify().ok


def test_compact_leaves_the_newest_versions_if_it_is_told_to(folder: Path) -> None:
    done = json.loads(run("compact", "--newest", "2", "--registry", folder, "--json").stdout)
    assert done["models"][0]["moved"] == [1, 2]
    assert run("compact", "--newest", "-1", "--registry", folder).exit_code == 2


def test_a_dry_run_shows_why_and_changes_nothing_and_a_run_does_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("[retention]\nlast = 2\n", encoding="utf-8")
    said = run("policy", "set", tmp_path / "policy.toml", "--registry", folder)
    assert said.stdout.startswith("policy 1 is in force")
    left = folder / pack_key("churn", f"{'ab' * 16}-1")
    left.write_bytes(b"left over")
    dry = run("collect", "--dry-run", "--grace", "0", "--registry", folder)
    assert dry.exit_code == 0
    assert "churn:1" in dry.stdout
    assert "not among the newest 2" in dry.stdout
    assert "a save that was not finished" in dry.stdout
    assert dry.stdout.splitlines()[-1].startswith("2 versions and 3 objects (329.")
    assert dry.stdout.splitlines()[-1].endswith("would go")
    assert left.exists()
    done = run("collect", "--grace", "0", "--registry", folder)
    assert done.stdout.splitlines()[-1] == dry.stdout.splitlines()[-1].replace("would go", "went")
    assert not left.exists()
    after = json.loads(run("collect", "churn", "--registry", folder, "--json").stdout)
    assert (after["purged"], after["removals"]) == ([], [])


def test_a_dry_run_does_not_say_that_it_deletes(folder: Path) -> None:
    _, dry = on_a_terminal(folder, "collect --dry-run --registry .", "xterm")
    assert ("looking" in dry, "deleting" in dry) == (True, False)
    assert "deleting" in on_a_terminal(folder, "collect --registry .", "xterm")[1]


def test_an_upload_that_is_young_is_shown_as_left(folder: Path) -> None:
    (folder / pack_key("churn", f"{'ab' * 16}-1")).write_bytes(b"left over")
    shown = run("collect", "--registry", folder)
    assert "only less than a minute old" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "0 versions and 0 objects (0 bytes) went"


def test_the_policy_is_shown_as_it_was_set(folder: Path, tmp_path: Path) -> None:
    assert run("policy", "show", "--registry", folder).stdout.startswith("# no policy was set")
    text = "# ours\n[retention]\nlast = 2\n"
    (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
    run("policy", "set", tmp_path / "policy.toml", "--registry", folder)
    assert run("policy", "show", "--registry", folder).stdout == text


def test_a_policy_that_cannot_be_read_is_said_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("[retension]\nlast = 2\n", encoding="utf-8")
    refused = run("policy", "set", tmp_path / "policy.toml", "--registry", folder)
    assert refused.exit_code == 2
    assert "retension" in refused.stderr
    assert mk.Registry(folder).policy.text == ""


@pytest.mark.parametrize("command", ["compact", "collect"])
def test_a_place_without_a_registry_is_said_to_be_none(tmp_path: Path, command: str) -> None:
    refused = run(command, "--registry", tmp_path / "empty")
    assert refused.exit_code == 3
    assert "holds no registry yet" in refused.stderr
    assert not (tmp_path / "empty").exists()


def test_a_model_that_is_not_there_is_said_to_be_unknown(folder: Path) -> None:
    for command in ("compact", "collect"):
        refused = run(command, "chrun", "--registry", folder)
        assert (refused.exit_code, "chrun" in refused.stderr) == (3, True)


@pytest.mark.parametrize("hours", ["nan", "inf", "-1", "soon"])
def test_a_grace_that_is_no_number_of_hours_is_a_wrong_call(folder: Path, hours: str) -> None:
    assert run("collect", "--grace", hours, "--registry", folder).exit_code == 2


def test_a_policy_that_is_no_text_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    refused = run("policy", "set", tmp_path / "policy.toml", "--registry", folder)
    assert (refused.exit_code, "no UTF-8 text" in refused.stderr) == (2, True)


def test_what_compact_passes_over_is_said(folder: Path, tmp_path: Path) -> None:
    mk.Registry(folder).push("churn", to=tmp_path / "team")
    shown = run("compact", "--registry", tmp_path / "team")
    assert "churn was left as it is: it was pushed here" in shown.stdout
