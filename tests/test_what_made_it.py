"""One decorator line: the record of a version tells what made it, wherever the line ran."""

from __future__ import annotations

import importlib.metadata
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import modelkeep as mk
from modelkeep.capture.frames import describe
from modelkeep.code import Code
from modelkeep.dataset import DatasetFacts
from modelkeep.environment import Environment
from modelkeep.session import Session

SCRIPTS = Path(__file__).parent / "made"
FRAMEWORK = {"sklearn": ("scikit-learn", "numpy"), "torch": ("torch", "torch")}  # distribution, generator
SPAWNED = """
import multiprocessing, training
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(training.work)
"""
THREADS = """
import concurrent.futures, training
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    for done in [pool.submit(training.work) for _ in range(2)]:
        done.result()
"""
IDENTITY = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")


@attrs.frozen
class Project:
    """A repository with one training script, and a registry beside it."""

    folder: Path
    framework: str
    commit: str

    def python(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr

    def versions(self) -> list[mk.ModelVersion]:
        return list(mk.Registry(self.folder.parent / "registry").model("churn").versions())[::-1]


@pytest.fixture(params=list(FRAMEWORK))
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    pytest.importorskip(request.param)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "training.py").write_text((SCRIPTS / f"with_{request.param}.py").read_text())
    git = ["git", "-C", str(folder), *IDENTITY]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    monkeypatch.setenv("MODELKEEP_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return Project(folder, request.param, head.stdout.strip())


def from_a_file(project: Project) -> None:
    project.python("training.py")


def from_a_notebook(project: Project) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = (project.folder / "training.py").read_text().split("# %%\n")[1:]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    where = {"metadata": {"path": project.folder}}
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute()


def from_a_spawned_process(project: Project) -> None:
    (project.folder / "spawned.py").write_text(SPAWNED)
    project.python("spawned.py")


def from_a_thread_pool(project: Project) -> None:
    project.python("-c", THREADS)


@pytest.mark.parametrize("ran", [from_a_file, from_a_notebook, from_a_spawned_process, from_a_thread_pool])
def test_the_record_says_what_made_a_version(project: Project, ran: Callable[[Project], None]) -> None:
    ran(project)
    versions = project.versions()
    assert len(versions) == (4 if ran is from_a_thread_pool else 2)
    for version in versions:
        made = version.record.made
        says_which_rows(project, made)
        says_which_code(project, made, from_a_file=ran is not from_a_notebook)
        says_which_packages_and_seed(project, made)
        assert {**version.params, "base": None} == {"base": None, "rate": 0.5, "seed": 7}  # None, else the parent
        assert (Session.from_json(made["session"]).duration_s or 0) > 0
    first, second = versions[:2] if len(versions) == 2 else families(versions)
    assert first.parents == ()
    assert [str(parent) for parent in second.parents] == [first.ref]


def families(versions: list[mk.ModelVersion]) -> tuple[mk.ModelVersion, mk.ModelVersion]:
    """One of the pairs of parent and child that threads saved in any order."""
    child = next(version for version in versions if version.parents)
    return next(version for version in versions if [str(child.parents[0])] == [version.ref]), child


def says_which_rows(project: Project, made: dict[str, Any]) -> None:
    data = [DatasetFacts.from_json(one) for one in made["data"]]
    assert [(facts.role, facts.rows) for facts in data] == [("table", 60)]
    assert data[0].fingerprint == describe(rows_of(project.framework)).fingerprint is not None


def rows_of(framework: str) -> Any:
    """The rows that the script trains on, made in this process."""
    return runpy.run_path(str(SCRIPTS / f"with_{framework}.py"), run_name="looked at")["rows"]()


def says_which_code(project: Project, made: dict[str, Any], *, from_a_file: bool) -> None:
    code = Code.from_json(made["code"])
    assert (code.commit, code.dirty) == (project.commit, False)
    assert code.function is not None
    assert code.function.file == ("training.py" if from_a_file else None)
    assert code.function.digest is not None
    assert "def train(table, *, base=None, rate=0.5, seed=7):" in str(code.function.source)


def says_which_packages_and_seed(project: Project, made: dict[str, Any]) -> None:
    distribution, generator = FRAMEWORK[project.framework]
    environment = Environment.from_json(made["environment"])
    found = environment.distributions[distribution]
    assert (found.version, found.loaded) == (importlib.metadata.version(distribution), True)
    assert environment.python == ".".join(map(str, sys.version_info[:3]))
    assert not environment.distributions["moto"].loaded
    seeds = Session.from_json(made["session"]).seeds
    assert seeds is not None
    assert seeds.initial[generator] == 7


@pytest.mark.parametrize("project", ["sklearn"], indirect=True)
def test_a_change_of_the_script_or_of_the_rows_shows_in_the_record(project: Project) -> None:
    from_a_file(project)
    script = project.folder / "training.py"
    for old, new in (("rate=0.5", "rate=0.25"), ("50,", "51,")):
        script.write_text(script.read_text().replace(old, new))
    from_a_file(project)
    before, _, after, _ = (version.record.made for version in project.versions())
    first, second = Code.from_json(before["code"]), Code.from_json(after["code"])
    assert (first.commit, first.dirty) == (second.commit, False)
    assert (second.dirty, second.changed) == (True, ("training.py",))
    assert first.function is not None
    assert second.function is not None
    assert first.function.digest != second.function.digest
    assert before["data"][0]["fingerprint"] != after["data"][0]["fingerprint"]


@pytest.mark.parametrize("framework", list(FRAMEWORK))
def test_the_scripts_have_one_line_of_modelkeep_beside_import_and_registry(framework: str) -> None:
    text = (SCRIPTS / f"with_{framework}.py").read_text()
    code = text.partition("def work")[0].partition('"""\n')[2]
    ours = [line for line in code.splitlines() if "mk" in line or "registry" in line or "modelkeep" in line]
    assert [line.partition("(")[0] for line in ours] == [
        "import modelkeep as mk",
        "registry = mk.Registry",
        "@registry.track",
    ]
