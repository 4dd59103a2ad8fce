"""Every parser, fed with mutated seeds: it parses, or refuses in its own words; and what parses is printed the same.

``python tests/test_fuzz.py --examples 20000`` tries more; hypothesis leads itself to inputs that are taken far
(`target`), as there is no coverage to be had without instrumenting the interpreter.
"""

from __future__ import annotations

import argparse
import io
import pickle
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings, target
from hypothesis import strategies as st

from hostile.archives import safetensors, zipped
from hostile.forging import forge, sound
from modelkeep import retention, tiles, zstd
from modelkeep.birth import encode_origin, parse_origin
from modelkeep.codecs import ZSTD, Link, pack, unpack
from modelkeep.digest import raw_digest
from modelkeep.entry import DamagedError, encode, parse, sign
from modelkeep.errors import InvalidError, ModelkeepError
from modelkeep.fold import Fold
from modelkeep.folds import notes, policy, releases, versions
from modelkeep.layout import number_of
from modelkeep.manifest import Manifest, ManifestError, encode_record, parse_record
from modelkeep.pointer import Pointer
from modelkeep.ref import Caret, Label, ModelRef, check_alias, decode_name, encode_name
from modelkeep.serializers.outofband import rewrite
from modelkeep.serializers.safetensors import read_header
from modelkeep.settlement import read_token
from modelkeep.splitters import extents
from modelkeep.values import from_json, to_json
from modelkeep.version import check_path

EXAMPLES = 60  # of each parser, with the other tests
SPLICES = (
    b"",
    b"\0",
    b"\xff" * 8,
    b"\x00" * 8,
    b"[",
    b"{",
    b"]",
    b"}",
    b'"',
    b",",
    b":",
    b"-",
    b"1e999",
    b"NaN",
    b"9" * 5000,
    b"../",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"[" * 2000,
    b"\n",
    b"\xe2\x80\xae",
    b"\x80\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"%2e",
    b"^",
    b"@",
    b"#",
)

Check = Callable[[bytes], int]


@attrs.frozen
class Parser:
    """A parser and what it is fed with.

    Args:
        seeds: bytes that it takes.
        check: parses, and compares what is printed again; gives how far it came, or raises one of *refusals*.
        refusals: its own words.
    """

    seeds: tuple[bytes, ...]
    check: Check
    refusals: tuple[type[Exception], ...]


def text_of(raw: bytes) -> str:
    """Bytes as a text that may hold anything."""
    return raw.decode("utf-8", "surrogatepass") if _is_utf8(raw) else raw.decode("latin-1")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _same(again: object, first: object) -> int:
    assert again == first
    return 2


def _entry(raw: bytes) -> int:
    line = raw.partition(b"\n")[0]
    found = parse(sign(line), 1)
    seen = {name: tuple(head) for name, head in found.seen.items() if _is_head(head)}
    written = encode(1, found.prev, found.tx, found.time, found.actor, seen, found.ops)
    again = parse(written, 1)
    assert attrs.evolve(again, digest="", seen={}) == attrs.evolve(found, digest="", seen={})
    came = 2
    listed: tuple[Any, ...] = (versions.RULES, releases.RULES, notes.RULES, policy.RULES)
    for rules in listed:
        fold: Fold[Any] = Fold(rules, (0, found.prev))
        fold.take(sign(line))
        came += not fold.void and not fold.unknown
    return came


def _is_head(head: object) -> bool:
    return (
        isinstance(head, list) and len(head) == 2 and type(head[0]) is int and head[0] > 0 and isinstance(head[1], str)
    )


def _manifest(raw: bytes) -> int:
    found = Manifest.parse(raw[:-32] + raw_digest(raw[:-32]) if len(raw) > 32 else raw)
    found.facts(), found.stored() if found.packs else ()
    return _same(Manifest.parse(found.encode()), found)


def _head(raw: bytes) -> int:
    record = zstd.compress(b"{}")
    head = zstd.compress(raw)
    body = b"MKMANIF1" + b"".join(n.to_bytes(4, "little") for n in (len(head), len(record), 0)) + head + record
    return _manifest(body + bytes(32))


def _record(raw: bytes) -> int:
    found = parse_record(raw)
    try:
        written = encode_record(found)
    except InvalidError:
        return 1  # one of an attacker, whose values no save would take
    again = parse_record(written)
    return _same(repr(again), repr(found))  # NaN is not equal to itself


def _tile(raw: bytes) -> int:
    found = tiles.split(raw, 2)
    return 0 if found is None else _same(tiles.split(zstd.compress(b"".join(found)), 2), found)


def _frames(raw: bytes) -> int:
    found = zstd.decompress(raw, 1 << 16)
    return _same(zstd.decompress(zstd.compress(found), 1 << 16), found)


