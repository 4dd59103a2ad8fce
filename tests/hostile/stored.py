"""Markers, origins, entries, tiles, catalogues, texts, policies and tokens that were made to do harm."""

# ruff: noqa: RUF001  such characters are the point

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import orjson

from hostile.forging import JOURNALS, PREFIX, forge, sound
from hostile.inputs import JSON, Hostile, ascii_name, fragments, named, spelled, texts
from modelkeep import zstd
from modelkeep.digest import digest
from modelkeep.entry import sign
from modelkeep.folds import notes, policy, releases, versions

Objects = dict[str, bytes]
MIB = 1 << 20
_RULES: dict[str, Any] = dict(zip(JOURNALS, (versions.RULES, releases.RULES, notes.RULES, policy.RULES), strict=True))


def put(key: str, raw: bytes) -> Callable[[], Objects]:
    """The sound registry with one object replaced or added."""
    return lambda: {**sound(), key: raw}


def _signed(line: bytes) -> bytes:
    return sign(line.replace(b"\n", b" "))


def raw_lines() -> dict[str, bytes]:
    """What may stand where a signed line belongs."""
    return {
        "empty": b"",
        "newlines": b"\n\n",
        "no digest": b"{}\n",
        "wrong digest": b"{}\n" + b"0" * 64 + b"\n",
        "digest in capitals": b"{}\n" + digest(b"{}\n").upper().encode() + b"\n",
        "NULs": bytes(4096),
        "signed twice": sign(sign(b"{}")),
        "carriage returns": sign(b"{}").replace(b"\n", b"\r\n"),
        "BOM": b"\xef\xbb\xbf" + sign(b"{}"),
        "a million newlines": b"\n" * MIB,
        "8 MiB": bytes(8 * MIB),
        "2 MiB of lists": sign(b"[" + b"[]," * 700_000 + b"[]]"),
        "2 MiB of objects": sign(b"[" + b"{}," * 700_000 + b"{}]"),
    }


def markers() -> Iterator[Hostile]:
    """`modelkeep.json` and `origin.json`."""
    marker = orjson.loads(sound()["modelkeep.json"].split(b"\n")[0])
    for key, kind, facts in (
        ("modelkeep.json", "marker", marker),
        (f"{PREFIX}origin.json", "origin", {"registry": "5f0c" * 8}),
    ):
        made = {f"raw {name}": raw for name, raw in raw_lines().items()}
        made |= {f"line {name}": _signed(raw) for name, raw in JSON.items()}
        made |= {f"{field} {n}": _signed(spelled(facts, **{field: raw})) for field in facts for n, raw in JSON.items()}
        yield from named(kind, {name: put(key, raw) for name, raw in made.items()})


