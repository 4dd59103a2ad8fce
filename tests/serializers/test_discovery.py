from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.linear_model import LinearRegression

from modelkeep.errors import SerializerError, TrustError
from modelkeep.integrations.tree import serializer as tree
from modelkeep.registry import Registry
from modelkeep.serializers.discovery import by_name, for_object, forget, installed
from modelkeep.stores.memory import MemoryStore

SOURCE = """
from modelkeep.serializers.plain import PlainSerializer
class Own(PlainSerializer):
    name = {name!r}
    def accepts(self, obj): return {accepts}
serializer = Own()
"""


class Site:
    """A folder of distributions on the path of Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, distribution: str, *names: str, calls_itself: str, accepts: bool = True, source: str = SOURCE
    ) -> None:
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(source.format(name=calls_itself, accepts=accepts))
        facts = self.folder / f"{module}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        rows = "".join(f"{name} = {module}:serializer\n" for name in names)
        (facts / "entry_points.txt").write_text(f"[modelkeep.serializers]\n{rows}")
        forget()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]
    forget()


def anybody(_: str) -> bool:
    return True


class OwnDict(dict[str, Any]):
    def __init__(self) -> None:
        super().__init__(w=np.zeros(1))


def made_by(module: str, *bases: type, **facts: Any) -> Any:
    return type("Model", bases, {"__module__": module, **facts})()


@pytest.mark.parametrize(("obj", "name"), [
    ({"w": np.zeros(1)}, "tree"), ([np.zeros(1)], "tree"), (np.zeros(1), "tree"), (np.float64(1), "tree"),
    (OrderedDict(w=np.zeros(1)), "tree"), (made_by("own", OwnDict), "tree"), (torch.ones(1), "tree"),
    (torch.nn.Parameter(torch.ones(1)), "tree"), (torch.nn.ReLU(), "torch"),
    (torch.nn.Linear(1, 1).state_dict(), "tree"), (LinearRegression(), "sklearn"), (Path("a"), "files"),
    ({"a": "b"}, "tree"), ({}, "tree"), ([{"a": 1}], "tree"), (pd.DataFrame(), "table"), (pd.Series(), "table"),
    (scipy.sparse.eye(2), "sparse"), (np.array([1]).data, None), ("model.pkl", None), (b"raw", None), (None, None),
    (3, None), (2.5, None), (True, None), (Fraction(1, 2), None), (bytearray(1), None),
    (made_by("own", torch.nn.ReLU), "torch"), (made_by("own.part", LinearRegression), "sklearn"),
    (made_by("own", torch.nn.ReLU, dict), "torch"),
], ids=lambda value: value if isinstance(value, str) else type(value).__name__)  # fmt: skip
def test_the_classes_of_an_object_choose(obj: object, name: str | None) -> None:
    if name is None:
        with pytest.raises(SerializerError):
            for_object(obj)
    else:
        assert for_object(obj).name == name


@pytest.mark.parametrize("obj", [
    object(), made_by("own"), lambda: 1, torch.nn.ReLU().state_dict, {"a": {1, 2}}, [object()], OwnDict, np.float64,
    {"model": LinearRegression()}, {"table": pd.DataFrame()},
], ids=lambda one: type(one).__name__)  # fmt: skip
def test_what_nobody_takes_is_kept_by_cloudpickle_with_a_warning(obj: object) -> None:
    said = r"no serializer of its own takes a .*kept by cloudpickle.* trust= only"
    with pytest.warns(UserWarning, match=said) as told:
        assert for_object(obj).name == "cloudpickle"
    assert [Path(warning.filename).name for warning in told] == ["test_discovery.py"]


def test_the_warning_of_a_save_points_at_the_line_that_saves() -> None:
    registry = Registry(MemoryStore())
    with pytest.warns(UserWarning, match="own.Model; it is kept by cloudpickle") as told:
        registry.save(made_by("own", __reduce__=lambda _: (int, ())), "churn")
    assert [Path(warning.filename).name for warning in told] == ["test_discovery.py"]
    with pytest.raises(TrustError):
        registry.load("churn")
    assert registry.load("churn", trust="cloudpickle") == 0


def test_the_error_says_what_is_there_and_all_ways_out() -> None:
    with pytest.raises(SerializerError) as refused:
        for_object(3)
    text = str(refused.value)
    assert "builtins.int" in text
    assert "sklearn (modelkeep)" in text
    assert "serializer='cloudpickle'" in text
    assert "trust=True" in text


def test_a_path_given_as_text_is_told_what_to_do() -> None:
    with pytest.raises(SerializerError, match=r"pass pathlib\.Path"):
        for_object("model.pkl")
    with pytest.raises(SerializerError) as refused:
        for_object(3)
    assert "pathlib.Path(" not in str(refused.value)


def test_a_third_party_is_found_by_module_and_by_name(site: Site) -> None:
    site.add("keep-boost", "boost", calls_itself="boost")
    assert for_object(made_by("boost.trees"), anybody).name == "boost"
    assert by_name("boost", anybody) is for_object(made_by("boost"), anybody)
    assert ("boost", "keep-boost") in [(one.name, one.distribution) for one in installed()]


def test_the_nearest_class_that_somebody_takes_wins(site: Site) -> None:
    site.add("keep-boost", "boost", calls_itself="boost")
    assert for_object(made_by("boost", LinearRegression), anybody).name == "boost"
    site.add("keep-shy", "shy", calls_itself="shy", accepts=False)
    assert for_object(made_by("shy", LinearRegression), anybody).name == "sklearn"


def test_a_third_party_is_not_imported_until_it_is_allowed_by_name(site: Site) -> None:
    site.add("keep-boost", "boost", calls_itself="boost", source="raise SystemExit('it was imported')")
    with pytest.raises(TrustError, match=r"'boost' is of keep-boost.*trust=\['boost'\]"):
        by_name("boost")
    with pytest.raises(TrustError, match="trust='boost' in this call"):
        for_object(made_by("boost", LinearRegression))
    assert "keep_boost" not in sys.modules
    assert ("boost", "keep-boost") in [(one.name, one.distribution) for one in installed()]


def test_a_distribution_that_takes_our_name_is_not_ours(site: Site) -> None:
    site.add("modelkeep", "boost", calls_itself="boost", source="raise SystemExit('it was imported')")
    with pytest.raises(TrustError):
        by_name("boost")


def test_two_claims_matter_only_when_the_name_is_used(site: Site) -> None:
    site.add("keep-boost", "boost", calls_itself="boost")
    site.add("other-boost", "boost", calls_itself="boost")
    assert for_object({"w": np.zeros(1)}) is tree
    with pytest.raises(SerializerError, match="keep-boost and other-boost both claim 'boost'"):
        by_name("boost")
    with pytest.raises(SerializerError, match="keep-boost and other-boost both claim 'boost'"):
        for_object(made_by("boost"))


def test_built_ins_win(site: Site) -> None:
    site.add("bad-tree", "tree", "numpy", "builtins", calls_itself="tree")
    assert by_name("tree") is tree
    assert for_object(np.zeros(1)) is tree


def test_a_serializer_that_could_not_be_found_again_is_refused_before_it_saves(site: Site) -> None:
    site.add("keep-boost", "boost", calls_itself="other")
    with pytest.raises(SerializerError, match="calls itself 'other', which is no entry point"):
        for_object(made_by("boost"), anybody)
    site.add("keep-moost", "moost", calls_itself="tree")
    with pytest.raises(SerializerError, match="calls itself 'tree', which belongs to modelkeep"):
        for_object(made_by("moost"), anybody)


def test_one_that_cannot_be_imported_is_named(site: Site) -> None:
    site.add("keep-boost", "boost", calls_itself="boost", source="import no_such_module_at_all")
    assert for_object({"w": np.zeros(1)}) is tree
    with pytest.raises(SerializerError, match=r"'boost' of keep-boost .*no_such_module_at_all.*uninstall keep-boost"):
        by_name("boost", anybody)


@pytest.mark.parametrize(
    "name", ["", "nobody", "os.path:join", "modelkeep.integrations.tree", "tree:serializer", {"tree": 1}, {"tree"}, 3]
)
def test_an_unknown_name_is_never_imported(name: Any) -> None:
    with pytest.raises(SerializerError, match=r"no serializer .* is installed; installed are .*tree"):
        by_name(name)


@pytest.mark.usefixtures("site")
def test_what_is_installed_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_again(**_: object) -> None:
        pytest.fail("read again")

    forget()
    first = installed()
    monkeypatch.setattr("importlib.metadata.entry_points", read_again)
    assert installed() == first


def test_choosing_imports_no_framework() -> None:
    code = (
        "import sys\n"
        "from modelkeep.serializers.discovery import for_object\n"
        "from pathlib import Path\n"
        "assert for_object(Path('a')).name == 'files'\n"
        "assert type('M', (), {'__module__': 'sklearn.x'})() and for_object(type('M', (), "
        "{'__module__': 'sklearn.x'})()).name == 'sklearn'\n"
        "print(*{'numpy', 'torch', 'sklearn', 'joblib', 'cloudpickle'} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split()) == (0, []), run.stderr


def test_a_serializer_cannot_let_itself_in_under_the_tier_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelkeep.serializers import discovery
    from modelkeep.serializers.plain import PlainSerializer

    ran: list[str] = []

    class Evil(PlainSerializer):
        name = "evil"

        def save(self, obj: object, sink: Any) -> None:
            sink.put("x", str(obj).encode())

        def form(self, files: Any, into: object | None) -> str:
            del files, into
            return "tree"

        def load(self, files: Any, form: str, into: object | None) -> object:
            del files, into
            ran.append(form)
            return None

    evil = Evil()
    known = discovery.by_name
    monkeypatch.setattr(discovery, "by_name", lambda name, allowed: evil if name == "evil" else known(name, allowed))
    registry = Registry(MemoryStore())
    registry.save(object(), "churn", serializer="evil")
    with pytest.raises(SerializerError, match="the serializer 'evil' reports the form 'tree', which is not its own"):
        registry.load("churn")
    assert ran == []
