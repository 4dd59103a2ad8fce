from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import modelkeep as mk
from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.pickles import serializer as cloudpickle
from modelkeep.integrations.sklearn import serializer as sklearn
from modelkeep.serializers import outofband
from modelkeep.serializers.outofband import rewrite
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import (
    MemoryFiles,
    MemorySink,
    SerializerContract,
    load_from_memory,
    save_in_memory,
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of 16 KiB lie apart already, so that tests need no large ones."""
    monkeypatch.setattr(outofband, "_INLINE", 16 * 1024)


RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(400, 5)), RNG.normal(size=400)
WIDE = RNG.normal(size=(50, 5000))
FOREST = RandomForestRegressor(5, random_state=0).fit(X, Y)


class TestSklearn(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return sklearn

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [
            FOREST,
            make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y),
            make_pipeline(StandardScaler(), LogisticRegression()).fit(WIDE, Y[:50] > 0),
            make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a fine day", "no rain"], [0, 1]),
            LinearRegression(),
        ]

    def same(self, a: Any, b: Any) -> bool:
        if type(a) is not type(b) or repr(a) != repr(b):
            return False
        if not hasattr(a, "n_features_in_"):
            return not hasattr(b, "n_features_in_") and self.same_texts(a, b)
        inputs = X if a.n_features_in_ == X.shape[1] else WIDE
        return bool(np.array_equal(a.predict(inputs), b.predict(inputs)))

    def same_texts(self, a: Any, b: Any) -> bool:
        return a is not b if isinstance(a, LinearRegression) else bool((a.predict(["rain"]) == b.predict(["rain"]))[0])


class Counter:
    def __init__(self) -> None:
        self.weights = np.arange(10_000.0)
        self.again = self.weights
        self.small = np.ones(3)


class TestCloudpickle(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return cloudpickle

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [Counter(), {"a": [1, 2], "b": b"raw" * 10_000}, [np.arange(3), lambda x: x + 1]]

    def same(self, a: Any, b: Any) -> bool:
        if isinstance(a, list):
            return np.array_equal(a[0], b[0]) and a[1](1) == b[1](1) == 2
        if isinstance(a, dict):
            return bool(a == b)
        return b.again is b.weights and all(np.array_equal(part, vars(b)[name]) for name, part in vars(a).items())


def test_large_arrays_lie_apart_raw_aligned_and_without_a_copy() -> None:
    arrays = [np.arange(5000.0), np.arange(2501, dtype="i8"), np.arange(30_001, dtype="u1")]
    with MemorySink() as sink:
        cloudpickle.save(arrays, sink)
        arrays[0][0] = 77  # seen only if nothing was copied
        files = sink.files()
    assert files.names() == ("buffers.safetensors", "model.pkl")
    apart = safetensors.numpy.load(bytes(files.read("buffers.safetensors")))
    assert {name: array.nbytes for name, array in apart.items()} == {
        "00000000": 40_000,
        "00000001": 20_008,
        "00000002": 30_001,
    }
    found = load_from_memory(cloudpickle, files)
    assert found[0][0] == 77
    assert all(np.array_equal(a, b) and b.flags.writeable for a, b in zip(arrays, found, strict=True))


def test_small_objects_are_one_file() -> None:
    assert save_in_memory(cloudpickle, [np.arange(3)]).names() == ("model.pkl",)


def test_readonly_and_shared_arrays_stay_so() -> None:
    array = np.arange(5000.0)
    array.flags.writeable = False
    first, second = load_from_memory(cloudpickle, save_in_memory(cloudpickle, [array, array]))
    assert first is second
    assert not first.flags.writeable


@pytest.mark.parametrize("obj", [
    [np.arange(5000.0), "text", b"b" * 70_000], [np.arange(3)], [np.arange(5000.0)] * 2, bytearray(100_000), {"a": 1},
], ids=["mixed", "small", "shared", "bytearray", "plain"])  # fmt: skip
def test_an_export_is_one_pickle_that_plain_python_reads(obj: Any, tmp_path: Path) -> None:
    cloudpickle.export(save_in_memory(cloudpickle, obj), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pkl"]
    with (tmp_path / "model.pkl").open("rb") as file:
        found = pickle.load(file)
    assert repr(found) == repr(obj)
    assert [a.flags.writeable for a in found if isinstance(a, np.ndarray)] == [
        a.flags.writeable for a in obj if isinstance(a, np.ndarray)
    ]


def test_an_exported_readonly_array_is_readonly(tmp_path: Path) -> None:
    array = np.arange(5000.0)
    array.flags.writeable = False
    sklearn.export(save_in_memory(cloudpickle, [array, np.ones(5000)]), tmp_path)
    frozen, free = pickle.loads((tmp_path / "model.pkl").read_bytes())
    assert (frozen.flags.writeable, free.flags.writeable) == (False, True)
    assert np.array_equal(frozen, array)


def test_an_exported_forest_predicts_in_a_process_without_this_library(tmp_path: Path) -> None:
    big = RandomForestRegressor(3, random_state=0).fit(X, Y)
    sklearn.export(save_in_memory(sklearn, big), tmp_path)
    np.save(tmp_path / "x.npy", X)
    code = (
        "import pickle, sys, numpy as np\n"
        "print(pickle.load(open('model.pkl', 'rb')).predict(np.load('x.npy')).tobytes().hex())\n"
        "assert 'modelkeep' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == big.predict(X).tobytes().hex()


@given(st.lists(st.binary(max_size=50).map(bytearray) | st.binary(max_size=50), max_size=5), st.binary(max_size=20))
def test_a_rewritten_pickle_gives_the_same_object(parts: list[Any], extra: bytes) -> None:
    apart: list[pickle.PickleBuffer] = []
    obj = [[pickle.PickleBuffer(part), extra, "x" * 300] for part in parts]
    stream = pickle.dumps(obj, 5, buffer_callback=apart.append)
    whole = b"".join(bytes(part) for part in rewrite(stream, [buffer.raw() for buffer in apart]))
    assert pickle.loads(whole) == [[part, extra, "x" * 300] for part in parts]
    assert [type(row[0]) for row in pickle.loads(whole)] == [type(part) for part in parts]


def test_exporting_runs_nothing(tmp_path: Path) -> None:
    trap = b"cos\nmkdir\n(V" + str(tmp_path / "trap").encode() + b"\ntR."
    sklearn.export(MemoryFiles({"model.pkl": trap}), tmp_path / "out")
    assert not (tmp_path / "trap").exists()
    assert (tmp_path / "out" / "model.pkl").read_bytes() == trap


@pytest.mark.parametrize(("stream", "buffers"), [
    (b"", 0), (b"garbage", 0), (pickle.dumps([1])[:-1], 0), (pickle.dumps([1]) + b"more", 0), (pickle.dumps([1]), 1),
    (b"\x80\x05\x97.", 0), (b"\x80\x05\x97\x98.", 2),
])  # fmt: skip
def test_a_damaged_pickle_is_an_integrity_error(stream: bytes, buffers: int) -> None:
    with pytest.raises(IntegrityError, match=r"model\.pkl is damaged"):
        list(rewrite(stream, [memoryview(b"x")] * buffers))


@pytest.mark.parametrize("index", [
    "", "{}", "3", '{"buffers":3}', '{"buffers":[[0]]}', '{"buffers":[[0,99999,false]]}', '{"buffers":[[-1,1,false]]}',
    '{"buffers":[["0",1,false]]}', '{"buffers":[[true,1,false]]}', '{"buffers":' + "[" * 100_000,
])  # fmt: skip
def test_a_damaged_index_is_an_integrity_error(index: str) -> None:
    files = {"model.pkl": pickle.dumps(1), "buffers.bin": b"12", "buffers.json": index.encode()}
    with pytest.raises(IntegrityError, match=r"buffers\.json is damaged"):
        load_from_memory(cloudpickle, MemoryFiles(files))


def test_what_cannot_be_pickled_is_refused_with_a_way_out() -> None:
    pipeline = make_pipeline(FunctionTransformer(lambda x: x), LinearRegression())
    with pytest.raises(SerializerError, match=r"Pipeline cannot be pickled .*serializer='cloudpickle'"):
        save_in_memory(sklearn, pipeline)
    assert load_from_memory(cloudpickle, save_in_memory(cloudpickle, pipeline)).fit(X, Y).predict(X).shape == (400,)
    with pytest.raises(SerializerError, match=r"generator cannot be pickled .*pathlib"):
        save_in_memory(cloudpickle, (number for number in range(3)))


def test_a_model_whose_code_is_gone_says_so() -> None:
    with pytest.raises(SerializerError, match=r"needs code that is not here.*no_such_module"):
        load_from_memory(sklearn, MemoryFiles({"model.pkl": b"cno_such_module\nModel\n."}))


def test_only_what_comes_from_sklearn_is_taken() -> None:
    class Own(LinearRegression):  # type: ignore[misc]
        pass

    assert [sklearn.accepts(obj) for obj in (Own(), FOREST, object(), X, {})] == [True, True, False, False, False]


SCRIPT = """
import sys
import modelkeep as mk
RATE = 3
def scorer(x):
    '''Scores.'''
    return x * RATE
mk.Registry(sys.argv[1]).save(scorer, "scorer", serializer="cloudpickle")
"""


def test_a_function_of_a_script_goes_by_value_and_its_source_lies_beside(tmp_path: Path) -> None:
    script, registry = tmp_path / "train.py", tmp_path / "registry"
    script.write_text(SCRIPT)
    subprocess.run([sys.executable, script, registry], check=True)
    script.unlink()
    version = mk.Registry(registry).get("scorer")
    assert version.load(trust=True)(2) == 6
    version.export(tmp_path / "out")
    assert (tmp_path / "out" / "source.py").read_text().startswith("def scorer(x):\n    '''Scores.'''")
    assert pickle.loads((tmp_path / "out" / "model.pkl").read_bytes())(2) == 6


def test_the_source_beside_a_pickle_is_never_run() -> None:
    files = save_in_memory(cloudpickle, Counter)
    assert bytes(files.read("source.py")).startswith(b"class Counter:")
    poisoned = MemoryFiles({"model.pkl": bytes(files.read("model.pkl")), "source.py": b"raise SystemExit"})
    assert load_from_memory(cloudpickle, poisoned).__name__ == "Counter"
