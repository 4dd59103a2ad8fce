"""The contract of a serializer as a test suite, with a sink and files in memory to hold it to.

pytest shows both sides of a failed assertion here if a ``conftest.py`` says, before this module is imported,
``pytest.register_assert_rewrite("modelkeep.testing.serializers")``.
"""

from __future__ import annotations

import io
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn, Self

import pytest

from modelkeep import pickles
from modelkeep.digest import Buffer
from modelkeep.errors import SerializerError
from modelkeep.serializers.port import Serializer
from modelkeep.version import check_path

FRAMEWORKS = (
    "catboost", "jax", "joblib", "keras", "lightgbm", "numpy", "onnx", "pandas", "polars", "scipy", "sklearn", "spacy",
    "tensorflow", "torch", "transformers", "xgboost",
)  # fmt: skip


class MemoryFiles:
    """The files of a version in a dict; whatever is read is a copy.

    Example:
        >>> files = MemoryFiles({"b": b"12", "a/c": b""})
        >>> files.names(), files.size("b"), files.read("b")
        (('a/c', 'b'), 2, bytearray(b'12'))
    """

    def __init__(self, content: Mapping[str, bytes], *, trusted: bool = False) -> None:
        self._content = dict(content)
        self._trusted = trusted

    def names(self) -> tuple[str, ...]:
        """See `Files.names`."""
        return tuple(sorted(self._content))

    def size(self, path: str) -> int:
        """See `Files.size`."""
        return len(self._content[path])

    def read(self, path: str) -> bytearray:
        """See `Files.read`."""
        return bytearray(self._content[path])

    def views(self, path: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """See `Files.views`."""
        return [memoryview(bytearray(self._content[path][start:stop])) for start, stop in spans]

    def open(self, path: str) -> BinaryIO:
        """See `Files.open`."""
        return io.BytesIO(self._content[path])

    def extract(self, folder: Path) -> None:
        """See `Files.extract`."""
        for path, content in self._content.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

    def unpickle(self, path: str, buffers: Sequence[Buffer] = ()) -> Any:
        """See `Files.unpickle`."""
        loads = pickle.loads if self._trusted else pickles.loads
        return loads(self.read(path), buffers=buffers)

    def trusted(self) -> MemoryFiles:
        """The same files, and pickles may run code."""
        return MemoryFiles(self._content, trusted=True)


class MemorySink:
    """Gathers what a serializer writes, and looks at it only when the save ends, as a real save does.

    Attributes:
        opaque: for each path, whether its bytes are worth compressing.
        buffers: for each path given to `put`, the buffers themselves.

    Example:
        >>> with MemorySink() as sink:
        ...     sink.put("w.bin", b"12", b"3", opaque=False)
        ...     files = sink.files()
        >>> files.read("w.bin"), sink.opaque
        (bytearray(b'123'), {'w.bin': False})
    """

    def __init__(self) -> None:
        self.opaque: dict[str, bool] = {}
        self.buffers: dict[str, tuple[Buffer, ...]] = {}
        self._later: dict[str, Callable[[], bytes]] = {}
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def put(self, path: str, *buffers: Buffer, opaque: bool = True) -> None:
        """See `Sink.put`."""
        self.buffers[path] = buffers
        self._take(path, lambda: b"".join(memoryview(buffer).tobytes() for buffer in buffers), opaque=opaque)

    @contextmanager
    def stream(self, path: str) -> Iterator[BinaryIO]:
        """See `Sink.stream`."""
        stream = io.BytesIO()
        yield stream
        self._take(path, stream.getvalue)

    def folder(self) -> Path:
        """See `Sink.folder`."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="modelkeep-"))
        return self._folder

    def add(self, path: str, source: Path) -> None:
        """See `Sink.add`."""
        self._take(path, source.read_bytes)

    def files(self) -> MemoryFiles:
        """All that was written, as it is now; to be called once, at the end."""
        if self._folder is not None:
            for file in sorted(self._folder.rglob("*")):
                if file.is_file():
                    self.add(file.relative_to(self._folder).as_posix(), file)
        return MemoryFiles({path: content() for path, content in self._later.items()})

    def _take(self, path: str, content: Callable[[], bytes], *, opaque: bool = True) -> None:
        check_path(path)
        assert path not in self._later, f"the serializer wrote {path!r} twice"
        self._later[path] = content
        self.opaque[path] = opaque


def save_in_memory(serializer: Serializer, obj: object) -> MemoryFiles:
    """The files that *serializer* makes of *obj*.

    Raises:
        SerializerError: it cannot keep a part of it.

    Example:
        >>> import numpy as np
        >>> from modelkeep.integrations.tree import serializer
        >>> save_in_memory(serializer, {"w": np.zeros(3)}).names()
        ('model.safetensors',)
    """
    with MemorySink() as sink:
        serializer.save(obj, sink)
        return sink.files()


def load_from_memory(serializer: Serializer, files: MemoryFiles, into: object | None = None) -> Any:
    """Load as the core does where trust was granted: what the files hold may be run.

    Raises:
        SerializerError: the files hold no object, or it does not fit *into*.
    """
    return serializer.load(files.trusted(), serializer.form(files, into), into)


class SerializerContract:
    """What every serializer must do, as tests; inherit it and give it a serializer and objects.

    `FRAMEWORKS` names what importing the serializer's module may not load; add your own.

    Example:
        class TestLightgbm(SerializerContract):
            @pytest.fixture
            def serializer(self):
                return modelkeep_lightgbm.serializer

            @pytest.fixture
            def examples(self):
                return [trained_booster()]

            def same(self, a, b):
                return a.model_to_string() == b.model_to_string()
    """

    FRAMEWORKS: ClassVar[Sequence[str]] = FRAMEWORKS

    @pytest.fixture
    def serializer(self) -> Serializer:
        """The serializer under test."""
        _wanted(self, "serializer", "a serializer")

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        """Objects that it takes: at least one of each kind."""
        _wanted(self, "examples", "a list of objects that it takes")

    def same(self, a: Any, b: Any) -> bool:
        """Whether two objects are equal in every way that a user can tell."""
        return bool(a == b)

    def test_it_says_what_records_keep_of_it(self, serializer: Serializer) -> None:
        assert serializer.name
        assert serializer.format >= 1
        assert all(isinstance(package, str) for package in serializer.packages)

    def test_it_takes_its_examples(self, serializer: Serializer, examples: Sequence[Any]) -> None:
        assert examples
        assert [example for example in examples if serializer.accepts(example) is not True] == []

    def test_what_was_saved_comes_back(self, serializer: Serializer, examples: Sequence[Any]) -> None:
        for example in examples:
            loaded = load_from_memory(serializer, save_in_memory(serializer, example))
            assert self.same(example, loaded), f"{loaded!r} came back for {example!r}"

    def test_saving_leaves_the_object_as_it_is(self, serializer: Serializer, examples: Sequence[Any]) -> None:
        for example in examples:
            first = load_from_memory(serializer, save_in_memory(serializer, example))
            save_in_memory(serializer, example)
            assert self.same(example, first), f"{example!r} was changed by saving it"

    def test_saving_twice_makes_files_of_the_same_names(self, serializer: Serializer, examples: Sequence[Any]) -> None:
        for example in examples:
            names = save_in_memory(serializer, example).names()
            assert names
            assert save_in_memory(serializer, example).names() == names

    def test_each_load_gives_an_object_of_its_own(self, serializer: Serializer, examples: Sequence[Any]) -> None:
        for example in examples:
            files = save_in_memory(serializer, example)
            first, second = load_from_memory(serializer, files), load_from_memory(serializer, files)
            assert first is not second
            assert first is not example
            assert self.same(first, second)

    def test_its_forms_are_stable_and_bear_its_name(self, serializer: Serializer, examples: Sequence[Any]) -> None:
        for example in examples:
            files = save_in_memory(serializer, example)
            form = serializer.form(files, None)
            assert form == serializer.form(files, None)
            assert form.partition(":")[0] == serializer.name

    def test_asking_for_the_form_unpickles_nothing(
        self, serializer: Serializer, examples: Sequence[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = [save_in_memory(serializer, example) for example in examples]
        with monkeypatch.context() as patch:
            for name in ("load", "loads", "Unpickler", "_Unpickler"):
                patch.setattr(pickle, name, _unpickled)
            for files in stored:
                serializer.form(files, None)

    def test_exporting_writes_files_and_unpickles_nothing(
        self,
        serializer: Serializer,
        examples: Sequence[Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for number, example in enumerate(examples):
            files, folder = save_in_memory(serializer, example), tmp_path / str(number)
            folder.mkdir()
            with monkeypatch.context() as patch:
                for name in ("load", "loads", "Unpickler", "_Unpickler"):
                    patch.setattr(pickle, name, _unpickled)
                serializer.export(files, folder)
            assert any(file.is_file() and file.stat().st_size for file in folder.rglob("*"))

    def test_an_object_that_cannot_be_filled_is_refused(self, serializer: Serializer, examples: Sequence[Any]) -> None:
        files = save_in_memory(serializer, examples[0])
        with pytest.raises(SerializerError):
            load_from_memory(serializer, files, into=object())

    def test_importing_it_loads_no_framework(self, serializer: Serializer) -> None:
        module = type(serializer).__module__
        code = f"import sys, {module}\nprint(*sorted(set(sys.modules) & set({list(self.FRAMEWORKS)!r})))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
        assert (run.returncode, run.stdout.split()) == (0, []), run.stderr


def _unpickled(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a pickle was read before the gate of trust")


def _wanted(contract: object, fixture: str, what: str) -> NoReturn:
    pytest.fail(f"{type(contract).__name__} inherits a contract and must define a fixture {fixture!r}: {what}")
