"""The restricted reader: what it refuses, in which words, and that it gives back what `pickle` would."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import pickle
import pickletools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.errors import SerializerError, TrustError
from modelkeep.pickles import loads, names, rules, scan
from modelkeep.pickles.calls import FORMS
from modelkeep.pickles.checks import CHECKS
from modelkeep.pickles.guards import GUARDS
from modelkeep.pickles.reader import Reader
from modelkeep.pickles.states import STATES
from security.streams import HEAD, MODEL, STREAMS, doubled, name, text


def refusal(raw: bytes, buffers: tuple[bytes, ...] = ()) -> TrustError:
    with pytest.raises(TrustError) as refused:
        loads(raw, buffers=buffers)
    return refused.value


@pytest.mark.parametrize("rule", rules.RULES)
def test_what_a_rule_is_about_is_refused_by_this_rule(rule: str) -> None:
    error = refusal(STREAMS[rule])
    assert error.rule == rule
    assert error.what


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (STREAMS["listed"], "the pickle names os.system, which is not on the list of what may be built without trust"),
        (STREAMS["opcode"], "opcode EXT1 at byte 3 (extension codes are refused)"),
        (HEAD + b"N." + b"x" * 12, "12 bytes stand behind its end"),
        (STREAMS["memory"], "it makes 96 MiB and more out of 1049"),
        (STREAMS["arguments"], "it calls builtins.bytearray with arguments of a form that is not reviewed"),
        (STREAMS["frame-past-end"], "the frame at byte 2 is to be 100 bytes long, of which 2 are there"),
        (STREAMS["state-key"], "has the key '__class__'"),
    ],
)
def test_a_refusal_says_what_was_found(raw: bytes, words: str) -> None:
    assert words in str(refusal(raw))


NEEDLESS = {
    "INST": b"(ios\nsystem\n", "OBJ": b"(N\x6f", "EXT1": b"\x82\x01", "EXT2": b"\x83\x01\x00",
    "EXT4": b"\x84\x01\0\0\0",
    "PERSID": b"Pa\n", "BINPERSID": b"NQ", "DUP": b"N2", "GET": b"g0\n", "PUT": b"Np0\n", "INT": b"I1\n",
    "LONG": b"L1L\n", "FLOAT": b"F1\n", "STRING": b"S'a'\n", "UNICODE": b"Va\n", "LIST": b"(l", "DICT": b"(d",
    "BINSTRING": b"T\0\0\0\0", "SHORT_BINSTRING": b"U\0", "NEWOBJ_EX": b"NNN\x92",
}  # fmt: skip


@pytest.mark.parametrize("opcode", NEEDLESS)
def test_an_opcode_that_plain_objects_do_not_need_is_refused_by_name(opcode: str) -> None:
    error = refusal(HEAD + NEEDLESS[opcode] + b".")
    assert (error.rule, error.opcode) == ("opcode", opcode)


def test_every_opcode_is_either_needed_or_refused() -> None:
    used = {"PROTO", "FRAME", "STOP", *NEEDLESS}
    rest = {opcode.name for opcode in pickletools.opcodes} - used
    assert len(rest) == len(pickletools.opcodes) - 23
    for opcode in pickletools.opcodes:
        if opcode.name in rest:
            with pytest.raises(TrustError) as refused:
                scan(HEAD + opcode.code.encode("latin-1"))
            assert refused.value.rule != "opcode"


# -- names ----------------------------------------------------------------------------------------------------------

NEVER = [
    *("os.system", "posix.system", "nt.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "builtins.open"),
    *(
        "builtins.__import__",
        "builtins.getattr",
        "builtins.setattr",
        "builtins.compile",
        "builtins.map",
        "builtins.type",
    ),
    *(
        "builtins.memoryview",
        "builtins.print",
        "operator.attrgetter",
        "operator.methodcaller",
        "importlib.import_module",
    ),
    *("pickle.loads", "_pickle.loads", "joblib.load", "numpy.load", "numpy.fromfile", "numpy.memmap", "numpy.loadtxt"),
    *("torch._utils._rebuild_tensor_v2", "torch.load", "torch.storage._load_from_bytes", "runpy.run_path", "pty.spawn"),
    *("types.FunctionType", "types.CodeType", "marshal.loads", "ctypes.CDLL", "code.interact", "shutil.rmtree"),
    *("copyreg._reconstructor", "copyreg.__newobj__", "copyreg.add_extension", "codecs.decode", "_codecs.encode"),
    *("numpy.core.multiarray.fromfile", "numpy.testing._private.utils.runstring", "numpy.f2py.crackfortran.myeval"),
    *("scipy.stats._distn_infrastructure.rv_frozen", "sklearn.utils.parallel.Parallel", "pathlib.PosixPath"),
    *(
        "numpy.vectorize",
        "numpy.frompyfunc",
        "numpy.apply_along_axis",
        "numpy.savetxt",
        "numpy.fromregex",
        "numpy.source",
    ),
    *(
        "sklearn.datasets._base.load_files",
        "sklearn.metrics._dist_metrics.PyFuncDistance64",
        "numpy.random._philox.Philox",
    ),
    *("numpy.random._pickle.__bit_generator_ctor.x", "cloudpickle.cloudpickle._make_function", "xgboost.core.Booster"),
]


@pytest.mark.parametrize("forbidden", NEVER)
def test_no_name_that_loads_runs_or_reaches_further_is_on_the_list(forbidden: str) -> None:
    module, _, member = forbidden.rpartition(".")
    raw = HEAD + text(module) + text(member) + b"\x93."
    assert refusal(raw).rule in {"listed", "dotted"}
    with pytest.raises(TrustError):  # and the machine would not give it out either
        Reader(raw, ()).load()


def test_every_listed_name_is_of_a_known_kind_and_every_call_has_a_form_and_a_guard() -> None:
    listed = names.allowed().values()
    assert {use for found in listed for use in found.uses} <= {"value", "part", "new", "items", "appends"}
    assert {found.call for found in listed} - {""} == set(FORMS) == set(GUARDS)
    assert {found.build for found in listed} - {""} <= set(STATES)
    assert {found.check for found in listed} - {""} == set(CHECKS)
    assert [str(found) for found in listed if "." in found.name] == []


def test_what_is_checked_when_built_is_never_handed_out_as_a_class() -> None:
    assert [str(found) for found in names.allowed().values() if found.check and "value" in found.uses] == []


def test_a_listed_name_of_a_package_that_is_not_here_asks_for_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = names.Name("not_here", "Model", frozenset({"new"}), build="fields")
    monkeypatch.setitem(names.allowed(), ("not_here", "Model"), absent)
    with pytest.raises(SerializerError, match=r"needs not_here\.Model"):
        loads(HEAD + name("not_here", "Model") + b")\x81.")


# -- nothing is imported, nothing runs --------------------------------------------------------------------------------

WATCHED = """
import sys
from modelkeep.pickles import scan
raw = bytes.fromhex(sys.stdin.read())
scan(b"\\x80\\x05N.")  # the list is read once
seen = []
sys.addaudithook(lambda event, arguments: seen.append((event, arguments)))
found = scan(raw)
heard = [event for event in seen if event[0] != "builtins.id"]
print(heard, len(found.names) > 2, "sklearn" in sys.modules, "numpy" in sys.modules)
"""


def test_a_scan_imports_nothing_opens_nothing_and_calls_nothing() -> None:
    from sklearn.linear_model import LogisticRegression

    raw = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), 5)
    done = subprocess.run([sys.executable, "-c", WATCHED], input=raw.hex(), capture_output=True, text=True, check=True)
    assert done.stdout == "[] True False False\n"


def test_a_pickle_that_is_refused_at_its_end_has_run_nothing_of_its_beginning() -> None:
    made = name("collections", "OrderedDict") + b")R0"
    error = refusal(HEAD + made + name("os", "system") + text("true") + b"\x85R.")
    assert error.what == "os.system"


# -- what is built by native code -------------------------------------------------------------------------------------


def array_of(state: tuple[Any, ...], *, dtype: tuple[Any, ...] = ("f8", False, True)) -> bytes:
    """An array whose state is forged: a protocol-5 stream by hand, since numpy would not write it."""
    parts = {"dtype": dtype}
    start = name("numpy._core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
    return HEAD + start + b"(" + b"".join(_written(part, parts) for part in state) + b"tb."


def _written(part: Any, parts: dict[str, Any]) -> bytes:
    if part == "DTYPE":
        return (
            name("numpy", "dtype")
            + pickle.dumps(parts["dtype"], 3)[2:-1].replace(b"q\x00", b"").replace(b"q\x01", b"")
            + b"R"
        )
    return b"".join(pickle.dumps(part, 3)[2:-1].split(b"q\x00")).replace(b"q\x01", b"")


@pytest.mark.parametrize(
    "raw",
    [
        array_of((1, (2,), "DTYPE", False, b"\x01" * 16), dtype=("O8", False, True)),  # bytes as pointers
        array_of((1, (10**6,), "DTYPE", False, b"\x01" * 16)),
        array_of((1, (-1,), "DTYPE", False, b"\x01" * 16)),
        array_of((1, (2,), "DTYPE", False, [1, 2])),
        array_of((1, (1,), "DTYPE", False, b"\x01" * 8), dtype=("(1000000,1000000)f8", False, True)),
        array_of((1, (1,), "DTYPE", False, b"\x01" * 8), dtype=("O,f8", False, True)),
        array_of((1, (1,), "DTYPE", False, b"\x01" * 8), dtype=("f8", False, False)),
        array_of((2, (2,), "DTYPE", False, b"\x01" * 16)),
    ],
)  # fmt: skip
def test_an_array_whose_bytes_do_not_fit_its_shape_and_dtype_is_refused(raw: bytes) -> None:
    assert refusal(raw).rule in {"state", "arguments"}


def test_an_array_written_by_hand_as_numpy_would_is_let_in() -> None:
    found = loads(array_of((1, (2,), "DTYPE", False, np.arange(2.0).tobytes())))
    assert found.tolist() == [0.0, 1.0]


RECORD = np.dtype([("a", "i4"), ("b", "f8")], align=True)


def forged_record(**changed: Any) -> bytes:
    state = dict(
        zip(
            ("version", "order", "sub", "names", "fields", "size", "align", "flags"),
            RECORD.__reduce__()[2],
            strict=False,
        )
    )
    state.update(changed)

    class Forged:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.dtype, ("V16", False, True), tuple(state.values())

    return pickle.dumps(Forged(), 5)


def test_a_record_is_let_in() -> None:
    assert loads(forged_record()) == RECORD


@pytest.mark.parametrize(
    "changed",
    [
        {"fields": {"a": (np.dtype("i4"), 0), "b": (np.dtype("f8"), 10**6)}},
        {"fields": {"a": (np.dtype("i4"), -8), "b": (np.dtype("f8"), 8)}},
        {"fields": {"a": (np.dtype("O"), 0), "b": (np.dtype("f8"), 8)}},
        {"size": 10**9},
        {"flags": 63},
        {"align": 1000},
        {"sub": (np.dtype("f8"), (10**9,))},
        {"names": ("a", "a")},
    ],
)
def test_a_record_whose_fields_lie_outside_of_it_or_hold_objects_is_refused(changed: dict[str, Any]) -> None:
    assert refusal(forged_record(**changed)).rule == "state"


def test_the_guards_hold_where_the_scan_would_have_missed_it() -> None:
    for raw in (
        HEAD + name("builtins", "bytearray") + b"J\xff\xff\xff\x7f\x85R.",
        HEAD
        + name("numpy._core.multiarray", "_reconstruct")
        + name("numpy", "ndarray")
        + b"J\xff\xff\xff\x7f\x85C\x01b\x87R.",
        HEAD + name("numpy", "dtype") + text("(99999,99999)f8") + b"\x89\x88\x87R.",
        HEAD
        + name("numpy._core.multiarray", "scalar")
        + name("numpy", "dtype")
        + text("O8")
        + b"\x89\x88\x87RC\x08aaaaaaaa\x86R.",
        HEAD + name("sklearn.neighbors._kd_tree", "newObj") + name("builtins", "dict") + b"\x85R.",
        HEAD + name("functools", "partial") + name("builtins", "str") + b"\x85R.",
    ):
        with pytest.raises(TrustError) as refused:
            Reader(raw, ()).load()
        assert refused.value.rule == "guard"


# -- size and depth ---------------------------------------------------------------------------------------------------


def test_a_memo_that_doubles_is_data_but_no_key() -> None:
    found = loads(HEAD + doubled(30) + b".")
    assert found[0] is found[1]
    assert refusal(HEAD + b"}" + doubled(30) + b"Ns.").rule == "key-work"
    assert refusal(HEAD + b"(" + doubled(30) + b"\x91.").rule == "key-work"


def test_keys_that_may_all_have_one_hash_are_few() -> None:
    alike = [(2**61 - 1) * n for n in range(9, 3_000)]
    assert refusal(pickle.dumps(dict.fromkeys(alike), 5)).rule == "wide"
    assert loads(pickle.dumps(alike[:1000], 5)) == alike[:1000]


def test_twins_of_nested_sets_that_would_take_forever_to_compare_are_refused() -> None:
    nested = b"K\x01" + b"".join(
        b"\x940(h" + bytes([n]) + b"K\x01\x86h" + bytes([n]) + b"K\x02\x86\x91" for n in range(25)
    )
    assert refusal(HEAD + b"(" + nested + b"\x91.").rule == "key-work"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"]" * 10**6 + b"a" * (10**6 - 1) + b".",
        HEAD + b")" + b"\x85" * 10**6 + b".",
        HEAD
        + b"]\x94"
        + b"".join(b"]\x94a" + b"0" + b"j" + n.to_bytes(4, "little") for n in range(1, 5000))
        + b"0h\x00.",
    ],
    ids=["lists", "tuples", "lists that are filled after they were placed"],
)
def test_what_is_nested_a_thousand_levels_deep_is_refused(raw: bytes) -> None:
    assert refusal(raw).rule == "depth"


def test_what_holds_itself_is_let_in() -> None:
    loop: list[Any] = [1]
    loop.append({"self": loop, "pair": (loop, loop)})
    found = loads(pickle.dumps(loop, 5))
    assert found[1]["self"] is found


def test_many_small_objects_out_of_few_bytes_are_refused() -> None:
    assert refusal(HEAD + b"(" + b"\x8f" * 10**6 + b"t.").rule == "memory"


def test_a_number_of_a_million_digits_is_read_as_bytes_and_never_as_text() -> None:
    raw = pickle.dumps(1 << 10**6, 5)
    assert loads(raw) == 1 << 10**6


# -- it is a reader all the same --------------------------------------------------------------------------------------

PLAIN = [
    {"a": [1, -1, 300, 70000, 2**40, 2**2000, 1.5, True, None], "b": ("x", "ü" * 300, b"raw", b"r" * 300)},
    [{1, 2}, frozenset({3, (4, 5)}), bytearray(b"abc"), 1 + 2j, slice(1, None), range(3)],
    [collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1, 2], 5)],
    collections.defaultdict(list, {"a": [1]}),
    [dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC), dt.date(2024, 1, 2), dt.timedelta(3)],
    [decimal.Decimal("1.50"), dt.time(1, 2, 3, 4)],
]
ARRAYS = [
    np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array(["a", "bc"]),
    np.array([b"a"]),
    np.array([1, "a", None], dtype=object), np.array([], dtype="i4"), np.zeros((2, 0)), np.arange(3)[::2],
    np.array(["2024-01-01"], dtype="M8[D]"), np.array([(1, 2.0)], dtype=RECORD), np.float64(3.5), np.str_("abc"),
    np.ma.masked_array([1.0, 2.0], [True, False]), np.bool_(True), np.arange(3, dtype=">i4"), np.array(5),
    np.dtype("f4"),
]  # fmt: skip


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("value", PLAIN)
def test_plain_objects_come_back_from_every_protocol(value: Any, protocol: int) -> None:
    found = loads(pickle.dumps(value, protocol))
    assert found == value
    assert [type(part) for part in found] == [type(part) for part in value]


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("value", ARRAYS, ids=str)
def test_arrays_and_numbers_of_numpy_come_back_from_every_protocol(value: Any, protocol: int) -> None:
    found = loads(pickle.dumps(value, protocol))
    assert type(found) is type(value)
    if not isinstance(value, np.dtype):
        assert found.dtype == pickle.loads(pickle.dumps(value, protocol)).dtype
        assert np.array_equal(found, value)


def test_random_states_come_back_where_they_stood() -> None:
    state, generator = np.random.RandomState(3), np.random.default_rng(3)
    for drawn in (state, generator):
        drawn.normal(size=3)
        found = loads(pickle.dumps(drawn, 5))
        assert found.normal(size=3).tolist() == drawn.normal(size=3).tolist()


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
keys = st.integers() | st.text() | st.tuples(st.integers(), st.text())
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner) | st.tuples(inner, inner) | st.frozensets(keys),
    max_leaves=30,
)


@given(values, st.sampled_from([3, 4, 5]))
def test_what_it_lets_in_is_what_pickle_reads(value: Any, protocol: int) -> None:
    raw = pickle.dumps(value, protocol)
    assert loads(raw) == pickle.loads(raw) == value
    assert scan(raw).opcodes == sum(1 for _ in pickletools.genops(raw))


def test_it_sees_the_same_opcodes_as_pickletools_in_a_fitted_model() -> None:
    from sklearn.ensemble import RandomForestClassifier

    raw = pickle.dumps(RandomForestClassifier(5).fit(np.arange(40.0).reshape(20, 2), np.arange(20) % 2), 5)
    assert scan(raw).opcodes == sum(1 for _ in pickletools.genops(raw))


pieces = st.sampled_from(
    [bytes([code]) for code in range(256)] + [MODEL, text("a"), b"K\x00", b")\x81", b"}b", b"\x85R"]
)


@settings(max_examples=300)
@given(st.binary() | st.lists(pieces, max_size=30).map(b"".join))
def test_any_bytes_give_an_object_or_a_refusal(raw: bytes) -> None:
    for whole in (raw, HEAD + raw + b"."):
        try:
            loads(whole)
        except TrustError as error:
            seen = error.what
            assert seen
