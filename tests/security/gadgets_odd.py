"""Gadgets of names that are written oddly, of states, and of harmless classes that are given something to run."""

from __future__ import annotations

from collections.abc import Iterator

from security.assembling import Build, Call, Name, New, Raw
from security.attack import CANARY, MARK, TOUCH, Gadget
from security.gadgets import g, only

N = Name
_OBJECT = New(N("collections", "OrderedDict"))
_ESTIMATOR = New(N("sklearn.linear_model._logistic", "LogisticRegression"))
_TRANSFORMER = New(N("sklearn.preprocessing._function_transformer", "FunctionTransformer"))


# fmt: off
def odd_names() -> Iterator[Gadget]:
    """Names that a comparison by prefix, by case, by its last part or after some cleaning would let in."""
    for module, attr in (
        ("os", "path.os.system"), ("os.path", "os.system"), ("collections", "abc.sys.modules"),
        ("collections", "OrderedDict.__init__.__globals__"), ("sklearn.base", "BaseEstimator.__init__.__globals__"),
        ("sklearn.linear_model._logistic", "LogisticRegression.fit"), ("sklearn", "base.os.system"),
        ("numpy", "ndarray.tofile"), ("numpy", "dtype.__reduce__"), ("numpy", "core.multiarray.os"),
        ("sklearn.base", "importlib.import_module"), ("sklearn.base", "os.system"), ("joblib", "os.system"),
        ("collections", "OrderedDict.__class__.__base__.__subclasses__"), ("builtins", "dict.__class__"),
        ("sklearn.utils", "os.system"), ("sklearn.utils.validation", "os.system"), ("numpy", "random.os.system"),
        ("builtins", "list.__init_subclass__"), ("", "os.system"), ("numpy.lib.npyio", "os.system"),
    ):
        yield Gadget(f"dotted {module} {attr}", Call(N(module, attr), (TOUCH,)))
    for module, attrs in {
        "numpy": ("os", "sys", "f2py", "testing", "ctypeslib", "load", "_core.multiarray.fromfile"),
        "joblib": ("os", "Parallel", "load", "Memory", "externals", "parallel"),
        "sklearn": ("os", "externals", "config_context", "__loader__"),
        "sklearn.base": ("importlib", "os", "functools", "inspect", "warnings"), "scipy": ("os", "io", "__loader__"),
        "sklearn.utils": ("os", "deprecated", "Bunch.__getattr__"), "json": ("codecs", "scanner"),
        "pandas": ("io", "compat"), "torch": ("os", "sys", "load", "ops", "classes"), "logging": ("os", "sys"),
        "collections": ("_sys", "abc"), "random": ("_os",), "tempfile": ("_os", "_shutil"), "glob": ("os",),
        "string": ("_re",), "threading": ("_sys", "_os"), "argparse": ("_sys", "_os"), "xml": ("sax", "etree"),
    }.items():
        yield from only(module, *attrs)
    for module, attr in (
        ("os", "system "), (" os", "system"), ("os\0", "system"), ("os", "system\0x"), ("OS", "System"),
        ("os.", "system"), (".os", "system"), ("o\u017f", "system"), ("\uff4f\uff53", "system"), ("os", "\uff53ystem"),
        ("\u043es", "system"),
        ("os", "syst\u00adem"), ("os", "s\u200bystem"), ("o\u0073\u0301", "system"), ("", "system"), ("os", ""),
        ("", ""),
        ("os/", "system"), ("os:system", "x"), ("..os", "system"), ("os;sklearn", "system"), ("builtins", "eval\t"),
        ("sklearn.linear_model._logistic ", "LogisticRegression"), ("sklearn..base", "clone"), ("sklearn.", "base"),
        ("numpy.core.multiarray/../os", "system"), ("x" * 5000, "y"), ("sklearn", "x" * 5000), ("numpy", "\ud800"),
        ("\u202esso", "system"), ("sklearn.base", "BaseEstimator "), ("sklearn\n.base", "X"), ("numpy", "nd\narray"),
    ):
        yield Gadget(f"odd name {ascii(module)[:60]} {ascii(attr)[:60]}", Call(N(module, attr), (TOUCH,)))
    for attr in ("Model", "os", "__builtins__.eval", "__loader__", "x", "MAIN", "__dict__"):
        yield g("__main__", attr, TOUCH)
    for module in ("__mp_main__", CANARY, f"{CANARY}.x", "sitecustomize", "usercustomize", "conftest", "this"):
        yield g(module, "anything", TOUCH)
    yield from only("modelkeep", "Registry", "load")
    yield g("modelkeep.serializers.outofband", "load", None)
    yield g("modelkeep.registry", "Registry", MARK)
    yield g("modelkeep.integrations.files", "_load_pickle", None, "x")
    yield g("modelkeep._trust", "_TIERS.__setitem__", "files:pickle", "data")
    yield g("modelkeep.pickles", "loads", b"N.")


