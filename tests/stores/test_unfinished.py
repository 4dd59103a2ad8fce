"""What listings do not show: temporary files of killed writers, and multipart uploads that nobody finished."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelkeep.cache import Cache
from modelkeep.errors import AccessError, OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
from modelkeep.stores.cached import Cached
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store, Unfinished, UnfinishedWrite, abandon, unfinished
from modelkeep.stores.retries import Retries
from modelkeep.stores.wrappers import Latency, ReadOnly, Recording, SingleWriter, Wrapper
from servers.answering import Answering, Asked, Said, s3_error
from servers.doors import S3Doors
from servers.running import s3_server
from servers.sites import Site

ONCE = Retries(attempts=2, first=0.01, longest=0.02, answer=5, connect=2)
TEMPORARY = f".tmp-{'0f' * 16}"
LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MEBIBYTE = 1 << 20


# -- temporary files


@pytest.fixture
def disk(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "models", durable=False)


def left(store: LocalStore, name: str, value: bytes = b"half") -> Path:
    """What a killed writer left, long ago."""
    path = store.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value)
    os.utime(path, (LONG_AGO.timestamp(),) * 2)
    return path


def test_a_temporary_file_is_named_with_its_folder_size_and_time(disk: LocalStore) -> None:
    left(disk, f"d/e/{TEMPORARY}")
    left(disk, f"{TEMPORARY}", b"")
    assert sorted(unfinished(disk, ""), key=lambda write: write.key) == [
        UnfinishedWrite("", TEMPORARY, 0, LONG_AGO),
        UnfinishedWrite("d/e/", TEMPORARY, 4, LONG_AGO),
    ]
    assert [write.key for write in unfinished(disk, "d/")] == ["d/e/"]
    left(disk, f"d/f/{TEMPORARY}")
    assert [write.key for write in unfinished(disk, "d/e")] == ["d/e/"]


def test_what_only_looks_like_a_temporary_file_is_left_alone(disk: LocalStore, tmp_path: Path) -> None:
    for name in (
        ".tmp-",
        ".tmp-1",
        f"{TEMPORARY}0",
        f"x{TEMPORARY}",
        TEMPORARY.upper(),
        ".nfs0001",
        ".tmp-" + "g" * 32,
    ):
        left(disk, f"d/{name}")
    (disk.root / "d" / f".tmp-{'1' * 32}").mkdir()
    (disk.root / "d" / f".tmp-{'2' * 32}").symlink_to(tmp_path)
    left(disk, f"d/.git/{TEMPORARY}")
    assert list(unfinished(disk, "")) == []


def test_no_link_is_followed_out_of_the_folder(disk: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / TEMPORARY).write_bytes(b"somebody's")
    disk.create("d/a", b"")
    (disk.root / "d" / "link").symlink_to(tmp_path / "elsewhere")
    assert list(unfinished(disk, "")) == []


def test_abandoning_removes_temporary_files_and_nothing_else(disk: LocalStore) -> None:
    path, other = left(disk, f"d/{TEMPORARY}"), left(disk, f"e/{TEMPORARY}")
    disk.create("d/a", b"1")
    abandon(disk, unfinished(disk, "d/"))
    assert not path.exists()
    assert other.exists()
    assert disk.get("d/a") == b"1"


def test_one_that_is_forged_keeps_all_from_being_removed(disk: LocalStore) -> None:
    path = left(disk, f"d/{TEMPORARY}")
    disk.create("d/a", b"1")
    for forged in (
        UnfinishedWrite("d/", "a", 0, LONG_AGO),
        UnfinishedWrite("d", TEMPORARY, 0, LONG_AGO),
        UnfinishedWrite("../models/d/", TEMPORARY, 0, LONG_AGO),
        UnfinishedWrite("d/", f"{TEMPORARY}\n", 0, LONG_AGO),
        UnfinishedWrite("/d/", TEMPORARY, 0, LONG_AGO),
    ):
        with pytest.raises(StoreError, match="is no unfinished write of this store"):
            abandon(disk, [*unfinished(disk, "d/"), forged])
    assert path.exists()
    assert disk.get("d/a") == b"1"


def test_a_folder_that_may_not_be_read_is_denied_and_not_empty(
    disk: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.create("d/a", b"1")
    scan = os.scandir

    def denied(path: str) -> Any:
        if path.endswith("/d/"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(AccessError, match="d/: Permission denied"):
        list(unfinished(disk, ""))


KILLED = """
import os, signal, sys
from modelkeep.stores.local import LocalStore

def source():
    yield b"x" * (3 << 20)
    os.kill(os.getpid(), signal.SIGKILL)

