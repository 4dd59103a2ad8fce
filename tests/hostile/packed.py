"""Manifests, records, packs and file names that were made to do harm, with digests that fit."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import attrs
import numpy as np
import orjson

from hostile.forging import MODEL, PREFIX, Forge, forge, objects_of
from hostile.inputs import JSON, Hostile, ascii_name, spelled, texts
from hostile.stored import Objects, bomb
from modelkeep import zstd
from modelkeep._publish import Draft, publish
from modelkeep.digest import raw_digest
from modelkeep.manifest import MAGIC, Manifest, Piece, parse_record
from modelkeep.registry import Registry
from modelkeep.sink import SaveSink
from modelkeep.stores.memory import MemoryStore
from modelkeep.version import is_pack

_LENGTHS = struct.Struct("<III")
_PIECE = struct.Struct("<32s32sHBBIQII")
MIB = 1 << 20
SERIALIZERS = (
    "tree",
    "torch",
    "cloudpickle",
    "sklearn",
    "files",
    "builtins",
    "",
    "os",
    "posix:system",
    "../tree",
    "tree:x",
    "modelkeep.integrations.tree:serializer",
    "x" * 100_000,
    "tree\0",
    "\x1b[2J",
    "__import__('os')",
)


def bodied(head: bytes, record: bytes, pieces: bytes, *, counts: tuple[int, int, int] | None = None) -> bytes:
    """The bytes of a manifest with a digest that fits, made of packed parts."""
    lengths = counts or (len(head), len(record), len(pieces) // _PIECE.size)
    body = MAGIC + _LENGTHS.pack(*lengths) + head + record + pieces
    return body + raw_digest(body)


def _parts() -> tuple[dict[str, Any], bytes, list[tuple[Any, ...]]]:
    """Head, record and rows of pieces of a sound manifest."""
    manifest = forge().manifest(3)
    files = [[path, sum(p.length for p in pieces), len(pieces)] for path, pieces in manifest.files]
    rows = [
        (p.digest, p.stored_digest, p.pack, p.codec, p.width, p.stored, p.offset, p.length, 0)
        for _, pieces in manifest.files
        for p in pieces
    ]
    return {"packs": list(manifest.packs), "files": files}, manifest.record, rows


def _packed(rows: list[tuple[Any, ...]]) -> bytes:
    return b"".join(_PIECE.pack(*row) for row in rows)


def manifest_bytes() -> Iterator[tuple[str, bytes]]:
    """Bytes that pose as a manifest."""
    head, record, rows = _parts()
    plain, packed, table = zstd.compress(orjson.dumps(head)), zstd.compress(record), _packed(rows)
    whole = bodied(plain, packed, table)
    yield from {
        "empty": b"",
        "short": whole[:40],
        "cut": whole[:-1],
        "longer": whole + b"x",
        "noise": bytes(range(256)) * 4,
        "digest alone": raw_digest(b""),
        "another magic": bodied(plain, packed, table).replace(MAGIC, b"MKMANIF2"),
    }.items()
    top = (1 << 32) - 1
    for counts in (
        (top, 0, 0),
        (0, top, 0),
        (0, 0, top),
        (top, top, top),
        (0, 0, 0),
        (1, 1, 1),
        (len(plain), len(packed), 0),
    ):
        yield f"lengths {counts}", bodied(plain, packed, table, counts=counts)
    for name, raw in JSON.items():
        yield f"head {name}", bodied(zstd.compress(raw), packed, table)
        yield f"packs {name}", bodied(zstd.compress(spelled(head, packs=raw)), packed, table)
        yield f"files {name}", bodied(zstd.compress(spelled(head, files=raw)), packed, table)
        yield f"bases {name}", bodied(zstd.compress(spelled(head, bases=raw)), packed, table)
        row = b"[[" + raw + b"," + raw + b"," + raw + b"]]"
        yield f"a file of {name}", bodied(zstd.compress(spelled(head, files=row)), packed, table)
        sized = b'[["a",' + raw + b"," + raw + b"]]"
        yield f"a file of size {name}", bodied(zstd.compress(spelled(head, files=sized)), packed, table)
    for name, packed_up in _head_bombs().items():
        yield f"head {name}", bodied(packed_up, packed, table)
        yield f"record {name}", bodied(plain, packed_up, table)


@lru_cache(maxsize=1)
def _head_bombs() -> dict[str, bytes]:
    rows = b",".join(b'["%07d",0,0]' % n for n in range(100_000))
    return {
        "of 1 GiB": bomb(b" ", 1024),
        "of 256 MiB of spaces": zstd.compress(b"{}") + bomb(b" ", 192),
        "of 60 MiB of lists": zstd.compress(b'{"packs":[' + b"[]," * (20 * MIB) + b'[]],"files":[]}'),
        "of 60 MiB of objects": zstd.compress(b'{"packs":[' + b"{}," * (20 * MIB) + b'{}],"files":[]}'),
        "of 60 MiB of text": zstd.compress('{"packs":["😀'.encode() + b"x" * (60 * MIB) + b'"],"files":[]}'),
        "of 100,000 empty files": zstd.compress(b'{"packs":[],"files":[' + rows + b"]}"),
        "of 2,000 frames": zstd.compress(b" ") * 2000,
        "no frame": b"{}",
        "empty": b"",
        "cut": zstd.compress(b"{}")[:-1],
    }


def _replaced(raw: bytes, **at: int) -> Objects:
    try:
        read: Manifest | None = Manifest.parse(raw)
    except Exception:  # noqa: BLE001  what it raises is judged at the doors
        read = None
    return forge().put_manifest(3, raw, manifest=read, **at).signed()


def manifests() -> Iterator[Hostile]:
    """Manifests in a pack, where the entries say."""
    for name, raw in manifest_bytes():
        yield Hostile("manifest", name, partial(_replaced, raw))
    sound = forge().place(3)
    length, offset = sound[2], sound[1]
    for at in (
        {"length": 1 << 53},
        {"length": 0},
        {"length": length - 1},
        {"length": length + 1},
        {"offset": 1 << 53},
        {"offset": 0},
        {"offset": offset + 1},
        {"offset": 1 << 53, "length": 1 << 53},
        {"offset": (1 << 20) - length},
        {"length": 1 << 31},
        {"length": 1 << 40},
        {"offset": (1 << 53) - 1, "length": 1},
    ):
        _, _record, _ = _parts()
        raw = forge().manifest(3).encode()
        yield Hostile("manifest", f"at {at}", partial(_replaced, raw, **at))


def pieces() -> Iterator[Hostile]:
    """Pieces with lying lengths, offsets, codecs, widths, bases and packs."""
    head, record, rows = _parts()
    fields = ("pack", "codec", "width", "stored", "offset", "length", "base")
    top = {
        "pack": 1 << 16,
        "codec": 256,
        "width": 256,
        "stored": 1 << 32,
        "offset": 1 << 64,
        "length": 1 << 32,
        "base": 1 << 32,
    }
    for index, row in enumerate(rows):
        for place, field in enumerate(fields, 2):
            tried = (
                0,
                1,
                2,
                3,
                15,
                16,
                1 << 20,
                (64 << 20),
                (64 << 20) + 1,
                top[field] - 1,
                top[field] // 2,
                row[place] + 1,
            )
            for value in dict.fromkeys(v for v in tried if v < top[field]):
                changed = [*rows]
                changed[index] = (*row[:place], value, *row[place + 1 :])
                yield Hostile("piece", f"{index} {field} {value}", partial(_repieced, head, record, changed))
                if field in ("length", "stored"):  # and the size of the file fits, and both lengths do
                    both = [*rows]
                    both[index] = (*row[:5], value, row[6], value, row[8])
                    if value <= 64 << 20:
                        yield Hostile("piece", f"{index} both {field} {value}", partial(_repieced, head, record, both))
    yield from _bombs()


def _repieced(head: dict[str, Any], record: bytes, rows: list[tuple[Any, ...]]) -> Objects:
    at, files = 0, []
    for path, _, count in head["files"]:
        files.append([path, sum(row[7] for row in rows[at : at + count]), count])
        at += count
    raw = bodied(zstd.compress(orjson.dumps({**head, "files": files})), zstd.compress(record), _packed(rows))
    return _replaced(raw)


def _bombs() -> Iterator[Hostile]:
    """Pieces that unpack to more, or less, or other than they say."""
    for name, stored, length in (
        ("64 MiB of zeros", zstd.compress(bytes(64 * MIB)), 64 * MIB),
        ("1 GiB for 64 MiB", bomb(b"\0", 1024), 64 * MIB),
        ("1 GiB for 10 bytes", bomb(b"\0", 1024), 10),
        ("nothing for 64 MiB", zstd.compress(b""), 64 * MIB),
        ("no frame", b"x" * 100, 1000),
        ("1,001 empty frames", zstd.compress(b"") * 1001, 10),
        ("empty", b"", 1000),
        ("a window of 2^31", b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", 10),
    ):
        for width in (0, 2, 16):
            for based in (False, True):
                yield Hostile(
                    "piece",
                    f"{name} width {width}{' on a base' * based}",
                    partial(_with_piece, stored, length, width, based),
                )


def _with_piece(stored: bytes, length: int, width: int, based: bool) -> Objects:
    forged = forge()
    pack, offset, _ = forged.place(3)
    key = f"{PREFIX}data/{pack}.pack"
    forged.objects[key] = forged.objects[key][:offset] + stored + stored
    base = Piece(bytes(32), raw_digest(stored), 0, 1, len(stored), offset + len(stored), length) if based else None
    piece = Piece(bytes(32), raw_digest(stored), 0, 1, len(stored), offset, length, width, base)
    was = forged.manifest(1)
    manifest = Manifest((pack,), (("model.safetensors", (piece,)),), was.record)
    return _appended(forged, pack, manifest)


def _appended(forged: Forge, pack: str, manifest: Manifest) -> Objects:
    """A manifest behind all that lies in the pack, with the entries that say so."""
    key = f"{PREFIX}data/{pack}.pack"
    raw, offset = manifest.encode(), len(forged.objects[key])
    forged.objects[key] += raw
    whole = forged.objects[key]
    forged.put_manifest(3, raw, manifest=manifest, offset=offset)
    forged.objects[key] = whole
    return forged.signed()


def records() -> Iterator[Hostile]:
    """Records with a right digest and wrong fields; serializers of all names."""
    facts = orjson.loads(forge().manifest(3).record)
    made = {f"whole {name}": raw for name, raw in JSON.items()}
    made |= {f"{field} {name}": spelled(facts, **{field: raw}) for field in facts for name, raw in JSON.items()}
    parent = {"name": MODEL, "number": 1, "identity": "0" * 64}
    for field in parent:
        made |= {
            f"parent {field} {n}": spelled(facts, parents=b"[" + spelled(parent, **{field: raw}) + b"]")
            for n, raw in JSON.items()
        }
    made |= {f"serializer {ascii_name(s)}": spelled(facts, serializer=orjson.dumps(s)) for s in SERIALIZERS}
    for name, raw in made.items():
        yield Hostile("record", name, lambda raw=raw: forge().put_record(3, raw).signed())


def packs() -> Iterator[Hostile]:
    """Packs that are none, or another's, and ids that are no ids."""
    forged = forge()
    pack, offset, length = forged.place(3)
    key = f"{PREFIX}data/{pack}.pack"
    raw = forged.objects[key]
    other = forged.objects[f"{PREFIX}data/{forged.place(1)[0]}.pack"]
    bodies = {
        "empty": b"",
        "beginning alone": raw[:16],
        "another magic": b"x" * 16 + raw[16:],
        "another's": other,
        "twice": raw + raw,
        "without padding": raw.replace(bytes(8), b""),
        "noise between": raw[:-length] + b"x" + raw[-length:],
        "cut": raw[:offset],
        "8 MiB longer": raw + bytes(8 * MIB),
        "manifest alone": raw[offset:],
        "reversed": raw[::-1],
        "gzip": b"\x1f\x8b" + raw,
    }
    for name, body in bodies.items():
        yield Hostile("pack", name, lambda body=body: {**forge().signed(), key: body})
    for text in (*texts()[::4], "0" * 32 + "-" + "9" * 7, "0" * 32 + "-1\n", "0" * 32 + "-٣", "0" * 32 + "-1/../../x"):
        if not is_pack(text) and len(text) < 10_000 and not any("\ud800" <= c <= "\udfff" for c in text):
            yield Hostile("pack", f"id {ascii_name(text)}", partial(_named_pack, text))


