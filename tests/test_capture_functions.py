"""The digest of a function: what does not change what it does does not count, and what does, does."""

from __future__ import annotations

import ast
import asyncio
import copy
import functools
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelkeep
from modelkeep.capture.functions import function_facts
from modelkeep.capture.syntax import syntax_digest

HERE = Path(__file__).parent
RATE = 0.1
LAYERS = {"wide": [64, 32], "deep": (8, 8, 8)}
BIG = list(range(1000))
API_KEY = "0123456789abcdef" * 2

FIRST = """
@registry.track("churn")
def train(frame, *, depth=6, rate: float = 0.1):
    '''Train.'''
    # grow it
    total = 0
    for row in frame:
        if row[0] > depth and not row[1]:
            total += row[0] * rate - 1
    label = f"{total:>{depth}} of {len(frame)}"
    return {"total": total, 'label': label, "half": frame[: depth // 2]}
"""
SAME = [
    FIRST.replace("Train.", "Train a model.\n\n    At length."),
    FIRST.replace("    '''Train.'''\n", ""),
    FIRST.replace("    # grow it\n", ""),
    FIRST.replace("total = 0", "total = (0)").replace("'label'", '"label"'),
    FIRST.replace("row[0] > depth and not row[1]", "(row[0] > depth) and (not row[1])"),
    FIRST.replace("frame, *, depth=6, rate: float = 0.1", "\n    frame,\n    *,\n    depth=6,\n    rate: float=.1,\n"),
    "\n\n" + FIRST,
]
OTHER = [
    FIRST.replace("total", "sum_"),
    FIRST.replace("+=", "-="),
    FIRST.replace("0.1", "0.2"),
    FIRST.replace(" and ", " or "),
    FIRST.replace("not row[1]", "row[1]"),
    FIRST.replace("*, depth", "depth"),
    FIRST.replace(" of ", " from "),
    FIRST.replace("def train", "async def train"),
    FIRST.replace("'label'", "b'label'"),
    FIRST.replace("@registry", "@registry.other\n@registry"),
]


def said(text: str) -> str:
    return syntax_digest(ast.parse(text))


@pytest.mark.parametrize("text", SAME)
def test_comments_docstrings_formatting_and_places_do_not_count(text: str) -> None:
    assert text != FIRST
    assert said(text) == said(FIRST)


@pytest.mark.parametrize("text", OTHER)
def test_names_operators_constants_and_order_count(text: str) -> None:
    assert text != FIRST
    assert said(text) != said(FIRST)


def test_a_function_of_a_docstring_alone_is_one_that_passes() -> None:
    assert said("def f():\n  'x'") == said("def f(): pass")


def test_the_digest_is_the_same_under_every_release_of_python() -> None:
    # what Python 3.11, 3.12 and 3.13 gave; the suite runs under one of them
    assert said(FIRST)[:16] == "19a682d6d580a859"


constants = st.one_of(
    st.integers(-1000, 1000),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.booleans(),
    st.binary(max_size=4),
    st.none(),
)
operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<<", "|", "&", "@"])
names = st.sampled_from(["a", "b", "frame", "depth"])


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:  # noqa: PLR0911  one line a kind
    kind = draw(st.integers(0, 6)) if depth else draw(st.integers(0, 1))

    def inner() -> str:
        return draw(expressions(depth - 1))

    match kind:
        case 0:
            return f"({draw(constants)!r})"
        case 1:
            return draw(names)
        case 2:
            return f"({inner()} {draw(operators)} {inner()})"
        case 3:
            return f"{draw(names)}({inner()}, key={inner()})"
        case 4:
            return f"[{inner()} for {draw(names)} in {inner()} if {inner()}]"
        case 5:
            return f"{{{inner()}: {inner()}}}"
        case _:
            return f"(lambda {draw(names)}={inner()}: {inner()})"


@st.composite
def functions(draw: st.DrawFn) -> str:
    lines = [f"    {draw(names)} = {draw(expressions())}" for _ in range(draw(st.integers(1, 3)))]
    condition, value = draw(expressions()), draw(expressions())
    return "\n".join(["def f(a, b=1, *c, d, **e):", *lines, f"    if {condition}:", f"        return {value}", ""])


