"""The recipes of docs/how-to/ci: services take them, steps do what they say, and nobody can slip code into them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import check_jsonschema
import pytest
from click.testing import CliRunner

import modelkeep as mk
from pipelines import RECIPES, Pipeline, github, gitlab, jenkins, jenkins_scripts, jenkins_stages, recipe

BUILD = "https://ci.example.org/build/17"
SCHEMAS = {
    "github/action.yml": "vendor.github-actions",
    "github/workflow.yml": "vendor.github-workflows",
    "gitlab-ci.yml": "vendor.gitlab-ci",
}
INSTALLS = frozenset({"Install", "install 0"})
QUICK = """
import pathlib, modelkeep as mk
version = mk.Registry().save({"w": [0.5]}, "churn", metrics={"auc": 0.9})
pathlib.Path("model-ref.txt").write_text(version.ref)
"""


def files() -> list[Path]:
    return sorted(path for path in RECIPES.rglob("*") if path.suffix != ".md" and path.is_file())


def github_steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step of the workflow and the action, with the file that it stands in."""
    for job in recipe("github/workflow.yml")["jobs"].values():
        yield from (("github/workflow.yml", step) for step in job["steps"])
    yield from (("github/action.yml", step) for step in recipe("github/action.yml")["runs"]["steps"])


def scripts() -> Iterator[tuple[str, str]]:
    """Every shell line of every recipe, with the file that it stands in."""
    yield from ((name, step["run"]) for name, step in github_steps() if "run" in step)
    config = recipe("gitlab-ci.yml")
    yield from (("gitlab-ci.yml", line) for line in config["default"]["before_script"])
    yield from (("gitlab-ci.yml", line) for stage in config["stages"] for line in config[stage]["script"])
    text = (RECIPES / "Jenkinsfile").read_text(encoding="utf-8")
    yield from (("Jenkinsfile", script) for _, body in jenkins_stages(text) for script in jenkins_scripts(body))


# -- as they are written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_recipe_is_what_the_schema_of_its_service_asks(name: str) -> None:
    done = CliRunner().invoke(check_jsonschema.main, ["--builtin-schema", SCHEMAS[name], str(RECIPES / name)])
    assert done.exit_code == 0, done.output


def test_every_shell_line_is_found_and_bash_reads_it() -> None:
    found = list(scripts())
    assert {name for name, _ in found} == {*SCHEMAS, "Jenkinsfile"}
    whole = "".join(path.read_text(encoding="utf-8") for path in files() if path.suffix != ".py")
    for word in ("modelkeep check", "modelkeep promote", "pip install"):
        assert sum(script.count(word) for _, script in found) == whole.count(word)
    for name, script in found:
        read = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
        assert (read.returncode, read.stderr) == (0, ""), name


def test_nothing_is_put_into_a_shell_line_before_the_shell_reads_it() -> None:
    # what stands in ${{ }}, or in "${}" of Groovy, becomes text of the script, whatever a branch or a title says
    assert [name for name, script in scripts() if "${{" in script] == []
    jenkinsfile = (RECIPES / "Jenkinsfile").read_text(encoding="utf-8")
    assert len(re.findall(r"\bsh\b", jenkinsfile)) == len(re.findall(r"\bsh '", jenkinsfile))


def test_what_a_shell_line_uses_of_others_is_quoted_and_comes_after_the_options() -> None:
    for name, script in scripts():
        bare = re.sub(r'"[^"]*"|\'[^\']*\'', "", script)
        assert re.findall(r"\$\w+|\$\{", bare.replace('"$status"', "")) == [], name
        for line in script.replace("\\\n", " ").splitlines():
            if "modelkeep check" in line or "modelkeep promote" in line:
                assert re.search(r' -- +"\$\w+" "\$\w+"', line), line


def test_actions_of_others_are_pinned_by_digest_with_their_release_beside_it() -> None:
    text = "".join((RECIPES / name).read_text(encoding="utf-8") for name in SCHEMAS)
    used = re.findall(r"uses: (?!\./)(.*)", text)
    assert len(used) == sum("uses" in step and not step["uses"].startswith("./") for _, step in github_steps())
    assert [one for one in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


def test_a_job_has_no_rights_but_those_that_it_names() -> None:
    workflow = recipe("github/workflow.yml")
    assert workflow["permissions"] == {}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items()} == {
        "train": {"contents": "read"},
        "release": {"contents": "read", "pull-requests": "write"},
    }
    kept = [step["with"]["persist-credentials"] for _, step in github_steps() if "checkout@" in step.get("uses", "")]
    assert kept == [False, False]
    assert "pull_request_target" not in workflow["on"]


def test_no_recipe_prints_a_secret_or_its_environment() -> None:
    for path in files():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"set -x|printenv|\benv\s*\||secrets\.|echo .*(TOKEN|SECRET|KEY)", text), path.name


# -- as they run ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a training, and a registry beside it."""
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "GITLAB_", "CI_", "JENKINS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MODELKEEP_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("MODELKEEP_ACTOR", "policy@example.org")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(QUICK, encoding="utf-8")
    return folder


def gate(least: float) -> None:
    mk.Registry().policy.set(f'[models.churn.aliases.production]\ngates = [{{ metric = "auc", least = {least} }}]\n')


def pipeline(folder: Path, **environ: str) -> Pipeline:
    """A run with this Python first on the path, and `gh` in place of GitHub's, which notes what it is asked."""
    programs = folder.parent / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "gh").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> "$NOTED"\ncat "$5" >> "$NOTED"\n', encoding="utf-8")
    (programs / "gh").chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    common = {"PATH": path, "PIP_NO_INDEX": "1", "NOTED": str(folder.parent / "noted"), "OMP_NUM_THREADS": "1"}
    return Pipeline(folder, common | environ, without=INSTALLS)


