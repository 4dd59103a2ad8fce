"""Where keys of a TOML text stand: every key that `tomllib` reads has a place, and it stands there."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.tomlplaces import Path, place_of, places

TEXT = """\
# a policy
[retention]
last = 10   # of them

[models."churn*"]
risk = 'high'
stages = [
  "staging",  # "first"
  "production",
]
[models."churn*".aliases.production]
note = \"\"\"
[not.a.header]
fake = 1 \\\"\"\" still\"\"\"
gates = [{ metric = "auc", least = 0.9 }, "golden",
         { metric = "#]}", inner.most = 1e3 }]
[[list]]
a.b = 1
[list.sub]
c = 1979-05-27T07:32:00Z
[[list]]
a = '''
x = 2'''
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("retention",), 2, 2),
        (("retention", "last"), 3, 1),
        (("models", "churn*"), 5, 9),
        (("models", "churn*", "stages", 1), 9, 3),
        (("models", "churn*", "aliases", "production", "gates", 0, "least"), 15, 28),
        (("models", "churn*", "aliases", "production", "gates", 1), 15, 43),
        (("models", "churn*", "aliases", "production", "gates", 2, "inner", "most"), 16, 34),
        (("list", 0, "a", "b"), 18, 3),
        (("list", 0, "sub", "c"), 20, 1),
        (("list", 1, "a"), 22, 1),
    ],
)
def test_a_key_is_found_where_it_stands(path: Path, line: int, column: int) -> None:
    found = place_of(TEXT, path)
    assert found is not None
    assert (found.line, found.column) == (line, column)


def test_of_a_key_that_is_not_there_the_nearest_that_would_hold_it_is_told() -> None:
    assert str(place_of(TEXT, ("retention", "newer"))) == "line 2, column 2"
    assert place_of(TEXT, ("nothing",)) is None
    assert place_of("", ("nothing",)) is None


def test_lines_that_end_as_on_windows_are_counted_once() -> None:
    assert place_of("a = 1\r\nb = 2\r\n", ("b",)) == place_of("a = 1\nb = 2\n", ("b",))


def paths_of(value: Any, within: Path = ()) -> Iterator[Path]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*within, key)
        yield from paths_of(inner, (*within, key))


def quoted(text: str) -> str:
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text) + '"'


def written(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(key)} = {written(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[ # one, [two]\n" + ",\n".join(map(written, value)) + "\n]"
    return quoted(value) if isinstance(value, str) else str(value).lower()


words = st.text(st.characters(codec="utf-8"), max_size=5)
trees = st.recursive(
    words | st.integers(-5, 5) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False).map(abs),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(words, st.dictionaries(words, trees, max_size=3), max_size=3))
def test_every_key_that_is_read_has_a_place_and_stands_there(tree: dict[str, Any]) -> None:
    # tables with headers outside, inline tables and arrays over several lines within
    lines = []
    for name, table in tree.items():
        lines.append(f"[{quoted(name)}] # [x]")
        lines += [f"{quoted(key)} = {written(value)}" for key, value in table.items()]
    text = "\n".join(lines)
    found = places(text)
    assert set(found) == set(paths_of(tomllib.loads(text)))
    for path, place in found.items():
        if isinstance(path[-1], str):
            assert text.split("\n")[place.line - 1][place.column - 1 :].startswith(quoted(path[-1]))


@given(st.text(st.sampled_from("[]{}=\"'\n.,#a1 \\\t"), max_size=40))
def test_whatever_text_is_sound_the_walk_comes_to_its_end(text: str) -> None:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(paths_of(tree)) <= set(places(text))
