"""An entry is read as it was written, or is damaged: nothing in between."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.entry import DamagedError, Entry, check_signed, encode, genesis, parse, sign

PREV = blake3(b"the entry before").hexdigest()
TX = "0f" * 16
TIME = "2026-03-01T12:00:00.000000Z"
FACTS: dict[str, Any] = {
    "n": 7,
    "prev": PREV,
    "tx": TX,
    "time": TIME,
    "actor": "ada@acme",
    "seen": {"releases": [3, PREV]},
    "ops": [{"op": "close"}],
}
RAW = encode(7, PREV, TX, TIME, "ada@acme", {"releases": (3, PREV)}, [{"op": "close"}])

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
).filter(lambda value: value not in (float("inf"), float("-inf")))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
OPS = st.builds(
    lambda name, more: {**more, "op": name},
    TEXT,
    st.dictionaries(TEXT, st.none() | st.booleans() | FINITE | TEXT | st.lists(TEXT, max_size=3), max_size=4),
)


def signed(**changed: object) -> bytes:
    return sign(orjson.dumps({**FACTS, **changed}))


@given(
    number=st.integers(1, 10**15),
    prev=HEX,
    tx=st.text("0123456789abcdef", min_size=32, max_size=32),
    time=st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='microseconds')}Z"),
    actor=TEXT,
    seen=st.dictionaries(TEXT, st.tuples(st.integers(0, 10**15), HEX), max_size=3),
    ops=st.lists(OPS, max_size=3),
)
def test_an_entry_is_read_as_it_was_written(**facts: Any) -> None:
    raw = encode(**facts)
    seen = {name: list(head) for name, head in facts.pop("seen").items() if head[0]}
    assert parse(raw, facts["number"]) == Entry(**facts, seen=seen, digest=blake3(raw).hexdigest())


def test_an_entry_is_one_line_of_json_and_one_line_with_its_digest() -> None:
    line, digest, rest = RAW.split(b"\n")
    assert orjson.loads(line) == FACTS
    assert digest.decode() == blake3(line + b"\n").hexdigest()
    assert rest == b""


def test_a_journal_nobody_has_written_to_is_not_noted_as_seen() -> None:
    raw = encode(7, PREV, TX, TIME, "ada", {"releases": (0, PREV), "notes": (1, PREV)}, [])
    assert parse(raw, 7).seen == {"notes": [1, PREV]}


def test_every_single_flipped_bit_is_seen() -> None:
    unseen = []
    for bit in range(8 * len(RAW)):
        flipped = bytearray(RAW)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            parse(bytes(flipped), 7)
        except DamagedError:
            continue
        unseen.append(bit)
    assert unseen == []


def test_every_truncation_is_seen() -> None:
    for length in range(len(RAW)):
        with pytest.raises(DamagedError):
            parse(RAW[:length], 7)


@pytest.mark.parametrize("more", [b"\n", b" ", b"\0", RAW, RAW.split(b"\n")[1] + b"\n"])
def test_bytes_behind_an_entry_are_seen(more: bytes) -> None:
    with pytest.raises(DamagedError, match="digest line"):
        parse(RAW + more, 7)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_entry_are_damaged_and_nothing_else(raw: bytes) -> None:
    for form in (raw, sign(raw), sign(raw.replace(b"\n", b""))):
        with pytest.raises(DamagedError):
            parse(form, 1)


@given(JSON)
def test_json_that_is_no_entry_is_damaged_and_nothing_else(value: Any) -> None:
    with pytest.raises(DamagedError):
        parse(sign(orjson.dumps(value)), 1)


@given(st.sampled_from(sorted(FACTS)), JSON)
def test_a_field_of_another_kind_makes_it_damaged_and_nothing_else(name: str, value: Any) -> None:
    try:
        entry = parse(signed(**{name: value}), 7)
    except DamagedError:
        return
    here = {"n": entry.number} | {field: getattr(entry, field) for field in FACTS if field != "n"}
    assert here == {**FACTS, name: value}
    assert type(entry.number) is int


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 8),
        ("n", "7"),
        ("n", 7.0),
        ("n", None),
        ("prev", PREV[:-1]),
        ("prev", PREV.upper()),
        ("prev", PREV + "\n"),
        ("tx", TX[:-1]),
        ("tx", TX + "\n"),
        ("tx", TX.upper()),
        ("time", "2026-03-01T12:00:00Z"),
        ("time", "2026-03-01T12:00:00.000000+00:00"),
        ("time", TIME + "\n"),
        ("time", "٢٠٢٦-03-01T12:00:00.000000Z"),
        ("actor", None),
        ("seen", []),
        ("ops", {}),
        ("ops", ["close"]),
        ("ops", [{}]),
        ("ops", [{"op": None}]),
        ("ops", [{"op": "close"}, {"op": 1}]),
    ],
)
def test_a_wrong_field_is_damage(name: str, value: object) -> None:
    with pytest.raises(DamagedError, match="fields of entry 7"):
        parse(signed(**{name: value}), 7)


@pytest.mark.parametrize("name", sorted(FACTS))
def test_a_missing_field_is_damage(name: str) -> None:
    with pytest.raises(DamagedError, match="fields of entry 7"):
        parse(sign(orjson.dumps({key: value for key, value in FACTS.items() if key != name})), 7)


def test_true_is_not_the_number_one() -> None:
    with pytest.raises(DamagedError):
        parse(signed(n=True), 1)


def test_fields_of_a_newer_release_are_left_alone() -> None:
    assert parse(signed(signature="…"), 7).ops == [{"op": "close"}]


def test_an_entry_under_another_number_is_damage() -> None:
    with pytest.raises(DamagedError, match="fields of entry 8"):
        parse(RAW, 8)


def test_a_line_break_within_the_json_is_damage() -> None:
    with pytest.raises(DamagedError):
        parse(sign(orjson.dumps(FACTS, option=orjson.OPT_INDENT_2)), 7)


def test_a_field_given_twice_is_read_alike_by_json_readers_that_take_the_last() -> None:
    line = orjson.dumps(FACTS)[:-1] + b',"actor":"eve"}'
    assert parse(sign(line), 7).actor == "eve"


@given(st.binary(max_size=50).filter(lambda line: b"\n" not in line))
def test_what_is_signed_is_checked_and_given_back(line: bytes) -> None:
    assert check_signed(sign(line)) == line


def test_the_first_entry_of_each_journal_of_each_registry_follows_something_else() -> None:
    begun = [genesis(registry, prefix) for registry in ("a", "b") for prefix in ("x/", "y/")]
    assert len(set(begun)) == 4
    assert genesis("a", "x/") == blake3(b"modelkeep journal 1\na\nx/\n").hexdigest()


def test_reading_entries_imports_neither_numpy_nor_a_framework() -> None:
    code = (
        "import sys, modelkeep.entry, modelkeep.journal; print(*sorted({'numpy', 'fsspec', 'torch'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
