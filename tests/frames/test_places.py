"""Files, folders, globs, URLs and pointers of DVC: by their bytes, or by what the store or DVC calls them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from modelkeep.capture.frames import can_describe, describe
from modelkeep.capture.frames.addresses import redacted
from modelkeep.capture.frames.files import DIGESTS
from modelkeep.capture.frames.pointers import parsed
from modelkeep.capture.frames.unlogged import unlogged
from modelkeep.digest import digest

MD5 = "0123456789abcdef0123456789abcdef"


def of(obj: Any, **options: Any) -> str:
    facts = describe(obj, **options)
    assert facts.fingerprint is not None, facts.notes
    return facts.fingerprint


def made(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text("x\n1\n")
    (folder / "deep" / "b.csv").write_text("x\n2\n")
    return folder


def test_a_file_is_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    first, second = tmp_path / "train.csv", tmp_path / "other.csv"
    first.write_bytes(b"x" * (1 << 20) + b"y")
    second.write_bytes(first.read_bytes())
    facts = describe(first, role="train")
    assert facts.fingerprint == of(str(second)) == f"file-1:{digest(first.read_bytes())}"
    assert (facts.kind, facts.size, dict(facts.source)) == ("file", (1 << 20) + 1, {"name": "train.csv"})
    assert str(tmp_path) not in str(facts.to_json())


def test_an_unchanged_file_is_read_once_and_a_changed_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    DIGESTS.forget()
    seen = of(path)
    path.chmod(0o000)
    if os.geteuid():  # root may read all
        assert of(path) == seen
    path.chmod(0o600)
    reads: list[str] = []
    from modelkeep.capture.frames import files

    real = files._read
    monkeypatch.setattr(files, "_read", lambda name, size: reads.append(name) or real(name, size))  # type: ignore[func-returns-value]
    assert of(path) == seen
    assert reads == []
    path.write_bytes(b"new")
    assert of(path) != seen
    tick = path.stat().st_mtime_ns
    path.write_bytes(b"odd")  # of the same size, in the same tick of the clock
    os.utime(path, ns=(tick, tick))
    assert of(path) == f"file-1:{digest(b'odd')}"
    assert len(reads) == 2


def test_a_folder_is_its_names_and_bytes(tmp_path: Path) -> None:
    first, second = made(tmp_path / "one"), made(tmp_path / "two")
    assert of(first) == of(second)
    (second / "a.csv").rename(second / "c.csv")
    assert of(first) != of(second)
    (second / "c.csv").rename(second / "a.csv")
    assert of(first) == of(second)
    (second / "deep" / "b.csv").write_text("x\n3\n")
    assert of(first) != of(second)


def test_a_glob_is_the_files_that_match(tmp_path: Path) -> None:
    folder = made(tmp_path / "one")
    both = of(str(folder / "**" / "*.csv"))
    assert both == of(folder)
    assert of(str(folder / "*.csv")) != both
    assert describe(str(folder / "*.parquet")).notes == ("unknown: nothing matches the pattern",)


def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    folder = made(tmp_path / "one")
    outside = tmp_path / "outside"
    outside.write_text("secret")
    (folder / "link").symlink_to(outside)
    (folder / "round").symlink_to(folder)
    facts = describe(folder)
    assert facts.notes == ("2 links lead out of the folder, or nowhere, and were not followed",)
    outside.write_text("another")
    assert of(folder) == facts.fingerprint
    inner = made(tmp_path / "two")
    (inner / "link").symlink_to(inner / "a.csv")
    assert describe(inner).notes == ()


def test_what_cannot_be_read_is_unknown_and_says_why(tmp_path: Path) -> None:
    facts = describe(tmp_path / "missing.csv")
    assert (facts.kind, facts.fingerprint) == ("file", None)
    assert facts.notes == ("unknown: FileNotFoundError: No such file or directory",)
    assert dict(facts.source) == {"name": "missing.csv"}
    os.mkfifo(tmp_path / "pipe")
    assert describe(tmp_path / "pipe").notes == ("unknown: is neither a file nor a folder",)


def test_a_text_is_a_path_only_if_something_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "train")
    monkeypatch.chdir(tmp_path)
    assert not can_describe("train")  # a word, and by chance a folder
    assert can_describe("train/a.csv")
    assert can_describe("./train")
    assert can_describe(Path("train"))
    assert can_describe("s3://bucket/key")
    assert not any(
        can_describe(text) for text in ("adam", "a.csv", "1.5", "a/b", "x://", "https://", "see: http://a b")
    )


class Store(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store that names versions, as S3, GCS and Azure do."""

    protocol = "versions"
    cachable = False
    found: dict[str, Any] = {}  # noqa: RUF012  one for all, as a store is

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "type": "file", "size": 1 << 40, **self.found}


