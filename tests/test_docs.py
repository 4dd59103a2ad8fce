"""The documentation is held to what it says: code runs, commands run, names and links are there."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import modelkeep
from modelkeep import errors, stores

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
RUN = ("python", "pycon", "bash")
SHOWN = ("text", "toml")  # nothing to run
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n)?^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@attrs.frozen
class Block:
    """A fenced block of a page: its language, code, the line of its first line of code, and why it does not run."""

    language: str
    code: str
    line: int
    reason: str | None


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        yield Block(found["language"], found["code"], line, found["reason"])


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_fence_has_a_language_that_runs_or_is_only_shown(page: Path) -> None:
    blocks = list(blocks_of(page))
    fences = [line for line in page.read_text(encoding="utf-8").splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(blocks), "a fence is indented, open, or its reason stands apart"
    for block in blocks:
        assert block.language in (*RUN, *SHOWN), f"line {block.line}: {block.language!r}"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, no registry in memory, and this Python first on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stores, "_memories", {})
    monkeypatch.delenv("MODELKEEP_REGISTRY", raising=False)
    monkeypatch.setenv("MODELKEEP_ACTOR", "ada@example.org")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    return tmp_path


def run(block: Block, page: Path, names: dict[str, Any]) -> None:
    where = f"{page_id(page)}, line {block.line}"
    if block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
    elif block.language == "pycon":
        test = doctest.DocTestParser().get_doctest(block.code, {}, where, str(page), block.line - 1)
        test.globs = names
        said: list[str] = []
        doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append, clear_globs=False)
        assert not said, "".join(said)
    else:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.code], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{where}: status {done.returncode}\n{done.stdout}{done.stderr}"


def runs(page: Path) -> bool:
    return any(block.language in RUN and not block.reason for block in blocks_of(page))


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=page_id)
def test_every_block_runs_or_says_why_not(page: Path) -> None:
    names: dict[str, Any] = {"__name__": "__docs__"}
    for block in blocks_of(page):
        if block.language in RUN and not block.reason:
            run(block, page, names)


def test_the_site_builds_and_every_link_resolves(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "-q", "-f", ROOT / ".mkdocs.yml",
         "-d", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) - 2
    for page in pages:
        asked = re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(https?:[^\" >]+)", page.read_text("utf-8")
        )
        assert not asked, f"{page.name} asks for {asked}"


@pytest.mark.parametrize("page", PAGES[:2], ids=page_id)
def test_links_of_pages_outside_the_site_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (ROOT / target).is_file(), target


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / ".mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in DOCS.rglob("*.md") if page.relative_to(DOCS).as_posix() not in config] == []


def test_error_page_has_the_classes_of_the_module() -> None:
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    drawn = next(block.code for block in blocks_of(DOCS / "reference" / "errors.md") if block.language == "text")
    depths = [(len(line) - len(line.lstrip(" │├└─"))) // 4 for line in drawn.splitlines()]
    tree: dict[str, str] = {}
    above: list[str] = []
    for depth, line in zip(depths, drawn.splitlines(), strict=True):
        name = re.findall(r"\w+Error", line)[0]
        tree[name] = above[depth - 1] if depth else "Exception"
        above[depth:] = [name]
    classes = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}
    kinds = {name: kind for name, kind in classes.items() if issubclass(kind, errors.ModelkeepError)}
    assert tree == {name: kind.__bases__[0].__name__ for name, kind in kinds.items()}
    assert set(re.findall(r"^\| (?:\*\*)?`(\w+)`", text, re.MULTILINE)) == set(kinds)
    bold = set(re.findall(r"^\| \*\*`(\w+)`", text, re.MULTILINE))
    assert bold == {name for name in modelkeep.__all__ if name.endswith("Error")}


def test_api_page_has_every_public_name() -> None:
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    assert [name for name in modelkeep.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_api_page_names_what_exists() -> None:
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    for dotted in re.findall(r"^::: (\S+)", text, re.MULTILINE):
        module, _, name = dotted.rpartition(".")
        assert hasattr(importlib.import_module(module), name), dotted


def test_first_lines_of_the_readme_are_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m pip install .* && .*$", text, re.MULTILINE)
    assert commands == [
        'python -m pip install ".[demo]" && modelkeep demo',
        'python -m pip install -c tests/constraints.txt -e ".[test]" && python -m pytest',
    ]


def test_format_page_names_every_operation() -> None:
    from modelkeep.folds import notes, policy, releases, versions

    text = (DOCS / "reference" / "format.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE))
    for rules in (notes.RULES, policy.RULES, releases.RULES, versions.RULES):
        assert set(rules.ops) <= named
