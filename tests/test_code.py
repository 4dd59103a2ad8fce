"""`Code` reads back what was captured, and refuses what a stranger could have written instead."""

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from modelkeep.capture.code import code_facts
from modelkeep.capture.sourcefiles import imported_files
from modelkeep.code import Cell, Code, SourceFile, TrainingFunction

DIGEST = "ab" * 32
WHOLE = Code(
    commit="0f" * 20,
    branch="main",
    remote="https://git.example.org/ada/churn.git",
    dirty=True,
    changed=("train.py",),
    diff="-a\n+b",
    function=TrainingFunction(
        name="train:fit", file="src/train.py", source="def fit(): ...", source_digest=DIGEST, ast_digest=DIGEST,
        calls={"features:scale": DIGEST},
    ),
    cells=(Cell(3, "x = 1"),),
    files=(SourceFile("train.py", DIGEST, "x = 1"),),
    notes=("git: unknown: not in a Git repository",),
)  # fmt: skip


def test_code_comes_back_from_json_as_it_was() -> None:
    assert Code.from_json(json.loads(json.dumps(WHOLE.to_json()))) == WHOLE
    assert Code.from_json({}) == Code()
    assert Code().to_json() == {}


def test_words_of_a_newer_release_are_left_out() -> None:
    assert Code.from_json(WHOLE.to_json() | {"reviewers": ["ada"]}) == WHOLE


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("commit",), "main; rm -rf /"),
        (("commit",), 7),
        (("dirty",), "yes"),
        (("branch",), "b" * 5000),
        (("diff",), "d" * (3 << 20)),
        (("changed",), "train.py"),
        (("notes",), ["n"] * 3000),
        (("function",), []),
        (("function",), {"file": "train.py"}),
        (("function", "file"), "/home/ada/train.py"),
        (("function", "file"), "../train.py"),
        (("function", "file"), "C:\\train.py"),
        (("function", "ast_digest"), "xyz"),
        (("function", "calls"), {"f": "xyz"}),
        (("function", "calls"), ["f"]),
        (("cells",), [{"number": True, "text": ""}]),
        (("cells",), [{"number": -1, "text": ""}]),
        (("cells",), [{"text": ""}]),
        (("files",), [{"path": "a/../../.ssh/id", "digest": DIGEST, "text": ""}]),
        (("files",), ["train.py"]),
    ],
)
def test_odd_shapes_are_refused(path: tuple[str, ...], value: object) -> None:
    stored: Any = copy.deepcopy(WHOLE.to_json())
    inner = stored
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises((ValueError, TypeError, KeyError)):
        Code.from_json(stored)


@pytest.mark.parametrize("value", [None, [], "code", 3])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        Code.from_json(value)


def test_one_digest_tells_of_the_function_and_of_what_it_calls() -> None:
    assert WHOLE.function is not None
    plain = TrainingFunction(name="f", ast_digest=DIGEST)
    assert plain.digest == TrainingFunction(name="g", file="x.py", ast_digest=DIGEST).digest
    assert plain.digest != WHOLE.function.digest
    assert TrainingFunction(name="f", source="def f(): ...").digest is None


# -- captured in a process of its own ------------------------------------------------------------------------------


def run_project(folder: Path, script: str, **files: str) -> dict[str, Any]:
    """What *script* prints as JSON, run in *folder* beside *files*."""
    for name, text in files.items():
        file = folder / name.replace("__", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    (folder / "main.py").write_text(textwrap.dedent(script), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=folder, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


SCRIPT = """
    import json, six_like, features, settings_secret
    from modelkeep.capture.code import code_facts
    from modelkeep.code import Code

    RATE = 0.1

    def train(frame):
        return features.scale(frame) * RATE

    if __name__ == "__main__":
        facts = code_facts(train, files=True)
        Code.from_json(facts)
        print(json.dumps(facts))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    installed = tmp_path / "venv" / "lib" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "six_like.py").write_text("INSTALLED = True\n")
    (tmp_path / ".env").write_text("DB_PASSWORD=maple-4711\n")
    (tmp_path / "notes.py").write_text("never = 'imported'\n")
    return tmp_path


def test_a_script_without_git_gives_its_function_its_calls_and_its_imported_files(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(project / "venv" / "lib" / "site-packages"), path]))
    found = run_project(
        project,
        SCRIPT,
        features__py="import os\nPASSWORD = 'maple-4711'\ndef scale(x):\n    return x\n",
        settings_secret__py="KEY = 'quartz-88'\n",
    )
    assert found["function"]["name"] == "main:train"
    assert found["function"]["file"] == "main.py"
    assert list(found["function"]["calls"]) == ["features:scale"]
    assert [file["path"] for file in found["files"]] == ["features.py", "main.py"]
    assert "git: unknown: not in a Git repository" in found["notes"]
    assert "files: settings_secret.py left out: by its name it may hold secrets" in found["notes"]
    whole = json.dumps(found)
    assert [word for word in ("maple-4711", "quartz-88", "INSTALLED", "imported'", str(project)) if word in whole] == []


def test_no_installed_file_and_no_hidden_one_is_in_a_snapshot_of_this_process() -> None:
    root = Path(__file__).parents[1]
    files, _ = imported_files(root)
    paths = [str(file["path"]) for file in files]
    assert "tests/test_code.py" in paths
    assert [path for path in paths if path.startswith("src/modelkeep")] == []
    assert [path for path in paths if "site-packages" in path or "/." in f"/{path}" or not path.endswith(".py")] == []
    assert imported_files(Path(sys.prefix))[0] == []


@pytest.mark.parametrize("tracked", [True, False])
def test_a_function_in_a_file_that_no_commit_holds_is_no_clean_code(tmp_path: Path, *, tracked: bool) -> None:
    script = SCRIPT.replace("six_like, features, settings_secret", "features")
    (tmp_path / "features.py").write_text("def scale(x):\n    return x\n")
    (tmp_path / "main.py").write_text(textwrap.dedent(script), encoding="utf-8")
    ada = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    for words in (
        ["init", "-q"],
        ["add", "features.py", *(["main.py"] if tracked else [])],
        ["commit", "-qm", "first"],
    ):
        subprocess.run(["git", *ada, *words], cwd=tmp_path, check=True, capture_output=True)
    found = run_project(tmp_path, script)
    assert found["dirty"] is not tracked
    assert found.get("changed", []) == ([] if tracked else ["main.py"])
    assert any("does not track it" in note for note in found.get("notes", [])) is not tracked


def test_files_are_left_out_where_there_is_a_commit_and_unless_asked_for(tmp_path: Path) -> None:
    assert "files" not in code_facts(len, folder=tmp_path)
    assert "cells" not in code_facts(len, folder=tmp_path)


def test_looking_never_fails_whatever_it_looks_at(tmp_path: Path) -> None:
    class Odd:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Callable:
        __module__ = 3  # type: ignore[assignment]

        def __call__(self) -> int:
            return 1

    for odd in (Odd(), Callable(), 3, "text", functools.partial(len), property(), type, object(), print):
        Code.from_json(json.loads(json.dumps(code_facts(odd, folder=tmp_path, cells=True, files=True))))