@given(text=functions())
def test_reformatting_keeps_the_digest(text: str) -> None:
    again = ast.unparse(ast.parse(text)).replace("\n", "\n\n").replace(":\n", ":  # why\n")
    assert said(again) == said(text)


@given(text=functions(), chance=st.randoms(use_true_random=False))
def test_any_other_constant_name_or_operator_changes_it(text: str, chance: Any) -> None:
    tree = ast.parse(text)
    spots = [one for one in ast.walk(tree) if isinstance(one, ast.Constant | ast.Name | ast.BinOp | ast.arg)]
    if not spots:
        return
    spot, before = chance.choice(spots), said(text)
    match spot:
        case ast.Constant():
            spot.value = 12345 if spot.value != 12345 else 54321
        case ast.Name():
            spot.id += "_"
        case ast.arg():
            spot.arg += "_"
        case ast.BinOp():
            spot.op = ast.Mod() if not isinstance(spot.op, ast.Mod) else ast.Add()
    assert syntax_digest(tree) != before


def test_the_digest_of_a_secret_tells_nothing_of_it() -> None:
    text = "def f(password='maple-7'):\n  connect(password='maple-8')\n  API_KEY = 'k1'\n  return {'passwd': 'x1'}"
    changed = text.replace("maple-7", "otter").replace("maple-8", "otter").replace("k1", "k2").replace("x1", "x2")
    assert changed != text
    assert said(text) == said(changed)
    assert said(text) != said(text.replace("connect", "open"))


# -- functions as they come ----------------------------------------------------------------------------------------


def facts_of(function: object, root: Path = HERE) -> dict[str, Any]:
    return function_facts(function, root)


def scale(x: float) -> float:
    return x * RATE


def deeper(x: float) -> float:
    return scale(x) + len(LAYERS)


def over_and_over(x: float) -> float:
    return round_about(x) if x else 0.0


def round_about(x: float) -> float:
    return over_and_over(x - 1)


class Trainer:
    """A class of the project."""

    depth = 3

    def fit(self, x: float) -> float:
        return self.grow(x)

    def grow(self, x: float) -> float:
        return deeper(x)

    @classmethod
    def made(cls) -> Trainer:
        return cls()

    @staticmethod
    def plain(x: float) -> float:
        return x

    def __call__(self, x: float) -> float:
        return self.fit(x)


trainer = Trainer()
fixed = functools.partial(deeper, 3.0)
double = lambda x: x * 2  # noqa: E731
triple, quadruple = (lambda x: x * 3), (lambda x: x * 4)


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any) -> Any:
        return function(*args)

    return wrapped


@wrapping
def decorated(x: float) -> float:
    return deeper(x)


async def later(x: float) -> float:
    await asyncio.sleep(0)
    return deeper(x)


def closing(rate: float, inner: Callable[[float], float]) -> Callable[[float], float]:
    def closed(x: float) -> float:
        return inner(x) * rate

    return closed


MODULE = __name__


@pytest.mark.parametrize(
    ("function", "name", "calls"),
    [
        (scale, "scale", []),
        (deeper, "deeper", ["scale"]),
        (over_and_over, "over_and_over", ["round_about"]),
        (trainer.fit, "Trainer.fit", ["Trainer", "deeper", "scale"]),
        (Trainer.made, "Trainer.made", ["Trainer", "deeper", "scale"]),
        (Trainer.plain, "Trainer.plain", []),
        (Trainer, "Trainer", ["deeper", "scale"]),
        (trainer, "Trainer.__call__", ["Trainer", "deeper", "scale"]),
        (fixed, "deeper", ["scale"]),
        (decorated, "decorated", ["deeper", "scale", "wrapping"]),
        (later, "later", ["deeper", "scale"]),
        (closing(2.0, deeper), "closing.<locals>.closed", ["deeper", "scale"]),
        (double, "<lambda>", []),
    ],
)
def test_a_callable_gives_its_source_and_what_it_calls_in_the_project(
    function: object, name: str, calls: list[str]
) -> None:
    facts = facts_of(function)
    assert facts["name"] == f"{MODULE}:{name}"
    assert facts["file"] == "test_capture_functions.py"
    assert name.rpartition(".")[2] in (facts["source"] if name != "<lambda>" else "<lambda>")
    assert sorted(one.partition(":")[2] for one in facts["calls"] if not one.endswith("asyncio:sleep")) == sorted(calls)
    assert len(facts["ast_digest"]) == len(facts["source_digest"]) == 64


