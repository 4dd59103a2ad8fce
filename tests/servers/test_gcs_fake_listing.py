"""The fake of Google Cloud Storage lists in order and in pages, and serves what gcsfs asks."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from servers.gcs_service import Ask, Service
from servers.running import Server

NAMES = ["a", "a-b", "a/b", "a/b/c", "a/b/d", "a/c", "a0", "b/", "b/x", "z", "é", "\ufb01", "\U0001f600"]


@pytest.fixture
def service() -> Service:
    """A fake without a port; no page of it holds more than three."""
    service = Service(page_size=3)
    service.answer(Ask("POST", "/storage/v1/b", {}, b'{"name": "models"}'))
    for name in random.Random(7).sample(NAMES, len(NAMES)):
        query = urlencode({"uploadType": "media", "name": name})
        assert service.answer(Ask("POST", f"/upload/storage/v1/b/models/o?{query}", {}, b"x")).status == 200
    return service


def listed(service: Service, **query: str) -> tuple[list[str], list[str], int]:
    """The names, the prefixes, and the number of pages."""
    names, prefixes, pages, token = [], [], 0, ""
    while True:
        wanted = urlencode(query | {"pageToken": token})
        page: Any = json.loads(service.answer(Ask("GET", f"/storage/v1/b/models/o?{wanted}", {})).body)
        names += [item["name"] for item in page.get("items", ())]
        prefixes += page.get("prefixes", [])
        pages += 1
        if not (token := page.get("nextPageToken", "")):
            return names, prefixes, pages


def test_names_come_in_the_order_of_their_bytes(service: Service) -> None:
    assert listed(service) == (sorted(NAMES, key=str.encode), [], 5)


def test_the_last_page_is_the_one_that_has_no_token(service: Service) -> None:
    assert listed(service, prefix="a/b/", maxResults="2")[2] == 1
    assert listed(service, prefix="a/", maxResults="1")[2] == 4
    assert listed(service, prefix="nothing") == ([], [], 1)


@pytest.mark.parametrize("most", ["1", "2", "3", "1000"])
def test_a_delimiter_rolls_up_what_lies_deeper_and_no_prefix_comes_twice(service: Service, most: str) -> None:
    names, prefixes, _ = listed(service, delimiter="/", maxResults=most)
    assert (names, prefixes) == (["a", "a-b", "a0", "z", "é", "\ufb01", "\U0001f600"], ["a/", "b/"])
    assert listed(service, delimiter="/", prefix="a/", maxResults=most)[:2] == (["a/b", "a/c"], ["a/b/"])
    assert listed(service, delimiter="/", prefix="b/", maxResults=most)[:2] == (["b/", "b/x"], [])


def test_a_listing_starts_and_ends_where_it_is_told(service: Service) -> None:
    assert listed(service, startOffset="a/b", endOffset="a0")[0] == ["a/b", "a/b/c", "a/b/d", "a/c"]


# gcsfs hands aiohttp more than 1 MiB as one piece, which aiohttp warns of
large_pieces = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


# -- gcsfs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def remote(gcs_server: Server, fresh_bucket: Callable[[Server], str]) -> tuple[Any, str]:
    return gcs_server.filesystem(), fresh_bucket(gcs_server)


@pytest.mark.parametrize("data", [b"", b"small", b"\r", b"\n--==0==x", bytes(GRAIN := 256 * 1024) + b"end"])
def test_gcsfs_writes_and_reads_what_it_wrote(remote: tuple[Any, str], data: bytes) -> None:
    fs, bucket = remote
    fs.pipe_file(f"{bucket}/a/ü +&?.bin", data, fixed_key_metadata={"cache_control": "no-store"})
    assert fs.cat_file(f"{bucket}/a/ü +&?.bin") == data
    facts = fs.info(f"{bucket}/a/ü +&?.bin")
    assert (facts["size"], facts["cacheControl"]) == (len(data), "no-store")
    assert fs.find(bucket) == [f"{bucket}/a/ü +&?.bin"]


@large_pieces
def test_gcsfs_is_told_when_a_name_is_taken(remote: tuple[Any, str], tmp_path: Path) -> None:
    fs, bucket = remote
    path, local = f"{bucket}/a", tmp_path / "local"
    local.write_bytes(bytes(5 * 2**20))
    fs.pipe_file(path, b"first", mode="create")
    attempts: list[Callable[[], Any]] = [
        lambda: fs.pipe_file(path, b"second", mode="create"),
        lambda: fs.pipe_file(path, bytes(2**20), mode="create", chunksize=2**18),
        lambda: fs.put_file(str(local), path, mode="create"),
    ]
    for again in attempts:
        with pytest.raises(FileExistsError):
            again()
    with pytest.raises(FileExistsError), fs.open(path, "xb") as file:
        file.write(b"third")
    assert fs.cat_file(path) == b"first"


@large_pieces
def test_gcsfs_uploads_in_chunks_and_checks_what_arrived(remote: tuple[Any, str], tmp_path: Path) -> None:
    fs, bucket = remote
    data = random.Random(3).randbytes(6 * 2**20 + 5)
    fs.pipe_file(f"{bucket}/piped", data, chunksize=2**20, consistency="md5")
    with fs.open(f"{bucket}/opened", "wb", block_size=2**20, consistency="md5") as file:
        for start in range(0, len(data), 700_000):
            file.write(data[start : start + 700_000])
    (tmp_path / "local").write_bytes(data)
    fs.put_file(str(tmp_path / "local"), f"{bucket}/put", consistency="md5")
    for name in ("piped", "opened", "put"):
        assert fs.cat_file(f"{bucket}/{name}") == data
        assert fs.cat_file(f"{bucket}/{name}", start=-5) == data[-5:]
        assert fs.cat_file(f"{bucket}/{name}", start=2**20, end=2**20 + 7) == data[2**20 : 2**20 + 7]
    fs.get_file(f"{bucket}/put", str(tmp_path / "back"), consistency="md5")
    assert (tmp_path / "back").read_bytes() == data


def test_gcsfs_leaves_nothing_of_an_upload_that_is_discarded(remote: tuple[Any, str]) -> None:
    fs, bucket = remote
    file = fs.open(f"{bucket}/a", "wb", block_size=2**18, autocommit=False)
    file.write(bytes(2**20))
    file.discard()
    assert fs.find(bucket) == []


def test_gcsfs_copies_moves_joins_and_deletes(remote: tuple[Any, str]) -> None:
    fs, bucket = remote
    fs.pipe_file(f"{bucket}/a", b"one")
    fs.cp_file(f"{bucket}/a", f"{bucket}/b")
    fs.mv_file(f"{bucket}/a", f"{bucket}/c")
    fs.merge(f"{bucket}/d", [f"{bucket}/b", f"{bucket}/c"])
    assert fs.find(bucket) == [f"{bucket}/{name}" for name in "bcd"]
    assert fs.cat_file(f"{bucket}/d") == b"oneone"
    fs.setxattrs(f"{bucket}/d", k="v")
    assert fs.getxattr(f"{bucket}/d", "k") == "v"
    fs.rm([f"{bucket}/{name}" for name in "bcd"])
    assert fs.find(bucket) == []
    with pytest.raises(FileNotFoundError):
        fs.rm_file(f"{bucket}/d")
    fs.rmdir(bucket)
    assert f"{bucket}/" not in fs.ls("")


def test_gcsfs_deletes_in_batches(remote: tuple[Any, str]) -> None:
    # gcsfs does so on Google's own hosts alone, so its private part is asked here
    fs, bucket = remote
    sync: Any = importlib.import_module("fsspec.asyn").sync
    fs.pipe({f"{bucket}/a b/{i}": b"x" for i in range(3)})
    *gone, missing = sync(fs.loop, fs._rm_files, [f"{bucket}/a b/{i}" for i in (0, 1, 2, 7)])
    assert gone == [f"{bucket}/a b/{i}" for i in range(3)]
    assert "No such object" in str(missing)
    assert fs.find(bucket) == []


def test_gcsfs_lists_in_pages(remote: tuple[Any, str]) -> None:
    fs, bucket = remote
    paths = [f"{bucket}/many/{i:04d}" for i in range(1001)]
    fs.pipe(dict.fromkeys(paths, b"x"))
    assert fs.find(f"{bucket}/many") == paths
    assert fs.ls(bucket, detail=False) == [f"{bucket}/many"]


# -- the counter-example -----------------------------------------------------------------------------------------------


def test_the_public_emulator_ignores_conditions(
    gcp_emulator_server: Server, fresh_bucket: Callable[[Server], str]
) -> None:
    fs, bucket = gcp_emulator_server.filesystem(), fresh_bucket(gcp_emulator_server)
    fs.pipe_file(f"{bucket}/a", b"first", mode="create")
    fs.pipe_file(f"{bucket}/a", b"second", mode="create")
    assert fs.cat_file(f"{bucket}/a") == b"second"
