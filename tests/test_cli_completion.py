"""Completion, as the shells ask for it: each sets words in the environment, and reads what the command prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelkeep.cli import SECTIONS, cli

PAGE = (Path(__file__).parent.parent / "docs/reference/cli.md").read_text(encoding="utf-8")
LINES = dict(re.findall(r"^\| (bash|zsh|fish) \| `(.*)` \|$", PAGE, re.MULTILINE))
COMMANDS = {str(one.name) for section in SECTIONS.values() for one in section}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, and ``modelkeep`` on the path: this one, by the name that shells call it by."""
    script = tmp_path / "bin" / "modelkeep"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom modelkeep.cli import main\nmain()\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    monkeypatch.setenv("MODELKEEP_REGISTRY", "gopher://asked/means/failed")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(shell: str, words: str) -> list[str]:
    """What the command offers for the last of *words*; none if they end with a blank."""
    count, _, last = str(words.count(" ")), *words.rpartition(" ")[1:]
    told = {"COMP_WORDS": words, "COMP_CWORD": last if shell == "fish" else count}
    done = subprocess.run(
        ["modelkeep"], capture_output=True, text=True, check=False,
        env={**os.environ, "_MODELKEEP_COMPLETE": f"{shell}_complete", **told},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.split("\n")[:-1] if done.stdout.strip() else []
    if shell == "zsh":  # kind, value and help by turns
        return rows[1::3]
    return [re.split(r"[,\t]", row)[1] for row in rows]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_offered_commands_and_options(shell: str) -> None:
    assert set(asked(shell, "modelkeep ")) == COMMANDS
    assert asked(shell, "modelkeep pro") == ["promote"]
    assert asked(shell, "modelkeep cache ") == ["clear", "list"]
    options = {name for param in cli.commands["promote"].params for name in param.opts if name.startswith("--")}
    assert set(asked(shell, "modelkeep promote churn:1 production --")) == options | {"--help"}


def test_references_are_not_offered_and_no_storage_is_asked() -> None:
    assert asked("bash", "modelkeep promote ch") == []  # the registry of the environment would be an error


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_real_bash_completes_after_the_line_of_the_page() -> None:
    script = f"""
        {LINES["bash"]}
        complete -p modelkeep
        COMP_WORDS=(modelkeep rol) COMP_CWORD=1
        _modelkeep_completion modelkeep
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    registered, offered = done.stdout.splitlines()
    assert "_modelkeep_completion modelkeep" in registered
    assert offered == "rollback"


@pytest.mark.parametrize(("shell", "made"), [("zsh", "compdef _modelkeep_completion modelkeep"), ("fish", "complete ")])
def test_the_script_for_other_shells_is_printed(shell: str, made: str) -> None:
    (variable,) = re.findall(r"_MODELKEEP_COMPLETE=\w+", LINES[shell])
    done = subprocess.run(
        ["modelkeep"], capture_output=True, text=True, check=True,
        env={**os.environ, **dict([variable.split("=")])},
    )  # fmt: skip
    assert f"{shell}_complete" in done.stdout
    assert made in done.stdout
