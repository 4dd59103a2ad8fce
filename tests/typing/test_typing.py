"""What mypy says of code that uses the library: no error where none is, and each that there is where it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelkeep

SOURCE = Path(modelkeep.__file__).parent.parent
NO_SAMPLES = {"conftest.py", Path(__file__).name}
SAMPLES = sorted(path for path in Path(__file__).parent.glob("*.py") if path.name not in NO_SAMPLES)


def expected(sample: Path) -> dict[int, set[str]]:
    """The codes that a line names, by its number."""
    found = {}
    for number, line in enumerate(sample.read_text(encoding="utf-8").splitlines(), 1):
        if said := re.search(r"# error: (.+)$", line):
            found[number] = set(said[1].split(" or "))
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_mypy_finds_the_errors_that_are_there_and_no_other(sample: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent", "--no-error-summary",
         "--hide-error-context", f"--cache-dir={tmp_path}", sample.name],
        cwd=sample.parent, capture_output=True, text=True, check=False, timeout=500,
        env={**os.environ, "MYPYPATH": str(SOURCE)},
    )  # fmt: skip
    rows = re.findall(rf"^{sample.name}:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    told: dict[int, set[str]] = {}
    for number, code in rows:
        told.setdefault(int(number), set()).add(code)
    said = expected(sample)
    assert said, "a sample without an error shows nothing"
    assert told.keys() == said.keys(), done.stdout + done.stderr
    assert {number: codes for number, codes in told.items() if not codes <= said[number]} == {}