def _named_pack(text: str) -> Objects:
    forged = forge()
    head, record, rows = _parts()
    raw = bodied(zstd.compress(orjson.dumps({**head, "packs": [text]})), zstd.compress(record), _packed(rows))
    forged.put_manifest(3, raw)
    for facts in forged.journals[f"{PREFIX}versions/"][-1:]:
        for op in facts["ops"] if isinstance(facts, dict) else ():
            op.update(packs=[text], at=[text, *op["at"][1:]])
    return forged.signed()


PATHS = {
    "case twins": ["W.bin", "w.bin"],
    "normalisation twins": ["é.bin", "e\u0301.bin"],
    "ligature twins": ["ﬁ", "fi"],
    "a file that is a folder": ["a", "a/b"],
    "the same twice": ["a", "a"],
    "devices": ["NUL", "con.txt", "aux", "com1.bin"],
    "trailing dots": ["a.", "a..", "a "],
    "dot files": [".bashrc", ".ssh/authorized_keys", ".git/hooks/post-checkout"],
    "bidi": ["a\u202egpj.exe"],
    "controls": ["a\u0085b", "a\u2028b"],
    "256 bytes": ["x" * 256],
    "255 bytes": ["x" * 255],
    "300 parts": ["/".join(["d"] * 300)],
    "2,000 parts": ["/".join(["d"] * 2000)],
    "4,096 characters": ["x/" * 2047 + "xx"],
    "4,097 characters": ["x/" * 2048 + "x"],
    "long parts": ["y" * 200 + "/" + "z" * 300],
    "é of 256 bytes": ["é" * 128],
    "options": ["-rf", "--help"],
    "globs": ["*", "?", "[a]"],
    "a link's place": ["link/x"],
    "a link's own name": ["link"],
    "through a link below": ["deep/link/x"],
    "part": [".x.part"],
    "braces": ["{a}", "$HOME", "~"],
    "1,000 files": [f"{n:04}" for n in range(1000)],
}