def on_github(folder: Path, *, on_main: bool) -> Pipeline:
    run = pipeline(
        folder,
        GITHUB_ACTIONS="true",
        GITHUB_SERVER_URL="https://ci.example.org",
        GITHUB_REPOSITORY="build",
        GITHUB_RUN_ID="17",
        GITHUB_STEP_SUMMARY=str(folder.parent / "summary"),
    )
    context: dict[str, Any] = {
        "vars.MODELKEEP_REGISTRY": os.environ["MODELKEEP_REGISTRY"],
        "github.actor": "ada",
        "github.event_name": "push" if on_main else "pull_request",
        "github.repository": "acme/ml",
        "github.event.pull_request.head.repo.full_name": "acme/ml",
        "github.event.pull_request.number": 3,
        "github.token": "ghs_0",
    }
    github(run, context)
    return run


def on_gitlab(folder: Path, *, on_main: bool) -> Pipeline:
    run = pipeline(folder, GITLAB_CI="true", CI_PIPELINE_URL=BUILD, GITLAB_USER_LOGIN="ada")
    gitlab(run, on_main=on_main)
    return run


def on_jenkins(folder: Path, *, on_main: bool) -> Pipeline:
    registry = os.environ["MODELKEEP_REGISTRY"]
    run = pipeline(
        folder, BUILD_URL=BUILD, JENKINS_URL="https://ci", MODELKEEP_REGISTRY=registry, MODELKEEP_ACTOR="ada"
    )
    jenkins(run, on_main=on_main)
    return run


Run = Callable[..., Pipeline]
SERVICES: dict[str, Run] = {"github": on_github, "gitlab": on_gitlab, "jenkins": on_jenkins}


def junit(folder: Path) -> tuple[int, int]:
    """How many gates the report of a run has, and how many of them failed."""
    report = ET.fromstring((folder / "modelkeep-check.xml").read_text(encoding="utf-8"))
    return len(list(report.iter("testcase"))), len(list(report.iter("failure")))


def test_the_line_that_installs_modelkeep_is_one_that_pip_takes(folder: Path) -> None:
    lines = {script for _, script in scripts() if "pip install" in script}
    (line,) = lines - {'python -m pip install --quiet "$REQUIREMENT"'}
    default = recipe("github/action.yml")["inputs"]["requirement"]["default"]
    assert default.removesuffix("]") in line  # extras in the same order, and the one of the training
    run = Pipeline(folder, pipeline(folder).environ)
    run.shell("install", ("sh", "-ec"), line, {})  # all of it is installed here, and there is no index to ask
    assert not run.failed, run.printed


@pytest.mark.parametrize("service", SERVICES)
def test_what_passes_is_promoted_with_the_run_as_its_reason(folder: Path, service: str) -> None:
    shutil.copy(RECIPES / "train.py", folder)
    gate(0.5)
    run = SERVICES[service](folder, on_main=True)
    assert not run.failed, run.printed
    assert junit(folder) == (1, 0)
    model = mk.Registry().model("churn")
    assert {alias: version.number for alias, version in model.aliases.items()} == {"production": 1}
    promoted = next(event for event in model.history() if event.action == "promote")
    expected = "https://ci.example.org/build/actions/runs/17" if service == "github" else BUILD
    assert (promoted.text, promoted.actor) == (expected, "ada")


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_gate_refuses_ends_the_run_with_1_and_no_alias_moves(folder: Path, service: str) -> None:
    gate(1.5)
    run = SERVICES[service](folder, on_main=True)
    assert [status for status in run.ended.values() if status] == [1], run.printed
    assert {step.lower() for step in run.ended if run.ended[step]} == {"check"}
    assert junit(folder) == (1, 1)
    assert mk.Registry().model("churn").aliases == {}
    assert [event.action for event in mk.Registry().model("churn").history()][-1] != "refuse"  # check writes nothing


@pytest.mark.parametrize("service", ["gitlab", "jenkins"])
def test_a_proposed_change_is_checked_and_not_promoted(folder: Path, service: str) -> None:
    gate(0.5)
    run = SERVICES[service](folder, on_main=False)
    assert not run.failed, run.printed
    assert junit(folder) == (1, 0)
    assert mk.Registry().model("churn").aliases == {}


@pytest.mark.parametrize("least", [0.5, 1.5])
def test_github_shows_the_gates_in_the_summary_and_comments_also_when_one_failed(folder: Path, least: float) -> None:
    gate(least)
    run = on_github(folder, on_main=False)
    told = (folder / "modelkeep-check.md").read_text(encoding="utf-8")
    assert "auc at least" in told
    assert (folder.parent / "summary").read_text(encoding="utf-8") == told
    assert (folder.parent / "noted").read_text(
        encoding="utf-8"
    ) == f"pr comment 3 --body-file modelkeep-check.md\n{told}"
    assert run.failed is (least > 1)
    assert mk.Registry().model("churn").aliases == {}


def test_a_version_that_is_not_there_is_no_verdict(folder: Path) -> None:
    gate(0.5)
    (folder / "train.py").write_text(QUICK.replace("version.ref", "'churn:9'"), encoding="utf-8")
    run = on_github(folder, on_main=False)
    assert run.ended["Check"] == 3
    assert not (folder.parent / "noted").exists()
    assert not (folder.parent / "summary").exists()


def test_a_training_that_fails_ends_the_run(folder: Path) -> None:
    (folder / "train.py").write_text("raise SystemExit(7)", encoding="utf-8")
    for service in SERVICES.values():
        run = service(folder, on_main=True)
        assert [status for status in run.ended.values() if status] == [7]
        assert {"Check", "check", "Promote", "promote"} & set(run.ended) == set()
