"""The shell steps of CI recipes, run as their services run them: same shell, same order, the variables that they set.

What is not here is the services: `uses:` of others' actions, artifacts, comments and the test reports are theirs.
"""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml

RECIPES = Path(__file__).parent.parent / "docs/how-to/ci"
GITHUB_SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")  # of steps that say `shell: bash`
GITLAB_SHELL = ("bash", "-eo", "pipefail", "-c")
JENKINS_SHELL = ("sh", "-xe", "-c")
ACTION = "./.github/actions/modelkeep"
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"'[^']*'|[A-Za-z_][\w.-]*")
_ANY, _ON_MAIN = "", "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"  # the rules of GitLab that the recipe uses
_OF_STATUS = ("always()", "cancelled()", "failure()", "success()")


def recipe(name: str) -> Any:
    """A recipe in YAML as its service reads it; ``on`` is no truth value."""
    text = (RECIPES / name).read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"^on:", '"on":', text, flags=re.MULTILINE))


@attrs.define
class Pipeline:
    """One run of a recipe in a folder; what it printed, and how each step ended.

    Args:
        folder: the working folder.
        environ: what the service and the project set.
        without: names of steps that are left out.
    """

    folder: Path
    environ: Mapping[str, str]
    without: frozenset[str] = frozenset()
    ended: dict[str, int] = attrs.Factory(dict)
    printed: str = ""

    @property
    def failed(self) -> bool:
        """Whether a step ended badly."""
        return any(self.ended.values())

    def shell(self, name: str, words: tuple[str, ...], script: str, more: Mapping[str, str]) -> None:
        """Run one step, unless it is left out."""
        if name in self.without:
            return
        done = subprocess.run(
            [*words, script],
            cwd=self.folder,
            env={**os.environ, **self.environ, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.printed += done.stdout
        self.ended[name] = done.returncode


# -- GitHub --------------------------------------------------------------------------------------------------------


def github(pipeline: Pipeline, context: dict[str, Any]) -> None:
    """Run the jobs of the workflow, one after the other; *context* is what its expressions name."""
    workflow = recipe("github/workflow.yml")
    own = _texts(workflow["env"], context)
    for name, job in workflow["jobs"].items():
        if _evaluated(job.get("if", "true"), context) and not pipeline.failed:
            _steps(pipeline, job["steps"], context, own)
            outputs = _texts(job.get("outputs", {}), context)
            context.update({f"needs.{name}.outputs.{key}": text for key, text in outputs.items()})


def _steps(pipeline: Pipeline, steps: list[dict[str, Any]], context: dict[str, Any], own: Mapping[str, str]) -> None:
    for step in steps:
        asked = step.get("if", "success()")
        of_status = any(word in asked for word in _OF_STATUS)
        if (pipeline.failed and not of_status) or not _evaluated(asked, context):
            continue
        if step.get("uses") == ACTION:
            action = recipe("github/action.yml")
            inputs = {name: one.get("default") for name, one in action["inputs"].items()} | step["with"]
            inner = context | {f"inputs.{name}": text for name, text in _texts(inputs, context).items()}
            _steps(pipeline, action["runs"]["steps"], inner, own)
        elif "run" in step:
            _run(pipeline, step, context, own)


def _run(pipeline: Pipeline, step: dict[str, Any], context: dict[str, Any], own: Mapping[str, str]) -> None:
    said = pipeline.folder / f"output-{uuid.uuid4().hex}"
    said.touch()
    more = {**own, **_texts(step.get("env", {}), context), "GITHUB_OUTPUT": str(said)}
    pipeline.shell(step["name"], GITHUB_SHELL, step["run"], more)
    for line in said.read_text(encoding="utf-8").splitlines():
        key, _, text = line.partition("=")
        context[f"steps.{step['id']}.outputs.{key}"] = text


def _texts(values: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, str]:
    return {key: _EXPRESSION.sub(lambda found: _text(found[1], context), str(text)) for key, text in values.items()}


def _text(expression: str, context: Mapping[str, Any]) -> str:
    value = _evaluated(expression, context)
    return {True: "true", False: "false", None: ""}.get(value, str(value))


def _evaluated(expression: str, context: Mapping[str, Any]) -> Any:
    """The value of an expression of GitHub, by Python's rules for the few operators that the recipes use."""
    bare = _EXPRESSION.sub(r"\1", expression)
    for word in _OF_STATUS:
        bare = bare.replace(word, "false" if word in ("cancelled()", "failure()") else "true")

    def value(found: re.Match[str]) -> str:
        name = found[0]
        if name.startswith("'") or name in ("true", "false"):
            return name.capitalize() if name in ("true", "false") else name
        known = (
            context.get(name) if name.startswith("steps.") else context[name]
        )  # a step that was not run has no output
        return repr("" if known is None else known)

    named = _NAME.sub(value, bare.replace("!=", " != "))
    spelled = re.sub(r"!(?!=)", " not ", named).replace("&&", " and ").replace("||", " or ")
    return eval(spelled.strip(), {"__builtins__": {}})


# -- GitLab and Jenkins --------------------------------------------------------------------------------------------


def gitlab(pipeline: Pipeline, *, on_main: bool) -> None:
    """Run the jobs stage by stage, until one fails; what a job leaves as dotenv the next ones have."""
    config = recipe("gitlab-ci.yml")
    variables = {
        key: re.sub(r"\$(\w+)", lambda one: pipeline.environ[one[1]], text) for key, text in config["variables"].items()
    }
    for name in config["stages"]:
        job = config[name]
        rules = [rule["if"] for rule in job["rules"]] if "rules" in job else [_ANY]
        if pipeline.failed or not any({_ANY: True, _ON_MAIN: on_main}[rule] for rule in rules):
            continue
        for at, line in enumerate(config["default"]["before_script"]):
            pipeline.shell(f"install {at}", GITLAB_SHELL, line, variables)
        pipeline.shell(name, GITLAB_SHELL, "\n".join(job["script"]), variables)
        dotenv = pipeline.folder / job.get("artifacts", {}).get("reports", {}).get("dotenv", "none")
        if dotenv.is_file():
            variables |= dict(line.split("=", 1) for line in dotenv.read_text(encoding="utf-8").splitlines())


def jenkins(pipeline: Pipeline, *, on_main: bool) -> None:
    """Run the `sh` steps stage by stage, until one fails."""
    text = (RECIPES / "Jenkinsfile").read_text(encoding="utf-8")
    block = text[text.index("environment {") : text.index("stages {")]
    variables = dict(re.findall(r"(\w+) = ['\"]([^'\"]*)['\"]", block))
    variables["HOME"] = str(pipeline.folder)
    for name, body in jenkins_stages(text):
        if pipeline.failed or ("when { branch 'main' }" in body and not on_main):
            continue
        for script in jenkins_scripts(body):
            pipeline.shell(name, JENKINS_SHELL, script, {**variables, **pipeline.environ})


def jenkins_stages(text: str) -> Iterator[tuple[str, str]]:
    """The stages of a Jenkinsfile: name and body."""
    parts = re.split(r"stage\('(\w+)'\)", text)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def jenkins_scripts(body: str) -> list[str]:
    """What the `sh` steps of a stage run."""
    return [long or short for long, short in re.findall(r"\bsh (?:'''(.*?)'''|'([^'\n]*)')", body, re.DOTALL)]