def paths() -> Iterator[Hostile]:
    """Names of files: those that no version has, and those that a disk may take for others."""
    for name, listed in PATHS.items():
        yield Hostile("file name", name, partial(_with_paths, listed))
    for text in texts():
        if len(text) <= 10_000 and not any("\ud800" <= c <= "\udfff" for c in text):
            yield Hostile("file name", ascii_name(text), partial(_with_paths, [text]))


def _with_paths(listed: list[str]) -> Objects:
    forged = forge()
    pack, _, _ = forged.place(3)
    (_, own), *_ = forged.manifest(3).files
    record = spelled(orjson.loads(forged.manifest(3).record), serializer=b'"files"')
    manifest = Manifest((pack,), tuple((path, own) for path in sorted(listed)), record)
    try:
        return _appended(forged, pack, manifest)
    except Exception:  # noqa: BLE001  one that has no identity: it is read no further than its head
        return forge().put_manifest(3, manifest.encode()).signed()


def saved(files: dict[str, bytes], serializer: str = "files") -> Objects:
    """A registry whose newest version has these files, said to be of this serializer."""
    store = MemoryStore()
    registry = Registry(store)
    registry.save({"w": np.arange(3)}, MODEL)
    line = registry._existing(MODEL)
    record = attrs.evolve(parse_record(forge().manifest(3).record), serializer=serializer)
    with SaveSink() as sink:
        for path, raw in files.items():
            sink.put(path, raw)
        publish(line, Draft(sources=sink.sources(), record=record))
    return objects_of(store)


def all_packed() -> Iterator[Hostile]:
    """Everything here."""
    for made in (manifests, pieces, records, packs, paths):
        yield from made()
