"""The run of a continuous integration, told from the public variables that GitHub, GitLab and Jenkins set.

Only the variables that are named here are read, and each must look as its documentation says. Those with credentials in
them (``CI_JOB_TOKEN``, ``CI_REPOSITORY_URL``, ``GITHUB_TOKEN``, ``GIT_URL``, …) are not among them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from modelkeep.capture.addresses import without_credentials

_NUMBER = re.compile(r"[0-9]{1,20}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_PATH = re.compile(r"[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*")
_WORD = re.compile(r"[A-Za-z0-9_.@+\[\]-]{1,100}")
_LINE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")

_Names = Mapping[str, tuple[str, re.Pattern[str]]]
_GITHUB: _Names = {
    "repository": ("GITHUB_REPOSITORY", _PATH),
    "run": ("GITHUB_RUN_ID", _NUMBER),
    "number": ("GITHUB_RUN_NUMBER", _NUMBER),
    "attempt": ("GITHUB_RUN_ATTEMPT", _NUMBER),
    "workflow": ("GITHUB_WORKFLOW", _LINE),
    "job": ("GITHUB_JOB", _WORD),
    "commit": ("GITHUB_SHA", _COMMIT),
    "ref": ("GITHUB_REF", _LINE),
    "event": ("GITHUB_EVENT_NAME", _WORD),
    "actor": ("GITHUB_ACTOR", _WORD),
}
_GITLAB: _Names = {
    "repository": ("CI_PROJECT_PATH", _PATH),
    "run": ("CI_PIPELINE_ID", _NUMBER),
    "number": ("CI_PIPELINE_IID", _NUMBER),
    "job": ("CI_JOB_NAME", _LINE),
    "job_id": ("CI_JOB_ID", _NUMBER),
    "commit": ("CI_COMMIT_SHA", _COMMIT),
    "ref": ("CI_COMMIT_REF_NAME", _LINE),
    "event": ("CI_PIPELINE_SOURCE", _WORD),
    "actor": ("GITLAB_USER_LOGIN", _WORD),
}
_JENKINS: _Names = {
    "job": ("JOB_NAME", _LINE),
    "number": ("BUILD_NUMBER", _NUMBER),
    "commit": ("GIT_COMMIT", _COMMIT),
    "ref": ("GIT_BRANCH", _LINE),
}


def captured(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The run that this process is part of; empty outside of the three systems.

    Example:
        >>> captured({"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/ml", "GITHUB_RUN_ID": "7", "HOME": "/"})
        {'provider': 'github', 'repository': 'acme/ml', 'run': '7'}
    """
    if environ.get("GITHUB_ACTIONS") == "true":
        return _with_address({"provider": "github", **_named(_GITHUB, environ)}, _github_address, environ)
    if environ.get("GITLAB_CI") == "true":
        return _with_address({"provider": "gitlab", **_named(_GITLAB, environ)}, _gitlab_address, environ)
    if "JENKINS_URL" in environ and "BUILD_URL" in environ:
        return _with_address({"provider": "jenkins", **_named(_JENKINS, environ)}, _jenkins_address, environ)
    return {}


def _named(names: _Names, environ: Mapping[str, str]) -> dict[str, str]:
    given = ((key, environ.get(variable, ""), pattern) for key, (variable, pattern) in names.items())
    return {key: value for key, value, pattern in given if pattern.fullmatch(value)}


def _with_address(
    found: dict[str, str], compose: Callable[[dict[str, str], Mapping[str, str]], str], environ: Mapping[str, str]
) -> dict[str, str]:
    address = without_credentials(compose(found, environ))
    return found if address is None else {**found, "url": address}


def _github_address(found: dict[str, str], environ: Mapping[str, str]) -> str:
    if not found.keys() >= {"repository", "run"}:
        return ""
    attempt = f"/attempts/{found['attempt']}" if "attempt" in found else ""
    server = environ.get("GITHUB_SERVER_URL", "")
    return f"{server}/{found['repository']}/actions/runs/{found['run']}{attempt}"


def _gitlab_address(found: dict[str, str], environ: Mapping[str, str]) -> str:
    if "repository" not in found:
        return ""
    project = f"{environ.get('CI_SERVER_URL', '')}/{found['repository']}/-"
    return f"{project}/jobs/{found['job_id']}" if "job_id" in found else f"{project}/pipelines/{found.get('run', '')}"


def _jenkins_address(found: dict[str, str], environ: Mapping[str, str]) -> str:
    del found
    return environ["BUILD_URL"]
