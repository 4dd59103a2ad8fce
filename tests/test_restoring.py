"""An environment is made anew from a record alone: the same versions, the same predictions, or a reason why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import modelkeep as mk
from modelkeep.environment import Distribution, Environment, EnvironmentWarning, Source
from modelkeep.errors import InvalidValueError, RestoreError
from modelkeep.restoring import Instead, VersionEnvironment, requirement, why_not

ROOT = Path(__file__).parent.parent
NEEDED = ("numpy", "scikit-learn", "scipy", "joblib", "threadpoolctl", "narwhals", "modelkeep")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

TRAIN = """
import json, sys
import numpy as np
from sklearn.linear_model import LogisticRegression
import modelkeep as mk
from modelkeep.capture import environment
rng = np.random.default_rng(0)
X = rng.normal(size=(50, 3))
model = LogisticRegression().fit(X, X.sum(axis=1) > 0)
version = mk.Registry(sys.argv[1], durable=False).save(model, "churn", golden=X[:20], serializer="sklearn")
print(json.dumps([environment.captured(), model.predict_proba(X[:20]).tolist()]))
"""
AGAIN = """
import importlib.metadata, json, sys
import modelkeep as mk, numpy, sklearn
version = mk.Registry(sys.argv[1], durable=False, trust="sklearn").get("churn")
check = version.verify_golden()
model = version.load(trust="sklearn")
rng = numpy.random.default_rng(0)
names = ("numpy", "scikit-learn", "scipy")
print(json.dumps([
    sys.prefix, mk.__file__, {name: importlib.metadata.version(name) for name in names},
    bool(check), model.predict_proba(rng.normal(size=(50, 3))[:20]).tolist(),
]))
"""


def made_of(*distributions: Distribution, **facts: Any) -> VersionEnvironment:
    facts = {"python": f"{HERE}.0", **facts}
    return VersionEnvironment(Environment(**facts, distributions={one.name: one for one in distributions}))


def run(python: str | Path, code: str, *arguments: object, **environment: str) -> Any:
    done = subprocess.run(
        [python, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


needs_uv = pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not on the PATH")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Environment, list[list[float]]]:
    """A registry with a version that a fresh process trained, the environment of that process, and predictions."""
    registry = tmp_path_factory.mktemp("trained") / "registry"
    made, predictions = run(sys.executable, TRAIN, registry, PYTHONPATH=str(ROOT / "src"))
    found = Environment.from_json(made)
    # of the hundreds that may be installed here, those that this model needs
    few = {name: one for name, one in found.distributions.items() if name in NEEDED}
    return registry, attrs.evolve(found, distributions=few), predictions


@needs_uv
def test_a_restored_environment_has_the_same_versions_and_the_model_predicts_the_same_there(
    trained: tuple[Path, Environment, list[list[float]]], tmp_path: Path
) -> None:
    registry, made, predictions = trained
    environment = VersionEnvironment(made)
    folder = environment.create(tmp_path / "again", instead={"modelkeep": ROOT})
    prefix, front_door, versions, golden, again = run(folder / "bin" / "python", AGAIN, registry, PYTHONPATH="")
    assert Path(prefix) == folder
    assert Path(front_door).is_relative_to(folder)
    assert versions == {name: made.distributions[name].version for name in versions}
    assert golden
    assert again == predictions
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    stale = [p for p in (folder / "bin").iterdir() if not p.is_symlink() and b"/.again-" in p.read_bytes()]
    assert stale == []


# -- small distributions of our own, so that no index is asked -------------------------------------------------------


def wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    """Write a distribution with a module and a command that tells which Python runs it."""
    files = {
        f"{name}/__init__.py": "import sys\ndef main():\n    print(sys.prefix)\n",
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-{version}.dist-info/entry_points.txt": f"[console_scripts]\n{name}-where = {name}:main\n",
    }
    record = "".join(f"{path},,\n" for path in files)
    files[f"{name}-{version}.dist-info/RECORD"] = record
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the index there is, with alpha 1.0 and 2.0, which needs beta, of which there are two."""
    folder = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        wheel(folder, "alpha", version, "Requires-Dist: beta\n")
        wheel(folder, "beta", version)
    for variable in ("UV_NO_INDEX", "PIP_NO_INDEX", "UV_OFFLINE"):
        monkeypatch.setenv(variable, "1")
    for variable in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.setenv(variable, str(folder))
    return folder


def versions_in(folder: Path) -> dict[str, str]:
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found: dict[str, str] = run(folder / "bin" / "python", code, PYTHONPATH="")
    return {name: version for name, version in found.items() if name not in ("pip", "setuptools")}


