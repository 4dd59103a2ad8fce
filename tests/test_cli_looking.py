"""``show``, ``diff`` and ``lineage``: models, versions, two beside each other, and where one came from."""

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
from terminal import on_a_terminal


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mk.Registry:
    """Two models: churn with three versions, one of them deleted, and spare."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKEEP_REGISTRY", "registry")
    monkeypatch.setenv("MODELKEEP_ACTOR", "ada@example.org")
    registry = mk.Registry("registry", durable=False)
    for depth in (1, 2, 3):
        weights = {"w": np.full(3, depth), "same": np.zeros(2)}
        registry.save(weights, "churn", params={"depth": depth}, metrics={"auc": 0.9 + depth / 100}, bump="minor")
    registry.get("churn:2").promote("production", reason="better").tag(team="risk")
    registry.get("churn:3").delete()
    registry.save({"w": np.zeros(1)}, "spare")
    return registry


def run(line: str) -> Result:
    return CliRunner().invoke(cli, line.split())


def rows(result: Result) -> list[list[str]]:
    assert result.exit_code == Exit.OK, result.output
    return [line.split() for line in result.stdout.splitlines()[2:]]


def test_show_alone_lists_the_models_with_what_stands_where() -> None:
    shown = rows(run("show"))
    assert shown[:2] == [["churn", "2", "production", "2"], ["spare", "1"]]
    assert shown[-1][:2] == ["2", "models"]


def test_show_of_a_name_lists_its_versions_newest_first() -> None:
    shown = rows(run("show churn"))
    assert [row[:2] for row in shown[:2]] == [["2", "1.1.0"], ["1", "1.0.0"]]
    assert shown[0][4:] == ["production", "232", "bytes", "auc", "0.92"]
    assert " ".join(shown[-1]) == "2 versions of churn"
    assert [row[0] for row in rows(run("show churn --deleted"))][:3] == ["3", "2", "1"]


def test_show_of_a_name_can_be_cut_and_says_how_many_are_older(registry: mk.Registry) -> None:
    registry.model("churn").close()
    assert run("show churn --newest 1").stdout.splitlines()[-1] == "1 version of churn, and 1 older; it is closed"
    assert json.loads(run("show churn --newest 1 --json").stdout)["total"] == 2


@pytest.mark.parametrize("ref", ["churn:2", "churn@production", "churn:1.1.0", "churn:^1.1"])
def test_show_of_a_reference_tells_all_that_is_known_of_the_version(registry: mk.Registry, ref: str) -> None:
    shown = run(f"show {ref}")
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in shown.stdout.splitlines() if line.split()}
    assert (told["version"], told["label"], told["under"]) == ("churn:2", "1.1.0", "production")
    assert (told["depth"], told["auc"], told["team"]) == ("2", "0.92", "risk")
    assert told["digest"] == registry.get("churn:2").digest
    assert told["model.safetensors"].startswith("232 bytes")


def test_of_a_deleted_version_show_says_so() -> None:
    assert "deleted" in run("show churn:3").stdout


def test_show_of_what_is_not_there_is_not_found_and_of_no_reference_a_wrong_call() -> None:
    assert run("show nobody").exit_code == run("show churn:9").exit_code == Exit.NOT_FOUND
    assert run("show churn:x:y").exit_code == run("show churn:1/half").exit_code == Exit.USAGE


def test_what_others_wrote_cannot_steer_the_terminal(registry: mk.Registry) -> None:
    evil = "\x1b[2J\u202e"
    version = registry.save(
        {"w": np.zeros(1)}, "evil", params={evil: evil}, metrics={evil: 1}, tags={evil: evil}, notes=evil
    ).describe(evil)
    version.promote("production")
    registry.model("evil").set_title(evil)
    for line in ("show", "show evil", "show evil:1", "tag evil:1 a=b", "diff churn:1 evil:1"):
        shown = run(line)
        assert shown.exit_code == Exit.OK
        assert not set(evil) & {"\x1b", "\u202e"} & set(shown.output), line


def test_diff_tells_what_is_otherwise_from_the_first_to_the_second() -> None:
    shown = run("diff churn:1 churn:2").stdout
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == ["churn:1", "->", "churn:2"]
    assert ["depth", "changed", "1", "2"] in lines
    assert ["auc", "changed", "0.91", "0.92", "0.01"] in lines
    assert any(line[:2] == ["w", "changed"] for line in lines)
    assert "changed  3" in shown
    assert "changed  3" not in run("diff churn:1 churn:2 --no-tensors").stdout


def test_diff_of_two_that_differ_is_no_failure_and_gives_markdown_and_json_of_the_comparison(
    registry: mk.Registry,
) -> None:
    found = registry.get("churn:2").compare("churn:1")
    assert run("diff churn:1 churn:2 --markdown").stdout == found.to_markdown()
    told = json.loads(run("diff churn:1 churn:2 --json").stdout)
    assert (told["before"], told["after"]) == ("churn:1", "churn:2")
    assert told["params"] == found.to_dict()["params"]


# -- lineage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def family(registry: mk.Registry) -> mk.Registry:
    """Churn:4 was made from spare:1 and sales:1, and a commit of its own; staging stands on it."""
    sales = registry.save_dataset(np.ones((4, 2)), "sales")
    registry.save({"w": np.zeros(2)}, "churn", parent="spare:1", data={"train": sales}).promote("staging")
    registry.save({"w": np.zeros(2)}, "alone")
    return registry


TREE = [
    "churn@staging",
    "└─ standing on churn:4",
    "   ├─ made from spare:1",
    "   └─ trained on data:sales:1",
]


@pytest.mark.usefixtures("family")
def test_lineage_of_a_model_is_a_tree_from_what_is_in_use_down_to_data() -> None:
    lines = run("lineage churn").stdout.splitlines()
    assert lines[lines.index("churn@staging") :][:4] == TREE
    assert {"churn:1", "churn:3 (deleted)"} <= set(lines)
    assert set(run("lineage").stdout.splitlines()) == {*lines, "alone:1"}


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("what", "first", "last"),
    [
        ("churn@staging", "churn:4", "└─ churn@staging"),
        ("churn:4", "churn:4", "└─ churn@staging"),
        ("churn:1.0.0", "churn:1", "churn:1"),
        ("churn:3", "churn:3 (deleted)", "churn:3 (deleted)"),
        ("data:sales:1", "data:sales:1", "   └─ churn@staging"),
    ],
)
def test_lineage_of_one_tells_what_it_was_made_from_and_what_came_of_it(what: str, first: str, last: str) -> None:
    lines = run(f"lineage {what}").stdout.splitlines()
    assert (lines[0], lines[-1]) == (first, last)


def test_lineage_can_be_drawn_elsewhere(family: mk.Registry, tmp_path: Path) -> None:
    found = family.get("churn:4").lineage()
    assert run("lineage churn:4 --mermaid").stdout == found.to_mermaid()
    assert run("lineage churn:4 --dot").stdout == found.to_dot()
    assert run("lineage churn:4 --svg out.svg").stdout == "the lineage of churn:4 is drawn in out.svg\n"
    assert (tmp_path / "out.svg").read_text(encoding="utf-8") == found.to_svg()


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("lineage churn --mermaid --dot", Exit.USAGE, "give one of"),
        ("lineage churn --json --svg out.svg", Exit.USAGE, "give one of"),
        ("lineage nobody", Exit.NOT_FOUND, "no model 'nobody'"),
        ("lineage churn:9", Exit.NOT_FOUND, "no version 9"),
        ("lineage data:sales:9", Exit.NOT_FOUND, "this lineage has no data:sales:9"),
    ],
)
def test_a_lineage_that_cannot_be_told_ends_in_a_sentence(line: str, status: Exit, said: str) -> None:
    result = run(line)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr


@pytest.mark.usefixtures("family")
def test_a_tree_is_ascii_where_a_terminal_has_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modelkeep", "lineage", "churn"],
        capture_output=True, check=True, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.stdout.decode("ascii").splitlines()[2:6] == [
        line.translate(str.maketrans("├└│─", "|`|-")) for line in TREE
    ]


def test_tables_fit_a_terminal_of_80_columns(tmp_path: Path, registry: mk.Registry) -> None:
    registry.get("churn:1").promote("a-rather-long-name-of-an-alias", reason="words " * 40).describe("words " * 60)
    registry.save({"w": np.zeros(1)}, "long-" * 17 + "name", parent="churn:1")
    for line in (
        "lineage",
        "lineage churn:2",
        "show",
        "show churn",
        "show churn:1",
        "log churn",
        "diff churn:1 churn:2",
        "usage churn",
        "verify",
    ):
        _, shown = on_a_terminal(tmp_path, line)
        assert max(map(len, shown.splitlines())) <= 80, line


def test_an_error_is_broken_between_words_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    line = "show nobody --registry " + "x" * 50
    lines = on_a_terminal(tmp_path, line)[1].splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 80 or " " not in line for line in lines)
    assert " ".join(lines) == run(line).stderr.rstrip()
