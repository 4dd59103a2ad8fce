"""A manifest is read as it was written, or is no manifest."""

from __future__ import annotations

import math
import struct
from typing import Any

import orjson
import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from modelkeep import zstd
from modelkeep.codecs import PATCH, RAW, WIDTHS, ZSTD
from modelkeep.manifest import MAGIC, MAX_DEPTH, MAX_PIECE, Manifest, ManifestError, Piece, encode_record, parse_record
from modelkeep.version import FileFacts, Origin, Parent, Record, check_path, content_digest

D = blake3(b"").digest()
PACK = f"{1:032x}-1"

PACKS = st.lists(st.from_regex(r"[0-9a-f]{32}-[0-9]{1,6}", fullmatch=True), min_size=1, max_size=3, unique=True)
PARTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:"), min_size=1, max_size=6)
PATHS = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)
DIGESTS = st.binary(min_size=32, max_size=32)


@st.composite
def pieces(draw: st.DrawFn, packs: int) -> Piece:
    own, length = draw(DIGESTS), draw(st.integers(0, MAX_PIECE))
    pack, offset = draw(st.integers(0, packs - 1)), draw(st.integers(0, 2**63 - 2**32))
    if draw(st.booleans()):
        return Piece(own, own, pack, RAW, length, offset, length)
    piece = Piece(own, draw(DIGESTS), pack, ZSTD, draw(st.integers(0, 2**32 - 1)), offset, length)
    for depth in range(draw(st.integers(0, MAX_DEPTH))):
        width = draw(st.sampled_from(WIDTHS))
        piece = Piece(draw(DIGESTS), draw(DIGESTS), pack, ZSTD, depth, offset, length, width, piece)
    return piece


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    packs = tuple(draw(PACKS))
    paths = sorted(draw(st.sets(PATHS, max_size=4)))
    files = tuple((path, tuple(draw(st.lists(pieces(len(packs)), max_size=4)))) for path in paths)
    return Manifest(packs, files, draw(st.binary(max_size=50)))


def put_together(head: Any, *, record: bytes = b"{}", table: bytes = b"", count: int | None = None) -> bytes:
    """A manifest with the digest of what it is, whatever it is."""
    packed = zstd.compress(head if isinstance(head, bytes) else orjson.dumps(head))
    kept = zstd.compress(record)
    number = len(table) // 88 if count is None else count
    body = MAGIC + struct.pack("<III", len(packed), len(kept), number) + packed + kept + table
    return body + blake3(body).digest()


def row(**changed: Any) -> bytes:
    fields = {"own": D, "stored_digest": D, "pack": 0, "codec": RAW, "width": 0, "stored": 5, "offset": 16, "length": 5}
    return struct.pack("<32s32sHBBIQII", *({**fields, "base": 0} | changed).values())


def simple(path: object = "a", size: object = 5, count: object = 1, packs: object = (PACK,), **changed: Any) -> bytes:
    return put_together({"packs": packs, "files": [[path, size, count]]}, table=row(**changed))


@given(manifests())
def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    raw = manifest.encode()
    assert Manifest.parse(raw) == manifest
    assert Manifest.parse(memoryview(bytearray(raw))) == manifest


def test_its_form_is_the_one_on_the_format_page() -> None:
    assert Manifest.parse(simple()) == Manifest((PACK,), (("a", (Piece(D, D, 0, RAW, 5, 16, 5),)),), b"{}")
    assert len(row()) == 88


@given(manifests())
def test_the_facts_of_its_files_follow_from_their_pieces(manifest: Manifest) -> None:
    for (path, own), facts in zip(manifest.files, manifest.facts(), strict=True):
        assert (facts.path, facts.size) == (path, sum(piece.length for piece in own))
        rows = b"".join(piece.digest + piece.length.to_bytes(8, "little") for piece in own)
        expected = own[0].digest if len(own) == 1 else blake3(rows).digest()
        assert facts.digest == expected.hex()
    assert manifest.content() == content_digest(tuple(reversed(manifest.facts())))


@given(manifests())
def test_where_pieces_lie_does_not_change_the_content(manifest: Manifest) -> None:
    moved = Manifest(
        (*manifest.packs, PACK),
        tuple(
            (path, tuple(Piece(p.digest, D, len(manifest.packs), ZSTD, 1, 0, p.length) for p in own))
            for path, own in manifest.files
        ),
        b"another record",
    )
    assert moved.content() == manifest.content()