def test_each_of_two_lambdas_on_a_line_is_itself() -> None:
    assert facts_of(triple)["source"].endswith("x * 3")
    assert facts_of(quadruple)["source"].endswith("x * 4")
    assert facts_of(triple)["ast_digest"] != facts_of(quadruple)["ast_digest"]


def test_constants_that_are_read_count_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    before = facts_of(scale)["ast_digest"], facts_of(deeper)["ast_digest"], facts_of(double)["ast_digest"]
    monkeypatch.setitem(globals(), "RATE", 0.2)
    after = facts_of(scale)["ast_digest"], facts_of(deeper)["ast_digest"], facts_of(double)["ast_digest"]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True]
    monkeypatch.setitem(LAYERS, "deep", (8, 8, 9))
    assert facts_of(deeper)["ast_digest"] != after[1]


def test_what_a_closure_holds_counts() -> None:
    one, other = facts_of(closing(2.0, deeper)), facts_of(closing(3.0, deeper))
    assert one["ast_digest"] != other["ast_digest"]
    assert list(facts_of(closing(2.0, scale))["calls"]) != list(one["calls"])


def reads_key() -> tuple[str, list[int]]:
    return API_KEY, BIG


def test_a_secret_constant_counts_as_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    before = facts_of(reads_key)
    monkeypatch.setitem(globals(), "API_KEY", "fedcba9876543210" * 2)
    assert facts_of(reads_key) == before


def holds_secret() -> str:
    password = "maple-4711"
    return password.upper()


def test_the_source_is_redacted() -> None:
    assert "maple-4711" not in str(facts_of(holds_secret))
    assert "[redacted: password]" in facts_of(holds_secret)["source"]


def test_a_change_of_what_is_called_changes_the_digest_of_that_alone(tmp_path: Path) -> None:
    def made(body: str) -> dict[str, Any]:
        file = tmp_path / "features_here.py"
        file.write_text(f"def scale(x):\n    return {body}\n\ndef train(x):\n    return scale(x)\n")
        module = types.ModuleType("features_here")
        module.__file__ = str(file)
        exec(compile(file.read_text(), str(file), "exec"), module.__dict__)
        return facts_of(module.train, tmp_path)

    one, other = made("x * 2"), made("x * 3.5")
    assert one["ast_digest"] == other["ast_digest"]
    assert one["calls"].keys() == other["calls"].keys() == {"features_here:scale"}
    assert one["calls"] != other["calls"]


