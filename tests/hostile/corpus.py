"""The whole corpus, in a fixed order."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from hostile.archives import archives, folders, trees
from hostile.inputs import Hostile, ascii_name, named, texts, values
from hostile.packed import all_packed
from hostile.stored import all_stored, policies, tokens


def arguments() -> Iterator[Hostile]:
    """What may come in where a text, number or mapping belongs."""
    yield from named("name", {ascii_name(text): text for text in texts()})
    yield from named("value", values())
    yield from named("token", tokens())
    yield from named("policy", policies())
    yield from named("url", urls())
    yield from named("command", commands())


def urls() -> dict[str, str]:
    """Places that are none."""
    schemes = (
        "file://",
        "file:///",
        "memory://",
        "gopher://",
        "zip://",
        "simplecache::file:///",
        "local://",
        "://",
        "s3:/",
        "data:",
        "dir::",
        "memory://[",
        "http//",
        "reference://",
        "tar://",
        "libarchive://",
        "filecache::memory://",
        "blockcache::",
        "github://a@b/",
    )
    tails = (
        "",
        "/",
        "..",
        "\0",
        "%00",
        "%2e%2e/x",
        "[::1",
        "a\u2100b",
        "\ud800",
        "a b",
        "é",
        "a\nb",
        "\x1b[2J",
        "x" * 5000,
        "?x",
        "#x",
        "@",
        ":99999999",
        "a:b@c",
        "\u202e",
        "~",
        "*",
    )
    return {f"{scheme}{ascii_name(tail)}": f"{scheme}{tail}" for scheme in schemes for tail in tails}


def commands() -> dict[str, list[str]]:
    """Arguments as a shell may give them; bytes that are no UTF-8 are surrogates there."""
    shapes = (
        ["log", "{}"],
        ["usage", "{}"],
        ["{}"],
        ["compact", "{}"],
        ["collect", "--dry-run", "{}"],
        ["collect", "--dry-run", "--grace", "{}"],
        ["cache", "clear", "{}"],
        ["push", "{}", "--to", "memory://to"],
        ["policy", "set", "{}"],
        ["verify", "--{}"],
        ["compact", "--newest", "{}"],
    )
    picked = [text for text in texts() if "\0" not in text and len(text) < 100_000]
    picked = [*random.Random(1).sample(picked, 60), "��", "a\x1b[2Jb", "a\u202eb", "a\rb", "a\x9bb", "\u2066x\u2069"]
    return {
        f"{' '.join(shape)} {ascii_name(t)}": [part.replace("{}", t) for part in shape]
        for shape in shapes
        for t in picked
    }


def open_to_all(place: Path) -> None:
    for path in (place, *place.iterdir()):
        path.chmod(0o777)


def caches() -> Iterator[Hostile]:  # noqa: C901  one small function for each way to spoil it
    """Cache folders that somebody altered."""

    def all_files(place: Path) -> list[Path]:
        return [path for path in sorted(place.rglob("*")) if path.is_file()]

    def each(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], object]:
        return lambda place, _: [path.write_bytes(change(path.read_bytes())) for path in all_files(place)] and None

    def facts(raw: bytes) -> Callable[[Path, Path], object]:
        return lambda place, _: [p.write_bytes(raw) for p in place.rglob("registry.json")] and None

    def linked(place: Path, canary: Path) -> None:
        for path in all_files(place):
            path.unlink()
            path.symlink_to(canary / "bait")

    def folders_instead(place: Path, _: Path) -> None:
        for path in all_files(place):
            path.unlink()
            path.mkdir()

    def folder_linked(place: Path, canary: Path) -> None:
        for folder in [path for path in place.iterdir() if path.is_dir()]:
            folder.rename(folder.with_name("away"))
            folder.symlink_to(canary, target_is_directory=True)

    made: dict[str, Callable[[Path, Path], object]] = {
        "emptied": each(lambda _: b""),
        "zeros": each(lambda raw: bytes(len(raw))),
        "cut": each(lambda raw: raw[:40]),
        "noise": each(lambda raw: os.urandom(len(raw))),
        "longer": each(lambda raw: raw + b"x"),
        "huge": each(lambda raw: raw + bytes(8 << 20)),
        "last bit": each(lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]) if raw else raw),
        "links": linked,
        "folders": folders_instead,
        "folder linked": folder_linked,
        "world may write": lambda place, _: open_to_all(place),
        "strange files": lambda place, _: (
            [
                (d / n).write_bytes(b"x")
                for d in place.iterdir()
                if d.is_dir()
                for n in ("x", "0" * 64, ".tmp-" + "0" * 16)
            ]
            and None
        ),
    }
    for text in ("a\x1b[2J", "a\u202e", "\r", "x" * 100_000, "s3://u:p@h/", ""):
        made[f"a URL {ascii_name(text)}"] = facts(orjson.dumps({"url": text, "id": text}))
    for name, raw in {
        "deep": b"[" * 900 + b"]" * 900,
        "deeper": b'{"url":' + b"[" * 1020 + b"]" * 1020 + b',"id":1}',
        "numbers": b'{"url":1,"id":[]}',
        "no UTF-8": b"\xff",
        "list": b"[]",
        "null": b"null",
        "2 MiB": b'{"url":"' + b"x" * (2 << 20) + b'","id":""}',
    }.items():
        made[f"facts {name}"] = facts(raw)
    yield from named("cache", made)


def corpus() -> list[Hostile]:
    """Every input, each once by kind and name."""
    found: dict[tuple[str, str], Hostile] = {}
    for made in (arguments, all_stored, all_packed, archives, trees, folders, caches):
        for hostile in made():
            found.setdefault((hostile.kind, hostile.name), hostile)
    return list(found.values())


def share(every: int, seed: int = 7) -> list[Hostile]:
    """About one in *every* inputs of each kind, the same ones each time; at least some of each."""
    whole: dict[str, list[Hostile]] = {}
    for hostile in corpus():
        whole.setdefault(hostile.kind, []).append(hostile)
    chance = random.Random(seed)
    return [
        one
        for listed in whole.values()
        for one in chance.sample(listed, max(min(5, len(listed)), len(listed) // every))
    ]
