"""Cells as they were executed: in a real notebook that a kernel runs, and in a shell of IPython."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelkeep.capture import notebook
from modelkeep.capture.notebook import executed_cells

SECRET = "maple-4711"
CELLS = (
    "RATE = 0.1\ndef scale(x):\n    return x * RATE",
    f"DB_PASSWORD = '{SECRET}'",
    "%time 1 + 1",
    "def train(x):\n    return scale(x)",
    (
        "import json\nfrom pathlib import Path\nfrom modelkeep.capture.code import code_facts\n"
        "print(json.dumps(code_facts(train, cells=True, files=True, folder=Path.cwd())))"
    ),
)


def test_a_notebook_that_a_kernel_executes_gives_its_cells_and_its_functions(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    nbclient.NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    found: dict[str, Any] = json.loads("".join(out["text"] for out in book.cells[-1].outputs if "text" in out))
    assert [cell["number"] for cell in found["cells"]] == [1, 2, 3, 4, 5]
    assert [cell["text"] for cell in found["cells"]][::2] == list(CELLS)[::2]
    assert found["function"]["name"] == "__main__:train"
    assert found["function"]["source"] == f"{CELLS[3]}\n"
    assert "file" not in found["function"]
    assert list(found["function"]["calls"]) == ["__main__:scale"]
    assert SECRET not in json.dumps(found)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = pytest.importorskip("traitlets.config").Config({"HistoryManager": {"hist_file": ":memory:"}})
    made = interactive.InteractiveShell.instance(config=config)
    yield made
    interactive.InteractiveShell.clear_instance()


def test_a_shell_gives_what_ran_in_the_order_in_which_it_ran(shell: Any) -> None:
    shell.run_cell("x = 1", store_history=True)
    shell.run_cell("x = 2", store_history=False)
    shell.run_cell("TOKEN = 'ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF3gH5'", store_history=True)
    cells, notes = executed_cells()
    assert cells == [{"number": 1, "text": "x = 1"}, {"number": 2, "text": "TOKEN = '[redacted: GitHub token]'"}]
    assert notes == []


def test_many_cells_lose_the_oldest_and_a_long_one_its_end(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MAX_CELL", 10)
    monkeypatch.setattr(notebook, "MAX_ALL", 50)
    for text in ("first = 1", "second = 2", "third = 'a long text'"):
        shell.run_cell(text, store_history=True)
    cells, notes = executed_cells()
    assert [cell["number"] for cell in cells] == [2, 3]
    assert cells[-1]["text"] == "third = 'a\n[cut: 11 more characters]"
    assert notes == ["cells: the first 1 were left out, since there are many"]


def test_a_shell_that_breaks_and_none_at_all_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @staticmethod
        def get_ipython() -> object:
            raise RuntimeError("broken")

    monkeypatch.setitem(__import__("sys").modules, "IPython", Broken)
    assert executed_cells() == ([], ["cells: unknown: RuntimeError"])
    monkeypatch.delitem(__import__("sys").modules, "IPython")
    assert executed_cells() == ([], ["cells: unknown: this is not IPython"])
