"""The house: arrows point down, the front door is small and light, and what is public explains itself."""

from __future__ import annotations

import ast
import graphlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelkeep

SOURCE = Path(modelkeep.__file__).parent
# A package on a floor takes everything below it along. See docs/design for why each lies where it lies.
FLOORS: dict[int, tuple[str, ...]] = {
    5: ("__init__",),
    4: ("integrations", "testing", "cli", "commands", "exits", "pages", "demo", "__main__"),
    3: (
        *("registry", "registrydatasets", "registrysaves", "registryplace", "facts", "given", "saving"),
        *(
            "model",
            "namedline",
            "explained",
            "modelversion",
            "modelvariant",
            "failedrun",
            "kept",
            "loadable",
            "pointer",
            "versionfacts",
            "madeby",
            "usable",
            "arguments",
            "tensors",
        ),
        *("checking", "promoting", "gates", "customgates", "reviews", "events"),
        *("beside", "prediction", "golden", "comparing"),
        *("datasets", "datasetline", "datasetversion", "datafiles", "dataseeing"),
        *("storage", "usage", "listing", "doctor", "policy", "settlement", "views"),
        *("track", "runs", "making", "calls", "choosing"),
        *("restoring", "venvs"),
        *("telling", "card", "mlbom", "report"),
        *("questions", "bisection", "proposal", "plots"),
        *("comparison", "comparisonparts", "comparedparts", "comparisonview", "codechange", "datachange", "judging"),
        "holdout",
        *("tensorchange", "tensorreading", "versiontable", "why"),
        *("live", "looks", "pacing", "served", "watching"),
    ),
    2: (
        *("_home", "_line", "_publish", "_resolve", "_trust", "_veto", "_expected", "_transfer", "_visit"),
        *("_verify", "_crosscheck", "_lost", "_report", "_repair", "_dead", "_rulings", "_collect", "_erase"),
        *("_removed", "_survey", "_fates", "_places", "_repack", "_rewrite", "_compact"),
        *("_kin", "_kingraph"),
    ),
    1: (
        *("_origins", "birth", "journal", "reading", "fold", "folds", "entry", "tiles"),
        *("chunking", "splitters", "sources", "sink", "pieces", "codecs", "zstd", "progress", "threads", "streams"),
        *("manifest", "atrest", "packs", "packwriter", "packfiles", "chains", "nearby", "bases", "targets"),
        *("stores", "serializers", "pickles", "diagnosis", "races", "remedies"),
        *("cache", "cachechoice", "packcache", "retention", "gatepolicy", "policytext", "evidence"),
        *("curves", "tails", "termination", "surroundings"),
        "capture",
    ),
    0: (
        *("_about", "version", "ref", "digest", "layout", "errors", "values", "system", "forks"),
        *(
            "schema",
            "samples",
            "fitting",
            "signature",
            "callers",
            "markup",
            "markdown",
            "junit",
            "sketches",
            "trendline",
            "tomlplaces",
            "wholefile",
        ),
        *("code", "redaction", "secretnames", "secretshapes"),
        *("environment", "environmentdiff", "installed", "machine", "session", "releasenumbers", "bounds"),
        *("dataset",),
        *("lineage", "lineagenodes", "lineagerefs", "impact", "kinship"),
        *("layered", "lineagefold", "lineagetext", "lineagetree", "lineagesvg", "openlineage"),
        *("paired", "slicing", "tensornorms"),
    ),
}
FLOOR = {part: floor for floor, parts in FLOORS.items() for part in parts}
OWN_AFFAIR = {"integrations", "testing"}  # nobody else imports these


def name_of(path: Path) -> str:
    """The dotted name below the package: ``stores.local``, ``stores`` for its ``__init__``."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def asked_for(node: ast.AST) -> Iterator[str]:
    """What an import statement, or an `import_module` of a constant, names."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.ImportFrom(level=level):
            yield f"{'.' * level}"
        case ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(value=str(name)), *_]):
            yield name
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
            yield name


def imports_of(module: str) -> set[str]:
    """The modules of the package that *module* imports anywhere, lazily or for the type checker alone too."""
    found = set()
    for node in ast.walk(tree_of(module)):
        for asked in asked_for(node):
            if asked == "modelkeep" or asked.startswith("modelkeep."):
                found.add(resolved(asked))
    return found - {module}


def resolved(dotted: str) -> str:
    """The module behind ``modelkeep.stores.port.Store``; the front door for what it offers itself."""
    parts = dotted.split(".")[1:]
    while parts:
        if ".".join(parts) in MODULES:
            return ".".join(parts)
        parts.pop()
    return "__init__"


