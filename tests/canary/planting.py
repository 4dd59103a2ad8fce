"""Projects as people have them, with secrets where people have them: source, settings, `.env`, remote, changes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from redaction.planted import Planted

TRAINING = """
import sys

import numpy as np

from modelkeep.runs import current_run
from {settings} import NOTE

WAREHOUSE = r'''
{texts}
'''


def train(rows, *, depth=6, fail=False, **more):
    # {comment}
    told = r'''
{texts}
'''
    print(NOTE, WAREHOUSE, told, sep="\\n")
    print(NOTE, file=sys.stderr)
    current_run().log(loss=0.5)
    if fail:
        raise RuntimeError(NOTE)
    return {{"w": rows.mean(axis=0) * depth}}, {{"auc": 0.9}}
"""
SETTINGS = "NOTE = r'''\n{texts}\n'''\n"
IDENTITY = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")


def texts_of(planted: Sequence[Planted]) -> str:
    return "\n".join(one.text for one in planted)


def lines_of_env(planted: Sequence[Planted]) -> str:
    return "".join(f"{variable}={secret}\n" for variable, secret in variables(planted).items())


def variables(planted: Sequence[Planted]) -> dict[str, str]:
    """Environment variables, named as their secrets are."""
    return {f"{(one.name or 'secret').upper()}_{at}": one.secret for at, one in enumerate(planted)}


def of_ci(planted: Sequence[Planted]) -> dict[str, str]:
    """A run of CI whose variables have credentials in them."""
    first, second, third, *_ = (quote(one.secret, safe="") for one in planted)
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": "acme/churn",
        "GITHUB_RUN_ID": "7",
        "GITHUB_TOKEN": planted[3].secret,
        "GITHUB_SERVER_URL": f"https://ada:{first}@github.example.org",
        "CI_JOB_TOKEN": planted[4].secret,
        "PIP_INDEX_URL": f"https://ada:{second}@127.0.0.1:9/simple",
        "UV_DEFAULT_INDEX": f"https://ada:{third}@127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
    }


def project(folder: Path, name: str, planted: Sequence[Planted]) -> None:
    """A project without Git: its modules, and a `.env` beside them."""
    folder.mkdir(parents=True)
    texts = texts_of(planted)
    comment = texts.replace("\n", "\n    # ")
    (folder / f"train_{name}.py").write_text(
        TRAINING.format(settings=f"settings_{name}", texts=texts, comment=comment), encoding="utf-8"
    )
    (folder / f"settings_{name}.py").write_text(SETTINGS.format(texts=texts), encoding="utf-8")
    (folder / ".env").write_text(lines_of_env(planted), encoding="utf-8")


def repository(folder: Path, name: str, planted: Sequence[Planted]) -> None:
    """The same as a repository with a remote, and with changes that were not committed."""
    first, second, third = (quote(one.secret, safe="") for one in planted)
    project(folder, name, planted)
    settings = folder / f"settings_{name}.py"
    changed = settings.read_text(encoding="utf-8")
    settings.write_text("NOTE = ''\n", encoding="utf-8")
    git = ("git", "-C", str(folder), *IDENTITY)
    remote = f"https://{first}:{second}@git.example.org/acme/churn.git?private_token={third}#{first}"
    for command in (["init", "-q"], ["remote", "add", "origin", remote], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], check=True, env=_without_git(os.environ))
    settings.write_text(changed, encoding="utf-8")


def _without_git(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("GIT_")}
