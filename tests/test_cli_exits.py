"""How the command ends: a status for each kind of outcome, one sentence, and a traceback only on request."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import modelkeep as mk
from modelkeep import errors
from modelkeep.cli import cli
from modelkeep.commands import looking
from modelkeep.exits import Exit, status_of

PAGE = (Path(__file__).parent.parent / "docs/reference/cli.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file and a registry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKEEP_REGISTRY", "registry")
    monkeypatch.setenv("MODELKEEP_ACTOR", "ada@example.org")
    (tmp_path / "model.bin").write_bytes(b"weights")
    mk.Registry("registry", durable=False).save(tmp_path / "model.bin", "churn").promote("production")
    return tmp_path


def run(line: str) -> Result:
    return CliRunner().invoke(cli, line.split())


def damaged(folder: Path) -> None:
    (pack,) = (folder / "registry/models/churn/data").iterdir()
    raw = bytearray(pack.read_bytes())
    raw[raw.index(b"weights")] ^= 1
    pack.write_bytes(raw)


def foreign(folder: Path) -> None:
    (folder / "thesis.tex").write_text("mine", encoding="utf-8")


def as_it_is(folder: Path) -> None:
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("before", "line", "status", "said"),
    [
        (as_it_is, "show churn", Exit.OK, ""),
        (as_it_is, "promote churn:1", Exit.USAGE, "Missing argument 'ALIAS'"),
        (as_it_is, "promote churn:1 7", Exit.USAGE, "is a number"),
        (as_it_is, "show churn --registry gopher://x", Exit.USAGE, "gopher://"),
        (as_it_is, "promote churn:2 production", Exit.NOT_FOUND, "no version 2"),
        (as_it_is, "log chrun", Exit.NOT_FOUND, "no model 'chrun'"),
        (as_it_is, "show churn --registry elsewhere", Exit.NOT_FOUND, "no registry yet"),
        (foreign, "init .", Exit.NOT_FOUND, "not a registry"),
        (as_it_is, "promote churn:1 production --expect none", Exit.CONFLICT, "stands on version 1"),
        (as_it_is, "save model.bin churn --registry model.bin", Exit.STORAGE, "model.bin"),
        (as_it_is, "report churn:1 -o nowhere/page.html", Exit.STORAGE, "nowhere/page.html"),
        (damaged, "export churn:1 out", Exit.INTEGRITY, "models/churn/data/"),
    ],
)
def test_an_outcome_has_its_status_and_one_sentence(
    folder: Path, before: Callable[[Path], None], line: str, status: Exit, said: str
) -> None:
    before(folder)
    result = run(line)
    assert (result.exit_code, type(result.exception)) == (status, SystemExit if status else type(None))
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert bool(result.stdout) is (status is Exit.OK)


def test_each_error_has_the_status_of_its_kind() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, mk.ModelkeepError)]
    by_status: dict[str, set[str]] = {}
    for kind in kinds:
        by_status.setdefault(status_of(kind("said")).name, set()).add(kind.__name__)
    assert by_status == {
        "GATE": {"GateError", "UnfitError"},
        "USAGE": {
            *("ModelkeepError", "InvalidError", "InvalidNameError", "InvalidRefError", "InvalidValueError"),
            *("SecretError", "SignatureError", "SerializerError"),
        },
        "NOT_FOUND": {
            *("NotFoundError", "UnknownModelError", "UnknownDatasetError", "UnknownVersionError", "UnknownAliasError"),
            *("UnknownLabelError", "UnknownVariantError", "UnknownTensorError", "DeletedError", "FormatError"),
        },
        "CONFLICT": {"ConflictError", "StaleError", "TakenError", "InUseError", "ClosedError", "ObjectExistsError"},
        "STORAGE": {
            *("StoreError", "AccessError", "OutcomeUnknownError", "UnsettledError", "ClockError", "RestoreError"),
            "TrustError",
        },
        "INTEGRITY": {"IntegrityError", "MissingObjectError"},
    }


def test_the_page_has_a_row_for_each_status() -> None:
    rows = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert [int(row) for row in rows] == sorted(Exit)


# -- what nobody expected ------------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of modelkeep itself."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\x1b[2Jzero")

    monkeypatch.setattr(looking, "_show_versions", fail)


@pytest.mark.usefixtures("broken")
def test_a_fault_of_our_own_is_a_sentence_that_says_how_to_see_more() -> None:
    result = run("show churn")
    assert result.exit_code == 70
    assert result.output == "Error: ZeroDivisionError: by\\x1b[2Jzero; run again with --debug\n"


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("line", ["--debug show churn", "show --debug churn", "show churn --debug"])
def test_debug_anywhere_on_the_line_shows_the_traceback_and_ends_alike(line: str) -> None:
    result = run(line)
    assert result.exit_code == Exit.UNEXPECTED
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.endswith("Error: ZeroDivisionError: by\\x1b[2Jzero\n")


def test_debug_shows_the_traceback_of_an_error_that_was_expected_too() -> None:
    result = run("log chrun --debug")
    assert result.exit_code == Exit.NOT_FOUND
    assert "UnknownModelError" in result.stderr


def test_after_two_hyphens_debug_is_a_word_like_others() -> None:
    result = run("log -- --debug")
    assert result.exit_code == Exit.NOT_FOUND
    assert "there is no model '--debug'" in result.stderr
    assert "Traceback" not in result.stderr


def test_control_c_ends_as_shells_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(looking, "_show_versions", interrupt)
    result = run("show churn")
    assert (result.exit_code, result.output) == (Exit.INTERRUPTED, "")


# -- in a process of its own ---------------------------------------------------------------------------------------


def shell(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("line", "status"), [("show churn", 0), ("show", 0), ("log chrun", 3), ("promote churn:1 p --expect 3", 4)]
)
def test_the_status_reaches_the_shell(line: str, status: int) -> None:
    assert shell("-m", "modelkeep", *line.split()).returncode == status


def test_a_warning_is_a_line_without_a_line_of_source(folder: Path) -> None:
    (folder / "warned.py").write_text(
        "import warnings, modelkeep.cli as c\n"
        "c.cli.commands['show'].callback = lambda **_: warnings.warn('look\\x1b[2J here')\nc.main()\n"
    )
    assert shell("warned.py", "show").stderr == "Warning: look\\x1b[2J here\n"


def test_help_loads_click_and_the_commands_and_nothing_that_they_work_with() -> None:
    code = (
        "import sys; bare = set(sys.modules); from modelkeep.cli import cli; cli(['--help'], standalone_mode=False); "
        "print(*sorted(set(sys.modules) - bare), sep='\\n', file=sys.stderr)"
    )
    loaded = shell("-c", code).stderr.split()
    tops = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    ours = {name for name in loaded if name.startswith("modelkeep.") and not name.startswith("modelkeep.commands")}
    assert {name for name in tops if not name.startswith("_")} == {"click", "modelkeep"}
    assert ours == {f"modelkeep.{name}" for name in ("_about", "cli", "errors", "exits", "pages")}


@pytest.mark.parametrize(
    ("typed", "wanted"), [("", "promote"), ("pro", "promote"), ("policy s", "set"), ("show --re", "--registry")]
)
def test_a_shell_completes_commands_and_options(typed: str, wanted: str) -> None:
    line = ["modelkeep", *typed.split(" ")]
    code = "import sys; sys.argv[0] = 'modelkeep'; from modelkeep.cli import main; main()"
    done = shell(
        "-c", code, _MODELKEEP_COMPLETE="bash_complete", COMP_WORDS=" ".join(line), COMP_CWORD=str(len(line) - 1)
    )
    assert f"plain,{wanted}" in done.stdout.splitlines()


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_the_line_for_a_shell_gives_its_script(kind: str) -> None:
    assert f"_MODELKEEP_COMPLETE={kind}_source modelkeep" in PAGE
    code = "import sys; sys.argv[0] = 'modelkeep'; from modelkeep.cli import main; main()"
    done = shell("-c", code, _MODELKEEP_COMPLETE=f"{kind}_source")
    assert f"_MODELKEEP_COMPLETE={kind}_complete" in done.stdout
