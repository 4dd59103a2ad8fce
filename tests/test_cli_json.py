"""``--json``: what each command prints has the keys that docs/reference/cli.md has a table of, and no others."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.exits import Exit

PAGE = (Path(__file__).parent.parent / "docs/reference/cli.md").read_text(encoding="utf-8")
SHAPES = {
    title: set(re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))))
    for heading, section in re.findall(
        r"^### ([^\n]+)\n(.*?)(?=^##)", PAGE[PAGE.index("\n## JSON") :], re.MULTILINE | re.DOTALL
    )
    for title in re.findall(r"`([^`]+)`", heading)
}

# each runs in `scene`; the second of a pair is another call of the same shape
CALLS: dict[str, tuple[str, ...]] = {
    "demo": ("demo --registry demo",),
    "init": ("init new", "init registry"),
    "save": ("save model.bin churn --param depth=6 --metric auc=0.5",),
    "adopt": ("adopt *.bin adopted",),
    "show": ("show",),
    "show NAME": ("show churn", "show churn --newest 1 --deleted"),
    "show REF": ("show churn:2", "show churn@production"),
    "log": ("log churn",),
    "diff": ("diff churn:1 churn:2", "diff --no-tensors churn:1 churn:1"),
    "lineage": ("lineage", "lineage churn", "lineage churn@production", "lineage data:sales:1"),
    "check": ("check churn:2 production", "check churn:1 production --trust cloudpickle"),
    "review request": ("review request churn:1", "review request churn:1 --reviewer ada --reviewer ben --reason now"),
    "review approve": ("review approve churn:1",),
    "review reject": ("review reject churn:1 --reason no",),
    "review withdraw": ("review withdraw churn:2",),
    "review comment": ("review comment churn:1 hm",),
    "review show": ("review show churn:2",),
    "promote": ("promote churn:1 staging",),
    "rollback": ("rollback churn production --expect 2",),
    "unset": ("unset churn production",),
    "tag": ("tag churn:1 team=risk",),
    "policy show": ("policy show",),
    "policy set": ("policy set policy.toml",),
    "export": ("export churn:2 out", "export churn:2/half out-half"),
    "env": ("env churn:2", "env churn:2 --loaded-only"),
    "env --dockerfile": ("env churn:2 --dockerfile",),
    "env --diff": ("env old:1 --diff",),
    "report": ("report churn:2", "report churn:2 --card", "report churn:2 --mlbom", "report churn:2 -o page.html"),
    "pointer write": ("pointer write churn:2 churn.mk", "pointer write churn.mk again.mk"),
    "pointer check": ("pointer check model.bin",),
    "push": ("push churn --to copy",),
    "pull": ("pull churn --from registry --registry copy",),
    "verify": ("verify", "verify churn --quick"),
    "usage": ("usage", "usage churn"),
    "compact": ("compact",),
    "collect": ("collect --grace 0",),
    "doctor": ("doctor registry",),
    "cache list": ("cache list",),
    "cache clear": ("cache clear",),
}
GROUPS = {"cache", "pointer", "policy", "review"}
BARE = {"env --create"}  # makes an environment, which takes long: `test_cli_explaining.py` has it

POLICY = """
[models.churn.aliases.production]
gates = [{ size = "1 MB" }]

