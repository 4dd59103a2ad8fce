"""Bytes under bad conditions: full disks, dying stores, moving files and arrays, hostile files, poisoned caches."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep import packwriter
from modelkeep.digest import Buffer
from modelkeep.errors import IntegrityError, InvalidValueError, ModelkeepError, StoreError
from modelkeep.registry import Registry
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Wrapper

KIB, MIB = 1024, 1024 * 1024


def noise(seed: int, size: int) -> Any:
    return np.random.default_rng(seed).random(size // 8)


def keys(store: Store) -> set[str]:
    return {item.key for item in store.list("")}


def packs(store: Store) -> set[str]:
    return {key for key in keys(store) if "/data/" in key}


def hidden(folder: Path) -> list[Path]:
    """Temporary files that were left behind."""
    return list(folder.rglob(".*"))


# -- disks that are full, stores that are down ---------------------------------------------------------------------


class Full(Wrapper):
    """Takes so many bytes of packs in all, and no more."""

    def __init__(self, within: Store, room: int) -> None:
        super().__init__(within)
        self.room = room

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        def counted() -> Iterator[Buffer]:
            for part in source:
                self.room -= memoryview(part).nbytes
                if self.room < 0:
                    raise StoreError(f"{key}: No space left on device", key=key)
                yield part

        super().put_pack(key, counted())


@pytest.mark.parametrize("room", [0, 15, 16, 10_000, 600 * KIB, 3 * MIB])
def test_a_disk_that_is_full_anywhere_in_a_save_leaves_nothing_and_the_next_save_works(
    tmp_path: Path, room: int
) -> None:
    store = LocalStore(tmp_path / "registry", durable=False)
    first = {"a": noise(1, 500 * KIB), "b": noise(2, 100 * KIB)}
    Registry(store).save(first, "m")
    before = keys(store)
    full = Full(store, room)
    registry = Registry(full)
    second = {"a": noise(1, 500 * KIB), "c": noise(3, 4 * MIB)}
    with pytest.raises(StoreError, match="No space left"):
        registry.save(second, "m")
    assert keys(store) == before
    assert hidden(tmp_path / "registry") == []
    assert np.array_equal(Registry(store).load("m")["b"], first["b"])
    full.room = 1 << 40
    assert registry.save(second, "m").number == 2
    assert np.array_equal(Registry(store).load("m")["c"], second["c"])
    assert Registry(store).storage.verify().findings == ()


def test_a_disk_that_is_full_at_the_second_pack_of_a_save_keeps_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packwriter, "MAX_PACK", 100 * KIB)
    store = LocalStore(tmp_path / "registry", durable=False)
    full = Full(store, 1 << 40)
    registry = Registry(full)
    registry.save({"a": noise(1, 90 * KIB)}, "m")
    before = keys(store)
    full.room = 250 * KIB
    with pytest.raises(StoreError, match="No space left"):
        registry.save({f"t{number}": noise(number, 90 * KIB) for number in range(1, 5)}, "m")
    assert keys(store) == before
    full.room = 1 << 40
    registry.save({f"t{number}": noise(number, 90 * KIB) for number in range(1, 5)}, "m")
    assert len(packs(store)) == 1 + 3, "the first tensor was there"
    assert np.array_equal(Registry(store).load("m")["t4"], noise(4, 90 * KIB))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("lacks the right to mount a disk: this is not root on Linux")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_is_full_leaves_nothing_and_a_smaller_save_works(tiny: Path) -> None:
    store = LocalStore(tiny / "registry", durable=False)
    registry = Registry(store)
    registry.save({"a": noise(1, 500 * KIB)}, "m")
    before = keys(store)
    with pytest.raises(StoreError, match="No space left on device; nothing was written, make room"):
        registry.save({"a": noise(1, 500 * KIB), "b": noise(2, 5 * MIB)}, "m")
    assert keys(store) == before
    assert hidden(tiny) == []
    registry.save({"a": noise(1, 500 * KIB), "c": noise(3, 500 * KIB)}, "m")
    assert np.array_equal(Registry(store).load("m:1")["a"], noise(1, 500 * KIB))
    assert np.array_equal(Registry(store).load("m:2")["c"], noise(3, 500 * KIB))
    assert Registry(store).storage.verify().findings == ()


class Down(Wrapper):
    """Answers nothing but errors from the *left*-th request for bytes of a pack on."""

    left = 1 << 40

    def _count(self, key: str) -> None:
        if "/data/" in key:
            self.left -= 1
            if self.left < 0:
                raise StoreError(f"{key}: the store is down", key=key)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        self._count(key)
        return super().get(key, span)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        self._count(key)
        super().put_pack(key, source)


def test_a_store_that_goes_down_while_a_version_is_read_is_told_and_a_retry_works(tmp_path: Path) -> None:
    down = Down(MemoryStore())
    saved = {"a": noise(1, 9 * MIB), "b": noise(2, 100 * KIB), "s": np.arange(3)}
    version = Registry(down).save(saved, "m")
    asks: tuple[Callable[[], object], ...] = (
        lambda: Registry(down).load("m"),
        version.verify,
        lambda: Registry(down).get("m").tensors["a"],
        lambda: Registry(down).get("m").open("model.safetensors").read(),
        lambda: Registry(down).load("m", into=tmp_path / "out"),
    )
    for ask in asks:
        down.left = 1 << 40
        ask()
        needed = (1 << 40) - down.left
        assert needed >= 2
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        for left in range(needed):
            down.left = left
            with pytest.raises(StoreError, match="the store is down"):
                ask()
            assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
    down.left = 1 << 40
    for ask in asks:
        ask()
    assert np.array_equal(Registry(down).load("m")["a"], saved["a"])


def test_a_store_that_goes_down_before_a_save_has_nothing_of_it() -> None:
    down = Down(MemoryStore())
    registry = Registry(down)
    registry.save({"a": noise(1, 200 * KIB)}, "m")
    before = keys(down)
    down.left = 0
    with pytest.raises(StoreError, match="the store is down"):
        registry.save({"a": noise(2, 200 * KIB)}, "m")
    assert keys(down) == before


class Short(Wrapper):
    """Gives fewer bytes of packs than were asked for, as a connection does that breaks off unseen."""

    by = 0

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        found = super().get(key, span)
        return found[: len(found) - self.by] if "/data/" in key else found


class FarShort(Short):
    @property
    def remote(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Short, FarShort])
@pytest.mark.parametrize("by", [1, 64, 5000])
def test_a_short_answer_is_an_error_and_never_zeros(kind: type[Short], by: int, tmp_path: Path) -> None:
    short = kind(MemoryStore())
    saved = {"a": noise(1, 2 * MIB), "b": noise(2, 70 * KIB), "s": np.arange(3)}
    Registry(short, cache=False).save(saved, "m")
    version = Registry(short, cache=False).get("m")
    tensors, stream = version.tensors, version.open("model.safetensors")
    cached = Registry(short, cache=tmp_path / "cache")
    asks: tuple[Callable[[], object], ...] = (
        lambda: Registry(short, cache=False).load("m"),
        lambda: cached.load("m"),
        lambda: tensors["a"],
        lambda: tensors["b"],
        stream.read,
        version.verify,
        lambda: version.load(into=tmp_path / "out"),
    )
    for ask in asks:
        short.by = by
        with pytest.raises(IntegrityError) as caught:
            ask()
        assert caught.value.key in packs(short.within)
        short.by = 0
    for ask in asks:
        ask()
    assert np.array_equal(cached.load("m")["a"], saved["a"])


# -- wrong bytes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """The objects of a registry with two versions that share pieces, in packs of their own."""
    store = MemoryStore()
    registry = Registry(store)
    registry.save({"a": noise(1, 70 * KIB), "b": noise(2, 20 * KIB), "s": np.arange(3)}, "m")
    registry.save({"a": noise(1, 70 * KIB), "b": noise(3, 20 * KIB), "s": np.arange(3)}, "m")
    return {key: store.get(key) for key in keys(store)}


def store_of(objects: dict[str, bytes], folder: Path | None = None) -> Store:
    store: Store = MemoryStore() if folder is None else LocalStore(folder, durable=False)
    for key, raw in objects.items():
        store.put_pack(key, [raw])
    return store


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_to_a_pack_is_an_error_that_names_it_or_does_not_matter(
    whole: dict[str, bytes], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(key for key in whole if "/data/" in key)))
    raw = bytearray(whole[key])
    match data.draw(st.sampled_from(["flip", "cut", "zeros"])):
        case "flip":
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del raw[data.draw(st.integers(0, len(raw) - 1)) :]
        case _:
            start = data.draw(st.integers(0, len(raw) - 1))
            raw[start : start + 4096] = bytes(len(raw[start : start + 4096]))
    store = store_of({**whole, key: bytes(raw)})
    for number, seed in ((1, 2), (2, 3)):
        try:
            loaded = Registry(store).load(f"m:{number}")
        except IntegrityError as error:
            assert error.key == key  # noqa: PT017  one of two outcomes
            continue
        assert np.array_equal(loaded["a"], noise(1, 70 * KIB))
        assert np.array_equal(loaded["b"], noise(seed, 20 * KIB))
        assert loaded["s"].tolist() == [0, 1, 2]
    if bytes(raw) != whole[key]:
        report = Registry(store).storage.verify()
        assert {finding.key for finding in report.findings} == {key}
        assert not report.ok


@pytest.mark.parametrize("local", [True, False])
def test_packs_that_changed_places_are_an_error(whole: dict[str, bytes], tmp_path: Path, local: bool) -> None:
    one, two = sorted(key for key in whole if "/data/" in key)
    swapped = {**whole, one: whole[two], two: whole[one]}
    store = store_of(swapped, tmp_path / "registry" if local else None)
    for ref in ("m:1", "m:2"):
        for ask in (Registry(store).load, lambda ref: Registry(store).get(ref).verify()):
            with pytest.raises(IntegrityError) as caught:
                ask(ref)
            assert caught.value.key in (one, two)
        with pytest.raises(IntegrityError):
            Registry(store).load(ref, verify="lazy")
    assert not Registry(store).storage.verify().ok


# -- what changes while it is saved --------------------------------------------------------------------------------


@contextmanager
def meanwhile(act: Callable[[int], None]) -> Iterator[None]:
    """Do *act* again and again, in another thread."""
    ends = threading.Event()

    def again() -> None:
        turn = 0
        while not ends.is_set():
            turn += 1
            act(turn)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


@pytest.mark.parametrize("kind", ["numpy", "torch", "pickle"])
def test_arrays_on_which_training_goes_on_are_saved_as_something_that_can_be_loaded(tmp_path: Path, kind: str) -> None:
    array = np.zeros((32 if kind == "numpy" else 12) * MIB // 8)
    small = np.zeros(30 * KIB // 8)
    saved: object = {"w": array, "s": small}
    if kind == "torch":
        torch = pytest.importorskip("torch", reason="torch is not installed")
        saved = {"w": torch.from_numpy(array), "s": torch.from_numpy(small)}
    store = LocalStore(tmp_path / "registry", durable=False)
    registry = Registry(store)

    def train(turn: int) -> None:
        np.add(array, 1, out=array)
        small[:] = turn

    with meanwhile(train):
        for _ in range(4):
            registry.save(saved, "m", serializer="cloudpickle" if kind == "pickle" else None, reuse=kind == "torch")
    count = registry.get("m").number
    assert count >= 2
    for number in range(1, count + 1):
        loaded = Registry(store).load(f"m:{number}", trust=True)
        assert len(loaded["w"]) == array.size
        assert Registry(store).get(f"m:{number}").verify() > 0
    assert Registry(store).storage.verify().findings == ()
    last = registry.save(saved, "m", serializer="cloudpickle" if kind == "pickle" else None).load(trust=True)
    assert np.array_equal(np.asarray(last["w"]), array), "at rest it is what it is"


def grow(file: Path) -> Callable[[int], None]:
    def act(turn: int) -> None:
        with file.open("ab") as out:
            out.write(bytes([turn % 256]) * 5000)
        time.sleep(0.0005)

    return act


def shrink(file: Path) -> Callable[[int], None]:
    full = file.stat().st_size

    def act(turn: int) -> None:
        os.truncate(file, full - turn % 50 * 10_000)
        time.sleep(0.0005)

    return act


def rewrite(file: Path) -> Callable[[int], None]:
    raw = file.read_bytes()

    def act(turn: int) -> None:
        with file.open("r+b") as out:
            out.seek(turn * 999_983 % (len(raw) - 70_000))
            out.write(bytes([turn % 256]) * 60_000)
        time.sleep(0.0005)

    return act


def replace(file: Path) -> Callable[[int], None]:
    raw = file.read_bytes()

    def act(turn: int) -> None:
        beside = file.with_name(".beside")
        beside.write_bytes(raw[turn % 1000 :])
        beside.replace(file)

    return act


@pytest.mark.parametrize("change", [grow, shrink, rewrite, replace])
@pytest.mark.parametrize("suffix", ["bin", "npy"])
def test_a_file_that_changes_while_it_is_saved_is_refused_or_saved_as_something_that_can_be_loaded(
    tmp_path: Path, change: Callable[[Path], Callable[[int], None]], suffix: str
) -> None:
    file = tmp_path / f"w.{suffix}"
    if suffix == "bin":
        file.write_bytes(np.random.default_rng(0).bytes(6 * MIB))
    else:
        np.save(file, noise(0, 6 * MIB))
    store = LocalStore(tmp_path / "registry", durable=False)
    registry = Registry(store)
    refused = kept = 0
    with meanwhile(change(file)):
        while refused + kept < 8 or (change is not replace and not refused and kept < 200):  # they meet by chance
            try:
                registry.save(file, "m")
                kept += 1
            except InvalidValueError as error:
                assert "changed while it was saved; save it at rest" in str(error)  # noqa: PT017  one of two outcomes
                refused += 1
    if change is not replace:
        assert refused > 0, "it was never seen to change"
    saved = registry.model("m").versions() if kept else []
    assert len(saved) == kept
    for version in saved:
        out = tmp_path / f"out{version.number}"
        version.load(into=out)
        assert (out / file.name).stat().st_size == version.size
    if saved:
        assert registry.storage.verify().findings == (), "and what was refused left nothing behind"
    assert registry.save(file, "m").load(into=tmp_path / "last") is not None
    assert (tmp_path / "last" / file.name).read_bytes() == file.read_bytes()


def test_every_file_of_a_folder_is_saved_with_its_own_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(12):
        np.save(folder / f"{number:02d}.npy", noise(number, 1200 * KIB))
    for turn in range(10):
        version = Registry(MemoryStore()).save(folder, "m")
        out = tmp_path / f"out{turn}"
        version.load(into=out)
        for file in folder.iterdir():
            assert (out / file.name).read_bytes() == file.read_bytes()


# -- files that were made to do harm, and odd ones -----------------------------------------------------------------


def safetensors(header: bytes, data: int = 100 * KIB, length: int | None = None) -> bytes:
    raw = (len(header) if length is None else length).to_bytes(8, "little") + header
    return raw + np.random.default_rng(1).bytes(data)


def row(name: str, start: int, stop: int, shape: str = "[40000]") -> str:
    return f'"{name}":{{"dtype":"U8","shape":{shape},"data_offsets":[{start},{stop}]}}'


def npy(header: str, version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    raw = header.encode("latin-1")
    size = (len(raw) if length is None else length).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + raw + np.random.default_rng(2).bytes(100 * KIB)


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, raw in members:
            archive.writestr(name, raw)
    return out.getvalue()


def patched(raw: bytes, magic: bytes, at: int, value: bytes) -> bytes:
    """Bytes of a zip changed, counted from the last place where *magic* stands."""
    place = raw.rindex(magic) + at
    return raw[:place] + value + raw[place + len(value) :]


def arrays() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=noise(1, 40 * KIB), b=noise(2, 40 * KIB))
    return out.getvalue()


HOSTILE: dict[str, bytes] = {
    "header longer than the file": safetensors(b"{}", length=1 << 40),
    "header of all the file": safetensors(b"{" + b" " * 10, length=100 * KIB),
    "header that is no JSON": safetensors(b"{" + b"\xff" * 50),
    "header nested deep": safetensors(b'{"a":' * 100_000),
    "tensors that overlap": safetensors(f"{{{row('a', 0, 40000)},{row('b', 20000, 60000)}}}".encode()),
    "tensor behind the end": safetensors(f"{{{row('a', 0, 1 << 60, f'[{1 << 60}]')}}}".encode()),
    "tensor before the start": safetensors(f"{{{row('a', -40000, 0)}}}".encode()),
    "tensor twice": safetensors(f"{{{row('a', 0, 40000)},{row('a', 40000, 80000)}}}".encode()),
    "tensor of no count": safetensors(b'{"a":{"dtype":"U8","shape":[1e99],"data_offsets":[0,1e99]}}'),
    "tensor of many dimensions": safetensors(f"{{{row('a', 0, 40000, str([1] * 5000))}}}".encode()),
    "array larger than the file": npy("{'descr':'<f8','fortran_order':False,'shape':(1000000000000,),}"),
    "array of overflowing shape": npy(f"{{'descr':'<f8','fortran_order':False,'shape':({1 << 62},4,4),}}"),
    "array of negative shape": npy("{'descr':'<f8','fortran_order':False,'shape':(-1,),}"),
    "array of objects": npy("{'descr':'|O','fortran_order':False,'shape':(10000,),}"),
    "array of odd type": npy("{'descr':[('a',('<f8',(99999999,99999999)))],'fortran_order':False,'shape':(2,),}"),
    "array header that calls": npy("__import__('os').system('touch harmed')"),
    "array header nested deep": npy("(" * 9000, b"\x02\x00"),
    "array header behind the end": npy("{}", b"\x02\x00", 1 << 31),
    "zip without an end": arrays()[:-40],
    **{f"zip cut {count} bytes before its end": arrays()[:-count] for count in (1, 17, 18)},
    "zip with a locator that leads nowhere": zipped(("a", bytes(50 * KIB)))[:-22]
    + b"PK\x06\x07"
    + b"\xff" * 16
    + b"PK\x05\x06"
    + b"\xff" * 16
    + bytes(2),
    "zip with an end alone": b"PK\x03\x04" + bytes(50 * KIB) + b"PK\x05\x06" + bytes(18),
    "zip with a directory behind the end": patched(arrays(), b"PK\x05\x06", 16, b"\xf0\xff\xff\xff"),
    "zip with a directory larger than it": patched(arrays(), b"PK\x05\x06", 12, b"\xf0\xff\xff\x7f"),
    "zip with a member behind the end": patched(arrays(), b"PK\x01\x02", 42, b"\xf0\xff\xff\x7f"),
    "zip with a member larger than it": patched(arrays(), b"PK\x01\x02", 20, b"\xf0\xff\xff\x7f" * 2),
    "zip with members on each other": patched(arrays(), b"PK\x01\x02", 42, bytes(4)),
    "zip of a torch file that is none": zipped(("x/data.pkl", b"cos\nsystem\n"), ("x/data/0", bytes(40 * KIB))),
    "zip with a member that calls": zipped(("../../harmed", b"x" * 20_000), ("a.npy", npy("__import__('os')"))),
    "pickle that calls": b"\x80\x02cos\nsystem\n(S'touch harmed'\ntR." + bytes(50 * KIB),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(50 * KIB),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_kept_byte_for_byte_and_does_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "in" / "w.bin"
    file.parent.mkdir()
    file.write_bytes(HOSTILE[name])
    for store in (MemoryStore(), LocalStore(tmp_path / "registry", durable=False)):
        version = Registry(store).save(file, "m")
        out = tmp_path / f"out{type(store).__name__}"
        Registry(store).load("m", into=out)
        assert (out / "w.bin").read_bytes() == HOSTILE[name]
        with version.open("w.bin") as stream:
            assert stream.read() == HOSTILE[name]
        assert version.mapped in (True, False)
        for found in list(version.tensors):
            with suppressed():
                version.tensors[found]
        with suppressed():
            Registry(store).load("m")  # without trust
        assert Registry(store).storage.verify().findings == ()
    assert not list(tmp_path.rglob("harmed"))


@contextmanager
def suppressed() -> Iterator[None]:
    """An error of this library, which names what is wrong, is as good as a value; any other is not."""
    try:
        yield
    except ModelkeepError as error:
        assert str(error)  # noqa: PT017  one of two outcomes


def sound() -> list[bytes]:
    saved = io.BytesIO()
    np.save(saved, noise(1, 70 * KIB))
    header = f"{{{row('a', 0, 40000)},{row('b', 40000, 80000)}}}".encode()
    return [safetensors(header, 80_000), saved.getvalue(), arrays()]


SOUND = sound()


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_file_with_any_bytes_changed_is_kept_as_it_is(data: st.DataObject, tmp_path_factory: Any) -> None:
    raw = bytearray(data.draw(st.sampled_from(SOUND)))
    for _ in range(data.draw(st.integers(1, 4))):
        # where formats have their numbers: at the beginning and the end
        near = st.integers(0, 400) | st.integers(len(raw) - 400, len(raw) - 8) | st.integers(0, len(raw) - 8)
        at = data.draw(near)
        value = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff" * 4) | st.just(b"\x00" * 8))
        raw[at : at + len(value)] = value
    del raw[data.draw(st.integers(len(raw) // 2, len(raw)) | st.just(len(raw))) :]
    folder: Path = tmp_path_factory.mktemp("fuzz")
    (folder / "w").write_bytes(raw)
    store = MemoryStore()
    version = Registry(store).save(folder / "w", "m")
    assert version.open("w").read() == bytes(raw)
    for name in list(version.tensors):
        with suppressed():
            version.tensors[name]
    with suppressed():
        version.load()
    assert version.mapped is False


@pytest.mark.parametrize(
    "sizes", [[0], [1], [0, 0], [0, 1, 0], [0, 100_000, 1], [16 * KIB, 16 * KIB + 1, 16 * KIB - 1]]
)
@pytest.mark.parametrize("local", [True, False])
def test_files_of_no_and_of_few_bytes_come_back(tmp_path: Path, sizes: list[int], local: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, size in enumerate(sizes):
        (folder / f"f{number}").write_bytes(np.random.default_rng(number).bytes(size))
    store: Store = LocalStore(tmp_path / "registry", durable=False) if local else MemoryStore()
    version = Registry(store).save(folder, "m")
    Registry(store).save(folder, "m")
    for number in (1, 2):
        Registry(store).load(f"m:{number}", into=tmp_path / f"out{number}")
        assert {path.name: path.read_bytes() for path in (tmp_path / f"out{number}").iterdir()} == {
            path.name: path.read_bytes() for path in folder.iterdir()
        }
    for number in range(len(sizes)):
        assert version.open(f"f{number}").read() == (folder / f"f{number}").read_bytes()
    assert dict(version.tensors) == {}
    assert (version.size, version.mapped) == (sum(sizes), False)
    assert Registry(store).storage.verify().findings == ()


def test_a_descriptor_of_a_file_is_closed_when_the_save_ends_or_fails(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("lacks /proc")
    (tmp_path / "w.bin").write_bytes(np.random.default_rng(0).bytes(300 * KIB))
    full = Full(MemoryStore(), 1 << 40)
    registry = Registry(full)
    registry.save(tmp_path / "w.bin", "m")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for turn in range(20):
        full.room = 1 << 40 if turn % 2 else 100
        try:
            registry.save(tmp_path / "w.bin", f"m{turn}")
        except StoreError:
            assert turn % 2 == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(sys.platform != "linux", reason="lacks a limit that a process may set for itself")
def test_a_folder_may_have_more_files_than_the_system_has_descriptors_for(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(600):
        (folder / f"f{number}").write_bytes(bytes([number % 256]) * (4000 if number % 2 else 0))
    script = (
        "import pathlib, resource, modelkeep as mk\n"
        f"registry = mk.Registry({str(tmp_path / 'registry')!r}, durable=False)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
        f"registry.save(pathlib.Path({str(folder)!r}), 'm')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    Registry(LocalStore(tmp_path / "registry")).load("m", into=tmp_path / "out")
    assert all((tmp_path / "out" / file.name).read_bytes() == file.read_bytes() for file in folder.iterdir())


# -- copies of far packs on this machine ---------------------------------------------------------------------------


class Far(MemoryStore):
    """A store that lies elsewhere, and counts what is read of the packs."""

    remote = True
    moved = 0

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        found = super().get(key, span)
        if "/data/" in key:
            self.moved += len(found)
        return found


@pytest.fixture
def far() -> Far:
    return Far()


SAVED = {"a": noise(1, 3 * MIB), "b": noise(2, 200 * KIB), "s": np.arange(5)}
MANIFEST = 4 * KIB  # bytes, read each time: it is not kept


def bytes_of_pieces(version: mk.ModelVersion, pack: Path) -> list[bytes]:
    """What of a pack, or of a copy of it, are pieces."""
    raw = pack.read_bytes()
    return [
        raw[piece.offset : piece.offset + piece.stored]
        for _, pieces in version._opened[0].manifest.files
        for piece in pieces
    ]


def kept_packs(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > MIB]


def load_again(far: Far, cache: Path) -> int:
    """Load as a new process does; gives the bytes that were moved for it."""
    far.moved = 0
    loaded = Registry(far, cache=cache).load("m")
    assert all(np.array_equal(loaded[name], SAVED[name]) for name in SAVED)
    return far.moved


def test_a_second_load_of_a_far_version_moves_none_of_its_bytes(far: Far, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    Registry(far, cache=cache).save(SAVED, "m")
    assert load_again(far, cache) > 3 * MIB
    assert len(kept_packs(cache)) == 1
    assert load_again(far, cache) < MANIFEST
    far.moved = 0
    version = Registry(far, cache=cache).get("m")
    assert np.array_equal(version.tensors["a"], SAVED["a"])
    with version.open("model.safetensors") as stream:
        assert SAVED["b"].tobytes() in stream.read()
    assert far.moved < MANIFEST
    assert not version.mapped
    far.moved = 0
    assert version.verify() > 3 * MIB
    assert far.moved > 3 * MIB, "whoever verifies asks the store"


@pytest.mark.parametrize("how", ["flipped", "zeros", "cut", "noise", "empty", "gone"])
def test_a_poisoned_cache_gives_the_right_bytes_and_is_repaired(far: Far, tmp_path: Path, how: str) -> None:
    cache = tmp_path / "cache"
    version = Registry(far, cache=cache).save(SAVED, "m")
    load_again(far, cache)
    (kept,) = kept_packs(cache)
    sound, pieces = kept.read_bytes(), bytes_of_pieces(version, kept)
    raw = bytearray(sound)
    if how == "flipped":
        for at in range(4096, len(raw), 50_000):
            raw[at] ^= 1
    elif how == "zeros":
        raw = bytearray(len(raw))
    elif how == "cut":
        del raw[len(raw) // 2 :]
    elif how == "noise":
        raw = bytearray(np.random.default_rng(9).bytes(len(raw)))
    elif how == "empty":
        raw = bytearray()
    if how == "gone":
        kept.unlink()
    else:
        kept.write_bytes(raw)
    assert load_again(far, cache) > 200 * KIB
    assert bytes_of_pieces(version, kept) == pieces
    assert load_again(far, cache) < MANIFEST


def test_a_poisoned_cache_is_not_a_way_to_hand_out_another_version(far: Far, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    registry = Registry(far, cache=cache)
    registry.save({"a": noise(7, 3 * MIB), "b": noise(8, 200 * KIB), "s": np.arange(5) + 1}, "m")
    registry.save(SAVED, "m")
    registry.load("m:1")
    registry.load("m:2")
    one, two = kept_packs(cache)
    one_raw, two_raw = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_raw)
    two.write_bytes(one_raw)
    load_again(far, cache)
    assert np.array_equal(Registry(far, cache=cache).load("m:1", verify="lazy")["a"], noise(7, 3 * MIB))


def test_one_tensor_from_a_cache_that_holds_a_part_moves_what_is_not_there(far: Far, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    Registry(far, cache=cache).save(SAVED, "m")
    assert np.array_equal(Registry(far, cache=cache).get("m").tensors["b"], SAVED["b"])
    assert 3 * MIB <= load_again(far, cache) < 3 * MIB + 300 * KIB
    assert load_again(far, cache) < MANIFEST


def test_a_store_that_is_down_is_told_of_though_the_bytes_are_kept(far: Far, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    Registry(far, cache=cache).save(SAVED, "m")
    load_again(far, cache)
    down = Down(far)
    down.left = 0
    with pytest.raises(StoreError, match="the store is down"):
        Registry(down, cache=cache).load("m")


def test_without_a_cache_nothing_is_kept(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE", str(tmp_path / "cache"))
    registry = mk.Registry(far, cache=False)
    registry.save(SAVED, "m")
    registry.load("m")
    assert list(tmp_path.rglob("*")) == []
