"""Pointers: they read as they were written, lead to the version that they name, and obey nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import IntegrityError, InvalidRefError, InvalidValueError, NotFoundError, TrustError
from modelkeep.pointer import MAX_BYTES, MAX_FILES, Pointer
from modelkeep.stores.memory import MemoryStore

PLAIN = Pointer(name="churn", number=7, digest="ab" * 32, size=131_072)


def twice(value: int) -> int:
    return 2 * value


@pytest.fixture
def registry() -> mk.Registry:
    return mk.Registry(MemoryStore("s3://acme-ml/registry"))


@pytest.fixture
def version(registry: mk.Registry) -> mk.ModelVersion:
    return registry.save({"w": np.arange(3)}, "churn", label="1.3.0")


@pytest.fixture
def file(tmp_path: Path, version: mk.ModelVersion) -> Path:
    return Pointer.of(version).write(tmp_path / "churn.pkl.mk")


# -- the text ------------------------------------------------------------------------------------------------------


def test_a_pointer_is_one_fact_a_line_in_an_order_that_stays() -> None:
    pointer = attrs.evolve(PLAIN, label="1.3.0", registry="s3://acme-ml/registry", files={"b": "1" * 64, "a": "0" * 64})
    assert str(pointer).splitlines() == [
        "# Stands for a model in a modelkeep registry: modelkeep show FILE, modelkeep export FILE FOLDER",
        "modelkeep = 1",
        'registry = "s3://acme-ml/registry"',
        'name = "churn"',
        "number = 7",
        'label = "1.3.0"',
        f'digest = "{"ab" * 32}"',
        "size = 131072",
        "",
        "[files]",
        f'"a" = "{"0" * 64}"',
        f'"b" = "{"1" * 64}"',
    ]


@pytest.mark.parametrize("name", ["churn", "taux d'été", 'a "b" c', "模型"])
def test_a_pointer_reads_as_it_was_written_whatever_the_name(name: str) -> None:
    pointer = attrs.evolve(PLAIN, name=name, files={f"{name}/x = [y]": "0" * 64})
    assert Pointer.parse(str(pointer)) == pointer
    assert Pointer.parse(str(pointer).replace("\n", "\r\n")) == pointer  # as Git writes it on Windows


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("modelkeep = 1", "modelkeep = 2", "format 2, and this release reads 1; upgrade modelkeep"),
        ("modelkeep = 1", "", "does not begin with modelkeep = 1"),
        ("modelkeep = 1", "modelkeep = true", "does not begin with modelkeep = 1"),
        ("number = 7", "number = 0", "between 1 and 10"),
        ("number = 7", 'number = "7"', "is a str"),
        ("modelkeep = 1", f"modelkeep = 0x{'f' * 5000}", "format too long to show"),
        ("number = 7", "", "does not say 'number'"),
        ("size = 131072", "size = -1", "size cannot be -1"),
        ("size = 131072", "size = 1.5", "should be a whole number"),
        ('"churn"', '"../churn"', "contains /"),
        ('"churn"', "[[1]]", "is a list"),
        ("ab" * 32, "ab" * 31, "is no digest"),
        ("size", "run = 'rm -rf /'\nsize", "says 'run', which is unknown"),
        ("size", "label = 'first'\nsize", "not a semantic version"),
        ("size", "registry = 's3://key:secret@bucket/x'\nsize", "s3://bucket/prefix"),
        ("size", "registry = 'https://evil.example/x'\nsize", "s3://bucket/prefix"),
        ("size", "files = { '../../etc/passwd' = '00' }\nsize", "must be relative"),
        ("size", f"files = {{ {', '.join(f'f{n} = 1' for n in range(MAX_FILES + 1))} }}\nsize", "at most 10"),
        ("size", "<<<<<<< HEAD\nsize", "it is no TOML"),
        ("size", f"deep = {'[' * 5000}\nsize", "it is no TOML"),
        ("size", f"long = {'9' * 5000}\nsize", "it is no TOML"),
    ],
)
def test_what_is_no_pointer_is_refused_in_one_sentence(old: str, new: str, said: str) -> None:
    text = str(PLAIN)
    assert old in text
    with pytest.raises(InvalidValueError) as refused:
        Pointer.parse(text.replace(old, new, 1))
    assert said in str(refused.value)


# -- the file ------------------------------------------------------------------------------------------------------


def test_writing_replaces_a_pointer_whole_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "churn.pkl.mk"
    PLAIN.write(target)
    attrs.evolve(PLAIN, number=8).write(target)
    assert Pointer.read(target).number == 8
    target.write_text("all: build\n", encoding="utf-8")  # a makefile may bear this name
    with pytest.raises(InvalidValueError, match="is no pointer"):
        PLAIN.write(target)
    assert target.read_text(encoding="utf-8") == "all: build\n"
    with pytest.raises(InvalidValueError, match=r"does not end in \.mk"):
        PLAIN.write(tmp_path / "churn.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["churn.pkl.mk"]


def test_who_may_read_a_pointer_is_what_the_user_set_for_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert PLAIN.write(tmp_path / "churn.mk").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", ["folder", "pipe", "large", "binary", "loop"])
def test_a_file_that_is_no_pointer_is_refused_without_being_read_to_its_end(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "x.mk"
    match kind:
        case "folder":
            target.mkdir()
        case "pipe":
            os.mkfifo(target)
        case "large":
            target.write_text(str(PLAIN) + "#" * MAX_BYTES, encoding="utf-8")
        case "binary":
            target.write_bytes(b"\x80\x05\xff")
        case _:
            target.symlink_to(target)
    with pytest.raises((InvalidValueError, NotFoundError), match=r"x\.mk"):
        Pointer.read(target)


# -- in a registry -------------------------------------------------------------------------------------------------


def test_a_path_stands_for_the_version_that_its_pointer_names(
    registry: mk.Registry, version: mk.ModelVersion, file: Path
) -> None:
    registry.save({"w": np.zeros(3)}, "churn")
    assert registry.get(file) == version
    assert registry.load(file)["w"].tolist() == [0, 1, 2]
    with pytest.raises(mk.ModelkeepError, match="list"):
        registry.load(file, as_=list)
    assert (registry.load(file, into=file.parent / "out") / "model.safetensors").is_file()


def test_a_text_is_a_name_whatever_it_ends_in(registry: mk.Registry, file: Path) -> None:
    registry.save({"w": np.ones(1)}, "churn.pkl.mk")
    assert registry.load("churn.pkl.mk")["w"].tolist() == [1]
    with pytest.raises(InvalidRefError, match="PosixPath"):
        registry.live(file)  # type: ignore[call-overload]


def test_a_label_that_came_after_the_pointer_is_no_difference(tmp_path: Path, registry: mk.Registry) -> None:
    version = registry.save({"w": np.zeros(1)}, "churn")
    file = Pointer.of(version).write(tmp_path / "churn.mk")
    version.set_label("2.0.0")
    assert registry.get(file).label == "2.0.0"


def test_many_files_are_not_listed(tmp_path: Path, registry: mk.Registry) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for number in range(MAX_FILES + 1):
        (folder / f"{number}.txt").write_text("x", encoding="utf-8")
    file = Pointer.of(registry.save(folder, "bundle")).write(tmp_path / "bundle.mk")
    assert Pointer.read(file).files == {}
    assert registry.get(file).ref == "bundle:1"


@pytest.mark.parametrize("key", ["digest", "size", "label", "files"])
def test_whatever_a_pointer_says_falsely_is_an_integrity_error(registry: mk.Registry, file: Path, key: str) -> None:
    false: dict[str, Any] = {"digest": "0" * 64, "size": 1, "label": "9.9.9", "files": {"model.safetensors": "0" * 64}}
    attrs.evolve(Pointer.read(file), **{key: false[key]}).write(file)
    with pytest.raises(IntegrityError, match=f"does not fit churn:1 .*: {key} differ; .*another registry, or changed$"):
        registry.load(file)


def test_another_registry_with_the_same_number_is_not_taken_for_the_one_that_was_meant(file: Path) -> None:
    other = mk.Registry(MemoryStore())
    other.save({"w": np.arange(1, 4)}, "churn", label="1.3.0")
    with pytest.raises(IntegrityError, match="written for s3://acme-ml/registry; if you trust that place, open it"):
        other.load(file)


def test_the_registry_that_a_pointer_names_is_told_and_never_opened(tmp_path: Path) -> None:
    file = attrs.evolve(PLAIN, registry="s3://evil/registry").write(tmp_path / "churn.mk")
    with pytest.raises(NotFoundError, match="written for s3://evil/registry; if you trust that place"):
        mk.Registry(MemoryStore()).load(file)
    lines = (
        "import sys, pathlib, modelkeep as mk",
        "try: mk.Registry('here').load(pathlib.Path('churn.mk'))",
        "except mk.NotFoundError: print('s3fs' in sys.modules, 'fsspec' in sys.modules)",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"


def test_where_a_registry_lies_on_this_machine_is_not_told(tmp_path: Path) -> None:
    version = mk.Registry(tmp_path / "registry").save({"w": np.zeros(1)}, "churn")
    assert str(tmp_path) not in str(Pointer.of(version))


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/x", "s3://bucket/x?token=y", "https://host/x", "s3://bücket/x"]
)
def test_an_address_that_is_no_plain_bucket_is_not_told(url: str) -> None:
    version = mk.Registry(MemoryStore(url)).save({"w": np.zeros(1)}, "churn")
    assert Pointer.of(version).registry is None


def test_a_pointer_grants_no_trust(tmp_path: Path, registry: mk.Registry) -> None:
    version = registry.save(twice, "double", serializer="cloudpickle")
    file = Pointer.of(version).write(tmp_path / "double.mk")
    with pytest.raises(TrustError):
        registry.load(file)
    assert registry.load(file, trust=Pointer.read(file).digest)(21) == 42


def test_a_missing_pointer_and_a_version_that_is_gone_are_not_found(registry: mk.Registry, file: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no pointer .*other\.mk"):
        registry.get(file.with_name("other.mk"))
    registry.get("churn:1").delete()
    with pytest.raises(NotFoundError, match="deleted"):
        registry.load(file)