def test_content_tells_paths_sizes_and_digests_apart() -> None:
    files = [FileFacts("a", 1, D.hex()), FileFacts("b", 1, D.hex()), FileFacts("a", 2, D.hex())]
    files.append(FileFacts("a", 1, blake3(b"x").hexdigest()))
    assert len({content_digest((file,)) for file in files} | {content_digest(()), content_digest(tuple(files))}) == 6


def test_every_single_flipped_bit_is_seen() -> None:
    raw = simple()
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ManifestError, match="digest"):
            Manifest.parse(flipped)


def test_every_truncation_and_extension_is_seen() -> None:
    raw = simple()
    for length in range(len(raw)):
        with pytest.raises(ManifestError):
            Manifest.parse(raw[:length])
    with pytest.raises(ManifestError):
        Manifest.parse(raw + b"\0")


def signed(body: bytes) -> bytes:
    return body + blake3(body).digest()


@given(st.binary(max_size=300))
@example(MAGIC)
@example(MAGIC + bytes(12))
@example(MAGIC + b"\xff" * 12)
def test_bytes_that_are_no_manifest_are_refused_even_when_their_digest_fits(body: bytes) -> None:
    for raw in (body, signed(body), signed(MAGIC + body)):
        with pytest.raises(ManifestError):
            Manifest.parse(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats(-1, 1) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["packs", "files", "x"]), inner),
    max_leaves=8,
)


@example({"packs": [], "files": [[3, 0, 0]]})
@given(JSON | st.fixed_dictionaries({"packs": JSON, "files": JSON | st.lists(st.tuples(JSON, JSON, JSON))}))
def test_a_head_of_another_kind_is_refused_and_nothing_else(head: Any) -> None:
    try:
        manifest = Manifest.parse(put_together(head))
    except ManifestError:
        return
    assert list(head["packs"]) == list(manifest.packs)
    assert [list(file) for file in head["files"]] == [[path, 0, 0] for path, _ in manifest.files]


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "", "a\\b", "C:a", "a\0", "a\nb", "\x7f"],
)
def test_a_path_that_leads_elsewhere_is_refused(path: object) -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(simple(path=path))


@pytest.mark.parametrize("path", [3, None, [], {}])
def test_a_path_that_is_no_text_is_refused(path: object) -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(simple(path=path))


@given(PATHS)
def test_a_plain_path_is_taken_as_it_is(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "changed",
    [
        {"codec": 3},
        {"codec": PATCH},
        {"base": 1, "codec": PATCH},
        {"length": MAX_PIECE + 1, "stored": MAX_PIECE + 1},
        {"offset": 2**63 - 5},
        {"width": 2},
        {"width": 3, "codec": ZSTD},
        {"base": 1},
        {"base": 1, "codec": ZSTD},
        {"pack": 1},
        {"pack": 65535},
        {"stored": 6},
        {"stored_digest": b"x" * 32},
        {"packs": ()},
        {"packs": ["../../x"]},
        {"packs": [PACK + "\n"]},
        {"packs": "x"},
        {"size": 6},
        {"size": -5},
        {"size": True},
        {"size": 5.0},
        {"count": 2},
        {"count": 0},
        {"count": -1},
        {"count": "1"},
    ],
)
def test_a_field_that_no_manifest_has_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(simple(**changed))


def test_paths_are_sorted_and_each_is_there_once() -> None:
    for paths in (["b", "a"], ["a", "a"]):
        with pytest.raises(ManifestError, match=r"sorted|twice"):
            Manifest.parse(put_together({"packs": [PACK], "files": [[path, 0, 0] for path in paths]}))


def test_a_path_is_not_a_file_and_a_folder_at_once() -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(put_together({"packs": [PACK], "files": [["a", 0, 0], ["a/b", 0, 0]]}))


def test_counts_that_do_not_fit_the_length_are_refused() -> None:
    head = {"packs": [PACK], "files": [["a", 5, 1]]}
    with pytest.raises(ManifestError, match="add up"):
        Manifest.parse(put_together(head, table=row(), count=2))
    with pytest.raises(ManifestError, match="add up"):
        Manifest.parse(put_together(head, table=row() + b"\0"))
    with pytest.raises(ManifestError, match="no file has"):
        Manifest.parse(put_together(head, table=row() + row()))


