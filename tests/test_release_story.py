"""A release from the first save to a rollback: people use the command line alone, while a service follows the alias."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import time
import uuid
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from followed import PATIENCE
from modelkeep.exits import Exit
from servers.sites import Site
from serving import Service, service

SCRIPT = Path(sysconfig.get_path("scripts")) / "modelkeep"
POLICY = """
[models.churn.aliases.production]
reviewers = ["ben", "cleo"]
gates = [{ metric = "auc", least = 0.9 }]
"""


@attrs.frozen
class Team:
    """People who share a registry, each at a terminal in the same folder."""

    folder: Path
    url: str
    access: dict[str, str] = attrs.Factory(dict)

    def run(self, who: str, *args: str) -> tuple[int, str, str]:
        """The status of a command that *who* types, and what it prints to standard output and error."""
        own = {"MODELKEEP_REGISTRY": self.url, "MODELKEEP_ACTOR": who, **self.access}
        done = subprocess.run(
            [str(SCRIPT), *args],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **own},
            cwd=self.folder,
        )
        return done.returncode, done.stdout, done.stderr

    def does(self, who: str, *args: str) -> str:
        """What a command prints that ends well and says nothing else."""
        status, printed, said = self.run(who, *args)
        assert (status, said) == (Exit.OK, ""), args
        return printed

    def saves(self, who: str, number: int, auc: float) -> None:
        np.save(self.folder / "model.npy", np.full(3, number))
        assert self.does(who, "save", "model.npy", "churn", "--metric", f"auc={auc}").startswith(
            f"saved churn:{number}"
        )

    def refused(self, who: str, *args: str) -> str:
        status, printed, said = self.run(who, *args)
        assert (status, printed) == (Exit.GATE, ""), args
        return said


@pytest.fixture(params=["local", "moto"])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Team:
    if request.param == "local":
        return Team(tmp_path, str(tmp_path / "registry"))
    site: Site = request.getfixturevalue("moto_site")
    access = {
        "AWS_ENDPOINT_URL": site.server.endpoint,
        "AWS_ACCESS_KEY_ID": site.server.options["key"],
        "AWS_SECRET_ACCESS_KEY": site.server.options["secret"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return Team(tmp_path, site.url(f"story-{uuid.uuid4().hex}"), access)


def serves(following: Service) -> int:
    """What the service serves as soon as it knows of this moment; until then it may serve what stood there before."""
    now, until = time.time(), time.monotonic() + PATIENCE
    number, known = following.answer().split()
    while float(known) <= now:
        assert time.monotonic() < until, "it does not look"
        time.sleep(0.01)
        number, known = following.answer().split()
    return int(number)


def told(event: dict[str, Any]) -> tuple[Any, ...]:
    """Who did what with which version, where or of whom, and what gates found: nothing, or what failed."""
    evidence = event["evidence"]
    failed = evidence and [one["asked"] for one in evidence["findings"] if not one["passed"]]
    return (event["actor"], event["action"], event["version"], event["subject"], failed)


def test_a_release_by_command_line_is_gated_reviewed_served_rolled_back_and_told(team: Team) -> None:
    team.saves("dan", 1, 0.8)
    team.does("dan", "promote", "churn:1", "production", "--expect", "none")
    (team.folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    team.does("eve", "policy", "set", "policy.toml")
    with service("array_server.py", team.url, **team.access) as following:
        team.saves("dan", 2, 0.85)
        assert "auc at least 0.9 (auc is 0.85)" in team.refused("dan", "promote", "churn:2", "production")
        assert serves(following) == 1

        team.saves("dan", 3, 0.95)
        said = team.refused("dan", "promote", "churn:3", "production")
        assert "Failed: 1 approval (nobody approved; 1 more may come from ben, cleo)." in said
        team.does("dan", "review", "request", "churn:3", "--reviewer", "ben", "--reason", "for Monday")
        team.does("ben", "review", "approve", "churn:3")
        team.does("dan", "promote", "churn:3", "production", "--expect", "1")
        assert serves(following) == 3

        team.does("eve", "rollback", "churn", "production", "--reason", "calibration drift")
        assert serves(following) == 1
    assert [told(event) for event in json.loads(team.does("eve", "log", "churn", "--json"))] == [
        ("dan", "open", None, "", None),
        ("dan", "create", 1, "", None),
        ("dan", "promote", 1, "production", None),
        ("dan", "create", 2, "", None),
        ("dan", "refuse", 2, "production", ["1 approval", "auc at least 0.9"]),
        ("dan", "create", 3, "", None),
        ("dan", "refuse", 3, "production", ["1 approval"]),
        ("dan", "request", 3, "ben", None),
        ("ben", "approve", 3, "", None),
        ("dan", "promote", 3, "production", []),
        ("eve", "rollback", 1, "production", None),
    ]