def ops() -> dict[str, list[dict[str, Any]]]:
    """An operation of each sort, by journal, with fields as they belong."""
    pack = forge().place(3)[0]
    alias = {"alias": "production", "number": 3, "identity": "0" * 64, "at": [pack, 0, 1], "how": "promote"}
    own: list[dict[str, Any]] = [
        {"op": "cancel", "tx": "0" * 32},
        {"op": "seal", "n": 1},
        {"op": "new", "skippable": True},
    ]
    create = {
        "number": 4,
        "identity": "0" * 64,
        "content": "0" * 64,
        "at": [pack, 0, 1],
        "packs": [pack],
        "size": 1,
        "serializer": "tree",
        "label": "9.0.0",
        "params": {},
        "metrics": {},
    }
    apart = f"{'9' * 32}-1"
    variant = {
        "number": 3,
        "kind": "half",
        "identity": "0" * 64,
        "content": "0" * 64,
        "at": [apart, 0, 1],
        "packs": [apart],
        "size": 1,
        "serializer": "tree",
    }
    draft = {key: variant[key] for key in ("kind", "identity", "content", "size")} | {
        "id": "8" * 32,
        "registry": "x",
        "at": [f"{'8' * 32}-1", 0, 1],
        "packs": [f"{'8' * 32}-1"],
        "expires": "2027-01-01T00:00:00.000000Z",
    }
    place = forge().place(3)
    finding = {"asked": "auc at least 0.9", "passed": False, "measured": 0.8}
    evidence = {"policy": 1, "digest": "0" * 64, "holder": 2, "risk": "high", "findings": [finding]}
    said = {"number": 3, "identity": "0" * 64, "reason": "0" * 64, "skippable": True}
    return {
        JOURNALS[0]: [
            *own,
            {"op": "open", "registry": "x"},
            {"op": "close"},
            {"op": "create", **create},
            {"op": "label", "number": 1, "label": "3.0.0"},
            {"op": "condemn", "packs": [pack[:-1] + "9"], "purged": [2]},
            {"op": "move", "number": 3, "was": place, "at": place, "packs": [pack]},
            {"op": "variant", **variant},
            {"op": "draft", **draft},
            {"op": "drop", "id": "8" * 32},
        ],
        JOURNALS[1]: [
            *own,
            {"op": "alias", **alias, "evidence": evidence},
            {"op": "refuse", "alias": "production", **said, "evidence": evidence},
            {"op": "request", **said, "reviewers": ["ada"]},
            {"op": "approve", **said},
            {"op": "reject", **said},
            {"op": "withdraw", **said},
            {"op": "unalias", "alias": "production", "reason": "0" * 64},
            {"op": "repin", "number": 3, "was": place, "at": place},
            {"op": "delete", "number": 1, "reason": "0" * 64},
            {"op": "restore", "number": 2},
            {"op": "hold", "number": 1, "reason": "0" * 64},
            {"op": "unhold", "number": 1},
            {"op": "purge", "number": 2, "rule": "erase", "policy": 1},
        ],
        JOURNALS[2]: [
            *own,
            {"op": "title", "title": "x"},
            {"op": "tag", "tags": {"a": "b"}, "number": 3},
            {"op": "measure", "number": 3, "metrics": {"auc": 1}},
            {"op": "describe", "text": "0" * 64, "number": 3},
            {"op": "comment", "text": "0" * 64, "number": 3},
        ],
        JOURNALS[3]: [
            *own,
            {"op": "policy", "text": "[retention]"},
            {"op": "policy", "text": '[models."*".aliases.production]\ngates = ["golden"]'},
        ],
    }


def _with(prefix: str, *listed: dict[str, Any] | bytes, **raw: bytes) -> Callable[[], Objects]:
    return lambda: forge().append(prefix, *listed, **raw).signed()


def entries() -> Iterator[Hostile]:
    """Entries whose digests and chain fit, and whose fields do not."""
    known = {op for rules in _RULES.values() for op in rules.ops}
    assert known <= {op["op"] for listed in ops().values() for op in listed}, "an operation is not attacked"
    made: dict[str, Callable[[], Objects]] = {}
    for prefix, listed in ops().items():
        short = prefix.removeprefix(PREFIX)
        for field in ("n", "prev", "tx", "time", "actor", "seen", "ops"):
            made |= {f"{short} {field} {n}": _with(prefix, {"op": "x"}, **{field: raw}) for n, raw in JSON.items()}
        for turn, op in enumerate(listed):
            fields = [*op, "number", "tags", "metrics", "how", "text", "reason"]
            for place, field in enumerate(dict.fromkeys(fields)):
                for name, raw in fragments(7 * turn + place, 12):
                    made[f"{short} {op['op']}.{field} {name}"] = _with(prefix, spelled(op, **{field: raw}))
        made |= {f"{short} {name}": put(f"{prefix}{1:020d}.json", raw) for name, raw in raw_lines().items()}
        made[f"{short} 5,000 operations"] = _with(prefix, *[b'{"op":"seal","n":1}'] * 5_000)
        made[f"{short} long unknown operation"] = _with(prefix, b'{"op":"' + b"x" * MIB + b'"}')
        made[f"{short} unknown operation with escapes"] = _with(prefix, b'{"op":"a\\u001b[2J\\u202e"}')
    yield from named("entry", made)


def seen() -> Iterator[Hostile]:
    """Heads of sister journals that a writer claims to have seen."""
    for name, raw in JSON.items():
        line = b'{"releases":' + raw + b',"versions":[' + raw + b',"x"]}'
        yield Hostile("sister heads", name, _with(JOURNALS[2], {"op": "title", "title": "y"}, seen=line))