def test_what_a_function_imports_within_is_followed_if_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "features_within.py"
    file.write_text("def scale(x):\n    return x\n")
    module = types.ModuleType("features_within")
    exec(compile(file.read_text(), str(file), "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "features_within", module)

    def one(x: float) -> object:
        import features_within as features  # type: ignore[import-not-found]

        return features.scale(x)

    def other(x: float) -> object:
        from features_within import scale as grow
        from not_loaded import never  # type: ignore[import-not-found]

        return never(grow(x))

    assert (
        list(facts_of(one, tmp_path)["calls"]) == list(facts_of(other, tmp_path)["calls"]) == ["features_within:scale"]
    )


def test_a_file_that_was_edited_after_the_import_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "edited_here.py"
    file.write_text("def train(x):\n    return x\n")
    names: dict[str, Any] = {"__name__": "edited_here"}
    exec(compile(file.read_text(), str(file), "exec"), names)
    assert facts_of(names["train"], tmp_path)["notes"] == []
    file.write_text("def train(x, scale_of_it):\n    return scale_of_it(x)\n")
    assert "changed after it was imported" in facts_of(names["train"], tmp_path)["notes"][0]


@pytest.mark.parametrize("thing", [len, int, "text".upper, print, dict, None, 3])
def test_what_is_not_written_in_python_is_named_and_no_more(thing: object) -> None:
    facts = facts_of(thing)
    assert "source" not in facts
    assert facts["notes"] == ["function: unknown: it is not written in Python"]


def test_a_function_made_by_exec_is_named_and_no_more() -> None:
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec("def train(x):\n    return x", names)
    facts = facts_of(names["train"])
    assert facts["name"] == "nowhere:train"
    assert "ast_digest" not in facts
    assert facts["notes"] == ["function: unknown: no source of it is to be had (OSError)"]


def test_installed_code_is_not_followed() -> None:
    def uses_others(text: str) -> object:
        return copy.deepcopy(text), pytest.raises, os.fspath(text), scale

    assert [one.partition(":")[2] for one in facts_of(uses_others)["calls"]] == ["scale"]


def test_looking_runs_nothing_of_what_it_looks_at() -> None:
    class Sly:
        ran = False

        def __getattr__(self, name: str) -> Any:
            Sly.ran = True
            raise AttributeError(name)

        @property
        def shown(self) -> int:
            Sly.ran = True
            return 1

    sly = Sly()

    def uses() -> object:
        return sly.shown, sly.anything.more

    assert facts_of(uses)["ast_digest"]
    assert Sly.ran is False


def test_a_long_chain_of_calls_is_cut_and_noted(tmp_path: Path) -> None:
    file = tmp_path / "chain_here.py"
    lines = [f"def f{i}(x):\n    return f{i + 1}(x)\n" for i in range(60)]
    file.write_text("\n".join([*lines, "def f60(x):\n    return x\n"]))
    names: dict[str, Any] = {"__name__": "chain_here"}
    exec(compile(file.read_text(), str(file), "exec"), names)
    facts = facts_of(names["f0"], tmp_path)
    assert len(facts["calls"]) == 20
    assert "20 deep" in facts["notes"][0]


def test_the_decorator_track_does_not_count(tmp_path: Path) -> None:
    def made(head: str) -> dict[str, Any]:
        file = tmp_path / "tracked_here.py"
        file.write_text(f"{head}def train(x):\n    return x\n")
        keep = types.SimpleNamespace(track=lambda *_: lambda f: f)
        names: dict[str, Any] = {"__name__": "tracked_here", "other": keep, "keep": Tracker()}
        exec(compile(file.read_text(), str(file), "exec"), names)
        return facts_of(names["train"], tmp_path)

    plain = made("")["ast_digest"]
    assert made("@keep.track('churn')\n")["ast_digest"] == plain
    assert made("@other.track('churn')\n")["ast_digest"] != plain


class Tracker:
    """Stands for a registry, which has no `track` yet when only this part is tested."""

    def track(self, *_: object) -> Callable[[Any], Any]:
        return lambda function: function


Tracker.__module__ = "modelkeep.registry"


def test_a_script_a_pipe_and_two_processes_give_the_same_digests(tmp_path: Path) -> None:
    text = (
        "import sys, json\nfrom pathlib import Path\nfrom modelkeep.capture.functions import function_facts\n"
        "KINDS = {'b', 'a', 'c'}\ndef train(x):\n    return x in KINDS\n"
        "print(json.dumps(function_facts(train, Path('.')), sort_keys=True))\n"
    )
    (tmp_path / "main.py").write_text(text)
    outputs = [
        subprocess.run(
            [sys.executable, "main.py"],
            cwd=tmp_path, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
    assert '"ast_digest"' in outputs[0]


SCRIPT = """
import json, multiprocessing
from modelkeep.capture.functions import function_facts
from pathlib import Path

def scale(x):
    return 2 * x

def train(x):
    return scale(x)

def look():
    return function_facts(train, Path.cwd())

def looks():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps([look(), pool.apply(look)]))

if __name__ == "__main__":
    looks()
"""


def test_a_script_has_one_name_and_digest_as_a_script_as_a_module_and_in_a_spawned_process(tmp_path: Path) -> None:
    (tmp_path / "training.py").write_text(SCRIPT)
    found = []
    for arguments in (["training.py"], ["-m", "training"], ["-c", "import training; training.looks()"]):
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        found += json.loads(done.stdout)
    assert found == found[:1] * 6
    assert (found[0]["name"], list(found[0]["calls"])) == ("training:train", ["training:scale"])


def test_what_records_is_no_code_of_the_project_even_where_it_lies_within() -> None:
    def train() -> dict[str, Any]:
        return {"registry": modelkeep.Registry, "sorted": function_facts}

    root = Path(modelkeep.__file__).parent.parent.parent
    assert [name for name in function_facts(train, root)["calls"] if name.startswith("modelkeep")] == []
