"""Bad input: what is wrong is said in one sentence that names it, and nothing is left behind."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import modelkeep as mk
from modelkeep.digest import Buffer, digest
from modelkeep.entry import sign
from modelkeep.errors import (
    AccessError,
    ClockError,
    DeletedError,
    FormatError,
    IntegrityError,
    InvalidError,
    InvalidNameError,
    InvalidValueError,
    ModelkeepError,
    SerializerError,
    StaleError,
    StoreError,
    TakenError,
    UnknownAliasError,
    UnknownLabelError,
    UnknownModelError,
    UnknownVersionError,
)
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Wrapper
from modelkeep.system import System
from modelkeep.version import check_paths


def weights(seed: int = 0) -> dict[str, Any]:
    return {"w": np.arange(4) + seed}


def keys(store: MemoryStore) -> set[str]:
    return {item.key for item in store.list("")}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def registry(store: MemoryStore) -> Registry:
    registry = Registry(store)
    registry.save(weights(1), "churn", label="1.0.0").promote("production")
    registry.save(weights(2), "churn", params={"depth": 6})
    return registry


# -- what does not exist -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "error", "said"),
    [
        ("chrun", UnknownModelError, "there is no model 'chrun'"),
        ("chrun@production", UnknownModelError, "there is no model 'chrun'"),
        ("churn:7", UnknownVersionError, "churn has no version 7; its latest is 2"),
        ("churn@staging", UnknownAliasError, "'churn' has no alias 'staging'; it has production"),
        ("churn:9.9.9", UnknownLabelError, r"no version of 'churn' has the label 9\.9\.9; it has 1\.0\.0"),
        ("churn:^2", UnknownLabelError, r"no label of 'churn' lies in \^2; it has 1\.0\.0"),
        ("churn#0000", UnknownVersionError, "no version of 'churn' has a digest that begins with 0000"),
        ("churn@7", InvalidNameError, "alias '7' is a number, and numbers name versions; write ':7'"),
        ("churn:", InvalidError, "cannot be read"),
        ("churn:0", InvalidError, "must lie between 1"),
        ("", InvalidError, "empty"),
        ("a:b:c", InvalidError, "'a:b:c' cannot be read"),
        ("churn~b:1", InvalidError, "reserved for drafts"),
        (7, InvalidError, "reference 7 is a int; give text"),
        (None, InvalidError, "reference None is a NoneType"),
    ],
)
def test_a_reference_that_leads_nowhere_says_why(
    store: MemoryStore, registry: Registry, ref: Any, error: type[ModelkeepError], said: str
) -> None:
    before = keys(store)
    for ask in (registry.load, registry.get, Registry(store).load, Registry(store).get):
        with pytest.raises(error, match=said):
            ask(ref)
    assert keys(store) == before


def test_an_unknown_model_is_not_made_by_asking(store: MemoryStore, registry: Registry) -> None:
    before = keys(store)
    acts: tuple[Callable[[mk.RegisteredModel], object], ...] = (
        lambda m: m.versions(),
        lambda m: m.rollback("production"),
        lambda m: m.unset("production"),
        lambda m: m.close(),
        lambda m: m.open(),
        lambda m: m.set_title("x"),
        lambda m: m.describe("x"),
    )
    for act in acts:
        with pytest.raises(UnknownModelError):
            act(registry.model("unknown"))
    assert keys(store) == before


@pytest.mark.parametrize("name", ["", "a:b", "a@b", "a/b", "..", "con", " a", "a\n", "e\u0301", "x" * 201, 5, None])
def test_a_name_that_cannot_be_one_is_refused_everywhere(store: MemoryStore, registry: Registry, name: Any) -> None:
    before = keys(store)
    for act in (
        lambda: registry.save(weights(), name),
        lambda: registry.model(name),
        lambda: registry.adopt("*", name),
    ):
        with pytest.raises(InvalidNameError, match="model name"):
            act()
    assert keys(store) == before


def test_a_taken_label_names_who_has_it(store: MemoryStore, registry: Registry) -> None:
    before = keys(store)
    acts: tuple[Callable[[], object], ...] = (
        lambda: registry.get("churn:2").set_label("1.0.0"),
        lambda: registry.save(weights(), "churn", label="1.0.0"),
        lambda: Registry(store).save(weights(), "churn", label="1.0.0"),
    )
    for act in acts:
        with pytest.raises(TakenError) as caught:
            act()
        assert (caught.value.label, caught.value.number) == ("1.0.0", 1)
    assert keys(store) == before


def test_a_deleted_version_says_how_to_bring_it_back(store: MemoryStore, registry: Registry) -> None:
    registry.get("churn:2").delete()
    with pytest.raises(DeletedError, match=r"registry\.model\('churn'\)\.version\(2\)\.restore\(\)"):
        Registry(store).load("churn:2")
    eval("registry.model('churn').version(2).restore()", {"registry": Registry(store)})  # what the message says
    assert np.array_equal(registry.load("churn:2")["w"], weights(2)["w"])


def test_an_expectation_that_no_longer_holds_tells_what_stands_there(store: MemoryStore, registry: Registry) -> None:
    before = keys(store)
    with pytest.raises(StaleError) as caught:
        registry.get("churn:2").promote("production", expect=2, reason="r")
    assert (caught.value.alias, caught.value.expected, caught.value.found) == ("production", 2, 1)
    assert keys(store) == before


# -- what cannot be kept -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"loss": print}, r"params\.loss is a builtins\.builtin_function_or_method"),
        ({"a": {"b": [1, {2, 3}]}}, r"params\.a\.b\[1\] is a builtins\.set"),
        ({"x": np.arange(3)}, r"params\.x is a numpy\.ndarray"),
        ({"x": b"raw"}, r"params\.x is a builtins\.bytes"),
        ({"x": {1: "a"}}, r"params\.x has the key 1, a int"),
        ({5: "a"}, "params has the key 5"),
        ({"x": 1j}, r"params\.x is a builtins\.complex"),
    ],
)
def test_a_parameter_that_cannot_be_kept_is_named(store: MemoryStore, params: Any, named: str) -> None:
    with pytest.raises(InvalidValueError, match=named):
        Registry(store).save(weights(), "churn", params=params)
    assert keys(store) == set()


@pytest.mark.parametrize("what", ["params", "metrics", "tags"])
@pytest.mark.parametrize("value", [5, "abc", [1], ["ab"], 0.5])
def test_what_is_no_mapping_is_refused_with_its_name(store: MemoryStore, what: str, value: Any) -> None:
    options: Any = {what: value}
    with pytest.raises(InvalidValueError, match=what):
        Registry(store).save(weights(), "churn", **options)
    assert keys(store) == set()


def test_notes_that_are_no_text_are_refused(store: MemoryStore) -> None:
    notes: Any = 5
    with pytest.raises(InvalidValueError, match="notes is 5, a int; give text"):
        Registry(store).save(weights(), "churn", notes=notes)
    assert keys(store) == set()


class Spelt(str):
    """A text of a caller's own type, such as an enum's."""

    __slots__ = ()


def test_tags_of_another_text_type_are_kept_as_plain_text(store: MemoryStore) -> None:
    version = Registry(store).save(weights(), "churn", tags={Spelt("team"): Spelt("growth")})
    version.tag(**{Spelt("stage"): Spelt("trial")})
    assert dict(Registry(store).get("churn").tags) == {"team": "growth", "stage": "trial"}


class Unheard:
    """No serializer knows this."""


@pytest.mark.parametrize("bare", ["model.pkl", 3, b"raw", None])
def test_what_is_no_model_lists_what_is_installed_and_the_way_out(store: MemoryStore, bare: Any) -> None:
    kind = type(bare).__name__
    with pytest.raises(SerializerError, match=rf"{kind}; installed are .*torch.*serializer='cloudpickle'"):
        Registry(store).save(bare, "churn")
    assert keys(store) == set()


def test_a_serializer_that_is_not_installed_lists_those_that_are(store: MemoryStore) -> None:
    with pytest.raises(SerializerError, match=r"no serializer 'kreas'.* installed .*tree"):
        Registry(store).save(weights(), "churn", serializer="kreas")
    assert keys(store) == set()


def test_a_version_whose_serializer_is_gone_says_so_and_gives_its_files(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from modelkeep.serializers import discovery

    monkeypatch.setattr(discovery, "_claims", dict)
    with pytest.raises(SerializerError, match="no serializer 'tree' is installed"):
        registry.load("churn")
    assert any(registry.load("churn", into=tmp_path / "files").iterdir())


def test_code_is_not_run_without_trust(store: MemoryStore) -> None:
    registry = Registry(store)
    registry.save(Unheard(), "churn", serializer="cloudpickle")
    for trust in (False, [], "yes", "sklearn", "0" * 64, ["tree", "f" * 64]):
        with pytest.raises(mk.TrustError, match="loading churn:1 may run code"):
            registry.load("churn", trust=trust)
    odd: list[Any] = [1, 0, None, b"cloudpickle", "", [""], [True], [1]]
    for trust in odd:
        with pytest.raises(InvalidValueError, match=r"trust is .*give True, the digest"):
            registry.load("churn", trust=trust)
    assert type(registry.load("churn", trust=True)).__name__ == "Unheard"


# -- what was altered ----------------------------------------------------------------------------------------------


def key_of(store: MemoryStore, part: str) -> str:
    return max(key for key in keys(store) if part in key)


def pack_of(version: mk.ModelVersion) -> str:
    return f"models/{version.name}/data/{version._found().at.pack}.pack"


def damaged(store: MemoryStore, key: str, change: Callable[[bytes], bytes]) -> None:
    store.put_pack(key, [change(store.get(key))])


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda raw: raw[:-5],
    "cut in half": lambda raw: raw[: len(raw) // 2],
    "emptied": lambda _: b"",
    "first bit": lambda raw: bytes([raw[0] ^ 1]) + raw[1:],
    "middle bit": lambda raw: raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :],
    "last bit": lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    "longer": lambda raw: raw + b"x",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("part", ["/versions/", "/releases/", ".pack"])
def test_an_object_that_was_altered_is_named_by_loads_and_by_verify(
    store: MemoryStore, registry: Registry, part: str, change: str
) -> None:
    key = key_of(store, part)
    ref = next(v.ref for v in registry.model("churn").versions() if part != ".pack" or pack_of(v) == key)
    damaged(store, key, CHANGES[change])
    report = Registry(store).storage.verify()
    assert not report.ok
    assert key in {finding.key for finding in report.findings}
    if part == ".pack" and change in ("first bit", "longer"):
        return  # beginning and end of a pack are read by verify alone
    with pytest.raises(IntegrityError, match=key.rpartition("/")[2].partition(".")[0]) as caught:
        Registry(store).load(ref)
    assert caught.value.key == key
    before = keys(store)
    if part != ".pack":
        with pytest.raises(IntegrityError):
            Registry(store).get("churn").promote("production")
    assert keys(store) == before


def test_each_flipped_bit_of_a_pack_is_an_error_or_harmless_and_never_a_wrong_model(
    store: MemoryStore, registry: Registry
) -> None:
    key = pack_of(registry.get("churn:2"))
    sound = store.get(key)
    for at in range(0, len(sound), 7):
        store.put_pack(key, [sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :]])
        assert key in {finding.key for finding in Registry(store).storage.verify().findings}
        try:
            loaded = Registry(store).load("churn:2")
        except IntegrityError as error:
            named = error.key
        else:
            named = key
            assert np.array_equal(loaded["w"], weights(2)["w"])
        assert named == key


def test_a_manifest_of_another_version_is_not_taken_for_this_one(store: MemoryStore, registry: Registry) -> None:
    own = pack_of(registry.get("churn:2"))
    length = registry.get("churn:2")._found().at.length
    others = (registry.save(weights(3 + n), "churn", params={"depth": 7}) for n in range(500))
    other = next(version for version in others if version._found().at.length == length)  # random ids are packed
    raw = store.get(pack_of(other))
    store.put_pack(own, [raw])
    with pytest.raises(IntegrityError) as caught:
        Registry(store).load("churn:2")
    assert caught.value.key == own


def test_a_pack_that_is_missing_is_named(store: MemoryStore, registry: Registry) -> None:
    key = pack_of(registry.get("churn:2"))
    store.delete([key])
    with pytest.raises(IntegrityError, match="is missing although a version needs it") as caught:
        Registry(store).load("churn:2")
    assert caught.value.key == key
    assert (key, "missing") in {(finding.key, finding.kind) for finding in Registry(store).storage.verify().findings}


def test_an_entry_that_is_missing_in_the_middle_is_named(store: MemoryStore, registry: Registry) -> None:
    registry.save(weights(3), "churn")
    key = "models/churn/versions/00000000000000000002.json"
    store.delete([key])
    with pytest.raises(IntegrityError, match="is missing although entry 3 is there") as caught:
        Registry(store).load("churn")
    assert caught.value.key == key


def test_a_damaged_model_does_not_stop_the_others(store: MemoryStore, registry: Registry) -> None:
    registry.save(weights(5), "other")
    damaged(store, key_of(store, "churn/versions/"), CHANGES["cut"])
    assert np.array_equal(Registry(store).load("other")["w"], weights(5)["w"])
    assert Registry(store).save(weights(6), "other").number == 2


def test_a_text_that_was_altered_is_named(store: MemoryStore, registry: Registry) -> None:
    registry.get("churn:1").describe("good")
    key = key_of(store, "/texts/")
    damaged(store, key, CHANGES["last bit"])
    with pytest.raises(IntegrityError, match="is not the text that was written") as caught:
        _ = Registry(store).get("churn:1").description
    assert caught.value.key == key
    assert key in {finding.key for finding in Registry(store).storage.verify().findings}


def test_an_entry_moved_from_another_model_is_refused(store: MemoryStore, registry: Registry) -> None:
    registry.save(weights(), "other")
    store.put_pack(
        "models/churn/versions/00000000000000000001.json",
        [store.get("models/other/versions/00000000000000000001.json")],
    )
    with pytest.raises(IntegrityError):
        Registry(store).load("churn:1")


# -- not a registry, or a newer one --------------------------------------------------------------------------------


def everything(registry: Registry, folder: Path) -> dict[str, Callable[[], object]]:
    """Every way in."""
    return {
        "save": lambda: registry.save(weights(), "churn"),
        "load": lambda: registry.load("churn"),
        "load by alias": lambda: registry.load("churn@production"),
        "get": lambda: registry.get("churn"),
        "versions": lambda: registry.model("churn").versions(),
        "models": registry.models,
        "adopt": lambda: registry.adopt(folder / "*", "churn"),
        "verify": registry.storage.verify,
        "settle": lambda: registry.settle(f"models/churn/versions/1/{'0' * 32}"),
    }


WAYS = list(everything(Registry(MemoryStore()), Path()))


@pytest.mark.parametrize("way", WAYS)
def test_a_registry_of_a_newer_format_is_refused_in_every_way(
    store: MemoryStore, registry: Registry, tmp_path: Path, way: str
) -> None:
    del registry
    (tmp_path / "file").write_bytes(b"1")
    facts = orjson.loads(store.get("modelkeep.json").splitlines()[0])
    store.put_pack("modelkeep.json", [sign(orjson.dumps({**facts, "format": 2}))])
    before = keys(store)
    with pytest.raises(FormatError, match="is a registry of format 2, and this release knows format 1; upgrade"):
        everything(Registry(store), tmp_path)[way]()
    assert keys(store) == before


def test_an_operation_of_a_newer_release_is_refused_with_its_name(store: MemoryStore, registry: Registry) -> None:
    from modelkeep.entry import encode

    line = registry.get("churn")._line
    head, prev = line.versions.seen
    raw = encode(head + 1, prev, "ab" * 16, "2026-03-01T12:00:00.000000Z", "new", {}, [{"op": "merge"}])
    store.create(f"models/churn/versions/{head + 1:020d}.json", raw)
    before = keys(store)
    for act in (lambda: Registry(store).load("churn"), lambda: Registry(store).save(weights(), "churn")):
        with pytest.raises(FormatError, match="has the operation 'merge', which this release does not know; upgrade"):
            act()
    assert keys(store) == before


@pytest.mark.parametrize("way", WAYS)
def test_a_folder_that_is_no_registry_is_refused_and_left_as_it_is(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("once")
    with pytest.raises(FormatError, match=r"is not a registry: it has no modelkeep\.json, but it holds chapter\.tex"):
        everything(Registry(folder), folder)[way]()
    assert [path.name for path in folder.rglob("*")] == ["chapter.tex"]


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"format": 1, "id": "x"}\n', b"\xff\xfe\n", b"{}\n" + b"0" * 64 + b"\n"])
def test_a_marker_that_was_altered_is_named(store: MemoryStore, registry: Registry, raw: bytes) -> None:
    del registry
    store.put_pack("modelkeep.json", [raw])
    before = keys(store)
    for act in (lambda: Registry(store).load("churn"), lambda: Registry(store).save(weights(), "churn")):
        with pytest.raises(IntegrityError, match=r"modelkeep\.json") as caught:
            act()
        assert caught.value.key == "modelkeep.json"
    report = Registry(store).storage.verify()
    assert [finding.key for finding in report.findings] == ["modelkeep.json"]
    assert keys(store) == before


@pytest.mark.parametrize("url", ["s3:///x", "gopher://host/x", "file://host/x", "gs://"])
def test_a_place_that_no_store_serves_is_refused(url: str) -> None:
    with pytest.raises(InvalidValueError, match=r"names no|fsspec cannot open"):
        Registry(url)


def test_a_store_that_lets_two_writers_win_is_refused_for_writing(store: MemoryStore, registry: Registry) -> None:
    del registry

    class Overwriting(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            self.within.put_pack(key, [value])

    before = keys(store)
    careless = Registry(Overwriting(store))
    with pytest.raises(StoreError, match=r"let an object be created that exists already .*two writers could both win"):
        careless.save(weights(), "churn")
    assert keys(store) == before
    assert np.array_equal(careless.load("churn:1")["w"], weights(1)["w"])


# -- no permission -------------------------------------------------------------------------------------------------

NOBODY = 65534
AS_NOBODY = """
import os, sys
import numpy as np
import modelkeep as mk
import modelkeep.integrations.tree, modelkeep.registry, modelkeep.stores.local, cattrs  # while they can be read
registry = mk.Registry(sys.argv[1])
mk.Registry("memory://warm").save({"w": np.arange(2)}, "x").load()
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
import modelkeep.errors
for act in (
    lambda: registry.load("churn:1")["w"].tolist(),
    lambda: registry.load("churn@production")["w"].tolist(),
    lambda: registry.save({"w": np.arange(2)}, "churn"),
    lambda: registry.get("churn:1").promote("production"),
    lambda: registry.get("churn:1").describe("x"),
):
    try:
        print(act())
    except modelkeep.errors.ModelkeepError as error:
        print(type(error).__name__)