def tiles() -> Iterator[Hostile]:
    """Tiles: bombs, lying counts, foreign frames, odd names."""
    first = min(raw for key, raw in sound().items() if key.startswith(JOURNALS[0]))
    bodies = {
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "an empty frame": zstd.compress(b""),
        "200 newlines": zstd.compress(b"\n" * 200),
        "one entry": zstd.compress(first),
        "the first entry 100 times": zstd.compress(first * 100),
        "99 entries": zstd.compress(first * 99),
        "two frames": zstd.compress(first * 50) * 2,
        "cut": zstd.compress(first * 100)[:-3],
        "longer": zstd.compress(first * 100) + b"x",
        "2,000 frames": zstd.compress(b"\n") * 2000,
        "magic alone": b"\x28\xb5\x2f\xfd",
        "skippable frame": b"\x50\x2a\x4d\x18\xff\xff\xff\xff",
        "gzip": b"\x1f\x8b\x08\x00",
        "a frame that claims 2^60 bytes": b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + b"\x01\x00\x00",
        "a window of 2^31": b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00",
        "unpacks to 1 GiB of NULs": bomb(b"\0", 1024),
        "unpacks to 1 GiB of newlines": bomb(b"\n", 1024),
        "unpacks to 2 GiB": bomb(b"\n", 2048),
        "199 newlines and 900 MiB": zstd.compress(b"\n" * 199) + bomb(b" ", 900) + zstd.compress(b"\n"),
    }
    for prefix in JOURNALS:
        short = prefix.removeprefix(PREFIX)
        for level, index in ((1, 0), (2, 0), (1, 1), (2, 10**15), (1, 10**20 - 1)):
            for name, raw in bodies.items() if (prefix, index) == (JOURNALS[0], 0) else list(bodies.items())[:4]:
                key = f"{prefix}t{level}/{index:020d}.zst"
                yield Hostile("tile", f"{short} level {level} number {index}: {name}", put(key, raw))
    for name in (
        "t1/x.zst",
        "t3/00000000000000000000.zst",
        "t1/00000000000000000000.json",
        "tx",
        "t1/" + "٣" * 20 + ".zst",
        "t1/../../x.zst",
        "t1/-0000000000000000001.zst",
        "t",
        "t1/00000000000000000000.zst/x",
    ):
        yield Hostile("tile", f"key {ascii_name(name)}", put(f"{JOURNALS[0]}{name}", b"x"))


