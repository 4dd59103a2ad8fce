"""What is asked of Git, on real repositories; and that a stranger's repository runs nothing."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelkeep.capture import git
from modelkeep.capture.git import checkout, root_of
from modelkeep.code import Code

WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *WHO, *arguments], capture_output=True, text=True, check=True, env={**os.environ}
    )
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of whoever runs the tests, and nothing remembered."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "user.gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    git._program.cache_clear()
    forget()


def forget() -> None:
    git._known.clear()
    git._settings_of.clear()


def asked(folder: Path, *, diff: bool = False) -> Code:
    forget()
    return checkout(folder, diff=diff)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "churn"
    folder.mkdir()
    run(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text("depth = 6\n")
    (folder / "data.bin").write_bytes(b"\0" * 10)
    run(folder, "add", ".")
    run(folder, "commit", "-qm", "first")
    return folder


def test_a_clean_tree_gives_commit_branch_and_that_it_is_clean(repository: Path) -> None:
    (repository / "untracked.csv").write_text("1\n")
    found = asked(repository)
    assert found.commit == run(repository, "rev-parse", "HEAD")
    assert (found.branch, found.dirty, found.changed, found.remote, found.diff) == ("main", False, (), None, None)
    assert found.notes == ()


def test_changed_staged_renamed_and_deleted_files_are_named(repository: Path) -> None:
    for name in ("staged.py", "old name.py", "gone.py", "été.py"):
        (repository / name).write_text(f"{name}\n" * 20)
    run(repository, "add", ".")
    run(repository, "commit", "-qm", "more")
    (repository / "train.py").write_text("depth = 7\n")
    (repository / "été.py").write_text("x\n")
    (repository / "staged.py").write_text("x\n")
    run(repository, "add", "staged.py")
    run(repository, "mv", "old name.py", "new name.py")
    (repository / "gone.py").unlink()
    found = asked(repository)
    assert found.dirty is True
    assert set(found.changed) == {"train.py", "été.py", "staged.py", "new name.py", "gone.py"}


def test_a_folder_below_and_another_working_tree_are_found(repository: Path, tmp_path: Path) -> None:
    (repository / "src").mkdir()
    assert asked(repository / "src") == asked(repository)
    run(repository, "worktree", "add", "-q", "-b", "wide", str(tmp_path / "wide"))
    found = asked(tmp_path / "wide")
    assert (found.branch, found.dirty, root_of(tmp_path / "wide")) == ("wide", False, (tmp_path / "wide").resolve())


def test_a_submodule_is_a_repository_of_its_own_and_counts_where_its_commit_moved(
    repository: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    run(outer, "init", "-q", "-b", "trunk")
    run(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repository), "inner")
    run(outer, "commit", "-qm", "inner")
    assert asked(outer / "inner").branch == "main"
    assert asked(outer).dirty is False
    (outer / "inner" / "train.py").write_text("depth = 9\n")
    run(outer / "inner", "commit", "-qam", "moved")
    assert asked(outer).changed == ("inner",)


def test_no_branch_and_no_commit_are_told(repository: Path, tmp_path: Path) -> None:
    run(repository, "checkout", "-q", "--detach")
    found = asked(repository)
    assert found.commit
    assert found.branch is None
    assert found.notes == ("git: no branch is checked out",)
    empty = tmp_path / "empty"
    empty.mkdir()
    run(empty, "init", "-q", "-b", "main")
    found = asked(empty, diff=True)
    assert (found.commit, found.branch, found.dirty, found.diff) == (None, "main", False, None)
    assert found.notes == ("git: there is no commit yet", "diff: unknown: there is no commit to compare with")


def test_no_repository_no_git_and_a_broken_repository_are_told(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(tmp_path).notes == ("git: unknown: not in a Git repository",)
    broken = tmp_path / "broken"
    (broken / ".git").mkdir(parents=True)
    found = asked(broken)
    assert found.commit is None
    assert len(found.notes) == 1
    assert str(tmp_path) not in found.notes[0]
    monkeypatch.setenv("PATH", str(tmp_path))
    git._program.cache_clear()
    assert asked(repository).notes == ("git: unknown: git is not installed",)


def test_a_git_in_the_working_folder_is_not_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "ran"
    (repository / "git").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (repository / "git").chmod(0o755)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", ".")
    git._program.cache_clear()
    assert asked(repository).commit is None
    assert not marker.exists()


def test_a_repository_of_somebody_else_is_told_with_the_way_out(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "_SET", {**git._SET, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})  # as Git's own tests do
    assert asked(repository).commit is None
    assert "safe.directory" in " ".join(asked(repository).notes)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:maple-7@git.example.org/ada/churn.git", "https://git.example.org/ada/churn.git"),
        ("ssh://git@git.example.org:2222/ada/churn.git", "ssh://git@git.example.org:2222/ada/churn.git"),
        ("git@git.example.org:ada/churn.git", "git@git.example.org:ada/churn.git"),
        ("../sibling.git", "a local path: sibling.git"),
    ],
)
def test_the_remote_has_no_credentials(repository: Path, url: str, shown: str) -> None:
    run(repository, "config", "remote.aside.url", "https://elsewhere.example.org/x.git")
    run(repository, "config", "remote.origin.url", url)
    assert asked(repository).remote == shown


def test_a_diff_is_taken_on_request_and_redacted(repository: Path) -> None:
    (repository / "train.py").write_text("depth = 7\nDB_PASSWORD = 'maple-4711'\n")
    assert asked(repository).diff is None
    diff = asked(repository, diff=True).diff
    assert diff is not None
    assert "-depth = 6\n+depth = 7\n" in diff
    assert "maple-4711" not in diff


def test_a_long_diff_is_cut(repository: Path) -> None:
    (repository / "train.py").write_text("depth = 7\n" * 100_000)
    diff = asked(repository, diff=True).diff
    assert diff is not None
    assert len(diff) < git.MAX_DIFF + 100
    assert diff.endswith("more characters]")


def _program(marker: Path, folder: Path) -> str:
    file = folder / "program.sh"
    file.write_text(f"#!/bin/sh\ntouch {marker}\ncat 2>/dev/null\n")
    file.chmod(0o755)
    return str(file)


def _hook(folder: Path, program: str) -> None:
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "query-watchman"):
        hook = folder / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(Path(program).read_text())
        hook.chmod(0o755)


def _settings(*names: str) -> Callable[[Path, str], None]:
    def spoil(folder: Path, program: str) -> None:
        for name in names:
            run(folder, "config", name, program)

    return spoil


def _attributes(line: str, *names: str) -> Callable[[Path, str], None]:
    def spoil(folder: Path, program: str) -> None:
        (folder / ".gitattributes").write_text(f"*.py {line}\n*.bin {line}\n")
        _settings(*names)(folder, program)

    return spoil


def _included(folder: Path, program: str) -> None:
    (folder / ".git" / "more").write_text(f'[filter "evil"]\n\tclean = {program}\n\trequired = true\n')
    (folder / ".gitattributes").write_text("* filter=evil\n")
    run(folder, "config", "include.path", "more")


HOSTILE = {
    "monitor": _settings("core.fsmonitor"),
    "hooks": _hook,
    "pager": _settings("core.pager", "pager.status", "pager.diff", "pager.config"),
    "external diff": _settings("diff.external"),
    "diff driver": _attributes("diff=evil", "diff.evil.command"),
    "text conversion": _attributes("diff=evil", "diff.evil.textconv"),
    "clean filter": _attributes("filter=evil", "filter.evil.clean", "filter.evil.smudge"),
    "process filter": _attributes("filter=evil", "filter.evil.process"),
    "included filter": _included,
    "helpers": _settings("credential.helper", "core.askPass", "core.sshCommand", "core.editor", "core.gitProxy"),
    "alias": _settings("alias.status", "alias.diff", "alias.config"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_program_that_a_repository_names_is_not_run(repository: Path, tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "ran"
    HOSTILE[kind](repository, _program(marker, tmp_path))
    (repository / "train.py").write_text("depth = 7\n")
    os.utime(repository / "data.bin", (1, 1))  # its content has to be looked at
    found = asked(repository, diff=True)
    assert not marker.exists()
    assert found.commit
    assert found.dirty is True
    assert "+depth = 7" in (found.diff or "")


@pytest.mark.parametrize("kind", ["monitor", "external diff", "text conversion", "clean filter", "included filter"])
def test_without_these_precautions_the_same_programs_run(repository: Path, tmp_path: Path, kind: str) -> None:
    # else the test above would show nothing
    marker = tmp_path / "ran"
    HOSTILE[kind](repository, _program(marker, tmp_path))
    (repository / "train.py").write_text("depth = 7\n")
    os.utime(repository / "data.bin", (1, 1))
    for command in (["status"], ["diff", "HEAD", "--ext-diff"]):
        subprocess.run(["git", *command], cwd=repository, capture_output=True, check=False)
    assert marker.exists()


def test_a_filter_of_the_user_runs_and_one_of_the_repository_is_noted(repository: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (repository / ".gitattributes").write_text("*.py filter=mine\n")
    subprocess.run(
        ["git", "config", "--global", "filter.mine.clean", _program(marker, tmp_path)], check=True, env={**os.environ}
    )
    (repository / "train.py").write_text("depth = 8\n")
    assert asked(repository).notes == ()
    assert marker.exists()
    run(repository, "config", "filter.other.clean", "cat")
    assert asked(repository).notes == ("git: filters in the repository's own configuration were not run",)


def test_variables_of_git_in_the_environment_lead_nowhere_else(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "ran"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", _program(marker, tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    (repository / "train.py").write_text("depth = 7\n")
    found = asked(repository, diff=True)
    assert found.changed == ("train.py",)
    assert not marker.exists()


def test_nothing_is_locked_or_written(repository: Path) -> None:
    os.utime(repository / "train.py", (1, 1))  # a plain `git status` would now write the index
    before = {path: path.stat().st_mtime_ns for path in (repository / ".git").rglob("*")}
    found = asked(repository, diff=True)
    assert (found.dirty, found.diff) == (False, "")
    assert {path: path.stat().st_mtime_ns for path in (repository / ".git").rglob("*")} == before
    (repository / ".git" / "index.lock").write_text("somebody else holds it")
    assert asked(repository, diff=True).dirty is False


def test_a_git_that_does_not_answer_is_ended_and_told(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nsleep 600 &\nwait\n")
    slow.chmod(0o755)
    monkeypatch.setattr(git, "TIME_OUT", 0.3)
    monkeypatch.setenv("PATH", str(slow.parent), prepend=os.pathsep)
    git._program.cache_clear()
    assert asked(repository).notes == ("git: unknown: git took longer than 0.3 s",)


def test_where_the_files_take_too_long_the_commit_is_known_still(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = git._program()
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nfor word in "$@"; do [ "$word" = status ] && exec sleep 600; done\nexec {real} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(git, "_FOR_STATUS", 0.3)
    monkeypatch.setenv("PATH", str(slow.parent), prepend=os.pathsep)
    git._program.cache_clear()
    found = asked(repository)
    assert (found.commit, found.branch, found.dirty) == (run(repository, "rev-parse", "HEAD"), "main", None)
    assert found.notes == ("git: changed files unknown: git took longer than 2 s",)


def test_an_answer_is_kept_for_a_moment(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = asked(repository)
    (repository / "train.py").write_text("depth = 7\n")
    assert checkout(repository) is first
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 5)
    assert checkout(repository).dirty is True