def _piece(raw: bytes) -> int:
    for width in (0, 2, 16):
        found = unpack([Link(raw, ZSTD, width)], 64)
        assert bytes(unpack([Link(pack(found, width=width), ZSTD, width)], 64)) == bytes(found)
    return 2


def _ref(raw: bytes) -> int:
    text = text_of(raw)
    return _same(str(ModelRef.parse(text)), text)


def _name(raw: bytes) -> int:
    text = text_of(raw)
    return _same(decode_name(encode_name(text)), text)


def _encoded(raw: bytes) -> int:
    text = text_of(raw)
    return _same(encode_name(decode_name(text)), text)


def _label(raw: bytes) -> int:
    text = text_of(raw)
    return _same(str(Label.parse(text)), text)


def _range(raw: bytes) -> int:
    text = text_of(raw)
    return _same(str(Caret.parse(text)), text)


def _policy(raw: bytes) -> int:
    rules = retention.parse(text_of(raw))
    rules.of("churn")
    return 1 + len(rules.models)


def _pointer(raw: bytes) -> int:
    found = Pointer.parse(text_of(raw))
    return _same(Pointer.parse(str(found)), found)


def _origin(raw: bytes) -> int:
    found = parse_origin(sign(raw.replace(b"\n", b"")), "key")
    return _same(parse_origin(encode_origin(found), "key"), found)


def _marker(raw: bytes) -> int:
    from modelkeep._home import Home
    from modelkeep.stores.memory import MemoryStore
    from modelkeep.system import System

    found = Home(MemoryStore(), System())._parse(sign(raw.replace(b"\n", b"")))
    assert isinstance(found, str)
    return 1


def _header(raw: bytes) -> int:
    rows, _ = read_header(io.BytesIO(raw), len(raw))
    assert all(0 <= row.start <= row.stop <= len(raw) for row in rows)
    return 1 + len(rows)


def _cut(raw: bytes) -> int:
    found = extents(io.BytesIO(raw), len(raw))
    at = 0
    for one in found:
        assert one.start == at < one.stop
        at = one.stop
    assert at == len(raw)
    return len(found)


def _pickled(raw: bytes) -> int:
    b"".join(rewrite(raw, []))
    return 1


def _value(raw: bytes) -> int:
    found = from_json(orjson.loads(raw))
    try:
        kept = to_json(found, "value")
    except InvalidError:
        return 1  # nested deeper than any value that was kept
    return _same(repr(from_json(kept)), repr(found))


def _key(raw: bytes) -> int:
    number = number_of(text_of(raw))
    assert number is None or number >= 0
    return 1


def _arrays() -> list[bytes]:
    one, two = io.BytesIO(), io.BytesIO()
    np.save(one, np.zeros(5000))
    np.savez(two, a=np.zeros(3000), b=np.ones(3000))
    return [one.getvalue(), two.getvalue(), zipped(("x/data.pkl", b"."), ("x/data/0", bytes(20_000)))]