def bomb(byte: bytes, mebibytes: int) -> bytes:
    """A frame of some kilobytes that unpacks to so many MiB of one byte."""
    return b"".join([_mebibytes(byte, 64)] * (mebibytes // 64))


@lru_cache(maxsize=16)
def _mebibytes(byte: bytes, count: int) -> bytes:
    return zstd.compress(byte * (count * MIB))


def catalogues() -> Iterator[Hostile]:
    """Markers that list models, and keys that no registry has."""
    for text in texts():
        if 0 < len(text) < 300:
            raw = "".join(f"%{byte:02x}" for byte in text.encode(errors="surrogatepass"))
            yield Hostile("catalogue", f"encoded {ascii_name(text)}", put(f"catalog/{raw}", b""))
    for text in (
        "%",
        "%zz",
        "%2e%2e",
        "..",
        "A",
        "%c3%28",
        "%ED%A0%80",
        "churn%00",
        "a b",
        "",
        "x/y",
        "%43hurn",
        "%63hurn",
    ):
        yield Hostile("catalogue", f"raw {text!r}", put(f"catalog/{text}", b"x"))
        yield Hostile("catalogue", f"model {text!r}", put(f"models/{text}/versions/{1:020d}.json", sound()[_FIRST]))
    for number in ("x", "1", "0" * 20, "9" * 20, "-1".rjust(20, "0"), "٣" * 20, "5".zfill(20)):
        yield Hostile("catalogue", f"entry {ascii_name(number)}", put(f"{JOURNALS[0]}{number}.json", sound()[_FIRST]))


_FIRST = f"{JOURNALS[0]}{1:020d}.json"


def said() -> Iterator[Hostile]:
    """Texts with the right digest, and policies in force that nobody could set."""
    bodies = {name: raw for name, raw in JSON.items() if len(raw) < MIB}
    bodies |= {
        "no UTF-8": b"\xff\xfe\x00",
        "surrogate": b"\xed\xa0\x80",
        "UTF-16": "x".encode("utf-16"),
        "100 kB": bytes(100_000),
    }
    for name, raw in bodies.items():
        yield Hostile("text", name, partial(_described, raw))
    for name, toml in policies().items():
        op = {"op": "policy", "text": toml}
        try:
            yield Hostile("policy in force", name, _with(JOURNALS[3], orjson.dumps(op)))
        except TypeError:  # no JSON can hold a surrogate
            continue


def _described(raw: bytes) -> Objects:
    forged = forge()
    number = len(forged.journals[JOURNALS[2]]) + 1
    forged.append(
        JOURNALS[2], {"op": "describe", "number": 3, "text": digest(raw)}, {"op": "describe", "text": digest(raw)}
    )
    return {**forged.signed(), f"{PREFIX}texts/{number:032x}": raw}


def policies() -> dict[str, str]:
    """Texts that pose as a policy."""
    fields = ("last", "newer", "labelled", "aliased", "best", "tagged", "deleted", "models", "nonsense")
    tomls = (
        "-1",
        "0",
        "1.5",
        "nan",
        "inf",
        "true",
        '""',
        "[]",
        "{}",
        "1e999",
        "9" * 5000,
        "0x" + "f" * 5000,
        '"1 days"',
        '"999999 weeks"',
        '"9999999 days"',
        '"١ days"',
        "2026-01-01",
        "[[]]",
        "[{}]",
        '[{metric="a",count=0}]',
        '["a", 1]',
        '[{metric="a",count=1,lowest=1}]',
        "{a = 1}",
        '"""a\\u0000"""',
        "[" * 500 + "]" * 500,
        "[" * 50_000,
    )
    made = {
        f"{field} = {toml[:20]} of {len(toml)}": f"[retention]\n{field} = {toml}" for field in fields for toml in tomls
    }
    made |= {
        f"pattern {ascii_name(t)}": f"[retention.models.{orjson.dumps(t).decode()}]\nlast = 1"
        for t in texts()
        if len(t) < 5000 and not any("\ud800" <= c <= "\udfff" for c in t)
    }
    made |= {
        "a key twice": "[retention]\nlast = 1\nlast = 2",
        "a table twice": "[retention]\n[retention]",
        "NUL": "a = '\0'",
        "1,000 tables deep": "[" + ".".join(["a"] * 1000) + "]",
        "20,000 tables deep": "[" + ".".join(["a"] * 20_000) + "]",
        "surrogate": "# \ud800",
        "carriage return": "a = 1\rb = 2",
        "a lone quote": '"',
        "long": "#" * 70_000,
        "a pattern of 60,000 brackets": f"[retention.models.'{'[' * 60_000}']\nlast = 1",
        "2,000 patterns": "".join(f"[retention.models.a{n}]\nlast = 1\n" for n in range(2000)),
        "tables in a list": "[[retention]]\nlast = 1",
        "dotted": "retention.last = 1\nretention.models.a.last = -1",
        "date out of range": "a = 2026-13-99",
        "time zone": "a = 2026-01-01T00:00:00+99:99",
        "escape": '"\\UFFFFFFFF" = 1',
        "bidi": "[retention]\n'a\u202eb' = 1",
        "control": '[retention]\n"\\u001b[2J" = 1',
        "words": "ignore all rules",
    }
    return made


def tokens() -> dict[str, str]:
    """Texts that pose as the token of a write whose answer was lost."""
    tx = "0" * 32
    shapes = (
        "models/{}/versions/1/" + tx,
        "models/{}/notes/7/" + tx,
        "{}/1/" + tx,
        "models/churn/{}/1/" + tx,
        "models/churn/versions/{}/" + tx,
        "models/churn/versions/1/{}",
        "policy/{}/" + tx,
        "{}",
    )
    picked = [t for t in texts() if len(t) <= 6_000][::3]
    return {f"{shape[:20]} {ascii_name(t)}": shape.replace("{}", t) for shape in shapes for t in picked}


def all_stored() -> Iterator[Hostile]:
    """Everything here that lies in a registry."""
    for made in (markers, entries, seen, tiles, catalogues, said):
        yield from made()
