"""``export``, ``env`` and ``report``: what of a version is taken elsewhere."""

from __future__ import annotations

import json
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
    """churn:1 was made by a run and has a variant; churn:2 was saved outside of one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKEEP_REGISTRY", "registry")
    monkeypatch.setenv("MODELKEEP_ACTOR", "ada@example.org")
    registry = mk.Registry("registry", durable=False)
    with registry.run("churn") as run:
        run.save({"w": np.zeros(3)}).add_variant({"w": np.zeros(3, np.float16)}, kind="half")
    registry.save({"w": np.ones(3)}, "churn")
    return registry


def run(line: str) -> Result:
    return CliRunner().invoke(cli, line.split())


# -- export --------------------------------------------------------------------------------------------------------


def test_export_writes_the_files_of_a_version_or_a_variant(tmp_path: Path) -> None:
    assert run("export churn:2 out").stdout == "churn:2: 1 file (152 bytes) in out\n"
    assert run("export churn:1/half half").exit_code == Exit.OK
    assert (tmp_path / "out/model.safetensors").stat().st_size == 152
    assert (tmp_path / "half/model.safetensors").stat().st_size < 152


def test_export_touches_no_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine", encoding="utf-8")
    assert run("export churn:2 mine").exit_code == Exit.USAGE
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_variant_that_is_not_there_is_not_found() -> None:
    missing = run("export churn:1/onnx out")
    assert (missing.exit_code, "['half']" in missing.stderr) == (Exit.NOT_FOUND, True)


# -- env -----------------------------------------------------------------------------------------------------------


def test_env_prints_the_requirements_or_a_dockerfile_of_what_made_the_version(registry: mk.Registry) -> None:
    found = registry.get("churn:1").environment
    assert found is not None
    assert run("env churn:1").stdout == found.requirements()
    assert run("env churn:1 --loaded-only").stdout == found.requirements(loaded_only=True)
    assert run("env churn:1 --dockerfile").stdout == found.dockerfile()


def test_env_tells_what_differs_here(registry: mk.Registry) -> None:
    assert run("env churn:1 --diff").stdout == "0 differences, 0 of them grave\n"
    made = {"environment": {"python": "3.9.1", "distributions": {"numpy": "1.19.0"}, "loaded": ["numpy"]}}
    registry._save_made({"w": np.zeros(1)}, "old", {}, made, {})
    told = [line.split()[:4] for line in run("env old:1 --diff").stdout.splitlines()]
    assert ["abi", "numpy", "1.19.0", np.__version__] in told
    found = json.loads(run("env old:1 --diff --json").stdout)["differences"]
    assert next(one for one in found if one["what"] == "numpy")["fix"]


def test_env_of_a_version_without_one_is_not_found() -> None:
    missing = run("env churn:2")
    assert (missing.exit_code, "outside of a run" in missing.stderr) == (Exit.NOT_FOUND, True)


@pytest.mark.parametrize("options", ["--diff --dockerfile", "--create x --diff", "--build", "--instead numpy=x"])
def test_options_of_env_that_do_not_go_together_are_a_wrong_call(options: str) -> None:
    assert run(f"env churn:1 {options}").exit_code == Exit.USAGE


def test_env_makes_an_environment_or_says_what_cannot_be_had(registry: mk.Registry, tmp_path: Path) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    made = {"environment": {"python": f"{python}.0", "distributions": {"ourlib": "1.0"}, "loaded": ["ourlib"]}}
    made["environment"]["sources"] = {"ourlib": {"kind": "editable"}}
    registry._save_made({"w": np.zeros(1)}, "bare", {}, made, {})
    refused = run("env bare:1 --create venv")
    assert (refused.exit_code, "ourlib" in refused.stderr) == (Exit.USAGE, True)
    done = run("env bare:1 --create venv --instead ourlib= --json")
    assert done.exit_code == Exit.OK, done.output
    assert json.loads(done.stdout) == {"ref": "bare:1", "folder": str(tmp_path / "venv")}
    assert (tmp_path / "venv/bin/python").exists()


# -- report --------------------------------------------------------------------------------------------------------


def test_report_prints_a_page_a_card_or_a_bill_or_writes_it(registry: mk.Registry, tmp_path: Path) -> None:
    version = registry.get("churn:1")
    assert run("report churn:1").stdout.startswith("<!doctype html>")
    assert run("report churn:1 --card").stdout == version.card().text
    assert json.loads(run("report churn:1 --mlbom").stdout)["specVersion"] == "1.6"
    assert run("report churn:1 -o page.html").stdout == "churn:1 is explained in page.html\n"
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == version.report().html
    run("report churn:1 --card -o page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == version.card().text


def test_report_as_json_has_the_text_or_says_where_it_is() -> None:
    printed = json.loads(run("report churn:1 --card --json").stdout)
    assert (printed["form"], printed["file"], printed["text"][:3]) == ("card", None, "---")
    written = json.loads(run("report churn:1 -o page.html --json").stdout)
    assert (written["form"], written["file"], written["text"]) == ("html", "page.html", None)


def test_a_card_and_a_bill_at_once_are_a_wrong_call() -> None:
    assert run("report churn:1 --card --mlbom").exit_code == Exit.USAGE


def test_a_page_is_not_poured_into_a_terminal(tmp_path: Path) -> None:
    status, shown = on_a_terminal(tmp_path, "report churn:1")
    assert (status, "give -o FILE" in shown) == (Exit.USAGE, True)
