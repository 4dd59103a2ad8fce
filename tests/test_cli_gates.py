"""``check``, ``review``, ``promote`` and ``log`` under a policy: what they show, write and end with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from junitparser import JUnitXml

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.commands.outputs import write_text
from modelkeep.exits import Exit
from terminal import on_a_terminal

POLICY = """
[models.churn]
stages = ["staging", "production"]

[models.churn.aliases.staging]
gates = [{ metric = "auc", least = 0.9 }, { size = "1 MB" }]

[models.churn.aliases.production]
reviewers = ["ben", "cleo"]
"""
GOLDEN = '[models.churn.aliases.production]\ngates = ["golden"]\n'


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mk.Registry:
    """Two versions of churn that dan saved; the second passes the gates for staging."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKEEP_REGISTRY", "registry")
    monkeypatch.setenv("MODELKEEP_ACTOR", "dan")
    registry = mk.Registry("registry", durable=False)
    for auc in (0.8, 0.95):
        registry.save({"w": np.full(3, auc)}, "churn", metrics={"auc": auc})
    registry.policy.set(POLICY)
    return registry


@pytest.fixture
def by(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command as somebody runs it."""

    def run_by(who: str, *args: str) -> Result:
        monkeypatch.setenv("MODELKEEP_ACTOR", who)
        return run(*args)

    return run_by


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def rows(result: Result) -> list[list[str]]:
    return [line.split() for line in result.stdout.splitlines()]


# -- check -------------------------------------------------------------------------------------------------------------


def test_check_shows_what_each_gate_measured_and_ends_with_1_if_one_failed() -> None:
    failed = run("check", "churn:1", "staging")
    assert failed.exit_code == Exit.GATE
    assert ["FAILED", "auc", "at", "least", "0.9", "auc", "is", "0.8"] in rows(failed)
    assert failed.stdout.splitlines()[-1] == "churn:1 may not stand under staging: 1 of 2 gates failed (policy 1)"
    passed = run("check", "churn:2", "staging")
    assert (passed.exit_code, passed.stderr) == (Exit.OK, "")
    assert passed.stdout.splitlines()[-1] == "churn:2 may stand under staging (policy 1)"


def test_check_writes_nothing_to_the_registry(tmp_path: Path) -> None:
    before = sorted((tmp_path / "registry").rglob("*"))
    run("check", "churn:1", "staging", "--junit", "gates.xml")
    assert sorted((tmp_path / "registry").rglob("*")) == before


def test_where_the_policy_asks_nothing_check_says_so_and_all_is_well() -> None:
    said = run("check", "churn:1", "canary")
    assert (said.exit_code, said.stdout) == (
        Exit.OK,
        "churn:1 may stand under canary: no policy asks anything\n",
    )


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (("churn:9", "staging"), Exit.NOT_FOUND),
        (("churn:1", "a/b"), Exit.USAGE),
        (("churn:1",), Exit.USAGE),
        (("churn:1", "staging", "--junit", "."), Exit.USAGE),
        (("churn:1", "staging", "--json", "--markdown", "-"), Exit.USAGE),
        (("churn:1", "staging", "--junit", "-", "--markdown", "-"), Exit.USAGE),
        (("churn:1", "staging", "--junit", "nowhere/gates.xml"), Exit.STORAGE),
    ],
)
def test_what_is_no_verdict_does_not_end_with_1(args: tuple[str, ...], status: Exit) -> None:
    result = run("check", *args)
    assert (result.exit_code, result.stdout) == (status, "")


def test_the_json_of_a_check_is_that_of_the_library_and_ends_alike(registry: mk.Registry) -> None:
    result = run("check", "churn:1", "staging", "--json")
    wanted = registry.get("churn:1").check("staging").to_dict()
    told = json.loads(result.stdout)
    assert result.exit_code == Exit.GATE
    assert [{**one, "seconds": 0} for one in told.pop("findings")] == [
        {**one, "seconds": 0} for one in wanted.pop("findings")
    ]
    assert told == wanted


@pytest.mark.parametrize(("ref", "status", "failures"), [("churn:1", Exit.GATE, 1), ("churn:2", Exit.OK, 0)])
def test_junit_and_markdown_are_written_whether_or_not_a_gate_failed(
    tmp_path: Path, ref: str, status: Exit, failures: int
) -> None:
    (tmp_path / "gates.md").write_text("of yesterday", encoding="utf-8")
    result = run("check", ref, "staging", "--junit", "gates.xml", "--markdown", "gates.md")
    assert result.exit_code == status
    report = JUnitXml.fromfile("gates.xml")
    assert (report.tests, report.failures) == (2, failures)
    table = (tmp_path / "gates.md").read_text(encoding="utf-8")
    assert table.startswith(f"**{ref} may {'not ' if failures else ''}stand under staging**\n")
    assert table.count("| FAILED |") == failures
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gates.md", "gates.xml", "registry"]


def test_a_hyphen_is_standard_output() -> None:
    table, report = (run("check", "churn:1", "staging", option, "-") for option in ("--markdown", "--junit"))
    assert table.stdout.startswith("**churn:1 may not stand under staging**\n\n|  | gate | found |\n")
    assert JUnitXml.fromstring(report.stdout.encode()).failures == 1
    assert (table.exit_code, report.exit_code) == (Exit.GATE, Exit.GATE)
    assert not Path("-").exists()


# -- trust -------------------------------------------------------------------------------------------------------------


def test_a_gate_that_loads_code_takes_trust_in_check_and_in_promote(registry: mk.Registry) -> None:
    registry.policy.set(GOLDEN)
    version = registry.save(lambda x: 2 * x, "churn", serializer="cloudpickle", golden=np.arange(3))
    for verb in ("check", "promote"):
        refused = run(verb, version.ref, "production")
        assert refused.exit_code == Exit.GATE
        assert "may run code" in " ".join(refused.output.split())
        assert run(verb, version.ref, "production", "--trust", "onnx").exit_code == Exit.GATE
        for kind in ("cloudpickle", version.digest):
            assert run(verb, version.ref, "production", "--trust", "onnx", "--trust", kind).exit_code == Exit.OK
    assert version.aliases == ("production",)


# -- files, whole or not at all ----------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_leaves_what_lay_there_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "gates.md"
    target.write_text("of yesterday", encoding="utf-8")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(os, "fsync", full)
    result = run("check", "churn:2", "staging", "--markdown", "gates.md")
    assert (result.exit_code, result.stdout) == (Exit.STORAGE, "")
    assert "'gates.md'" in result.stderr
    assert target.read_text(encoding="utf-8") == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gates.md", "registry"]


def test_a_link_stays_one_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real.xml").write_text("old", encoding="utf-8")
    (tmp_path / "link.xml").symlink_to("real.xml")
    write_text(tmp_path / "link.xml", "new")
    assert (tmp_path / "link.xml").is_symlink()
    assert (tmp_path / "real.xml").read_text(encoding="utf-8") == "new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


# -- review ------------------------------------------------------------------------------------------------------------


def test_each_word_of_a_review_is_said_by_who_runs_it_and_shown(by: Callable[..., Result]) -> None:
    asked = by("dan", "review", "request", "churn:2", "--reviewer", "ben", "--reviewer", "cleo", "--reason", "Monday")
    assert asked.stdout == "churn:2: dan asks ben, cleo\n"
    assert by("ben", "review", "approve", "churn:2").stdout == "churn:2: dan asks ben, cleo; approved by ben\n"
    said = by("cleo", "review", "reject", "churn:2", "--reason", "no data of March")
    assert said.stdout == "churn:2: dan asks ben, cleo; approved by ben; rejected by cleo\n"
    assert by("cleo", "review", "withdraw", "churn:2").stdout == "churn:2: dan asks ben, cleo; approved by ben\n"
    assert by("eve", "review", "comment", "churn:2", "a plot").stdout == "the comment is in the history of churn\n"
    events = [(one.actor, one.action, one.subject, one.text) for one in mk.Registry().model("churn").history()][3:]
    assert events == [
        ("dan", "request", "ben, cleo", "Monday"),
        ("ben", "approve", "", None),
        ("cleo", "reject", "", "no data of March"),
        ("cleo", "withdraw", "", None),
        ("eve", "comment", "", "a plot"),
    ]


def test_show_says_what_is_said_and_what_each_alias_of_the_policy_lacks(by: Callable[..., Result]) -> None:
    by("ben", "review", "reject", "churn:2")
    shown = by("dan", "review", "show", "churn:2")
    assert shown.exit_code == Exit.OK
    lacking = "nobody approved; ben rejected it, and may withdraw that; 1 more may come from ben, cleo"
    assert [" ".join(row) for row in rows(shown)][-2:] == [
        "production FAILED stood under staging promote it to staging first",
        f"production FAILED 1 approval {lacking}",
    ]
    assert ["rejected", "by", "ben"] in rows(shown)
    by("ben", "review", "approve", "churn:2")
    by("dan", "promote", "churn:2", "staging")
    (alias,) = json.loads(by("dan", "review", "show", "churn:2", "--json").stdout)["aliases"]
    assert (alias["alias"], alias["ok"], [one["passed"] for one in alias["findings"]]) == (
        "production",
        True,
        [True, True],
    )


def test_show_lets_no_gate_look_and_lists_no_alias_that_asks_gates_alone(registry: mk.Registry) -> None:
    assert [check.alias for check in registry.get("churn:1").review.standing()] == ["production"]
    registry.policy.set(GOLDEN)
    assert "what the policy asks" not in run("review", "show", "churn:1").stdout


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (("withdraw", "churn:2"), Exit.CONFLICT),
        (("approve", "churn:9"), Exit.NOT_FOUND),
        (("request", "churn:2", "--reviewer", ""), Exit.USAGE),
        (("comment", "churn:2"), Exit.USAGE),
        (("praise", "churn:2"), Exit.USAGE),
    ],
)
def test_a_review_that_cannot_be_has_the_status_of_its_kind(args: tuple[str, ...], status: Exit) -> None:
    result = run("review", *args)
    assert (result.exit_code, result.stdout) == (status, "")


def test_a_policy_that_cannot_be_read_is_said_by_check_and_review(registry: mk.Registry) -> None:
    from modelkeep.folds.policy import SetPolicy  # as a newer release would have set it

    home = registry._home
    home.policy(home.prepare()).append(lambda _: [SetPolicy("[models]\nchurn = 3")], tx=home.system.new_id())
    for line in (("check", "churn:1", "staging"), ("review", "show", "churn:1"), ("promote", "churn:1", "staging")):
        result = run(*line)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
        assert "entry 2 of the policy cannot be read by this release: line 2, column 1" in result.stderr


# -- promote, policy and log -------------------------------------------------------------------------------------------


def test_a_promotion_that_is_refused_ends_with_1_says_why_and_moves_nothing(registry: mk.Registry) -> None:
    refused = run("promote", "churn:1", "staging", "--json")
    assert (refused.exit_code, refused.stdout) == (Exit.GATE, "")
    assert "auc at least 0.9 (auc is 0.8)" in refused.stderr
    assert registry.model("churn").aliases == {}


def test_a_policy_with_a_slip_is_refused_with_line_and_column(tmp_path: Path, registry: mk.Registry) -> None:
    for text, said in (
        (POLICY.replace("least", "leest"), "line 6, column 28: "),
        (POLICY + "gates = [", "line 10, column 10"),
        (POLICY + "gates [", "line 10, column 7"),
    ):
        (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
        refused = run("policy", "set", "policy.toml")
        assert (refused.exit_code, refused.stdout) == (Exit.USAGE, "")
        assert said in refused.stderr
    assert registry.policy.number == 1
    assert run("policy", "show").stdout == POLICY


def test_log_tells_what_gates_found_by_which_policy_in_words_and_in_json(registry: mk.Registry) -> None:
    run("promote", "churn:1", "staging", "--reason", "in a hurry")
    run("promote", "churn:2", "staging", "--reason", "better")
    refused, promoted = rows(run("log", "churn"))[-2:]
    assert " ".join(refused[2:]) == (
        "dan refuse staging 1 in a hurry; FAILED auc at least 0.9 (0.8); 1 of 2 passed, policy 1"
    )
    assert " ".join(promoted[2:]) == "dan promote staging 2 better; 2 of 2 passed, policy 1"
    before, after = json.loads(run("log", "churn", "--json").stdout)[-2:]
    assert before["evidence"]["findings"][0] == {"asked": "auc at least 0.9", "passed": False, "measured": 0.8}
    facts = {"policy": 1, "digest": registry.get("churn:1").check("staging").digest, "holder": None, "risk": None}
    assert {key: before["evidence"][key] for key in facts} == facts
    assert [one["evidence"]["ok"] for one in (before, after)] == [False, True]
    event = registry.model("churn").history()[-2]
    assert str(event).endswith("dan: refuse version 1 staging: FAILED auc at least 0.9 (0.8); 1 of 2 passed, policy 1")


def test_a_metric_that_is_no_number_is_a_word_in_the_json_of_log(registry: mk.Registry) -> None:
    version = registry.save({"w": np.zeros(3)}, "churn", metrics={"auc": float("nan")})
    run("promote", version.ref, "staging")
    told = json.loads(run("log", "churn", "--json").stdout)[-1]["evidence"]["findings"][0]
    assert told == {"asked": "auc at least 0.9", "passed": False, "measured": "NaN"}


def test_what_others_wrote_cannot_steer_the_terminal(registry: mk.Registry, by: Callable[..., Result]) -> None:
    evil = "\x1b[2J\u202e"
    registry.policy.set(
        '[models.churn.aliases.live]\ngates = [{ metric = "\\u001b[2J\\u202e", least = 1 }]\napprovals = 1'
    )
    by(f"eve{evil}", "review", "request", "churn:1", "--reviewer", evil, "--reason", evil)
    by(f"eve{evil}", "promote", "churn:1", "live")
    for line in ("check churn:1 live", "check churn:1 live --markdown -", "review show churn:1", "log churn"):
        assert not {"\x1b", "\u202e"} & set(run(*line.split()).output), line


def test_all_of_it_fits_a_terminal_of_80_columns(tmp_path: Path, registry: mk.Registry) -> None:
    registry.get("churn:1").review.request([f"reviewer-number-{one}" for one in range(9)], reason="words " * 40)
    run("promote", "churn:1", "staging", "--reason", "words " * 40)
    for line, status in (("check churn:1 staging", 1), ("review show churn:1", 0), ("log churn", 0)):
        ended, shown = on_a_terminal(tmp_path, line)
        assert ended == status
        assert max(map(len, shown.splitlines())) <= 80, line