@pytest.fixture(params=["uv", "pip"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pip":
        without = [path for path in os.environ["PATH"].split(os.pathsep) if not (Path(path) / "uv").exists()]
        monkeypatch.setenv("PATH", os.pathsep.join(without))
        assert shutil.which("uv") is None
    elif shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    return str(request.param)


@pytest.mark.usefixtures("installer", "index")
def test_exact_versions_are_installed_and_scripts_run_from_where_the_environment_is(tmp_path: Path) -> None:
    made = made_of(Distribution("alpha", "1.0"), Distribution("beta", "1.0"))
    folder = made.create(tmp_path / "a folder" / ".venv")
    assert versions_in(folder) == {"alpha": "1.0", "beta": "1.0"}
    said = subprocess.run([folder / "bin" / "alpha-where"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(folder)
    assert [path.name for path in folder.parent.iterdir()] == [".venv"]


@pytest.mark.usefixtures("installer", "index")
def test_what_loaded_distributions_need_comes_in_the_version_of_then(tmp_path: Path) -> None:
    made = made_of(Distribution("alpha", "2.0", loaded=True), Distribution("beta", "1.0"))
    assert versions_in(made.create(tmp_path / "v", loaded_only=True)) == {"alpha": "2.0", "beta": "1.0"}


@pytest.mark.usefixtures("installer", "index")
def test_a_version_that_the_index_lacks_is_an_error_that_names_it_and_leaves_nothing(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    made = made_of(Distribution("alpha", "1.0"), Distribution("beta", "9.9"))
    with pytest.raises(RestoreError, match=r"beta==9\.9"):
        made.create(parent / "v")
    assert list(parent.iterdir()) == []


@needs_uv
def test_an_error_has_no_password_of_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://ada:s3cret-7@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(RestoreError) as raised:
        made_of(Distribution("no-such-distribution-here", "1.0")).create(tmp_path / "v")
    assert "127.0.0.1" in str(raised.value)
    assert "s3cret-7" not in str(raised.value) + repr(raised.value.facts)


def test_a_python_that_is_nowhere_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(RestoreError, match=r"Python 3\.99"):
        made_of(python="3.99.1").create(tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_neither_used_nor_touched(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    with pytest.raises(InvalidValueError, match="is there already"):
        made_of().create(tmp_path / "v")
    assert list((tmp_path / "v").iterdir()) == []


# -- what cannot be restored -----------------------------------------------------------------------------------------

REPOSITORY = Source(kind="vcs", vcs="git", url="https://git.example.org/a.git", commit=COMMIT)
LOST = {
    "editable": (Source(kind="editable", url="file:///home/ada/a"), "as editable from a folder"),
    "folder": (Source(kind="folder", url="file:///home/ada/a"), "from a folder of that machine"),
    "no commit": (Source(kind="vcs", vcs="git", url="https://example.org/a.git"), "commit was not recorded"),
    "local archive": (Source(kind="archive", url="file:///home/ada/a.whl"), "from a file of that machine"),
    "local repository": (Source(kind="vcs", vcs="git", url="file:///a", commit=COMMIT), "a file of that machine"),
    "no address": (Source(kind="archive"), "address was not recorded"),
    "unknown": (Source(kind="unknown", url="https://example.org/a"), "did not come from an index"),
    "svn": (Source(kind="vcs", vcs="svn", url="svn://example.org/a", commit="0" * 7), "came by svn"),
}


@pytest.mark.parametrize(("source", "reason"), LOST.values(), ids=list(LOST))
def test_what_cannot_be_restored_is_named_with_the_reason_before_anything_is_made(
    tmp_path: Path, source: Source, reason: str
) -> None:
    lost = Distribution("ourlib", "0.1", source=source)
    assert reason in why_not(lost)
    with pytest.raises(InvalidValueError, match=f"ourlib: .*{reason}") as raised:
        made_of(Distribution("alpha", "1.0"), lost).create(tmp_path / "v", build=True)
    assert set(raised.value.reasons) == {"ourlib"}
    assert list(tmp_path.iterdir()) == []


def test_a_commit_of_a_repository_is_restored_only_where_that_is_allowed(tmp_path: Path) -> None:
    one = Distribution("ourlib", "0.1", source=REPOSITORY)
    assert why_not(one) == ""
    assert requirement(one) == f"ourlib @ git+https://git.example.org/a.git@{COMMIT}"
    with pytest.raises(InvalidValueError, match="build=True fetches and builds it"):
        made_of(one).create(tmp_path / "v")


@needs_uv
@pytest.mark.usefixtures("index")
def test_instead_takes_a_path_or_a_requirement_and_none_leaves_out(tmp_path: Path, index: Path) -> None:
    mine = [Distribution(name, "0.1", source=Source(kind="editable")) for name in ("alpha", "gamma", "delta")]
    made = made_of(*mine, Distribution("beta", "1.0"))
    instead: Instead = {"alpha": index / "alpha-2.0-py3-none-any.whl", "Gamma": "beta==1.0", "delta": None}
    assert versions_in(made.create(tmp_path / "v", instead=instead)) == {"alpha": "2.0", "beta": "1.0"}


@pytest.mark.parametrize(
    ("instead", "said"), [({"omega": None}, "not installed there"), ({"alpha": "--index-url=x"}, "an option")]
)
def test_instead_is_refused_where_it_makes_no_sense(tmp_path: Path, instead: dict[str, str | None], said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        made_of(Distribution("alpha", "1.0")).create(tmp_path / "v", instead=instead)


# -- texts -----------------------------------------------------------------------------------------------------------

SEVERAL = made_of(
    Distribution("alpha", "1.0", loaded=True),
    Distribution("ourlib", "0.1", source=Source(kind="editable", url="file:///home/ada/a")),
    Distribution("theirs", "0.2", source=REPOSITORY),
    Distribution("torch", "2.13.0+cpu"),
    python="3.11.7",
    system="Linux",
    machine="x86_64",
)


def test_requirements_are_exact_and_say_what_is_missing() -> None:
    assert SEVERAL.requirements().splitlines() == [
        "# Python 3.11.7",
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "alpha==1.0",
        "# ourlib 0.1: it was installed as editable from a folder of that machine",
        f"theirs @ git+https://git.example.org/a.git@{COMMIT}",
        "torch==2.13.0+cpu",
    ]
    assert SEVERAL.requirements(loaded_only=True) == "# Python 3.11.7\nalpha==1.0\n"


def test_a_dockerfile_has_the_python_and_the_requirements_and_git_only_where_it_is_needed() -> None:
    text = SEVERAL.dockerfile()
    assert "\nFROM python:3.11-slim\n" in text
    assert f"<<'EOF' /tmp/requirements.txt\n{SEVERAL.requirements()}EOF\n" in text
    assert "apt-get install -y --no-install-recommends git" in text
    assert "pip install --no-cache-dir --no-deps -r" in text
    few = SEVERAL.dockerfile(loaded_only=True)
    assert "git" not in few
    assert "--no-deps" not in few


def test_no_word_of_a_record_becomes_an_instruction_of_a_dockerfile() -> None:
    made = made_of(Distribution("alpha", "1.0"), system="Linux\nRUN evil", machine="x\r\nEOF")
    lines = made.dockerfile().splitlines()
    assert not [line for line in lines if line.startswith("RUN evil")]
    assert lines.count("EOF") == 1


# -- what runs here --------------------------------------------------------------------------------------------------


def here() -> Environment:
    return VersionEnvironment(Environment(python="3.11")).here()


def changed(name: str, version: str, *, loaded: bool = True) -> VersionEnvironment:
    found = here()
    return VersionEnvironment(
        attrs.evolve(found, distributions={**found.distributions, name: Distribution(name, version, loaded)})
    )


def test_the_environment_that_runs_has_no_difference_from_itself_and_nothing_is_warned_of() -> None:
    same = VersionEnvironment(here())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not same.warn_if_it_matters()
    assert same.compare().worst is None


def test_a_major_release_of_what_was_loaded_is_warned_of_at_the_line_that_asked() -> None:
    installed = here().distributions["attrs"].version
    with pytest.warns(
        EnvironmentWarning, match=rf"attrs is {installed} here and was 1\.0, loaded; .*'?attrs==1\.0"
    ) as said:
        changed("attrs", "1.0").warn_if_it_matters()
    assert [one.filename for one in said] == [__file__]


def test_what_was_merely_installed_is_told_and_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = changed("attrs", "1.0", loaded=False).warn_if_it_matters()
    assert [str(one.severity) for one in found] == ["major"]


def test_a_minor_release_is_warned_of_only_where_the_caller_says_that_it_matters() -> None:
    release, minor, *_ = here().distributions["attrs"].version.split(".")
    older = changed("attrs", f"{release}.{int(minor) + 1}.0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        older.warn_if_it_matters()
    with pytest.warns(EnvironmentWarning, match="attrs"):
        older.warn_if_it_matters(matters={"Attrs"})


def test_the_first_load_of_a_version_warns_of_what_differs_and_the_next_are_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = mk.Registry("memory://first-load")

    @registry.track("churn")
    def train() -> Any:
        return {"w": np.ones(3)}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train()
        registry.load("churn")  # what made it runs here
    train()
    elsewhere = attrs.evolve(here(), python="3.99.1")
    monkeypatch.setattr("modelkeep.surroundings.here", lambda: elsewhere)
    with pytest.warns(EnvironmentWarning, match=r"Python") as said:
        registry.load("churn:2")
    assert [one.filename for one in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.load("churn:2")
        registry.get("churn:1").load()
