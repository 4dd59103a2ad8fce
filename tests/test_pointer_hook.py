"""``modelkeep pointer``: by hand, as a hook of Git itself, and under pre-commit; in real repositories."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.commands.pointing import MAX_SIZE
from modelkeep.exits import Exit
from modelkeep.pointer import Pointer

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/how-to/pointers.md").read_text(encoding="utf-8")
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
KEYS = {"path", "size", "ref", "pointer", "ignored_in", "why"}  # docs/reference/cli.md has them
LARGE = bytes(MAX_SIZE + 1)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit to stand in, a registry beside it, and nothing of the user's configuration."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name, value in {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(tmp_path),
        **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        "MODELKEEP_REGISTRY": str(tmp_path / "registry"),
        "MODELKEEP_ACTOR": "ada@example.org",
    }.items():
        monkeypatch.setenv(name, value)
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "begin")
    return folder


def git(*words: str, fine: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is fine, done.stdout + done.stderr
    return done


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["pointer", *map(str, words)])


def checked(*words: str | Path) -> list[dict[str, Any]]:
    """The files that a check found, by its JSON; its status says whether there are any."""
    result = run("check", "--json", *words)
    told = json.loads(result.stdout)
    assert [{*told}, *map(set, told["files"])] == [{"ok", "files"}, *[KEYS] * len(told["files"])]
    assert (result.exit_code, told["ok"]) == ((Exit.GATE, False) if told["files"] else (Exit.OK, True))
    found: list[dict[str, Any]] = told["files"]
    return found


def commits() -> int:
    return len(git("log", "--oneline").stdout.splitlines())


# -- as a hook -----------------------------------------------------------------------------------------------------


def test_the_hook_of_the_page_refuses_a_commit_and_what_it_prints_leads_to_a_pointer_in_its_place(
    project: Path, tmp_path: Path
) -> None:
    (script,) = re.findall(r"<<'HOOK'\n(.*?)HOOK\n", PAGE, re.DOTALL)
    hook = project / ".git/hooks/pre-commit"
    hook.write_text(script, encoding="utf-8")
    hook.chmod(0o755)
    (project / "a model").mkdir()
    (project / "a model/churn.pkl").write_bytes(LARGE)
    git("add", ".")
    refused = git("commit", "-qm", "a model", fine=False)
    assert "churn.pkl (500.0 kB) is a model too large for Git" in refused.stderr + refused.stdout
    assert commits() == 1
    steps = [line for line in run("check", "--write", "a model/churn.pkl").stdout.splitlines() if line.startswith("  ")]
    for step in steps:
        subprocess.run(["bash", "-ec", step], check=True)
    git("commit", "-qm", "a pointer")
    assert git("ls-files").stdout.splitlines() == ["a model/.gitignore", "a model/churn.pkl.mk"]
    assert git("status", "--short").stdout == ""
    assert (project / "a model/churn.pkl").read_bytes() == LARGE
    git("clone", "-q", ".", str(tmp_path / "clone"))
    mk.Registry().get(tmp_path / "clone/a model/churn.pkl.mk").export(tmp_path / "out")
    assert (tmp_path / "out/churn.pkl").read_bytes() == LARGE


def test_pre_commit_takes_the_hook_and_a_commit_with_a_large_model_is_refused(project: Path, tmp_path: Path) -> None:
    pre_commit = [sys.executable, "-m", "pre_commit"]
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "pre-commit")}
    subprocess.run([*pre_commit, "validate-manifest", ROOT / ".pre-commit-hooks.yaml"], check=True, env=environment)
    here = {**HOOK, "language": "system", "args": ["--max-size=4"]}  # "python" would install it from the package index
    config = {"repos": [{"repo": "local", "hooks": [{**here, "additional_dependencies": []}]}]}
    (project / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (project / "small.pkl").write_bytes(b"1234")
    (project / "large.pkl").write_bytes(b"12345")
    git("add", ".")
    done = subprocess.run([*pre_commit, "run"], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, "exit code: 1" in done.stdout) == (1, True), done.stdout + done.stderr
    assert "large.pkl" in done.stdout
    assert "small.pkl" not in done.stdout


def test_the_hook_installs_what_the_command_needs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert HOOK["additional_dependencies"] == extras["cli"]
    assert f"- id: {HOOK['id']}" in PAGE


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_file_is_refused_by_suffix_and_size_together(project: Path) -> None:
    for name, size in (("a.PKL", 5), ("b.pkl", 4), ("c.txt", 9), ("d.weird", 9), ("e.pkl.mk", 9)):
        (project / name).write_bytes(bytes(size))
    files = sorted(path for path in project.iterdir() if path.is_file())
    assert [one["path"] for one in checked("--max-size", "4", *files)] == [str(project / "a.PKL")]
    assert len(checked("--max-size", "4", "--suffix", ".weird", *files)) == 2
    assert checked("--max-size", "5", *files) == []
    assert checked() == []


def test_what_is_staged_counts_and_not_what_lies_on_the_disk(project: Path) -> None:
    for name in ("gone.pkl", "grew.pkl", "link.pkl"):
        (project / name).write_bytes(LARGE if name == "gone.pkl" else b"small")
    (project / "link.pkl").unlink()
    (project / "link.pkl").symlink_to("/dev/zero")
    git("add", ".")
    (project / "gone.pkl").unlink()
    (project / "grew.pkl").write_bytes(LARGE)  # as Git LFS has it: a few lines staged, the model on the disk
    assert [one["path"] for one in checked("gone.pkl", "grew.pkl", "link.pkl", "never.pkl")] == ["gone.pkl"]
    (told,) = checked("--write", "gone.pkl")
    assert (told["ref"], told["why"]) == (None, "is left: it is staged, and not on the disk any more")


def test_outside_of_a_repository_what_lies_on_the_disk_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "churn.pkl").write_bytes(LARGE)
    (told,) = checked("--write", "churn.pkl")
    assert (told["ref"], told["ignored_in"]) == ("churn:1", None)
    assert not (tmp_path / ".gitignore").exists()


# -- what is written -----------------------------------------------------------------------------------------------


def test_a_file_becomes_the_next_version_of_the_model_that_its_pointer_names(project: Path) -> None:
    (project / "model.pt").write_bytes(LARGE)
    mk.Registry().save(project / "model.pt", "churn")
    assert run("write", "churn:1", "model.pt.mk").stdout == "model.pt.mk points to churn:1\n"
    assert [one["ref"] for one in checked("--write", "model.pt")] == ["churn:1"]  # the same bytes
    (project / "model.pt").write_bytes(LARGE + b"!")
    assert [one["ref"] for one in checked("--write", "model.pt")] == ["churn:2"]
    assert Pointer.read("model.pt.mk").number == 2
    assert [model.name for model in mk.Registry().models()] == ["churn"]


def test_files_of_one_name_are_not_taken_for_versions_of_one_model(project: Path) -> None:
    for folder in ("a", "b"):
        (project / folder).mkdir()
        (project / folder / "model.pt").write_bytes(LARGE + folder.encode())
    first, second = checked("--write", "a/model.pt", "b/model.pt")
    assert (first["ref"], second["ref"]) == ("model:1", None)
    assert "the registry has a model 'model' already" in second["why"]
    assert not (project / "b/model.pt.mk").exists()


def test_a_file_whose_name_no_model_can_bear_is_left_and_the_next_has_its_turn(project: Path) -> None:
    for name in ("a+b.pt", "c.pt"):
        (project / name).write_bytes(LARGE)
    first, second = checked("--write", "a+b.pt", "c.pt")
    assert (first["ref"], second["ref"]) == (None, "c:1")
    assert "'a+b' contains +" in first["why"]


def test_a_file_that_is_no_pointer_is_not_written_over(project: Path) -> None:
    (project / "churn.pkl").write_bytes(LARGE)
    (project / "churn.pkl.mk").write_text("all: build\n", encoding="utf-8")
    refused = run("check", "--write", "churn.pkl")
    assert (refused.exit_code, "is no pointer" in refused.stderr) == (Exit.USAGE, True)
    assert (project / "churn.pkl.mk").read_text(encoding="utf-8") == "all: build\n"
    assert not (project.parent / "registry").exists()


@pytest.mark.parametrize("name", ["plain.pkl", "a [1]*?.pkl", "#b!.pkl", "é.pkl"])
def test_git_ignores_the_file_and_no_other_once(project: Path, name: str) -> None:
    (project / ".gitignore").write_text("*.log", encoding="utf-8")
    (project / name).write_bytes(LARGE)
    Pointer.of(mk.Registry().save(project / name, "churn")).write(f"{name}.mk")
    assert [one["ignored_in"] for one in checked("--write", name)] == [".gitignore"]
    git("--literal-pathspecs", "add", "-f", name)
    assert [one["ignored_in"] for one in checked("--write", name)] == [None]
    git("--literal-pathspecs", "rm", "-q", "--cached", name)
    (project / "a 1xy.pkl").write_bytes(b"another")
    (project / "x.log").write_bytes(b"a log")
    git("add", ".")
    assert git("ls-files", "*.pkl", "*.log").stdout.splitlines() == ["a 1xy.pkl"]


def test_writing_wants_a_registry_that_was_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELKEEP_REGISTRY")
    (project / "churn.pkl").write_bytes(LARGE)
    refused = run("check", "--write", "churn.pkl")
    assert (refused.exit_code, "--registry URL or MODELKEEP_REGISTRY" in refused.stderr) == (Exit.USAGE, True)
    assert sorted(path.name for path in project.iterdir()) == [".git", "churn.pkl"]


# -- where commands take a pointer ---------------------------------------------------------------------------------


def test_commands_take_a_pointer_where_they_take_a_reference(project: Path) -> None:
    for number in (1, 2):
        (project / "churn.pkl").write_bytes(bytes(number))
        mk.Registry().save(project / "churn.pkl", "churn")
        Pointer.of(mk.Registry().get(f"churn:{number}")).write(project / f"{number}.mk")
    for line in (
        "show 1.mk",
        "promote 1.mk production",
        "tag 1.mk a=b",
        "diff 1.mk 2.mk",
        "check 1.mk production",
        "review request 1.mk",
        "lineage 1.mk",
        "report 1.mk --card",
        "export 1.mk out",
    ):
        done = CliRunner().invoke(cli, line.split())
        assert (done.exit_code, "churn:1" in done.stdout) == (Exit.OK, True), line
    assert (project / "out/churn.pkl").read_bytes() == bytes(1)
    missing = CliRunner().invoke(cli, ["show", "models/other.mk"])
    assert (missing.exit_code, "there is no pointer models/other.mk" in missing.stderr) == (Exit.NOT_FOUND, True)
