"""``promote``, ``rollback``, ``unset`` and ``tag``: one write each, and what is refused changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.exits import Exit


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mk.Registry:
    """A registry with three versions of churn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKEEP_REGISTRY", "registry")
    monkeypatch.setenv("MODELKEEP_ACTOR", "ada@example.org")
    registry = mk.Registry("registry", durable=False)
    for number in (1, 2, 3):
        registry.save({"w": np.full(3, number)}, "churn", bump="minor")
    return registry


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def holder(registry: mk.Registry) -> int | None:
    standing = registry.model("churn").aliases.get("production")
    return standing.number if standing else None


def test_promote_and_rollback_move_the_alias_and_keep_why(registry: mk.Registry) -> None:
    first = run("promote", "churn:1", "production", "--expect", "none", "--reason", "the first")
    assert first.stdout == "churn@production stands on churn:1 (1.0.0)\n"
    assert run("promote", "churn:1.1.0", "production", "--expect", "1").exit_code == Exit.OK
    assert holder(registry) == 2
    back = run("rollback", "churn", "production", "--expect", "2", "--reason", "calibration drift")
    assert back.stdout == "churn@production stands on churn:1 (1.0.0)\n"
    told = [(event.action, event.version, event.text) for event in registry.model("churn").history()]
    assert told[-3:] == [("promote", 1, "the first"), ("promote", 2, None), ("rollback", 1, "calibration drift")]


@pytest.mark.parametrize("expect", ["none", "2"])
def test_an_alias_that_stands_elsewhere_stays_where_it_is(registry: mk.Registry, expect: str) -> None:
    run("promote", "churn:1", "production")
    refused = run("promote", "churn:3", "production", "--expect", expect)
    assert refused.exit_code == Exit.CONFLICT
    assert "stands on version 1" in refused.stderr
    assert holder(registry) == 1


@pytest.mark.parametrize("expect", ["one", "-1", "1.0", "", "\u0662"])
def test_an_expectation_that_is_no_number_is_a_wrong_call(registry: mk.Registry, expect: str) -> None:
    assert run("promote", "churn:1", "production", "--expect", expect).exit_code == Exit.USAGE
    assert holder(registry) is None


def test_a_rollback_has_something_to_go_back_to_or_is_not_found(registry: mk.Registry) -> None:
    assert run("rollback", "churn", "production").exit_code == Exit.NOT_FOUND
    run("promote", "churn:1", "production")
    assert run("rollback", "churn", "production").exit_code == Exit.NOT_FOUND
    assert run("rollback", "churn", "production", "--expect", "none").exit_code == Exit.USAGE
    run("promote", "churn:2", "production")
    assert run("rollback", "churn", "production", "--expect", "3").exit_code == Exit.CONFLICT
    assert holder(registry) == 2


def test_unset_takes_the_alias_away(registry: mk.Registry) -> None:
    run("promote", "churn:1", "production")
    assert run("unset", "churn", "production", "--reason", "gone").stdout == "churn@production is not set any more\n"
    assert holder(registry) is None
    assert run("unset", "churn", "production").exit_code == Exit.NOT_FOUND


def test_a_deleted_version_is_not_promoted(registry: mk.Registry) -> None:
    registry.get("churn:3").delete()
    assert run("promote", "churn:3", "production").exit_code == Exit.NOT_FOUND
    assert holder(registry) is None


def test_tags_are_set_and_taken_away(registry: mk.Registry) -> None:
    shown = run("tag", "churn:1", "team=risk", "link=a=b").stdout.splitlines()
    assert shown[0] == "tags of churn:1 (1.0.0):"
    assert registry.get("churn:1").tags == {"team": "risk", "link": "a=b"}
    run("tag", "churn:1", "team=", "link=")
    assert registry.get("churn:1").tags == {}
    assert run("tag", "churn:1", "link=").stdout == "churn:1 (1.0.0) has no tags\n"


def test_a_tag_may_have_any_name(registry: mk.Registry) -> None:
    assert run("tag", "churn:1", "self=mine").exit_code == Exit.OK
    assert registry.get("churn:1").tags == {"self": "mine"}


@pytest.mark.parametrize("pair", ["team", "=risk"])
def test_a_tag_without_its_name_or_sign_is_a_wrong_call(registry: mk.Registry, pair: str) -> None:
    assert run("tag", "churn:1", pair).exit_code == Exit.USAGE
    assert registry.get("churn:1").tags == {}
