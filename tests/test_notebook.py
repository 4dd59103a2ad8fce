"""The tutorial notebook runs from its first cell to its last, as a reader runs it: in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import modelkeep as mk

BOOK = Path(__file__).parent.parent / "docs" / "tutorials" / "first-model.ipynb"


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(BOOK.read_text(encoding="utf-8"))["cells"]
    return found


def test_the_notebook_runs_in_an_empty_folder_and_leaves_what_it_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for module in ("ipykernel", "sklearn", "pandas"):
        pytest.importorskip(module)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "empty"
    folder.mkdir()
    book = nbformat.reads(BOOK.read_text(encoding="utf-8"), as_version=4)
    nbformat.validate(book)
    where = {"metadata": {"path": folder}}
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute()
    registry = mk.Registry(folder / "registry")
    versions = registry.model("tumour").versions()
    assert [version.number for version in versions] == [5, 4, 3, 2, 1]
    assert [version.params.get("depth") for version in versions] == [4, 8, 1, 4, None]
    assert registry.get("tumour@production").metrics["auc"] > 0.9
    said = [output.get("text", "") for cell in book.cells for output in cell.get("outputs", [])]
    assert not [text for text in said if "Warning" in text]
    assert registry.storage.verify().ok


def test_the_notebook_is_short_and_holds_no_outputs() -> None:
    assert len(cells()) <= 25
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []


def test_links_of_the_notebook_resolve() -> None:
    texts = ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "markdown"]
    targets = [part.partition(")")[0] for text in texts for part in text.split("](")[1:]]
    assert len(targets) == 2
    assert [target for target in targets if not (BOOK.parent / target).is_file()] == []
