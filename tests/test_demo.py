"""The demo, as a newcomer runs it: in a fresh folder, then once more, then the commands that it suggests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import modelkeep as mk
from modelkeep import demo
from modelkeep.pages import Page
from servers.sites import Site

FOLDER = "modelkeep-demo"


def run_demo(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "MODELKEEP_ACTOR": "ada@example.org", "PYTHONWARNINGS": "error"}
    environment.pop("MODELKEEP_REGISTRY", None)
    done = subprocess.run(
        [sys.executable, "-m", "modelkeep", "demo", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the demo ran once, and what it printed."""
    folder = tmp_path_factory.mktemp("newcomer")
    return folder, run_demo(folder)


@pytest.fixture
def registry(first: tuple[Path, str]) -> mk.Registry:
    return mk.Registry(first[0] / FOLDER)


def test_it_leaves_nothing_but_its_registry_in_the_folder(first: tuple[Path, str]) -> None:
    assert [path.name for path in first[0].iterdir()] == [FOLDER]


def test_it_saves_versions_of_two_models_with_all_facts(registry: mk.Registry) -> None:
    assert [model.name for model in registry.models()] == ["digits", "tumour"]
    versions = registry.model("tumour").versions()
    assert [version.label for version in versions] == ["1.2.1", "1.2.0", "1.1.0", "1.0.0"]
    for version in versions:
        assert set(version.metrics) == {"accuracy", "roc_auc"}
        assert version.params["estimator"]
        assert version.notes
    assert [[parent.number for parent in version.parents] for version in versions[1:]] == [[2], [1], []]
    assert registry.get("digits").metrics["accuracy"] > 0.95


def test_production_is_back_on_the_best_after_a_worse_one_was_there(registry: mk.Registry) -> None:
    tumour = registry.model("tumour")
    moves = [event for event in tumour.history() if event.subject == "production"]
    best, hasty = registry.get("tumour@production"), registry.get("tumour:4")
    assert [(move.action, move.version) for move in moves] == [
        ("promote", best.number),
        ("promote", hasty.number),
        ("rollback", best.number),
    ]
    assert best.metrics["roc_auc"] == max(version.metrics["roc_auc"] for version in tumour.versions())
    assert hasty.metrics["roc_auc"] == min(version.metrics["roc_auc"] for version in tumour.versions())
    assert f"{best.metrics['roc_auc']:.4f} to {hasty.metrics['roc_auc']:.4f}" in str(moves[-1].text)


def test_the_numbers_that_it_prints_are_those_that_it_recorded(first: tuple[Path, str], registry: mk.Registry) -> None:
    compared = first[1].partition("Its versions compared")[2].partition("What to try")[0]
    for version in registry.model("tumour").versions():
        (line,) = [line for line in compared.splitlines() if line.startswith(f"{version} ")]
        for shown in (*(f"{value:.4f}" for value in version.metrics.values()), str(version.size)):
            assert shown in line.split()


def test_it_shows_the_history_with_the_reason_of_the_rollback(first: tuple[Path, str], registry: mk.Registry) -> None:
    (reason,) = [event.text for event in registry.model("tumour").history() if event.action == "rollback"]
    (line,) = [line for line in first[1].splitlines() if "rollback production" in line]
    assert line.endswith(str(reason))


def test_it_says_that_the_second_process_predicts_the_same_and_why_no_trust_is_needed(first: tuple[Path, str]) -> None:
    assert re.search(r"143 rows: the 286 probabilities of the second process equal .* bit for bit", first[1])
    (why,) = [line for line in first[1].splitlines() if "can run any code" in line]
    assert "read by a list of what it may build" in why


def test_what_it_suggests_works_as_printed(first: tuple[Path, str]) -> None:
    folder, printed = first
    suggested = [line.strip() for line in printed.partition("What to try next")[2].splitlines() if line[:2] == "  "]
    assert len(suggested) == 3
    answers = [
        subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
        for command in suggested
    ]
    assert [(answer.returncode, answer.stderr) for answer in answers] == [(0, "")] * 3
    log, verified, good = (answer.stdout for answer in answers)
    assert "rollback production" in log
    assert verified.startswith("ok: 2 models, 5 versions")
    assert "tumour:1 (1.0.0)" in good
    assert "tumour:4" not in good


def test_a_second_run_carries_on_with_the_same_bytes(first: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "again"
    source = first[0] / FOLDER
    for path in source.rglob("*"):
        if path.is_file():
            copy = folder / FOLDER / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    run_demo(folder)
    registry = mk.Registry(folder / FOLDER)
    versions = registry.model("tumour").versions()
    assert [version.number for version in versions] == list(range(8, 0, -1))
    assert [version.label for version in versions[:4]] == ["2.2.1", "2.2.0", "2.1.0", "2.0.0"]
    assert [version.metrics for version in versions[:4]] == [version.metrics for version in versions[4:]]
    assert registry.get("tumour@production") in versions[:4]
    assert registry.storage.verify().ok


class _Elsewhere:
    """Stands for the second process."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def __call__(self, url: str, rows: object) -> bytes:
        del url, rows
        return self.answer


def test_it_fails_if_the_second_process_predicts_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_predicted_elsewhere", _Elsewhere(b"other"))
    with pytest.raises(mk.ModelkeepError, match="predicts something else for the 143 rows"):
        demo.run(str(tmp_path / "registry"), Page())


def test_it_fails_if_the_second_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SECOND_PROCESS", "raise SystemExit(3)")
    with pytest.raises(mk.ModelkeepError, match="ended with status 3"):
        demo.run(str(tmp_path / "registry"), Page())


def settings_of(site: Site) -> dict[str, str]:
    """How the environment tells every process where the server is: nothing of it stands in a URL."""
    if site.server.protocol == "s3":
        return {
            "AWS_ENDPOINT_URL": site.server.endpoint,
            "AWS_ACCESS_KEY_ID": site.server.options["key"],
            "AWS_SECRET_ACCESS_KEY": site.server.options["secret"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    return {
        "FSSPEC_GS_ENDPOINT_URL": site.server.endpoint,
        "FSSPEC_GS_TOKEN": "anon",
        "FSSPEC_GS_PROJECT": "p",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }


@pytest.mark.parametrize("name", ["moto", "seaweedfs", "gcs"])
def test_it_runs_in_a_bucket_as_in_a_folder(
    request: pytest.FixtureRequest, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site: Site = request.getfixturevalue(f"{name}_site")
    for variable, value in settings_of(site).items():
        monkeypatch.setenv(variable, value)
    url = site.url(f"demo-{uuid.uuid4().hex}")
    assert "equal those of this one bit for bit" in run_demo(tmp_path, "--registry", url)
    assert list(tmp_path.iterdir()) == []
    registry = mk.Registry(url, storage_options=site.server.options)
    assert [model.name for model in registry.models()] == ["digits", "tumour"]
    assert registry.storage.verify().ok