def part_of(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_every_module_has_a_floor_and_every_name_on_a_floor_is_a_module() -> None:
    assert {part_of(module) for module in MODULES} == set(FLOOR)


def test_no_import_is_relative() -> None:
    relative = [
        module for module in MODULES for node in ast.walk(tree_of(module)) if any(a[0] == "." for a in asked_for(node))
    ]
    assert relative == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_floor_or_below(module: str) -> None:
    here = FLOOR[part_of(module)]
    above = {other: FLOOR[part_of(other)] for other in imports_of(module) if FLOOR[part_of(other)] > here}
    if here == 4:  # commands and demos are written as users write: through the front door
        above.pop("__init__", None)
    assert above == {}


def test_nothing_imports_in_a_circle() -> None:
    # but for the front door, which users on floor 4 go in by: it hands on and is itself no module of the circle
    graph = {module: imports_of(module) - {"__init__"} for module in MODULES if module != "__init__"}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(graph)


@pytest.mark.parametrize("module", MODULES)
def test_nobody_imports_integrations_or_testing(module: str) -> None:
    strangers = {other for other in imports_of(module) if part_of(other) in OWN_AFFAIR - {part_of(module)}}
    assert strangers == set()


def test_the_rules_see_lazy_and_type_checking_imports() -> None:
    # a rule that sees nothing holds everywhere: these are imports that stand inside functions and conditions
    assert "serializers.discovery" in imports_of("facts")
    assert {"registry", "model", "stores"} <= imports_of("__init__")
    assert "stores.memory" in imports_of("stores")


# -- the front door ------------------------------------------------------------------------------------------------


def test_the_front_door_offers_at_most_25_names_in_order_and_all_of_them_are_there() -> None:
    offered = modelkeep.__all__
    assert offered == sorted(set(offered))
    assert len(offered) <= 25
    assert [name for name in offered if getattr(modelkeep, name, None) is None] == []
    assert dir(modelkeep) == offered


def test_the_front_door_tells_type_checkers_what_it_tells_everyone() -> None:
    typed = {}
    for node in ast.walk(tree_of("__init__")):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for line in node.body:
                assert isinstance(line, ast.ImportFrom)
                typed.update({alias.name: line.module for alias in line.names})
    assert sorted([*typed, "__version__"]) == modelkeep.__all__
    for name, module in typed.items():
        assert module is not None
        assert getattr(modelkeep, name) is getattr(importlib.import_module(module), name)


def test_a_name_that_the_front_door_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'modelkeep' has no attribute 'Manager'"):
        _ = modelkeep.Manager


def loaded_by(code: str) -> set[str]:
    """The modules that running *code* in a new process adds to those that bare Python has."""
    report = "import sys; print(*sys.modules)"
    bare, full = (
        set(subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True).stdout.split())
        for text in (report, f"{code}\n{report}")
    )
    return full - bare


def third_party(modules: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in modules}
    return {name for name in tops - sys.stdlib_module_names if not name.startswith("_")}


def test_importing_the_package_loads_nothing_but_itself() -> None:
    assert third_party(loaded_by("import modelkeep")) == {"modelkeep"}


def test_opening_a_registry_loads_neither_numpy_nor_a_framework() -> None:
    code = "import modelkeep; modelkeep.Registry('memory://x').models()"
    assert third_party(loaded_by(code)) <= {"modelkeep", "attr", "attrs", "orjson", "blake3", "backports"}


def test_what_looks_for_secrets_or_into_pickles_is_loaded_where_there_are_parameters_or_pickles() -> None:
    code = "import modelkeep as mk; r = mk.Registry('memory://x'); r.save({'a': 1}, 'm'%s); r.load('m')"
    rarely = {f"modelkeep.{name}" for name in ("_veto", "pickles", "redaction", "secretnames", "secretshapes")}
    assert loaded_by(code % "") & rarely == set()
    assert "modelkeep.redaction" in loaded_by(code % ", params={'depth': 6}")


# -- prose ---------------------------------------------------------------------------------------------------------

Definition = ast.FunctionDef | ast.ClassDef


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions, classes and methods, but for overloads and setters; the name of a test is its sentence."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith(("_", "test_")):
            continue
        names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
        if names & {"overload", "setter"}:
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_class_and_method_says_what_it_does(module: str) -> None:
    silent = [name for name, node in public(tree_of(module).body) if not (ast.get_docstring(node) or "").strip()]
    assert silent == []


@pytest.mark.parametrize("module", [m for m, path in MODULES.items() if path.read_text(encoding="utf-8").strip()])
def test_every_module_begins_by_saying_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree_of(module))