def _parsers() -> dict[str, Parser]:
    objects = sound()
    lines = tuple(raw for key, raw in objects.items() if key.endswith("1.json"))
    manifest = forge().manifest(3)
    row = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":"np"}}'
    entries = b"".join(lines[:1] * 2)
    toml = (
        b'[retention]\nlast = 10\nnewer = "90 days"\nbest = [{metric = "auc", count = 3}]\n'
        b'[retention.models."a-*"]\ndeleted = "1 day"'
    )
    points = (
        b'modelkeep = 1\nregistry = "s3://a/b"\nname = "churn"\nnumber = 7\nlabel = "1.3.0"\ndigest = "%b"\nsize = 9\n'
        b'[files]\n"model.pkl" = "%b"\n'
    ) % (b"0" * 64, b"f" * 64)
    pickled = (pickle.dumps({"a": [1, 2.5, "x", b"y"]}, 5), pickle.dumps(np.zeros(3), 4))
    ours = (ModelkeepError,)
    values = (b'{"$float":"nan"}', b'[{"$int":"0xff"},{"$time":"2026-03-01"},{"$tuple":[1,{"$$a":2}]}]')
    return {
        "entry": Parser(lines, _entry, (DamagedError,)),
        "manifest": Parser((manifest.encode(),), _manifest, (ManifestError,)),
        "head": Parser((b'{"packs":["' + b"0" * 32 + b'-1"],"files":[["a",0,0]],"bases":0}',), _head, (ManifestError,)),
        "record": Parser((manifest.record,), _record, (ManifestError,)),
        "tile": Parser((zstd.compress(entries), zstd.compress(entries[:9]) * 2), _tile, ()),
        "frame": Parser((zstd.compress(b"abc" * 50), zstd.compress(b"") * 3), _frames, (zstd.Error,)),
        "piece": Parser((zstd.compress(bytes(range(64))),), _piece, (ValueError,)),
        "reference": Parser(
            (b"churn", b"churn:7", b"churn:^1.3", b"churn@production", b"churn#abcd", b"a~b:1/c"), _ref, ours
        ),
        "name": Parser((b"churn", "taux d'été".encode(), b"A.b-c_d"), _name, ours),
        "encoded name": Parser((b"churn", b"%43hurn", b"taux%20d%27%c3%a9t%c3%a9", b"b%2e"), _encoded, ours),
        "label": Parser((b"1.3.0", b"2.0.0-rc.1"), _label, ours),
        "range": Parser((b"^1", b"^1.3", b"^0.3.2"), _range, ours),
        "alias": Parser((b"production", b"_a.b-c"), lambda raw: _same(check_alias(text_of(raw)), text_of(raw)), ours),
        "path": Parser(
            (b"weights/model.safetensors",), lambda raw: _same(check_path(text_of(raw)), text_of(raw)), ours
        ),
        "token": Parser(
            (b"models/churn/versions/7/" + b"0" * 32, b"policy/1/" + b"f" * 32),
            lambda raw: read_token(text_of(raw)).number,
            ours,
        ),
        "policy": Parser((toml,), _policy, ours),
        "pointer": Parser((points,), _pointer, ours),
        "modelkeep.json": Parser((objects["modelkeep.json"].split(b"\n")[0],), _marker, ours),
        "origin.json": Parser((b'{"registry":"5f0c"}',), _origin, ours),
        "safetensors header": Parser((safetensors(row, bytes(8)),), _header, ours),
        "arrays of a file": Parser((*_arrays(), safetensors(row, bytes(8))), _cut, ()),
        "pickle": Parser(pickled, _pickled, ours),
        "value": Parser(values, _value, (orjson.JSONDecodeError,)),
        "key": Parser((b"models/churn/versions/00000000000000000007.json",), _key, ()),
    }


PARSERS = _parsers()


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with some bytes replaced, put in, left out, repeated, or swapped for those of another seed."""
    raw = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(raw)))
        size = draw(st.integers(0, 12))
        part = draw(st.sampled_from(SPLICES) | st.binary(max_size=8))
        other = draw(st.sampled_from(seeds))
        match draw(st.integers(0, 4)):
            case 0:
                raw[at : at + len(part)] = part
            case 1:
                raw[at:at] = part
            case 2:
                del raw[at : at + size]
            case 3:
                raw[at:at] = raw[at : at + size] * 3
            case _:
                raw[at:] = other[at:]
    return bytes(raw)


def attempt(parser: Parser, raw: bytes) -> int:
    """How far the parser came with *raw*; its own refusal is no failure."""
    try:
        return parser.check(raw)
    except parser.refusals as error:
        if not str(error):
            raise AssertionError("a refusal without a word") from error
        return 0


def fuzz(name: str, examples: int) -> dict[int, int]:
    """Try so many inputs on a parser; gives how many came how far."""
    parser, far = PARSERS[name], dict[int, int]()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(raw=mutated(parser.seeds))
    def tried(raw: bytes) -> None:
        came = attempt(parser, raw)
        far[came] = far.get(came, 0) + 1
        target(float(came), label="how far it came")

    tried()
    return far


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_parses_or_refuses_in_its_own_words_and_prints_what_it_parsed(name: str) -> None:
    far = fuzz(name, EXAMPLES)
    assert max(far) > 0, "no input was taken"


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_takes_its_seeds(name: str) -> None:
    assert all(
        PARSERS[name].check(raw) > 0 for raw in PARSERS[name].seeds if name != "tile" or raw == PARSERS[name].seeds[0]
    )


def main() -> int:
    """Run as the command line says; the exit status is 1 if a parser failed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--examples", type=int, default=20_000, help="inputs for each parser")
    options.add_argument("--parser", action="append", choices=list(PARSERS), help="only these")
    chosen = options.parse_args()
    failed, tried = [], 0
    for name in chosen.parser or PARSERS:
        began = time.monotonic()
        try:
            far = fuzz(name, chosen.examples)
        except BaseException as error:  # noqa: BLE001  the next parser has its turn, too
            failed.append(name)
            sys.stdout.write(
                f"{name}: FAILED {type(error).__name__}: {str(error)[:300]} {getattr(error, '__notes__', '')!s:.900}\n"
            )
            continue
        tried += sum(far.values())
        taken = sum(count for came, count in far.items() if came)
        sys.stdout.write(f"{name}: {sum(far.values())} inputs, {taken} taken, {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"{tried} inputs to {len(chosen.parser or PARSERS)} parsers: {', '.join(failed) or 'no'} failure\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
