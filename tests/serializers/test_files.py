from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from modelkeep.errors import InvalidValueError, SerializerError
from modelkeep.integrations.files import serializer as paths
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import SerializerContract, load_from_memory, save_in_memory

ARRAYS = {"a": np.arange(3.0), "b": np.ones((2, 2))}
LATE = {"words": {f"word{number}": number for number in range(20_000)}, "a": np.arange(3.0)}


def write_old_torch(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)


KINDS: dict[str, tuple[Callable[[Path], Any], str, Any]] = {
    "safetensors": (lambda p: p.write_bytes(safetensors.numpy.save(ARRAYS)), "files:safetensors", ARRAYS),
    "npy": (lambda p: p.write_bytes(npy(ARRAYS["a"])), "files:numpy", ARRAYS["a"]),
    "npz": (lambda p: p.write_bytes(npz(ARRAYS)), "files:numpy", ARRAYS),
    "pickle": (lambda p: p.write_bytes(pickle.dumps(ARRAYS)), "files:pickle", ARRAYS),
    "joblib": (lambda p: joblib.dump(ARRAYS, p), "files:joblib", ARRAYS),
    "joblib, arrays late": (lambda p: joblib.dump(LATE, p), "files:joblib", LATE),
    "joblib, zlib": (lambda p: joblib.dump(ARRAYS, p, compress=3), "files:joblib", ARRAYS),
    "joblib, gzip": (lambda p: joblib.dump(ARRAYS, p, compress=("gzip", 3)), "files:joblib", ARRAYS),
    "joblib, xz": (lambda p: joblib.dump(ARRAYS, p, compress=("xz", 3)), "files:joblib", ARRAYS),
    "torch": (lambda p: torch.save({"a": torch.ones(2)}, p), "files:torch", {"a": torch.ones(2)}),
    "torch before 1.6": (write_old_torch, "files:torch", {"a": torch.ones(2)}),
}


def npy(array: Any) -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(arrays: dict[str, Any]) -> bytes:
    import io

    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


class TestFiles(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return paths

    @pytest.fixture
    def examples(self, tmp_path: Path) -> Sequence[Any]:
        files = [tmp_path / f"{number}.bin" for number in range(len(KINDS))]
        for (write, _, _), file in zip(KINDS.values(), files, strict=True):
            write(file)
        return files

    def same(self, a: Any, b: Any) -> bool:
        return repr(self.held(a)) == repr(self.held(b))

    def held(self, obj: Any) -> Any:
        return list(KINDS.values())[int(obj.stem)][2] if isinstance(obj, Path) else obj


@pytest.mark.parametrize(("write", "form", "held"), KINDS.values(), ids=KINDS)
def test_a_file_is_told_by_its_content_whatever_it_is_called(
    write: Callable[[Path], Any], form: str, held: Any, tmp_path: Path
) -> None:
    write(tmp_path / "model.onnx")
    files = save_in_memory(paths, tmp_path / "model.onnx")
    assert files.names() == ("model.onnx",)
    assert paths.form(files, None) == form
    assert repr(load_from_memory(paths, files)) == repr(held)


def test_types_that_numpy_lacks_come_as_torch(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.ones(2)}
    (tmp_path / "m").write_bytes(safetensors.torch.save(tensors))
    found = load_from_memory(paths, save_in_memory(paths, tmp_path / "m"))
    assert torch.equal(found["a"], tensors["a"])
    assert isinstance(found["b"], np.ndarray)


def a_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "see weights.npy and /data.pkl")


UNKNOWN: dict[str, Callable[[Path], Any]] = {
    "text": lambda p: p.write_text("tree\nversion=v4\n"),
    "nothing": lambda p: p.write_bytes(b""),
    "another zip": a_zip,
    "a damaged zip": lambda p: p.write_bytes(b"PK\x03\x04" + b"a.npy" * 10),
    "gzip of text": lambda p: p.write_bytes(__import__("gzip").compress(b"text")),
    "a damaged gzip": lambda p: p.write_bytes(b"\x1f\x8b" + b"x" * 20),
}


@pytest.mark.parametrize("write", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_told_says_how_to_get_the_files(write: Callable[[Path], Any], tmp_path: Path) -> None:
    write(tmp_path / "m")
    with pytest.raises(SerializerError, match=r"into=folder"):
        paths.form(save_in_memory(paths, tmp_path / "m"), None)


def test_arrays_of_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(SerializerError, match=r"Object arrays.*into=folder"):
        load_from_memory(paths, save_in_memory(paths, tmp_path / "m.npy"))


def test_a_folder_comes_whole_and_gives_no_one_object(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    for name in ("b.json", "a.bin", "sub/c", "sub/.hidden/d"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a.bin")
    files = save_in_memory(paths, tmp_path)
    assert files.names() == ("a.bin", "b.json", "link", "sub/.hidden/d", "sub/c")
    assert files.read("sub/.hidden/d") == b"sub/.hidden/d"
    assert files.read("link") == b"a.bin"
    with pytest.raises(SerializerError, match=r"holds 5 files.*into=folder"):
        paths.form(files, None)


def outside(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/hostname")


def nowhere(folder: Path) -> None:
    (folder / "link").symlink_to("gone")


def around(folder: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)


@pytest.mark.parametrize("spoil", [
    outside, nowhere, around, lambda folder: os.mkfifo(folder / "pipe"),
], ids=["link outside", "dangling link", "link to a folder", "pipe"])  # fmt: skip
def test_what_is_no_ordinary_file_inside_is_refused(spoil: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_text("a")
    spoil(tmp_path)
    with pytest.raises(InvalidValueError, match=r"link|loop|pipe"):
        save_in_memory(paths, tmp_path)


def test_a_path_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(InvalidValueError, match="holds no files"):
        save_in_memory(paths, tmp_path)
    with pytest.raises(InvalidValueError, match="neither a file nor a folder"):
        save_in_memory(paths, tmp_path / "gone")


def test_only_paths_are_taken() -> None:
    assert [paths.accepts(obj) for obj in (Path("a"), "a", b"a", None)] == [True, False, False, False]


def test_a_folder_that_holds_one_that_may_not_be_read_is_refused() -> None:
    with tempfile.TemporaryDirectory() as place:  # the folders above `tmp_path` are not for everyone
        folder = Path(place, "folder")
        (folder / "closed").mkdir(parents=True)
        for name in ("open.txt", "closed/in.txt"):
            (folder / name).write_text("1")
        (folder / "closed").chmod(0)
        Path(place).chmod(0o755)
        try:
            with as_anybody(), pytest.raises(InvalidValueError, match="closed cannot be read"):
                save_in_memory(paths, folder)
        finally:
            (folder / "closed").chmod(0o700)
        assert save_in_memory(paths, folder).names() == ("closed/in.txt", "open.txt")


@contextmanager
def as_anybody() -> Iterator[None]:
    """Without the rights of root, who may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_an_archive_with_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        archive.writestr("a.npy", b"no array")
    with pytest.raises(SerializerError, match="the member 'a', which is no array"):
        load_from_memory(paths, save_in_memory(paths, tmp_path / "model.npz"))