"""


def as_nobody(place: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(place), str(NOBODY)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that everyone can enter, with a registry that everyone can read."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can work as somebody without rights")
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 1 and folder.stat().st_uid == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    registry = Registry(tmp_path / "r", durable=False)
    registry.save(weights(1), "churn").promote("production")
    return tmp_path / "r"


def snapshot(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_who_may_only_read_loads_and_is_denied_writing(open_folder: Path) -> None:
    before = snapshot(open_folder)
    assert as_nobody(open_folder) == ["[1, 2, 3, 4]", "[1, 2, 3, 4]", "AccessError", "AccessError", "AccessError"]
    assert snapshot(open_folder) == before


@pytest.mark.parametrize("hidden", ["models/churn/releases", "models/churn/versions", "modelkeep.json", "."])
def test_what_may_not_be_read_is_denied_and_never_taken_for_missing(open_folder: Path, hidden: str) -> None:
    before = snapshot(open_folder)
    (open_folder / hidden).chmod(0o700 if (open_folder / hidden).is_dir() else 0o600)
    said = as_nobody(open_folder)
    assert said[0] == "AccessError"
    assert set(said[2:]) == {"AccessError"}
    assert snapshot(open_folder) == before


# -- no room -------------------------------------------------------------------------------------------------------


class Full(Wrapper):
    """A disk that is full after so many bytes; creates and packs count."""

    def __init__(self, within: MemoryStore, room: int) -> None:
        super().__init__(within)
        self.room = room

    def _take(self, key: str, size: int) -> None:
        if size > self.room:
            raise StoreError(f"{key}: No space left on device; nothing was written", key=key)
        self.room -= size

    def create(self, key: str, value: bytes) -> None:
        self._take(key, len(value))
        super().create(key, value)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        whole = b"".join(source)
        self._take(key, len(whole))
        super().put_pack(key, [whole])


@pytest.mark.parametrize("room", [0, 100, 1_000, 1_500, 2_000])
def test_a_disk_that_fills_up_while_saving_shows_nothing_and_the_next_save_works(room: int) -> None:
    store = MemoryStore()
    Registry(store).save(weights(1), "churn")
    before = keys(store)
    full = Full(store, room)
    registry = Registry(full)
    saves = 0
    refusal = ""
    while not refusal:
        try:
            registry.save(weights(2), "churn")
            saves += 1
        except StoreError as error:
            refusal = str(error)
    assert "No space left" in refusal
    assert [v.number for v in Registry(store).model("churn").versions()] == list(range(saves + 1, 0, -1))
    assert len(keys(store)) == len(before) + 2 * saves, "what a refused save had put is gone again"
    assert Registry(store).storage.verify().findings == ()
    full.room = 10**9
    assert registry.save(weights(3), "churn").number == saves + 2


def test_a_real_disk_that_fills_up_shows_nothing_and_the_next_save_works(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        registry = Registry(disk / "r")
        registry.save(weights(1), "churn")
        before = snapshot(disk)
        for name in ("churn", "new"):
            with pytest.raises(StoreError, match=r"make room") as caught:
                registry.save({"w": np.random.default_rng(1).random(10**6)}, name)
            assert caught.value.key.endswith(".pack")
        left = snapshot(disk)
        assert {path: raw for path, raw in left.items() if "/catalog/new" not in path} == before
        with pytest.raises(UnknownModelError):
            registry.get("new")
        assert registry.storage.verify().findings == ()
        assert registry.save(weights(2), "churn").number == 2
        assert registry.save(weights(2), "new").number == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -- wrong clocks --------------------------------------------------------------------------------------------------


def off_by(difference: timedelta) -> System:
    return System(now=lambda: datetime.now(UTC) + difference)


YEAR = timedelta(days=365)


@pytest.mark.parametrize("difference", [YEAR, -YEAR, timedelta(days=1, minutes=1)])
def test_a_clock_that_is_a_year_off_refuses_to_save_and_leaves_nothing(
    store: MemoryStore, registry: Registry, difference: timedelta
) -> None:
    before = keys(store)
    wrong = Registry(store, system=off_by(difference))
    for _ in range(2):
        with pytest.raises(ClockError, match=r"this machine's clock says .* and the store's .*; set the clock"):
            wrong.save(weights(), "churn")
    assert keys(store) == before
    assert registry.save(weights(), "churn").number == 3


def test_a_clock_that_is_a_year_off_still_reads(store: MemoryStore, registry: Registry) -> None:
    del registry
    wrong = Registry(store, system=off_by(YEAR))
    assert np.array_equal(wrong.load("churn@production")["w"], weights(1)["w"])


def test_a_clock_that_was_set_right_saves_again(store: MemoryStore, registry: Registry) -> None:
    del registry
    difference = [YEAR]
    mended = Registry(store, system=System(now=lambda: datetime.now(UTC) + difference[0]))
    with pytest.raises(ClockError):
        mended.save(weights(), "churn")
    difference[0] = timedelta()
    assert mended.save(weights(), "churn").number == 3


@pytest.mark.parametrize("difference", [timedelta(minutes=10), -timedelta(minutes=10), timedelta(hours=23)])
def test_a_clock_ten_minutes_off_warns_once_and_saves(
    store: MemoryStore, registry: Registry, difference: timedelta
) -> None:
    del registry
    slow = Registry(store, system=off_by(difference))
    with pytest.warns(UserWarning, match="this machine's clock says .*; set the clock") as said:
        assert slow.save(weights(), "churn").number == 3
    assert len(said) == 1
    assert slow.save(weights(), "churn").number == 4  # and says nothing more


def test_a_clock_a_minute_off_is_nobody_s_business(store: MemoryStore, registry: Registry) -> None:
    del registry
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Registry(store, system=off_by(timedelta(minutes=1))).save(weights(), "churn").number == 3


def test_a_warning_that_is_made_an_error_undoes_nothing_that_stands(store: MemoryStore, registry: Registry) -> None:
    del registry
    slow = Registry(store, system=off_by(timedelta(minutes=10)))
    version = slow.get("churn:2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            version.promote("production")
        except UserWarning:
            promoted = False
        else:
            promoted = True
    assert (Registry(store).get("churn@production").number == 2) is promoted


def test_the_first_write_of_a_wrong_clock_that_is_no_save_is_told_the_next_time(
    store: MemoryStore, registry: Registry
) -> None:
    del registry
    wrong = Registry(store, system=off_by(YEAR))
    with pytest.warns(UserWarning, match="set the clock"):
        wrong.get("churn:2").promote("production")  # it stands: only what it wrote could show the clock
    assert Registry(store).get("churn@production").number == 2
    with pytest.raises(ClockError):
        wrong.get("churn:1").promote("production")
    assert Registry(store).get("churn@production").number == 2


# -- denied in the middle ------------------------------------------------------------------------------------------


def test_a_releaser_who_may_not_write_notes_is_told_so_and_promotes_all_the_same(
    store: MemoryStore, registry: Registry
) -> None:
    del registry

    class NoNotes(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "/notes/" in key:
                raise AccessError(f"{key}: denied", key=key)
            super().create(key, value)

    releaser = Registry(NoNotes(store))
    version = releaser.get("churn:2")
    with pytest.raises(AccessError, match="notes"):
        version.tag(a="b")
    assert version.promote("production").aliases == ("production",)


# -- foreign errors at our doors -----------------------------------------------------------------------------------


def file_of(header: dict[str, Any], data: bytes = b"") -> bytes:
    """A safetensors file."""
    raw = orjson.dumps(header)
    return len(raw).to_bytes(8, "little") + raw + data


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def npz(at: int, value: int, *, compress: bool = False) -> bytes:
    """An archive with two bytes of its directory, and the same of the header of its file, altered."""
    stream = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(stream, a=np.arange(100))
    raw = bytearray(stream.getvalue())
    entry = raw.find(b"PK\x01\x02")
    raw[entry + at : entry + at + 2] = value.to_bytes(2, "little")
    if at > 6:
        raw[at - 2 : at] = value.to_bytes(2, "little")
    return bytes(raw)


FILES = {
    "a dimension of 31 digits": file_of({"w": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}),
    "sizes that overflow": file_of(
        {
            "__metadata__": {"format": "pt"},
            "w": {"dtype": "BF16", "shape": [1 << 40, 1 << 40, 0], "data_offsets": [0, 0]},
        }
    ),
    "100 dimensions": file_of({"w": {"dtype": "U8", "shape": [1] * 100, "data_offsets": [0, 1]}}, b"1"),
    "a million dimensions": file_of({"w": {"dtype": "U8", "shape": [1 << 60] * 10**6, "data_offsets": [0, 1]}}, b"1"),
    "an npy header without end": npy("{'descr': (\n"),
    "an npy header that claims all memory": npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({1 << 40},)}}\n"),
    "an npy header that claims more than can be": npy(
        f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**30},)}}\n"
    ),
    "an npy header with a tuple as type": npy("{'descr': ('<f8',), 'fortran_order': False, 'shape': (3,)}\n"),
    "an npz of version 9.9": npz(6, 99),
    "an npz of method 97": npz(10, 97),
    "an npz that is encrypted": npz(8, 1),
    "an npz that is no bzip2": npz(10, 12, compress=True),
    "an npz that is no lzma": npz(10, 14, compress=True),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_its_reader_chokes_on_is_an_error_of_ours(what: str, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(FILES[what])
    registry.save(tmp_path / "a.bin", "files")
    began = time.process_time()
    with pytest.raises((SerializerError, IntegrityError)):
        registry.load("files", trust=False)
    assert time.process_time() - began < 20


@pytest.mark.parametrize("raw", [b"\x80\x04garbage", b"\x80\x04cnowhere\nnothing\n."])
def test_a_pickle_that_cannot_be_read_says_so(raw: bytes, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(raw)
    registry.save(tmp_path / "a.pkl", "files")
    with pytest.raises(SerializerError, match=r"a\.pkl cannot be read as files:pickle"):
        registry.load("files", trust=True)


def test_a_name_that_is_no_text_is_refused(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"m\xff.bin")
    path.write_bytes(b"x")
    for act in (lambda: registry.save(path, "files"), lambda: registry.adopt(tmp_path / "*.bin", "files")):
        with pytest.raises(InvalidValueError, match="valid Unicode"):
            act()


def test_a_path_longer_than_any_disk_takes_is_refused_at_once() -> None:
    began = time.process_time()
    with pytest.raises(InvalidValueError, match="400001 characters, and 4096 are allowed"):
        check_paths(["a/" * 200_000 + "a"])
    assert time.process_time() - began < 1


def test_a_place_that_cannot_be_a_folder_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    version = registry.get("churn:1")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "a\0b"):
        with pytest.raises(InvalidValueError, match="cannot be a folder"):
            version.load(into=place)
        with pytest.raises(InvalidValueError, match="cannot be a folder"):
            version.export(place)
    assert (tmp_path / "file").read_bytes() == b"x"


DOORS: dict[str, tuple[Callable[[Registry], object], str]] = {
    "home of nobody": (lambda _: Registry("~nobody-at-all/r"), "~nobody-at-all/r"),
    "NUL": (lambda _: Registry("a\0b"), "NUL"),
    "settle": (lambda r: r.settle(None), "None is no token"),  # type: ignore[arg-type]
    "parent": (lambda r: r.save(weights(), "churn", parent=5), "parent is 5, a int"),  # type: ignore[call-overload]
    "version": (lambda r: r.model("churn").version([]), r"version \[\] is a list"),  # type: ignore[arg-type]
    "seal": (lambda r: r.storage.seal(None), "None is no key"),  # type: ignore[arg-type]
    "at": (
        lambda r: r.model("churn").at("p", datetime.min.replace(tzinfo=timezone(timedelta(hours=2)))),
        "is no date or time",
    ),
    "expect": (lambda r: r.get("churn:1").promote("p", expect="1"), "expect is '1', a str"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("door", DOORS)
def test_what_is_of_another_kind_is_refused_and_quoted(door: str, store: MemoryStore, registry: Registry) -> None:
    before = keys(store)
    act, said = DOORS[door]
    with pytest.raises(InvalidValueError, match=said):
        act(registry)
    assert keys(store) == before


def test_a_link_that_leads_nowhere_is_not_adopted(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "dangling.pkl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidValueError, match=r"dangling\.pkl cannot be adopted"):
        registry.adopt(tmp_path / "*.pkl", "files")


def test_an_invented_token_makes_no_model(store: MemoryStore, registry: Registry) -> None:
    before = keys(store)
    for journal in ("versions", "releases", "notes"):
        with pytest.raises(InvalidValueError, match="knows no model 'ghost'"):
            registry.settle(f"models/ghost/{journal}/1/{'a' * 32}")
    assert keys(store) == before


def test_where_warnings_are_errors_a_save_that_cannot_be_listed_stands(store: MemoryStore) -> None:
    class Unlisted(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if key.startswith("catalog"):
                raise AccessError("denied", key=key)
            super().create(key, value)

    late = System(now=lambda: datetime.now(UTC) - timedelta(minutes=10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Registry(Unlisted(store), system=late).save(weights(), "churn").number == 1


@pytest.mark.usefixtures("registry")
def test_parameters_nested_without_end_are_given_back_as_they_lie(store: MemoryStore) -> None:
    second = store.get("models/churn/versions/00000000000000000002.json")
    entry = orjson.loads(second.split(b"\n")[0])
    entry.update(n=3, prev=digest(second), tx="f" * 32)
    entry["ops"][0].update(number=3, params={"p": "deep"})
    deep = b'{"$tuple":[' * 450 + b"1" + b"]}" * 450
    raw = sign(orjson.dumps(entry).replace(b'"deep"', deep))
    store.create("models/churn/versions/00000000000000000003.json", raw)
    assert Registry(store).get("churn:3").params["p"]
    versions = Registry(store).model("churn").versions(where=lambda v: v.params["depth"] == 6)
    assert [v.number for v in versions] == [2]
    assert len(Registry(store).model("churn").versions().to_pandas()) == 3
