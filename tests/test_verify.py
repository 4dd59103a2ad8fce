"""A verification says what is lost and what is not, checks the structure alone if asked, and repairs what it can."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import modelkeep as mk
from complete import complete, put_in
from modelkeep import tiles
from modelkeep.cli import cli
from modelkeep.digest import digest
from modelkeep.entry import encode, genesis
from modelkeep.errors import AccessError, DeletedError, UnknownModelError
from modelkeep.layout import entry_key, number_of, pack_key, tile_key
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper

TILE = tile_key("models/walker/releases/", 1, 0)
MOMENT = "2026-03-01T12:00:00.000000Z"


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    return complete()


@pytest.fixture
def store(objects: dict[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    put_in(store, objects)
    return store


def opened(store: Store) -> mk.Registry:
    return mk.Registry(store, cache=False)


def flip(store: MemoryStore, key: str, at: int = -1) -> None:
    raw = bytearray(store.get(key))
    raw[at] ^= 1
    store.put_pack(key, [bytes(raw)])


def own_pack(store: MemoryStore, ref: str) -> str:
    version = opened(store).get(ref)
    return pack_key(version.name, version._found().at.pack)


# -- what is lost ------------------------------------------------------------------------------------------------


def loading(store: MemoryStore, name: str) -> set[str]:
    """The versions of a model that load; those that are deleted, once they are restored."""
    found = set()
    for version in opened(store).model(name).versions(deleted=True):
        try:
            version.load()
        except (mk.IntegrityError, DeletedError):
            continue
        found.add(version.ref)
    return found


def test_a_piece_that_others_are_stored_against_loses_exactly_the_versions_that_no_longer_load(
    store: MemoryStore, objects: dict[str, bytes]
) -> None:
    all_of_it = loading(store, "churn")
    lost_with = {}
    for key in (key for key in objects if key.startswith("models/churn/data/")):
        flip(store, key, 1000)
        report = opened(store).storage.verify("churn")
        lost = {loss.ref for loss in report.lost}
        assert lost == all_of_it - loading(store, "churn"), key
        assert all(loss.objects == (key,) for loss in report.lost)
        assert report.whole + len(lost) == report.versions
        lost_with[key] = lost
        store.put_pack(key, [objects[key]])
    assert max(map(len, lost_with.values())) > 1


def test_a_lost_version_is_told_with_the_aliases_that_stand_on_it(store: MemoryStore) -> None:
    key = own_pack(store, "guest@production")
    store.delete([key])
    report = opened(store).storage.verify()
    assert [(loss.ref, loss.aliases, loss.objects) for loss in report.lost] == [("guest:2", ("production",), (key,))]
    assert f"lost: guest:2 (production), for {key}" in str(report)


def test_a_model_whose_journal_cannot_be_read_is_lost_as_a_whole_and_no_other(store: MemoryStore) -> None:
    key = "models/guest/versions/00000000000000000001.json"
    flip(store, key)
    report = opened(store).storage.verify()
    assert {loss.objects for loss in report.lost} == {(key,)}
    assert {loss.ref.partition(":")[0] for loss in report.lost} == {"guest"}
    assert report.whole == len(loading(store, "churn")) + len(loading(store, "walker")) + len(loading(store, "closed"))


def test_without_its_marker_every_model_is_lost_until_that_is_back(store: MemoryStore) -> None:
    flip(store, "modelkeep.json")
    report = opened(store).storage.verify()
    assert [loss.ref for loss in report.lost] == ["churn", "closed", "guest", "walker"]
    assert [loss.ref for loss in opened(store).storage.verify("churn").lost] == ["churn"]


def test_packs_that_changed_places_lose_both_versions_each_for_its_own_pack(store: MemoryStore) -> None:
    one, two = own_pack(store, "guest:1"), own_pack(store, "guest:2")
    first, second = store.get(one), store.get(two)
    store.put_pack(one, [second])
    store.put_pack(two, [first])
    for quick in (False, True):
        report = opened(store).storage.verify("guest", quick=quick)
        assert {(loss.ref, loss.objects) for loss in report.lost} == {("guest:1", (one,)), ("guest:2", (two,))}
        assert report.whole == len(loading(store, "guest")) == 0


def test_a_version_of_which_the_entry_is_damaged_is_lost_with_the_others(store: MemoryStore) -> None:
    all_of_it = loading(store, "churn")
    key = "models/churn/versions/00000000000000000005.json"
    flip(store, key, 50)
    report = opened(store).storage.verify("churn")
    assert {loss.ref for loss in report.lost} == all_of_it
    assert {loss.objects for loss in report.lost} == {(key,)}


def test_all_entries_that_have_to_come_back_are_blamed_and_the_origin_before_the_first(store: MemoryStore) -> None:
    entries = [f"models/walker/versions/{number:020}.json" for number in (1, 2)]
    for key in entries:
        flip(store, key)
    store.delete(["models/guest/origin.json"])
    report = opened(store).storage.verify()
    assert {(loss.ref.partition(":")[0], loss.objects) for loss in report.lost} == {
        ("walker", tuple(entries)),
        ("guest", ("models/guest/origin.json",)),
    }


def test_an_entry_that_is_missing_takes_all_of_the_model_and_its_aliases_are_told(store: MemoryStore) -> None:
    store.delete(["models/churn/versions/00000000000000000005.json"])
    (loss,) = opened(store).storage.verify("churn").lost
    assert (loss.ref, loss.aliases) == ("churn", ("production", "staging"))


def test_a_model_without_its_versions_is_lost_although_its_aliases_stand(store: MemoryStore) -> None:
    store.delete([item.key for item in store.list("models/walker/versions/")])
    report = opened(store).storage.verify("walker")
    assert [(loss.ref, loss.objects) for loss in report.lost] == [
        ("walker", ("models/walker/versions/00000000000000000001.json",))
    ]


def test_a_model_of_which_only_the_marker_is_left_is_named(store: MemoryStore) -> None:
    store.delete([item.key for item in store.list("models/walker/")])
    (finding,) = opened(store).storage.verify().findings
    assert (finding.key, finding.kind) == ("catalog/walker", "leftover")
    assert "all of it is lost" in finding.problem


def test_an_entry_of_a_newer_release_is_unknown_and_no_damage(store: MemoryStore) -> None:
    for prefix in ("models/walker/versions/", "models/churn/notes/", "policy/"):
        last = max(item.key for item in store.list(f"{prefix}0"))
        number = number_of(last) or 0
        raw = encode(number + 1, digest(store.get(last)), "9" * 32, MOMENT, "ada", {}, [{"op": "quantize"}])
        store.create(entry_key(prefix, number + 1), raw)
        found = [finding for finding in opened(store).storage.verify().findings if finding.key.startswith(prefix)]
        assert [(finding.key, finding.kind) for finding in found] == [(entry_key(prefix, number + 1), "unknown")]


def test_a_damaged_note_or_padding_or_text_loses_no_version(store: MemoryStore, objects: dict[str, bytes]) -> None:
    for key in (
        "models/churn/notes/00000000000000000001.json",
        next(key for key in objects if "/texts/" in key),
        own_pack(store, "walker:1"),
    ):
        flip(store, key, 0)
        report = opened(store).storage.verify()
        assert [finding.key for finding in report.findings] == [key]
        assert report.lost == ()
        store.put_pack(key, [objects[key]])


def test_a_damaged_note_does_not_keep_packs_from_being_checked(store: MemoryStore) -> None:
    note, pack = "models/churn/notes/00000000000000000001.json", own_pack(store, "churn:10")
    flip(store, note)
    flip(store, pack)
    assert {finding.key for finding in opened(store).storage.verify().findings} == {note, pack}


def test_an_entry_that_was_damaged_is_not_blamed_on_its_tile_nor_on_entries_behind_it(store: MemoryStore) -> None:
    for key in ("models/walker/releases/00000000000000000050.json", "models/churn/versions/00000000000000000001.json"):
        flip(store, key)
        assert key in {finding.key for finding in opened(store).storage.verify().findings}
    assert len(opened(store).storage.verify().findings) == 2
    assert opened(store).load("walker@production")["w"].tolist() == [0, 1, 2, 3]


def test_one_model_is_verified_by_its_name_and_an_unknown_one_is_said_to_be(store: MemoryStore) -> None:
    flip(store, own_pack(store, "guest:1"))
    assert opened(store).storage.verify("churn").ok
    assert not opened(store).storage.verify("guest").ok
    with pytest.raises(UnknownModelError, match="chrun"):
        opened(store).storage.verify("chrun")


# -- quick -------------------------------------------------------------------------------------------------------


def test_a_quick_check_reads_no_pack_but_its_manifests_and_no_text(store: MemoryStore) -> None:
    read: list[tuple[str, tuple[int, int] | None]] = []

    class Noted(Wrapper):
        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            read.append((key, span))
            return super().get(key, span)

    report = opened(Noted(store)).storage.verify(quick=True)
    assert (report.ok, report.quick, report.bytes) == (True, True, 0)
    assert report.whole == report.versions
    assert not [key for key, _ in read if "/texts/" in key]
    spans = [span for key, span in read if key.endswith(".pack")]
    assert len(spans) == report.versions
    assert all(spans)


def test_a_quick_check_tells_which_versions_a_short_pack_loses(store: MemoryStore) -> None:
    key = own_pack(store, "guest:1")
    flip(store, key, 1100)
    assert opened(store).storage.verify(quick=True).ok, "a flipped bit needs the full check"
    store.put_pack(key, [store.get(key)[:-1]])
    report = opened(store).storage.verify(quick=True)
    assert [(loss.ref, loss.objects) for loss in report.lost] == [("guest:1", (key,))]


def test_a_sound_registry_costs_no_more_requests_than_what_is_read_of_it(store: MemoryStore) -> None:
    counted, quick = Recording(store), Recording(store)
    told: list[tuple[int, int]] = []
    opened(counted).storage.verify(progress=lambda done, total: told.append((done, total)))
    opened(quick).storage.verify(quick=True)
    assert quick.counts()["get"] < counted.counts()["get"]
    assert quick.counts()["list"] <= counted.counts()["list"]
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] == sum(item.size for item in store.list("") if item.key.endswith(".pack"))


# -- repair ------------------------------------------------------------------------------------------------------

WRONG: dict[str, Callable[[MemoryStore], None]] = {
    "a flipped bit": lambda store: flip(store, TILE, 40),
    "rubbish": lambda store: store.put_pack(TILE, [b"rubbish"]),
    "nothing": lambda store: store.delete([TILE]),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_tile_is_made_anew_from_its_entries_and_nothing_else_is_written(
    store: MemoryStore, objects: dict[str, bytes], how: str
) -> None:
    WRONG[how](store)
    report = opened(store).storage.verify(repair=True)
    assert report.findings == ()
    assert [(repair.key, repair.failed) for repair in report.repairs] == [(TILE, "")]
    assert tiles.split(store.get(TILE), 100) == tiles.split(objects[TILE], 100)
    assert {item.key: store.get(item.key) for item in store.list("") if item.key != TILE} == {
        key: value for key, value in objects.items() if key != TILE
    }
    assert opened(store).storage.verify(repair=True).repairs == ()


def test_tiles_of_the_second_level_are_made_anew_too() -> None:
    store = MemoryStore()
    registry = opened(store)
    registry.save({"w": np.zeros(1)}, "churn")
    journal = registry.get("churn")._line.notes
    for number in range(1, 10_001):
        journal.append(lambda _: [], tx=f"{number:032x}")
    above, below = tile_key(journal.prefix, 2, 0), tile_key(journal.prefix, 1, 7)
    was = tiles.split(store.get(above), 10_000)
    store.put_pack(above, [b"rubbish"])
    store.delete([below])
    report = opened(store).storage.verify(repair=True)
    assert (report.findings, {repair.key for repair in report.repairs}) == ((), {above, below})
    assert tiles.split(store.get(above), 10_000) == was


def test_a_tile_with_an_entry_that_is_void_is_made_anew_too() -> None:
    store = MemoryStore()
    registry = opened(store)
    registry.save({"w": np.zeros(1)}, "churn")
    journal = registry.get("churn")._line.notes
    void = encode(1, genesis(journal._registry, journal.prefix), "9" * 32, MOMENT, "ada", {}, [{"op": "tag"}])
    store.create(entry_key(journal.prefix, 1), void)
    for number in range(2, 102):
        journal.append(lambda _: [], tx=f"{number:032x}")
    tile = tile_key(journal.prefix, 1, 0)
    was = store.get(tile)
    store.delete([tile])
    report = opened(store).storage.verify(repair=True)
    assert ([finding.kind for finding in report.findings], [repair.key for repair in report.repairs]) == (
        ["void"],
        [tile],
    )
    assert store.get(tile) == was


def test_a_tile_of_entries_that_are_all_gone_is_not_blamed_for_it_is_the_last_that_has_them(store: MemoryStore) -> None:
    gone = [item.key for item in store.list("models/walker/releases/0")]
    kept = store.get(TILE)
    store.delete(gone)
    report = opened(store).storage.verify(repair=True)
    assert [(one.key, one.kind) for one in report.findings if "releases" in one.key] == [(gone[0], "missing")]
    assert not report.ok
    assert store.get(TILE) == kept


def test_a_tile_over_a_damaged_entry_is_left_as_it_is_for_it_may_be_the_last_that_has_it(store: MemoryStore) -> None:
    entry = "models/walker/releases/00000000000000000050.json"
    flip(store, entry)
    report = opened(store).storage.verify(repair=True)
    assert ([finding.key for finding in report.findings], report.repairs) == ([entry], ())
    store.delete([TILE])
    report = opened(store).storage.verify(repair=True)
    assert ([finding.key for finding in report.findings], report.repairs) == ([entry], ())
    assert TILE not in {item.key for item in store.list("")}


def test_a_marker_is_put_back_for_an_open_model_and_a_stray_one_is_left(store: MemoryStore) -> None:
    store.delete(["catalog/churn"])
    store.put_pack("catalog/strange", [b"x"])
    report = opened(store).storage.verify(repair=True)
    assert [repair.key for repair in report.repairs] == ["catalog/churn"]
    assert [(finding.key, finding.kind) for finding in report.findings] == [("catalog/strange", "stray")]
    assert "churn" in [model.name for model in opened(store).models()]
    assert "closed" not in [model.name for model in opened(store).models()]


def test_what_cannot_be_computed_is_not_touched_by_a_repair(store: MemoryStore, objects: dict[str, bytes]) -> None:
    for key in (
        own_pack(store, "churn:10"),
        "models/guest/notes/00000000000000000001.json",
        next(key for key in objects if "/texts/" in key),
    ):
        flip(store, key)
    before = {item.key: store.get(item.key) for item in store.list("")}
    report = opened(store).storage.verify(repair=True)
    assert (report.ok, report.repairs) == (False, ())
    assert {item.key: store.get(item.key) for item in store.list("")} == before


def test_a_repair_without_the_right_to_write_is_refused_and_a_check_is_not(store: MemoryStore) -> None:
    store.put_pack(TILE, [b"rubbish"])
    assert not opened(ReadOnly(store)).storage.verify().ok
    with pytest.raises(AccessError):
        opened(ReadOnly(store)).storage.verify(repair=True)


def test_a_repair_that_may_not_delete_says_so_and_the_rest_is_repaired(store: MemoryStore) -> None:
    class Keeps(Wrapper):
        def delete(self, keys: Iterable[str]) -> None:
            del keys
            raise AccessError("deleting is denied", key=TILE)

    store.put_pack(TILE, [b"rubbish"])
    store.delete(["catalog/churn"])
    report = opened(Keeps(store)).storage.verify(repair=True)
    assert [(one.key, one.failed) for one in report.repairs] == [(TILE, "deleting is denied"), ("catalog/churn", "")]
    assert [finding.key for finding in report.findings] == [TILE]


def test_any_number_repair_at_once_beside_readers(store: MemoryStore) -> None:
    store.put_pack(TILE, [b"rubbish"])
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(opened(store).storage.verify, repair=True) for _ in range(6)]
        loads = [pool.submit(opened(store).load, "walker@production") for _ in range(20)]
        assert all(one.result()["w"].tolist() == [0, 1, 2, 3] for one in loads)
        assert all({finding.key for finding in one.result().findings} <= {TILE} for one in done)
    assert opened(store).storage.verify(repair=True).ok


class Remote(MemoryStore):
    remote = True


@pytest.fixture
def far(objects: dict[str, bytes]) -> Remote:
    store = Remote("memory://far")
    put_in(store, objects)
    return store


def copies(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*") if path.is_file() and path.name != "registry.json")


def test_copies_on_this_machine_that_are_wrong_are_dropped_and_the_others_kept(far: Remote, tmp_path: Path) -> None:
    registry = mk.Registry(far, cache=tmp_path)
    for version in registry.model("churn").versions():
        version.load()
    assert mk.Registry(far, cache=tmp_path).storage.verify(repair=True).repairs == ()
    kept = set(copies(tmp_path))
    pack = max((path for path in kept if path.name.endswith(".pack")), key=lambda path: path.stat().st_size)
    raw = bytearray(pack.read_bytes())
    raw[1000] ^= 1
    pack.write_bytes(raw)
    report = mk.Registry(far, cache=tmp_path).storage.verify(repair=True)
    assert [repair.what.partition(":")[0] for repair in report.repairs] == ["copy on this machine dropped"]
    assert kept - set(copies(tmp_path)) == {pack}


def test_copies_of_a_journal_that_is_another_one_now_are_dropped(
    far: Remote, tmp_path: Path, objects: dict[str, bytes]
) -> None:
    other = MemoryStore()
    put_in(other, objects)
    mk.Registry(far, cache=tmp_path).get("guest:1").tag(owner="ada")
    assert mk.Registry(far, cache=tmp_path).get("guest:1").tags["owner"] == "ada"
    opened(other).get("guest:1").tag(owner="bob")
    put_in(far, {item.key: other.get(item.key) for item in other.list("models/guest/notes/")})
    report = mk.Registry(far, cache=tmp_path).storage.verify(repair=True)
    assert [(repair.key, repair.what.partition(" dropped")[0]) for repair in report.repairs] == [
        ("models/guest/notes/", "copies on this machine")
    ]
    assert (report.ok, mk.Registry(far, cache=tmp_path).storage.verify(repair=True).repairs) == (True, ())


def test_copies_of_a_damaged_journal_are_kept_for_they_may_be_the_last(far: Remote, tmp_path: Path) -> None:
    mk.Registry(far, cache=tmp_path).load("guest:1")
    kept = set(copies(tmp_path))
    flip(far, "models/guest/versions/00000000000000000001.json")
    assert mk.Registry(far, cache=tmp_path).storage.verify(repair=True).repairs == ()
    assert set(copies(tmp_path)) >= kept


# -- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(objects: dict[str, bytes], tmp_path: Path) -> Path:
    for key, value in objects.items():
        (tmp_path / "registry" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "registry" / key).write_bytes(value)
    return tmp_path / "registry"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["verify", *map(str, args)])


def test_the_command_says_what_is_lost_what_is_not_and_what_to_do(folder: Path) -> None:
    key = min(path for path in folder.glob("models/closed/data/*"))
    key.write_bytes(key.read_bytes()[:-1])
    for how in ([], ["--quick"], ["closed"]):
        shown = run("--registry", folder, *how)
        assert shown.exit_code == 6
        (row,) = [line for line in shown.stdout.splitlines() if line.split()[:1] == ["closed:1"]]
        assert row.split() == ["closed:1", "production", key.relative_to(folder).as_posix()]
        assert "1 version lost, " in shown.stdout
        assert "damaged: bring it back from a backup" in shown.stdout
    assert run("churn", "--registry", folder).exit_code == 0


def test_the_command_gives_all_of_it_as_json(folder: Path) -> None:
    (folder / TILE).write_bytes(b"rubbish")
    found = json.loads(run("--registry", folder, "--json").stdout)
    assert set(found) == {
        *(
            "url",
            "ok",
            "findings",
            "models",
            "datasets",
            "versions",
            "bytes",
            "lost",
            "whole",
            "repairs",
            "quick",
            "drafts",
        )
    }
    assert [(one["key"], one["kind"]) for one in found["findings"]] == [(TILE, "tile")]
    assert (found["lost"], found["whole"] == found["versions"]) == ([], True)


def test_the_command_repairs_and_exits_by_what_is_left(folder: Path) -> None:
    (folder / TILE).write_bytes(b"rubbish")
    assert run("--registry", folder).exit_code == 6
    done = run("--repair", "--registry", folder)
    assert (done.exit_code, f"repaired: {TILE}: written anew from its entries" in done.stdout) == (0, True)
    (folder / TILE).write_bytes(b"rubbish")
    text = min(folder.glob("models/churn/texts/*"))
    text.write_bytes(b"others")
    assert run("--repair", "--registry", folder).exit_code == 6
    assert text.read_bytes() == b"others"
    assert run("--registry", folder, "--json").exit_code == 6


def test_the_command_names_sealing_only_for_entries_and_the_empty_object_for_one_that_is_missing(folder: Path) -> None:
    note, marker = folder / "models/churn/notes/00000000000000000003.json", folder / "modelkeep.json"
    whole, sound = note.read_bytes(), marker.read_bytes()
    note.write_bytes(whole[:-1])
    shown = run("--registry", folder).stdout
    assert "storage.seal(KEY)" in shown
    assert "empty object" not in shown
    note.unlink()
    assert "empty object" in run("--registry", folder).stdout
    note.write_bytes(b"")
    mk.Registry(folder).storage.seal("models/churn/notes/00000000000000000003.json")
    assert run("--registry", folder).exit_code == 0
    marker.write_bytes(sound[:-1])
    shown = run("--registry", folder).stdout
    assert "storage.seal(KEY)" not in shown
    assert "all of 4 models lost" in shown


def test_what_lies_among_tiles_and_is_none_is_a_stray_that_no_repair_is_promised_for(folder: Path) -> None:
    (folder / TILE).with_name("notes.txt").write_bytes(b"x")
    shown = run("--repair", "--registry", folder)
    assert (shown.exit_code, "stray: delete it" in shown.stdout, "verify --repair" in shown.stdout) == (6, True, False)
