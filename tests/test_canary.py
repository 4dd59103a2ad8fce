"""60 planted secrets of 20 kinds where people have them; none of them gets into anything that modelkeep writes or says.

As a command it plants all of them, as the suite does, and tells what it looked through.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the script; the suite has it there already

import modelkeep as mk
from canary import planting
from canary.leaks import files_below, leaked
from modelkeep import zstd
from modelkeep.errors import SecretError
from redaction.planted import Planted, tuning

SCRIPT = Path(__file__).parent / "canary" / "training.py"
DOORS = 6  # ways to give a parameter to a run, see `canary.training.doors`
# Runs the script with a part of the library replaced: what the canary is there to see.
MUTANT = """
import runpy, sys
import modelkeep.redaction
setattr(modelkeep.redaction, sys.argv.pop(1), eval(sys.argv.pop(1)))
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def plant(root: Path, kinds: Iterable[int]) -> dict[str, str]:
    """Projects with the three secrets of a kind each, with Git and without; gives the environment to train in."""
    planted = tuning()
    for at in kinds:
        three = planted[3 * at : 3 * at + 3]
        planting.repository(root / "projects" / f"git_{at}", f"git_{at}", three)
        planting.project(root / "projects" / f"plain_{at}", f"plain_{at}", three)
    (root / ".env").write_text(planting.lines_of_env(planted), encoding="utf-8")
    return {
        **os.environ,
        **planting.variables(tuning()),
        **planting.of_ci(tuning()),
        "MODELKEEP_REGISTRY": str(root / "registry"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }


def train(root: Path, environment: dict[str, str], mutation: tuple[str, str] | None = None) -> None:
    """Run the script in *root*, with all secrets on its command line."""
    start = [str(SCRIPT)] if mutation is None else ["-c", MUTANT, *mutation, str(SCRIPT)]
    options = [f"--{one.name}={one.secret}" for one in tuning()]
    done = subprocess.run(
        [sys.executable, *start, *options],
        cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]


def seen(root: Path, planted: Sequence[Planted]) -> dict[str, list[str]]:
    """What can be read of the secrets, by place."""
    places = {name: list(files_below(root / name).values()) for name in ("registry", "cache", "open")}
    places |= {name: [(root / name).read_bytes()] for name in ("said.json", "log.txt")}
    assert all(places.values())
    return {name: leaked(planted, *found) for name, found in places.items()}


def test_none_of_60_secrets_is_in_store_cache_logs_reprs_warnings_and_errors(tmp_path: Path) -> None:
    train(tmp_path, plant(tmp_path, range(20)))
    assert seen(tmp_path, tuning()) == {"registry": [], "cache": [], "open": [], "said.json": [], "log.txt": []}
    said = json.loads((tmp_path / "said.json").read_text(encoding="utf-8"))
    assert [word for word in said if word.startswith("refused ")] == [f"refused {3 * DOORS}"] * 40
    assert "it went through" not in said


@pytest.mark.parametrize(
    ("mutation", "shown"),
    [
        (("redacted", "lambda text: text"), {"registry": 3, "said.json": 3}),
        (("remote_without_credentials", "lambda url: url"), {"registry": 3, "said.json": 3}),
        (("looks_secret", "lambda name, value: None"), {"registry": 3}),
    ],
    ids=["texts", "remote", "parameters"],
)
def test_the_canary_sees_what_leaks_when_a_guard_is_gone(
    tmp_path: Path, mutation: tuple[str, str], shown: dict[str, int]
) -> None:
    train(tmp_path, plant(tmp_path, [2]), mutation)
    found = {name: len(leaks) for name, leaks in seen(tmp_path, tuning()[6:9]).items()}
    assert {name: found[name] for name in shown} == shown


@pytest.mark.parametrize(
    "spelled",
    [
        lambda text: text.encode(),
        lambda text: text[: max(8, len(text) // 2 + 1)].encode(),
        lambda text: b"\0\0" + zstd.compress(b"before" + text.encode() + b"behind") + b"\0",
        lambda text: base64.b64encode(b"12" + text.encode() + b"4"),
        lambda text: text.encode().hex().encode(),
    ],
    ids=["as it is", "half of it", "compressed", "base64", "hexadecimal"],
)
def test_a_secret_is_found_in_every_spelling(spelled: Any) -> None:
    for one in tuning():
        assert leaked([one], b"padding", spelled(one.secret)), one.kind
        assert not leaked([one], b"padding", spelled(one.secret[::-1])), one.kind


def test_the_cells_of_a_notebook_and_what_they_print_are_kept_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name, value in planting.variables(tuning()).items():
        monkeypatch.setenv(name, value)
    cells = [f"text = r'''\n{one.text}\n'''\nprint(text)" for one in tuning()]
    cells.append(
        "import numpy as np, modelkeep as mk\nregistry = mk.Registry('registry', cache='cache')\n"
        "@registry.track('churn', capture='notebook', stdout=True)\ndef train(depth=6):\n"
        "    print(text)\n    return {'w': np.ones(2)}\ntrain()\nprint(train.last_run().version.record)"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    nbclient.NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    made = mk.Registry(tmp_path / "registry").get("churn:1").record.made
    assert len(made["code"]["cells"]) == 61
    assert leaked(tuning(), *files_below(tmp_path / "registry").values(), repr(made).encode()) == []
    assert leaked(tuning(), *files_below(tmp_path / "cache").values()) == []
    said = "".join(output.get("text", "") for output in book.cells[-1].outputs)
    assert leaked(tuning()[:-1], said.encode()) == []  # the last was printed by the cell itself


# -- saves that are no runs -------------------------------------------------------------------------------------------


def test_a_save_without_a_run_refuses_secrets_too() -> None:
    registry = mk.Registry("memory://canary-saves")
    passed = []
    for one in tuning():
        try:
            registry.save({"w": np.ones(2)}, "churn", params={str(one.name): one.value})
            passed.append(one.kind)
        except SecretError:
            pass
    assert passed == []


def test_notes_are_kept_without_secrets(tmp_path: Path) -> None:
    registry = mk.Registry(tmp_path, durable=False)
    for at in range(0, 60, 20):
        registry.save({"w": np.ones(2)}, "churn", notes="\n".join(one.text for one in tuning()[at : at + 20]))
    assert leaked(tuning(), *files_below(tmp_path).values()) == []


def main() -> int:
    """Plant, train, look; print how much was looked through."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        train(root, plant(root, range(20)))
        found = seen(root, tuning())
        for name in found:
            size = sum(path.stat().st_size for path in (root / name, *(root / name).rglob("*")) if path.is_file())
            print(f"{name}: {size:,} bytes, {len(found[name])} of {len(tuning())} secrets")  # noqa: T201  a command
    print(*(line for lines in found.values() for line in lines), sep="\n", end="")  # noqa: T201  a command
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