def test_a_head_that_unpacks_to_far_more_than_any_head_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep.manifest._MAX_PART", 1 << 20)
    bomb = b'{"packs":[],"files":[]' + b" " * (1 << 20) + b"}"
    assert len(zstd.compress(bomb)) < 1000
    with pytest.raises(ManifestError):
        Manifest.parse(put_together(bomb))
    with pytest.raises(ManifestError):
        Manifest.parse(put_together({"packs": [], "files": []}, record=bytes(1 << 21)))


@pytest.mark.parametrize("size", [0, 1, 5, 1000])
def test_what_unpacks_to_more_than_was_asked_for_is_refused(size: int) -> None:
    packed = zstd.compress(bytes(size))
    assert zstd.decompress(packed, size) == bytes(size)
    assert zstd.decompress(packed, size + 1) == bytes(size)
    for limit in {0, size // 2, size - 1} - {size, -1}:
        with pytest.raises(zstd.Error):
            zstd.decompress(packed, limit)
    for wrong in (packed[:-1], packed + b"x", packed + packed + b"x", b"", b"x"):
        with pytest.raises(zstd.Error):
            zstd.decompress(wrong, 10 * size)


# The record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.builds(
    Record,
    params=st.dictionaries(TEXT, VALUES, max_size=4),
    metrics=st.dictionaries(TEXT, st.floats(allow_nan=False) | st.integers(), max_size=4),
    tags=st.dictionaries(TEXT, TEXT, max_size=3),
    notes=TEXT,
    parents=st.lists(st.builds(Parent, TEXT, st.integers(1, 99), DIGESTS.map(bytes.hex)), max_size=2).map(tuple),
    serializer=TEXT,
    serializer_format=st.integers(0, 9),
    packages=st.dictionaries(TEXT, TEXT, max_size=2),
    type=TEXT,
    python=TEXT,
    host=TEXT,
    origin=st.none() | st.builds(Origin, TEXT, TEXT),
    made=st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("code", "environment", "session", "later"), st.dictionaries(TEXT, VALUES, max_size=3)),
            "data": st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=2),
        },
    ),
)


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert parse_record(encode_record(record)) == record


def a_record(**changed: Any) -> Record:
    facts: dict[str, Any] = {"params": {}, "metrics": {}, "tags": {}, "notes": "", "parents": (), "packages": {}}
    facts |= {"serializer": "files", "serializer_format": 1, "type": "", "python": "3.11", "host": ""}
    return Record(**facts | changed)


def test_nan_and_infinity_in_a_record_are_kept() -> None:
    kept = parse_record(encode_record(a_record(metrics={"a": math.nan, "b": -math.inf}, params={"c": [math.inf]})))
    assert math.isnan(kept.metrics["a"])
    assert (kept.metrics["b"], kept.params["c"]) == (-math.inf, [math.inf])


def test_a_tuple_in_a_record_stays_a_tuple() -> None:
    kept = parse_record(encode_record(a_record(params={"layers": (64, 8), "more": [(1, [2])]})))
    assert kept.params == {"layers": (64, 8), "more": [(1, [2])]}


def test_fields_of_a_newer_release_are_left_out() -> None:
    facts = orjson.loads(encode_record(a_record(notes="x")))
    assert parse_record(orjson.dumps({**facts, "seeds": [1]})) == a_record(notes="x")


@given(st.binary(max_size=30) | JSON.map(orjson.dumps))
def test_bytes_that_are_no_record_are_refused_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(ManifestError, match="record"):
        parse_record(raw)


def test_a_record_of_which_nothing_is_known_is_as_older_releases_wrote_it() -> None:
    assert "made" not in orjson.loads(encode_record(a_record()))
    assert "made" in orjson.loads(encode_record(a_record(made={"session": {"duration": math.nan}})))


@pytest.mark.parametrize(
    "made",
    [[], "x", {"code": []}, {"session": "x"}, {"environment": None}, {"data": {}}, {"data": ["x"]}, {"$tuple": []}],
)
def test_what_made_a_version_has_the_form_that_was_agreed(made: Any) -> None:
    facts = orjson.loads(encode_record(a_record()))
    with pytest.raises(ManifestError, match="record"):
        parse_record(orjson.dumps({**facts, "made": made}))


@pytest.mark.parametrize("changed", [{"params": []}, {"parents": [{"name": "x"}]}, {"notes": {"$float": "x"}}])
def test_a_record_with_a_wrong_field_is_refused(changed: dict[str, Any]) -> None:
    facts = orjson.loads(encode_record(a_record()))
    with pytest.raises(ManifestError, match="record"):
        parse_record(orjson.dumps({**facts, **changed}))