LocalStore(sys.argv[1]).put_pack("d/a.pack", source())
"""


def test_what_a_killed_writer_leaves_is_found_and_goes(disk: LocalStore) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(disk.root)], check=False)
    assert ended.returncode < 0
    (found,) = unfinished(disk, "")
    assert (found.key, found.size) == ("d/", 3 * MEBIBYTE)
    abandon(disk, [found])
    assert [path for path in disk.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("links", [False, True])
def test_a_writer_whose_temporary_file_went_stores_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, links: bool
) -> None:
    store = LocalStore(tmp_path / "models", durable=durable)

    def source() -> Iterator[bytes]:
        yield b"x" * MEBIBYTE
        abandon(store, unfinished(store, ""))
        yield b"y" * MEBIBYTE

    with pytest.raises(StoreError, match="taken away meanwhile, and nothing was stored: call again") as caught:
        store.put_pack("d/a", source())
    assert not isinstance(caught.value, OutcomeUnknownError)
    call = os.link

    def late(temporary: str, path: str) -> None:
        abandon(store, unfinished(store, ""))
        if not links:
            raise PermissionError(1, "no links here")
        call(temporary, path)

    monkeypatch.setattr(os, "link", late)
    if links:
        with pytest.raises(StoreError, match="taken away meanwhile, and nothing was stored: call again") as caught:
            store.create("d/a", b"1")
        assert not isinstance(caught.value, OutcomeUnknownError)
        assert list(store.list("")) == []
    else:
        store.create("d/a", b"1")  # without links the value is written again under its name
        assert store.get("d/a") == b"1"


def test_a_writer_that_goes_on_does_not_look_old(disk: LocalStore) -> None:
    def source() -> Iterator[bytes]:
        yield b"x" * MEBIBYTE
        (found,) = disk.root.rglob(".tmp-*")
        os.utime(found, (LONG_AGO.timestamp(),) * 2)
        assert [write.modified for write in unfinished(disk, "")] == [LONG_AGO]
        yield b"y" * MEBIBYTE
        assert all(write.modified > LONG_AGO for write in unfinished(disk, ""))

    disk.put_pack("d/a", source())


# -- stores that lack it, and wrappers


@pytest.mark.parametrize(
    "store", [MemoryStore(), Wrapper(MemoryStore()), ReadOnly(MemoryStore()), Recording(MemoryStore())], ids=repr
)
def test_where_nothing_can_be_named_nothing_is(store: Store) -> None:
    assert list(unfinished(store, "")) == []


def test_a_wrapper_hides_what_is_unfinished_but_those_that_change_no_delete_show_it(
    disk: LocalStore, tmp_path: Path
) -> None:
    left(disk, f"d/{TEMPORARY}")
    folder = Cache(tmp_path / "cache").folder(disk.url, "0" * 32)
    assert not isinstance(Wrapper(disk), Unfinished)
    assert list(unfinished(Wrapper(disk), "")) == []
    for store in (SingleWriter(disk), Recording(disk), Latency(disk, 0), Cached(disk, folder), ReadOnly(disk)):
        assert [write.key for write in unfinished(store, "d/")] == ["d/"]
    for wrapped in (SingleWriter, Recording, lambda within: Latency(within, 0), lambda within: Cached(within, folder)):
        path = left(disk, f"d/{TEMPORARY}")
        abandon(wrapped(disk), unfinished(disk, ""))
        assert not path.exists()


def test_a_store_that_names_none_refuses_those_of_another(disk: LocalStore) -> None:
    left(disk, f"d/{TEMPORARY}")
    with pytest.raises(StoreError, match="is no unfinished write of this store"):
        abandon(Wrapper(disk), unfinished(disk, ""))
    abandon(MemoryStore(), [])
    assert len(list(unfinished(disk, ""))) == 1


def test_read_only_abandons_nothing(disk: LocalStore) -> None:
    path = left(disk, f"d/{TEMPORARY}")
    with pytest.raises(AccessError, match="so d/ cannot be written"):
        abandon(ReadOnly(disk), unfinished(disk, ""))
    assert path.exists()


def test_recording_and_latency_count_what_is_asked(disk: LocalStore) -> None:
    left(disk, f"d/{TEMPORARY}")
    waits: list[float] = []
    store = Recording(Latency(disk, 0.05, sleep=waits.append))
    abandon(store, unfinished(store, "d/"))
    assert store.requests == [("list", "d/"), ("delete", "d/")]
    assert store.counts() == Counter({"list": 1, "delete": 1})
    assert waits == [0.05, 0.05]


# -- multipart uploads


@pytest.fixture(params=["moto_site", "seaweedfs_site"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def team() -> str:
    """A prefix that no other test has."""
    return uuid.uuid4().hex


def begun(site: Site, key: str, *sizes: int) -> str:
    """An upload that was begun, with parts of these sizes, past the store; its id."""
    assert isinstance(site.doors, S3Doors)
    asked = {"Bucket": site.bucket, "Key": key}
    name: str = site.doors.client.create_multipart_upload(**asked)["UploadId"]
    for number, size in enumerate(sizes, 1):
        site.doors.client.upload_part(**asked, UploadId=name, PartNumber=number, Body=bytes(size))
    return name


def test_an_upload_is_named_with_its_key_id_and_the_bytes_of_its_parts(site: Site, team: str) -> None:
    one = begun(site, f"{team}/d/%41.pack", 5 * MEBIBYTE, 3)
    two = begun(site, f"{team}/d/%41.pack")
    begun(site, f"{team}x/d/a.pack", 7)
    begun(site, f"{team}/d/not a key", 7)
    store = site.store(team)
    found = {write.name: write for write in unfinished(store, "d/")}
    assert {name: (write.key, write.size) for name, write in found.items()} == {
        one: ("d/%41.pack", 5 * MEBIBYTE + 3),
        two: ("d/%41.pack", 0),
    }
    for write in found.values():
        assert write.modified.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - write.modified) < timedelta(minutes=5)
    abandon(store, [found[one]])
    assert [write.name for write in unfinished(store, "")] == [two]
    abandon(store, found.values())
    assert list(unfinished(store, "")) == []


def test_uploads_and_parts_of_many_pages_are_all_named(site: Site, team: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep.stores.s3.PAGE", 2)
    sizes = [5 * MEBIBYTE] * 4 + [1]
    names = {begun(site, f"{team}/d/{number}.pack", *(sizes if number == 3 else ())) for number in range(5)}
    store = site.store(team)
    found = list(unfinished(store, "d/"))
    assert sorted(write.key for write in found) == [f"d/{number}.pack" for number in range(5)]
    assert {write.name for write in found} == names
    assert [write.size for write in found if write.key == "d/3.pack"] == [sum(sizes)]
    abandon(store, found)
    assert list(unfinished(store, "")) == []


# -- answers of S3 that no server here gives


SAID = '<?xml version="1.0" encoding="UTF-8"?>\n<{0} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{1}</{0}>'


def xml(name: str, *facts: str) -> Said:
    return Said(200, SAID.format(name, "".join(facts)).encode(), {"Content-Type": "application/xml"})


def upload(key: str, name: str, at: str = "") -> str:
    return f"<Upload><Key>{key}</Key><UploadId>{name}</UploadId>{f'<Initiated>{at}</Initiated>' if at else ''}</Upload>"


def part(number: int, at: str) -> str:
    return f"<Part><PartNumber>{number}</PartNumber><Size>5</Size><LastModified>{at}</LastModified></Part>"


@pytest.fixture
def scripted(server: Answering) -> Store:
    options = s3_server("answering", 1).at(server.endpoint).options
    return open_store("s3://bucket/team", storage_options=options, retries=ONCE)


def pages(uploads: dict[str, Said], parts: dict[str, Said]) -> Callable[[Asked], Said]:
    """Answers by the mark of the page, and by the id and the mark."""

    def answer(asked: Asked) -> Said:
        query = {name: values[0] for name, values in parse_qs(urlsplit(asked.target).query).items()}
        if "uploadId" in query:
            return parts[f"{query['uploadId']}{query.get('part-number-marker', '')}"]
        return uploads[query.get("key-marker", "") + query.get("upload-id-marker", "")]

    return answer


END = "<IsTruncated>false</IsTruncated>"


def test_an_upload_is_as_old_as_the_last_of_its_parts_on_any_page(server: Answering, scripted: Store) -> None:
    more = "<IsTruncated>true</IsTruncated>"
    first = [
        upload("team/d/slow", "slow", "2026-01-01T00:00:00.000Z"),
        upload("team/d/new", "new", "2026-01-09T00:00:00Z"),
    ]
    second = [upload("team/d/timeless", "timeless"), upload("team/d/parts", "parts")]
    marks = "<NextKeyMarker>team/d/new</NextKeyMarker><NextUploadIdMarker>new</NextUploadIdMarker>"
    server.says(
        pages(
            {
                "": xml("ListMultipartUploadsResult", more, marks, *first),
                "team/d/newnew": xml("ListMultipartUploadsResult", END, *second),
            },
            {
                "slow": xml(
                    "ListPartsResult", more, "<NextPartNumberMarker>2</NextPartNumberMarker>",
                    part(1, "2026-01-01T00:00:01.000Z"), part(2, "2026-01-05T00:00:00.000Z"),
                ),
                "slow2": xml("ListPartsResult", END, part(3, "2026-01-03T00:00:00.000Z")),
                "new": xml("ListPartsResult", END),
                "timeless": xml("ListPartsResult", END),
                "parts": xml("ListPartsResult", END, part(1, "2026-01-04T00:00:00.000Z")),
            },
        )
    )  # fmt: skip
    found = list(unfinished(scripted, "d/"))
    assert all(write.modified.tzinfo is UTC for write in found)
    assert "prefix=team%2Fd%2F" in server.asked[0].target
    assert found == [
        UnfinishedWrite("d/slow", "slow", 15, datetime(2026, 1, 5, tzinfo=UTC)),
        UnfinishedWrite("d/new", "new", 0, datetime(2026, 1, 9, tzinfo=UTC)),
        UnfinishedWrite("d/parts", "parts", 5, datetime(2026, 1, 4, tzinfo=UTC)),
    ]


def test_an_upload_that_is_gone_when_its_parts_are_asked_for_is_not_named(server: Answering, scripted: Store) -> None:
    both = [upload("team/d/a", "gone", "2026-01-01T00:00:00Z"), upload("team/d/b", "b", "2026-01-01T00:00:00Z")]
    server.says(
        pages(
            {"": xml("ListMultipartUploadsResult", END, *both)},
            {"gone": s3_error(404, "NoSuchUpload"), "b": xml("ListPartsResult", END)},
        )
    )
    assert [write.key for write in unfinished(scripted, "")] == ["d/b"]


def test_a_server_that_knows_no_prefixes_names_nothing_of_others(server: Answering, scripted: Store) -> None:
    keys = ("else/d/a", "team/e/a", "d/a", "team/d/a")
    every = [upload(key, "a", "2026-01-01T00:00:00Z") for key in keys]
    server.says(pages({"": xml("ListMultipartUploadsResult", END, *every)}, {"a": xml("ListPartsResult", END)}))
    assert [write.key for write in unfinished(scripted, "d/")] == ["d/a"]


def test_a_server_that_says_there_is_more_and_not_where_is_asked_once(server: Answering, scripted: Store) -> None:
    page = xml(
        "ListMultipartUploadsResult", "<IsTruncated>true</IsTruncated>", upload("team/d/a", "a", "2026-01-01T00:00:00Z")
    )
    server.says(pages({"": page}, {"a": xml("ListPartsResult", END)}))
    assert [write.key for write in unfinished(scripted, "")] == ["d/a"]


def test_who_may_not_list_uploads_or_their_parts_is_denied(server: Answering, scripted: Store) -> None:
    server.says(s3_error(403, "AccessDenied"))
    with pytest.raises(AccessError, match="ask for the right to it"):
        list(unfinished(scripted, "d/"))
    with pytest.raises(AccessError, match="ask for the right to it"):
        abandon(scripted, [UnfinishedWrite("d/a", "a", 0, LONG_AGO)])
    page = xml("ListMultipartUploadsResult", END, upload("team/d/a", "a", "2026-01-01T00:00:00Z"))
    server.says(pages({"": page}, {"a": s3_error(403, "AccessDenied")}))
    with pytest.raises(AccessError, match="d/a"):
        list(unfinished(scripted, ""))


def test_a_page_of_somebody_else_is_no_empty_listing(server: Answering, scripted: Store) -> None:
    server.says(Said(200, b"<html>log in</html>", {"Content-Type": "text/html"}))
    with pytest.raises(StoreError):
        list(unfinished(scripted, "d/"))


def test_no_upload_is_asked_away_without_its_id(server: Answering, scripted: Store) -> None:
    server.says(Said(204))
    for name in ("", " ", "a\n"):
        with pytest.raises(StoreError, match="is no unfinished write of this store"):
            abandon(scripted, [UnfinishedWrite("d/a", "a", 0, LONG_AGO), UnfinishedWrite("d/a", name, 0, LONG_AGO)])
    with pytest.raises(StoreError, match="is not a key"):
        abandon(scripted, [UnfinishedWrite("d/", "a", 0, LONG_AGO)])
    assert server.asked == []
    abandon(scripted, [UnfinishedWrite("d/a", "a", 0, LONG_AGO)])
    assert [(asked.method, "uploadId=a" in asked.target) for asked in server.asked] == [("DELETE", True)]


def test_an_abort_without_an_answer_is_open(server: Answering, scripted: Store) -> None:
    server.says(s3_error(503, "InternalError"))
    with pytest.raises(OutcomeUnknownError):
        abandon(scripted, [UnfinishedWrite("d/a", "a", 0, LONG_AGO)])