def states() -> Iterator[Gadget]:
    """Harmless objects that are given a state, which does what a call would."""
    run = N("os", "system")
    yield Gadget("BUILD of __class__", Build(_ESTIMATOR, {"__class__": N("ctypes", "CDLL")}))
    yield Gadget("BUILD of __dict__", Build(_ESTIMATOR, {"__dict__": {"predict": run}}))
    yield Gadget("BUILD of __setstate__", Build(Build(_OBJECT, {"__setstate__": run}), TOUCH))
    yield Gadget("BUILD of __setstate__ on an estimator", Build(
        Build(_ESTIMATOR, (None, {"__setstate__": run})), TOUCH))
    yield Gadget("BUILD of __reduce__", Build(_OBJECT, {"__reduce__": run}))
    yield Gadget("BUILD of predict", Build(_ESTIMATOR, {"predict": run, "coef_": 1}))
    yield Gadget("BUILD of slots", Build(_ESTIMATOR, (None, {"__class__": N("subprocess", "Popen")})))
    yield Gadget("BUILD on a class", Build(N("sklearn.base", "BaseEstimator"), (None, {"__setstate__": run})))
    yield Gadget("BUILD on a class, of a dict", Build(N("collections", "OrderedDict"), {"__missing__": run}))
    yield Gadget("BUILD on a module's function", Build(N("sklearn.base", "clone"), {"__wrapped__": run}))
    yield Gadget("BUILD of FunctionTransformer(os.system)", Build(_TRANSFORMER, {"func": run, "validate": False}))
    yield Gadget("FunctionTransformer(os.system)", Call(
        N("sklearn.preprocessing._function_transformer", "FunctionTransformer"), (run,)))
    yield Gadget("an estimator of a grid", Build(New(N("sklearn.model_selection._search", "GridSearchCV")),
                                                 {"estimator": _ESTIMATOR, "scoring": run}))
    yield Gadget("a voter with eval", Build(New(N("sklearn.ensemble._voting", "VotingClassifier")),
                                            {"estimators": [("a", N("builtins", "eval"))]}))
    yield Gadget("a vectorizer with os.system", Build(New(N("sklearn.feature_extraction.text", "CountVectorizer")),
                                                      {"analyzer": run, "preprocessor": run, "tokenizer": run}))
    yield Gadget("a kernel of os.system", Build(New(N("sklearn.svm._classes", "SVC")), {"kernel": run}))
    yield Gadget("a metric of os.system", Build(New(N("sklearn.neighbors._classification", "KNeighborsClassifier")),
                                                {"metric": run, "weights": run}))
    yield Gadget("a pipeline with a memory", Build(New(N("sklearn.pipeline", "Pipeline")), {
        "steps": [("a", run)], "memory": Call(N("joblib", "Memory"), (MARK,))}))
    yield Gadget("a key that is os.system", {run: 1})
    yield Gadget("a list of os.system", [1, 2, run])
    yield Gadget("a default of os.system in a state", Build(_ESTIMATOR, {
        "a": Call(N("collections", "defaultdict"), (run,))}))
    yield Gadget("append to an estimator", Raw(b"\x8c\x02os\x8c\x06system\x93" + b"N" + b"a"))
    yield Gadget("items of a class", Raw(b"c__main__\nX\n(\x8c\x01a\x8c\x01bu"))
    yield Gadget("a call of nothing", Call(None, ()))
    yield Gadget("a call of a text", Call("os.system", (TOUCH,)))
    yield Gadget("a call of a dict", Call({}, ()))
    yield Gadget("a call with no tuple", Raw(b"cos\nsystem\n\x8c\x01xR"))
    yield Gadget("a property set", Call(N("builtins", "property"), (run,)))
    yield Gadget("a name as a state", Build(_ESTIMATOR, run))
    yield Gadget("a name in a set", Raw(b"\x8f(cos\nsystem\n\x90"))
    yield Gadget("a name in a frozenset", Raw(b"(cos\nsystem\n\x91"))
# fmt: on