[models.churn.aliases.canary]
approvals = 1
"""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a registry in which each list of each shape has something in it."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("REGISTRY", "registry"), ("ACTOR", "ada@example.org"), ("CACHE", str(tmp_path / "cache"))):
        monkeypatch.setenv(f"MODELKEEP_{name}", value)
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "train.csv").write_text("x\n1\n", encoding="utf-8")
    registry = mk.Registry("registry", durable=False, cache=True)
    registry.policy.set(POLICY)
    for number in (1, 2):
        with registry.run("churn", params={"depth": number}, data={"train": tmp_path / "train.csv"}) as run:
            weights = np.random.default_rng(number).standard_normal(20_000)
            version = run.save({"w": weights}, metrics={"auc": math.nan}, parent="churn:1" if number == 2 else None)
        version.promote("production", reason="better")
    version.add_variant({"w": weights.astype(np.float16)}, kind="half")
    version.tag(team="risk").measure(auc=0.5)
    version.review.request(["ada"])
    _with_another_python(registry)
    registry.save_dataset(np.ones((3, 2)), "sales")
    (tmp_path / "policy.toml").write_text("[retention]\nlast = 1\n", encoding="utf-8")
    return tmp_path


def _with_another_python(registry: mk.Registry) -> None:
    """A version whose environment differs from the one here."""
    made = {"environment": {"python": "3.9.1", "distributions": {"numpy": "1.19.0"}, "loaded": ["numpy"]}}
    registry._save_made({"w": np.zeros(1)}, "old", {}, made, {})


def called(line: str) -> Any:
    result = CliRunner().invoke(cli, [*line.split(), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def paths(value: Any, known: set[str], at: str = "") -> Iterator[str]:
    """The paths of the keys in a value, down to where the page goes."""
    if isinstance(value, list):
        for one in value:
            yield from paths(one, known, f"{at}[]")
    elif isinstance(value, dict) and (not at or any(path.startswith(f"{at}.") for path in known)):
        for key, one in value.items():
            path = f"{at}.{key}".removeprefix(".")
            yield path
            yield from paths(one, known, path)


def reachable(value: Any, known: set[str]) -> set[str]:
    """Of the paths on the page those that are not below an empty list."""
    empty = {path for path in known if value_at(value, path) == []}
    return {path for path in known if not any(path.startswith(f"{one}[]") for one in empty)}


def value_at(value: Any, path: str) -> Any:
    """All that lies at a path; of lists the parts of all, of what is null nothing."""
    found = [value]
    for word in path.replace("[]", ".[]").strip(".").split("."):
        found = [two for one in found if one is not None for two in (one if word == "[]" else [one.get(word)])]
    return found[0] if len(found) == 1 else found


@pytest.mark.usefixtures("scene")
@pytest.mark.parametrize("shape", CALLS)
def test_a_command_prints_the_keys_that_the_page_has_and_no_others(shape: str) -> None:
    for line in CALLS[shape]:
        value = called(line)
        assert set(paths(value, SHAPES[shape])) == reachable(value, SHAPES[shape]), line


def test_every_shape_of_the_page_is_held_against_a_command_and_every_command_has_one() -> None:
    assert set(SHAPES) == set(CALLS) | BARE
    grouped = {f"{name} {one}" for name in GROUPS for one in getattr(cli.commands[name], "commands", ())}
    assert {shape for shape in SHAPES if shape.split()[0] in GROUPS} == grouped
    assert {shape.split()[0] for shape in SHAPES} - GROUPS == set(cli.commands) - GROUPS


def leaves(command: click.Command, called: str) -> Iterator[tuple[str, click.Command]]:
    """The commands that do something, with all of their names."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from leaves(one, f"{called} {name}")
    else:
        yield called, command


def test_every_command_takes_json() -> None:
    found = dict(leaves(cli, "modelkeep"))
    assert {"modelkeep demo", "modelkeep cache clear", "modelkeep policy set"} <= found.keys()
    assert [name for name, one in found.items() if not any("--json" in param.opts for param in one.params)] == []


@pytest.mark.usefixtures("scene")
def test_every_list_of_a_shape_was_seen_with_something_in_it() -> None:
    full = {"show": "models", "show NAME": "versions", "show REF": "files[]", "env --diff": "differences"}
    full |= {"log": "[].evidence.findings[]", "check": "findings", "review show": "aliases[].findings[]"}
    for shape, path in full.items():
        assert value_at(called(CALLS[shape][0]), path)
    told = called("show churn:2")
    assert all(told[key] for key in ("aliases", "tags", "measured", "parents", "variants", "data", "files", "params"))


@pytest.mark.usefixtures("scene")
def test_what_json_cannot_say_is_a_text() -> None:
    assert called("show churn:1")["metrics"] == {"auc": "NaN"}
    saved = called("save model.bin churn --metric low=-inf --metric high=inf")
    assert saved["metrics"] == {"low": "-Infinity", "high": "Infinity"}
    assert saved["created"] == mk.Registry("registry").get("churn:3").created.isoformat()


def test_damage_lies_in_the_json_of_verify_with_what_is_lost(scene: Path) -> None:
    for pack in (scene / "registry/models/old/data").iterdir():
        pack.unlink()
    result = CliRunner().invoke(cli, ["verify", "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == Exit.INTEGRITY
    assert set(paths(report, SHAPES["verify"])) == reachable(report, SHAPES["verify"])
    assert [one["ref"] for one in report["lost"]] == ["old:1"]


def test_json_needs_no_rich(scene: Path) -> None:
    code = "import sys; sys.modules['rich'] = None; from modelkeep.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "show", "churn", "--json"], capture_output=True, text=True, check=False, cwd=scene
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["total"] == 2
