"""What hostile input found, each with its shortest form."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import orjson
import pytest

import modelkeep as mk
from hostile.forging import JOURNALS, MODEL, PREFIX, forge, sound, store_of, weights
from hostile.packed import _with_paths
from modelkeep import tiles, zstd
from modelkeep.cache import Cache
from modelkeep.digest import digest
from modelkeep.entry import sign
from modelkeep.errors import IntegrityError, InvalidError, InvalidValueError, ModelkeepError
from modelkeep.manifest import ManifestError, encode_record, parse_record
from modelkeep.registry import Registry
from modelkeep.retention import parse
from modelkeep.serializers.safetensors import read_header
from modelkeep.stores.memory import MemoryStore
from modelkeep.version import Parent

HUGE = 10**5000  # more digits than Python writes out


@pytest.fixture
def registry() -> Registry:
    return Registry(store_of(sound()))


def test_a_message_spells_out_what_a_terminal_would_obey(registry: Registry) -> None:
    with pytest.raises(InvalidValueError, match=r"params\.a\\x1b\[2J\\u202eb is a builtins\.object") as caught:
        registry.save(weights(), MODEL, params={"a\x1b[2J\u202eb": object()})
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_long_message_keeps_its_beginning_and_its_remedy() -> None:
    said = str(ModelkeepError("name " + "\x1b" * 1_000_000 + " is wrong; mend it"))
    assert said.startswith("name \\x1b")
    assert said.endswith("is wrong; mend it")
    assert len(said) <= 6_000


@pytest.mark.parametrize("value", [HUGE, -HUGE, [HUGE], {"a": HUGE}], ids=["huge", "negative", "listed", "mapped"])
def test_a_number_that_python_does_not_write_out_is_refused_in_words(registry: Registry, value: Any) -> None:
    version, model = registry.get(f"{MODEL}:3"), registry.model(MODEL)
    acts = (
        lambda: registry.get(mk.ModelRef(MODEL, value)),
        lambda: model.version(value),
        lambda: version.promote("staging", expect=value),
        lambda: registry.save(weights(), MODEL, serializer=value),
        lambda: registry.settle(value),
        lambda: version.open(value),
        lambda: version.tensors[value],
        lambda: version.load(verify=value),
        lambda: registry.storage.compact(newest=value if value != HUGE else -value),
        lambda: registry.storage.collect(grace=value),
        lambda: registry.model(value),
    )
    for act in acts:
        with pytest.raises(ModelkeepError, match="too long to show"):
            act()


@pytest.mark.parametrize("value", [["w"], {"w"}, {}, bytearray(b"w")])
def test_what_is_no_text_names_no_file_and_no_tensor(registry: Registry, value: Any) -> None:
    version = registry.get(MODEL)
    for act in (lambda: version.open(value), lambda: version.tensors[value]):
        with pytest.raises(ModelkeepError):
            act()


@pytest.mark.parametrize("value", [5, b"out", ["out"], None, ValueError("x"), {"a": 1}])
def test_what_is_no_path_is_refused(registry: Registry, value: Any) -> None:
    for act in (lambda: registry.get(MODEL).export(value), lambda: registry.adopt(value, "m")):
        with pytest.raises(InvalidValueError, match=r"is no (folder|path)"):
            act()
    if value is not None:
        with pytest.raises(InvalidValueError, match="is no place for a registry"):
            Registry(value)


@pytest.mark.parametrize("url", ["memory://[", "memory://[::1", "file:///\ud800", "a\ud800", "s3://a\u2100b"])
def test_a_url_that_cannot_be_read_names_no_place(url: str) -> None:
    with pytest.raises(InvalidValueError, match="names no place"):
        Registry(url)


@pytest.mark.parametrize("cache", ["a\0b", "~nobody-of-this-name/x", "\ud800"])
def test_a_folder_for_the_cache_that_cannot_be_one_is_refused(cache: str) -> None:
    with pytest.raises(InvalidValueError, match="is no folder"):
        Registry(MemoryStore(), cache=cache)


@pytest.mark.parametrize(
    "parent", [("", 1), ("a:b", 1), ("churn", 0), ("churn", HUGE), ("\ud800", 1), ("churn", "1")], ids=range(6)
)
def test_a_parent_that_no_record_can_keep_is_refused(registry: Registry, parent: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidError):
        registry.save(weights(), MODEL, parent=Parent(*parent, "0" * 64))


def test_no_description_is_no_description(registry: Registry) -> None:
    nothing: Any = None
    for act in (registry.get(MODEL).describe, registry.model(MODEL).describe):
        with pytest.raises(InvalidValueError, match="the description is None"):
            act(nothing)


def test_fields_that_an_operation_does_not_have_do_not_stop_its_history() -> None:
    forged = forge().append(JOURNALS[2], {"op": "seal", "n": 1, "tags": 5, "metrics": 7, "number": {"a": 1}})
    events = Registry(store_of(forged.signed())).model(MODEL).history()
    assert events[-1].subject == ""
    assert Registry(store_of(forged.signed())).get(f"{MODEL}:1").erase("request").remains


def test_a_text_that_is_no_utf_8_is_named() -> None:
    forged = forge()
    number = len(forged.journals[JOURNALS[2]]) + 1
    forged.append(JOURNALS[2], {"op": "describe", "number": 3, "text": digest(b"\xff")})
    key = f"{PREFIX}texts/{number:032x}"
    with pytest.raises(IntegrityError, match="is no text") as caught:
        _ = Registry(store_of({**forged.signed(), key: b"\xff"})).get(f"{MODEL}:3").description
    assert caught.value.key == key


def test_a_link_in_the_target_folder_leads_nothing_out_of_it(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (folder / "link").symlink_to(outside, target_is_directory=True)
    registry = Registry(store_of(_with_paths(["link/x", "a"])))
    with pytest.raises(InvalidValueError, match="is a link, and may lead out"):
        registry.load(MODEL, into=folder)
    assert list(outside.iterdir()) == []
    assert [path.name for path in folder.iterdir()] == ["link"]


@pytest.mark.parametrize("path", ["x" * 256, "/".join(["d" * 200] * 20) + "/" + "e" * 70])
def test_a_file_name_that_the_disk_does_not_know_is_told_of(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidValueError, match="cannot be a f"):
        Registry(store_of(_with_paths([path]))).load(MODEL, into=tmp_path / "out")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_a_path_that_is_too_long_and_links_in_a_ring_cannot_be_saved(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path in (Path("x" * 300), tmp_path):
        with pytest.raises(InvalidValueError, match=r"cannot be read|leads nowhere|no ordinary file"):
            registry.save(path, MODEL)


def test_a_folder_whose_name_is_no_unicode_cannot_be_adopted(registry: Registry, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "w").write_bytes(b"x")
    with pytest.raises(InvalidValueError, match="not valid Unicode"):
        registry.adopt(tmp_path / "*", "m")


def test_a_pattern_of_thousands_of_brackets_is_not_looked_at(registry: Registry) -> None:
    with pytest.raises(InvalidValueError, match="more than 4096 characters"):
        registry.adopt("[" * 100_000, "m")
    with pytest.raises(InvalidValueError, match="give a pattern of names"):
        parse(f"[retention.models.'{'[' * 60_000}']\nlast = 1")


def test_a_tile_that_unpacks_to_a_gibibyte_is_left_aside() -> None:
    assert tiles.split(zstd.compress(b"\n" * (1 << 20)) * 65, 100) is None
    assert tiles.split(zstd.compress(b" " * ((1 << 26) - 200)) + zstd.compress(b"\n" * 201), 100) is None


def test_a_link_in_the_cache_is_neither_read_nor_touched(tmp_path: Path) -> None:
    from hostile.doors import Far

    bait = tmp_path / "bait"
    bait.write_text("nobody's business")
    Registry(Far(sound()), cache=tmp_path / "cache").load(MODEL)
    for path in [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]:
        path.unlink()
        path.symlink_to(bait)
    before = bait.stat().st_mtime_ns
    Registry(Far(sound()), cache=tmp_path / "cache").load(MODEL)
    assert (bait.read_text(), bait.stat().st_mtime_ns) == ("nobody's business", before)


@pytest.mark.parametrize(
    "key", [HUGE, [], "models/churn/versions/" + "9" * 5000 + ".json"], ids=["huge", "list", "long"]
)
def test_what_is_no_key_of_an_entry_cannot_be_sealed(registry: Registry, key: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"is no (key of an )?entry"):
        registry.storage.seal(key)


def test_a_metric_has_a_name_and_no_number_for_it(registry: Registry) -> None:
    metrics: Any = {HUGE: 0.5}
    with pytest.raises(InvalidValueError, match="metrics has the key too long to show"):
        registry.save(weights(), MODEL, metrics=metrics)


def test_metrics_that_no_writer_writes_are_shown_as_they_are() -> None:
    forged = forge()
    create = forged._create(3)
    create["metrics"] = {"$tuple": [1]}
    registry = Registry(store_of(forged.signed()))
    assert registry.model(MODEL).versions()[0].metrics == {"$tuple": [1]}


@pytest.mark.parametrize("name", [5, None, ["a"], {"a": 1}])
def test_a_registry_whose_id_is_no_text_is_damaged(name: Any) -> None:
    marker = sign(orjson.dumps({"format": 1, "id": name, "created": "2026-03-01T00:00:00.000000Z"}))
    with pytest.raises(IntegrityError, match="its id is no text"):
        Registry(store_of({**sound(), "modelkeep.json": marker})).get(MODEL)


@pytest.mark.parametrize("raw", [b"[" + b"[]," * 3_000_000 + b"[]]", b" " * (33 << 20)], ids=["lists", "spaces"])
def test_a_record_that_takes_much_more_memory_than_bytes_is_not_parsed(raw: bytes) -> None:
    forged = forge().put_record(3, raw)
    with pytest.raises(IntegrityError, match=r"values of JSON|more bytes than"):
        _ = Registry(store_of(forged.signed())).get(f"{MODEL}:3").record


@pytest.mark.parametrize("parents", ["x" * 100_000, [{}] * 100_000])
def test_the_first_fault_of_a_record_is_told_and_no_second_one_looked_for(registry: Registry, parents: Any) -> None:
    facts = orjson.loads(encode_record(registry.get(f"{MODEL}:3").record))
    with pytest.raises(ManifestError, match=r"cannot be read: (TypeError: string indices|KeyError: 'name')"):
        parse_record(orjson.dumps(facts | {"parents": parents}))


def test_more_than_a_record_holds_is_refused_before_anything_is_written(registry: Registry) -> None:
    before = {item.key for item in registry._store.list("")}
    for params in ({"w": [0] * 2_100_000}, {"w": "x" * (33 << 20)}):
        with pytest.raises(InvalidValueError, match="save the rest as a file"):
            registry.save(weights(), MODEL, params=params)
    assert {item.key for item in registry._store.list("")} == before


def test_the_header_of_a_safetensors_file_that_takes_much_memory_is_not_parsed() -> None:
    header = b'{"w":[' + b"[]," * 2_100_000 + b"[]]}"
    raw = len(header).to_bytes(8, "little") + header
    with pytest.raises(IntegrityError, match="more values than the tensors"):
        read_header(io.BytesIO(raw), len(raw))


def test_what_a_cache_says_of_itself_in_lists_without_end_is_not_read(tmp_path: Path) -> None:
    from hostile.doors import Far

    Registry(Far(sound()), cache=tmp_path).load(MODEL)
    facts = next(path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes().startswith(b'{"'))
    facts.write_bytes(b'{"url":' + b"[" * 900 + b"]" * 900 + b',"id":5}')
    (kept,) = [kept for kept in Cache(tmp_path, 1 << 30).kept() if kept.objects]
    assert kept.url == ""


class OfBytes(os.PathLike[bytes]):
    """A path that is no text."""

    def __fspath__(self) -> bytes:
        return b"place"


class Unshown:
    """An object of somebody who made a mistake."""

    def __repr__(self) -> str:
        raise TypeError("no words")


@pytest.mark.parametrize("place", [OfBytes(), Unshown()])
def test_what_is_neither_text_nor_a_path_of_text_is_no_place(place: Any) -> None:
    with pytest.raises(InvalidValueError, match="is no place for a registry"):
        Registry(place)
    with pytest.raises(InvalidValueError, match=r"is no folder|neither True, False nor a folder"):
        Registry(MemoryStore(), cache=place)


def test_a_folder_whose_name_is_no_utf_8_can_be_a_registry(tmp_path: Path) -> None:
    place = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Registry(place).save(weights(), MODEL)
    assert Registry(place).load(MODEL).keys() == weights().keys()