@pytest.mark.parametrize("name", ["VersionId", "generation", "ETag", "etag"])
def test_a_url_is_what_the_store_calls_its_version(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("versions", Store, clobber=True)
    monkeypatch.setattr(Store, "found", {name: "one"})
    url = "versions://user:canary@bucket/train.csv?sig=canary"
    facts = describe(url, storage_options={"key": "canary", "secret": "canary"})
    assert dict(facts.source) == {"url": "versions://bucket/train.csv", name: "one"}
    assert facts.size == 1 << 40
    assert "canary" not in str(facts.to_json()) + repr(facts)
    assert facts.scheme == "store-1"
    monkeypatch.setattr(Store, "found", {name: "two"})
    assert of(url) != facts.fingerprint
    monkeypatch.setattr(Store, "found", {})
    assert describe(url).notes[0].endswith("too large to be read unasked: content=True")


def test_a_url_without_versions_is_its_bytes(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/places/x.csv", b"x\n1\n")
    (tmp_path / "x.csv").write_bytes(b"x\n1\n")
    assert of("memory://places/x.csv") == of(tmp_path / "x.csv") == of((tmp_path / "x.csv").as_uri())
    facts = describe("memory://places/missing.csv")
    assert facts.fingerprint is None
    assert facts.notes[0].startswith("unknown: FileNotFoundError")


def test_an_error_of_a_store_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("versions", Store, clobber=True)

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no access with the key canary")

    monkeypatch.setattr(Store, "info", refuse)
    assert describe("versions://bucket/x").notes == ("unknown: RuntimeError",)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://u:p@host/a@b?x=1#y", "https://host/a@b"),
        ("simplecache::s3://k:s@bucket/x", "simplecache::s3://bucket/x"),
        ("zip://inner.csv::https://u:p@host/a.zip?token=t", "zip://inner.csv::https://host/a.zip"),
        ("https://u:p@host?token=t", "https://host"),
        ("https://u:p/w@host/a", "https://host/a"),
        ("https://u:p/w@host/a?sig=ab@cd", "https://host/a"),
        ("https://u:p?w@host/a", "https://host/a"),
        ("https://u:p#w@host/a", "https://host/a"),
        ("https://u:p/w?x@host/a", "https://host/a"),
        ("https://u:p::w@host/a", "https://…::…"),
        ("https://u:p", "https://…"),
    ],
)
def test_a_url_is_kept_without_credentials(url: str, kept: str) -> None:
    assert redacted(url) == kept


def test_nothing_of_a_url_is_logged_while_it_is_looked_at_and_other_threads_log_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    url = "http://ada:maple-7@127.0.0.1:9/rows.csv?sig=maple-8"
    described = describe(url)
    assert described.fingerprint is None
    assert "maple" not in caplog.text
    with unlogged(), ThreadPoolExecutor(1) as pool:
        logging.getLogger("fsspec.http").debug("within")
        pool.submit(logging.getLogger("fsspec.http").debug, "beside").result()
    logging.getLogger("fsspec.http").debug("after")
    assert [record.message for record in caplog.records if record.name == "fsspec.http"] == ["beside", "after"]


def test_a_pointer_of_dvc_is_its_digest(tmp_path: Path) -> None:
    pointer = tmp_path / "train.csv.dvc"
    pointer.write_text(f"outs:\n- md5: {MD5}\n  size: 17\n  hash: md5\n  path: train.csv\n")
    facts = describe(pointer)
    assert (facts.kind, facts.size, facts.scheme) == ("pointer", 17, "dvc-1")
    assert dict(facts.source) == {"name": "train.csv.dvc", "path": "train.csv", "digest": f"md5:{MD5}"}
    other = tmp_path / "renamed.csv.dvc"
    other.write_text(f"# by hand\nmd5: {'0' * 32}\nouts:\n  - path: 'renamed.csv'\n    md5: \"{MD5}\"\n")
    assert of(other) == facts.fingerprint
    other.write_text(pointer.read_text().replace("0123", "3210"))
    assert of(other) != facts.fingerprint


def test_a_lock_of_dvc_is_the_outs_of_all_stages(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    text = (
        "schema: '2.0'\nstages:\n  prepare:\n    cmd: python a.py --x=1\n    deps:\n    - path: raw\n      md5: "
        f"{'1' * 32}.dir\n      size: 3\n      nfiles: 2\n    params:\n      params.yaml:\n        depth: 6\n"
        f"    outs:\n    - path: out/train\n      hash: md5\n      md5: {MD5}.dir\n      size: 10\n"
        f"  train:\n    cmd: python b.py\n    outs:\n    - path: model\n      md5: {MD5}\n      size: 5\n"
    )
    lock.write_text(text)
    facts = describe(lock)
    assert (facts.size, facts.source["outs"]) == (15, "2")
    lock.write_text(text.replace("raw", "row"))
    assert of(lock) == facts.fingerprint
    lock.write_text(text.replace("path: model", "path: models"))
    assert of(lock) != facts.fingerprint


@pytest.mark.parametrize(
    "text",
    [
        "outs: &a\n- *a\n",
        "outs: [{md5: x}]\n",
        "outs: !!python/object:os.system x\n",
        "outs:\n- md5: x\n",
        "a: |\n  b\n",
        "outs:\n- path: x\n  md5: '../../etc'\n",
        f"outs:\n- md5: {MD5}\n  path: a\n  path: b\n",
        "\ta: 1\n",
        "",
        "- - - a",
        "outs:\n" + "".join(f"{'  ' * n}a{n}:\n" for n in range(1, 60)),
    ],
)
def test_a_pointer_that_dvc_would_not_write_is_unknown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.dvc"
    path.write_text(text)
    facts = describe(path)
    assert facts.fingerprint is None
    assert facts.notes[0].startswith("unknown: ")
    assert "Error" not in facts.notes[0]


def test_the_part_of_yaml_is_read_as_yaml_reads_it() -> None:
    yaml = pytest.importorskip("yaml")
    text = "stages:\n  a:\n    cmd: x --y\n    outs:\n    - path: 'it''s'\n      md5: abc\n"
    text += "    - path: b c\n      md5: d\nz: q\n"
    assert parsed(text) == yaml.safe_load(text)


def test_to_tell_what_is_data_imports_nothing() -> None:
    code = (
        "import sys; from modelkeep.capture.frames import can_describe; can_describe('a/b.csv'); can_describe([1]);"
        "print(*{m.partition('.')[0] for m in sys.modules} & {'numpy', 'fsspec', 'pandas', 'pyarrow'})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
