from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from modelkeep.errors import InvalidError, InvalidNameError, InvalidRefError
from modelkeep.ref import (
    MAX_ALIAS_CHARACTERS,
    MAX_NAME_BYTES,
    Alias,
    Caret,
    Digest,
    Label,
    ModelRef,
    check_alias,
    check_model_name,
    decode_name,
    encode_name,
)


def read(reader: Callable[[str], Any], text: str) -> tuple[Any, InvalidError | None]:
    """What *reader* makes of *text*, or how it refuses it."""
    try:
        return reader(text), None
    except InvalidError as refusal:
        return None, refusal


def is_name(text: str) -> bool:
    return read(encode_name, text)[1] is None


ANY_TEXT = st.text(max_size=30)
NAMES = (
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]), min_size=1, max_size=30)
    .map(lambda text: unicodedata.normalize("NFC", re.sub(r"[:@#/~+^\\*]", "", text)).strip())
    .filter(is_name)
)
NUMBERS = st.integers(0, 10**6)
PRE_PARTS = st.from_regex(r"(0|[1-9][0-9]{0,4}|[0-9]{0,2}[A-Za-z-][0-9A-Za-z-]{0,4})", fullmatch=True)
PRES = st.lists(PRE_PARTS, max_size=4).map(".".join)
LABELS = st.builds(Label, NUMBERS, NUMBERS, NUMBERS, PRES)
CARETS = st.builds(Caret, st.lists(NUMBERS, min_size=1, max_size=3).map(tuple))
ALIASES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(lambda a: a != "latest").map(Alias)
DIGESTS = st.from_regex(r"[0-9a-f]{4,64}", fullmatch=True).map(Digest)
WORDS = st.none() | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True)
SELECTORS = st.none() | st.integers(1, 10**15) | LABELS | CARETS | ALIASES | DIGESTS
REFS = st.builds(ModelRef, NAMES, SELECTORS, WORDS, WORDS)
NEAR_REFS = st.from_regex(
    r"[a-zé.%]{1,4}(~[a-zA-Z0-9.]{0,3})?([:@#][\^0-9a-f.x-]{0,8})?(/[a-zA-Z0-9.]{0,3})?", fullmatch=True
)


# Names as folders


@given(NAMES)
@example("..a")
@example("a.")
@example("%41")
@example("İ")
@example("ß")
def test_a_name_survives_encoding(name: str) -> None:
    assert decode_name(encode_name(name)) == name


@given(NAMES)
def test_an_encoded_name_is_safe_on_every_disk(name: str) -> None:
    encoded = encode_name(name)
    assert re.fullmatch(r"[a-z0-9_%-]([a-z0-9._%-]*[a-z0-9_%-])?", encoded)
    assert len(encoded) <= MAX_NAME_BYTES
    assert encoded == encoded.lower() == encoded.casefold()


@given(NAMES, NAMES)
@example("churn", "Churn")
@example("straße", "strasse")
@example("\u017f", "s")  # a long s; folded, it is an s
@example("\u00b5", "\u03bc")  # micro and mu; folded, they are one
@example("a.", "a")
@example("%43", "C")
def test_different_names_differ_where_case_is_ignored(one: str, other: str) -> None:
    assume(one != other)
    assert encode_name(one).casefold() != encode_name(other).casefold()


@given(NAMES)
def test_names_that_differ_only_in_case_differ_where_case_is_ignored(name: str) -> None:
    other = name.swapcase()
    assume(other != name and is_name(other))
    assert encode_name(name).casefold() != encode_name(other).casefold()


@given(ANY_TEXT | st.from_regex(r"([a-z.]|%[0-9a-fA-F]{2}){1,6}", fullmatch=True))
@example("%c3%28")
@example("churn\n")
def test_decoding_takes_only_what_encoding_wrote(text: str) -> None:
    name, refusal = read(decode_name, text)
    if refusal is None:
        assert encode_name(name) == text
    else:
        assert repr(text) in str(refusal)
        assert refusal.name == text


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "Churn",
        "%43HURN",
        "%4Ahurn",
        "%63hurn",
        "a b",
        "a.",
        ".a",
        "%",
        "%4",
        "%4g",
        "%ff",
        "%c3",
        "%2e",
        "%2e%2e",
        "con",
        "%20a",
        "a%3ab",
        "a%2fb",
        "a/b",
        "%00",
        "e%cc%81",
        "é",
        "x" * 201,
        "a\n",
    ],
)
def test_what_no_name_encodes_to_is_refused(encoded: str) -> None:
    with pytest.raises(InvalidNameError, match="is not an encoded name") as caught:
        decode_name(encoded)
    assert repr(encoded) in str(caught.value)


@pytest.mark.parametrize("value", [None, 7, b"churn"])
def test_what_is_no_text_cannot_be_decoded(value: Any) -> None:
    with pytest.raises(InvalidNameError, match="is not an encoded name"):
        decode_name(value)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        *[(f"a{mark}b", f"contains {mark}") for mark in ":@#/~+^\\*"],
        ("a:b/c", "contains / :"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\u2028b", "control"),
        ("a\ud800b", "control"),
        ("a\u0378b", "control or unassigned"),
        (" a", "space"),
        ("a ", "space"),
        ("a\u00a0", "space"),
        (".", "means a folder"),
        ("..", "means a folder"),
        ("e\u0301", "normal form C"),
        ("\u212b", "normal form C"),
        ("con", "device"),
        ("NUL.txt", "device"),
        ("Com1", "device"),
        ("lpt³", "device"),
        (7, "is a int; give text"),
        (None, "is a NoneType; give text"),
    ],
)
def test_a_name_that_cannot_be_one_is_quoted_with_its_fault(name: Any, fault: str) -> None:
    for refuse in (encode_name, check_model_name, ModelRef):
        with pytest.raises(InvalidNameError) as caught:
            refuse(name)
        assert fault in str(caught.value)
        assert repr(name) in str(caught.value)
        assert caught.value.name == name


@pytest.mark.parametrize("name", ["console", "a.con", "com10", "com", "...", "a..b", "-", "_", "100%", "日本語", "🦜"])
def test_names_that_look_odd_and_are_fine(name: str) -> None:
    assert check_model_name(name) == name
    assert decode_name(encode_name(name)) == name


def test_a_name_fits_up_to_200_encoded_bytes_and_the_error_tells_the_count() -> None:
    assert len(encode_name("x" * 200)) == 200
    assert len(encode_name("é" * 33 + "xx")) == 200
    for name, count in (("x" * 201, 201), ("é" * 33 + "xxx", 201), ("A" * 67, 201), ("x" * 199 + ".", 202)):
        with pytest.raises(InvalidNameError, match=f"takes {count} bytes when encoded, and 200 are") as caught:
            encode_name(name)
        assert repr(name) in str(caught.value)
        assert caught.value.length == count


# Aliases


@pytest.mark.parametrize("alias", ["production", "Production", "_", "a-b.c_d9", "latest2", "x" * MAX_ALIAS_CHARACTERS])
def test_an_alias_that_can_be_one_is_returned(alias: str) -> None:
    assert check_alias(alias) == alias
    assert Alias(alias).name == alias


@pytest.mark.parametrize(
    ("alias", "fault"),
    [
        ("", "must begin with a letter"),
        ("7", "write ':7'"),
        ("007", "is a number"),
        ("latest", "is reserved"),
        ("-a", "must begin"),
        (".a", "must begin"),
        ("7a", "must begin"),
        ("a b", "must begin"),
        ("a\n", "must begin"),
        ("é", "must begin"),
        ("a/b", "must begin"),
        ("x" * 101, "has 101 characters, and 100 are allowed"),
        (7, "is a int; give text"),
        (None, "is a NoneType; give text"),
    ],
)
def test_an_alias_that_cannot_be_one_is_quoted_with_its_fault(alias: Any, fault: str) -> None:
    for refuse in (check_alias, Alias):
        with pytest.raises(InvalidNameError) as caught:
            refuse(alias)
        assert fault in str(caught.value)
        assert repr(alias) in str(caught.value)


# Labels


@given(LABELS)
def test_a_label_survives_being_written(label: Label) -> None:
    assert Label.parse(str(label)) == label


@given(ANY_TEXT | st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){1,3}(-[0-9a-zA-Z.-]{0,6})?", fullmatch=True))
@example("1.2.3\n")
@example("1.2.\u0663")
def test_what_parses_as_a_label_is_written_the_same(text: str) -> None:
    label, refusal = read(Label.parse, text)
    if refusal is None:
        assert str(label) == text
    else:
        assert repr(text) in str(refusal)


# https://semver.org/spec/v2.0.0.html, rules 11.2 to 11.4
@pytest.mark.parametrize(
    "ascending",
    [
        "1.0.0 2.0.0 2.1.0 2.1.1",
        "1.0.0-alpha 1.0.0",
        "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0",
        "1.9.0 1.10.0 1.11.0",
        "1.0.0-1 1.0.0-2 1.0.0-10 1.0.0-1a 1.0.0-A 1.0.0-a",
        "1.0.0-- 1.0.0-0a 1.0.0-a-b",
        "0.9.9 1.0.0-0 1.0.0-0.0 1.0.0",
    ],
)
def test_labels_stand_in_the_order_of_semantic_versioning(ascending: str) -> None:
    labels = [Label.parse(text) for text in ascending.split()]
    assert sorted([*labels[1:], labels[0]]) == labels
    for lower, higher in pairwise(labels):
        assert lower < higher
        assert lower <= higher
        assert higher > lower
        assert higher >= lower
        assert lower != higher


@given(LABELS, LABELS, LABELS)
def test_labels_are_in_one_total_order(a: Label, b: Label, c: Label) -> None:
    assert (a < b) + (a == b) + (a > b) == 1
    low, middle, high = sorted([a, b, c])
    assert low <= middle <= high
    assert low <= high


def test_a_label_is_not_compared_with_anything_else() -> None:
    with pytest.raises(TypeError):
        _ = Label.parse("1.0.0") < "2.0.0"  # type: ignore[operator]
    others: list[object] = ["1.0.0", (1, 0, 0), None]
    assert Label.parse("1.0.0") not in others


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "01.2.3",
        "1.02.3",
        "1.2.03",
        "v1.2.3",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3-a..b",
        "1.2.3-a.",
        "1.2.3+build",
        "1.2.3-é",
        " 1.2.3",
        "1.2.3 ",
        "1.2.-3",
        "latest",
        "\u0661.2.3",
    ],
)
def test_what_is_no_semantic_version_is_quoted(text: str) -> None:
    with pytest.raises(InvalidRefError, match="is not a semantic version") as caught:
        Label.parse(text)
    assert repr(text) in str(caught.value)


def test_a_label_of_more_than_100_characters_is_refused_with_the_count() -> None:
    fits = "1.2.3-" + "a" * 94
    assert str(Label.parse(fits)) == fits
    with pytest.raises(InvalidRefError, match="has 101 characters, and 100 are allowed"):
        Label.parse(fits + "a")
    with pytest.raises(InvalidRefError, match="has 101 characters"):
        Label(1, 2, 3, "a" * 95)
    with pytest.raises(InvalidRefError, match="has 104 characters"):
        Label(10**99, 0, 0)


@pytest.mark.parametrize(
    "parts",
    [
        (-1, 0, 0),
        (0, -1, 0),
        (0, 0, -1),
        (True, 0, 0),
        (1.0, 0, 0),
        ("1", "2", "3"),
        (1, 2, None),
        (10**100, 0, 0),
    ]
    + [(1, 2, 3, pre) for pre in ("01", "a..b", "a b", "é", ".", "a\n", None, 1)],
)
def test_a_wrong_label_cannot_exist(parts: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidRefError):
        Label(*parts)


@pytest.mark.parametrize(
    ("label", "part", "expected"),
    [
        ("1.3.7", "major", "2.0.0"),
        ("1.3.7", "minor", "1.4.0"),
        ("1.3.7", "patch", "1.3.8"),
        ("0.0.9", "minor", "0.1.0"),
        ("1.3.0-rc.1", "patch", "1.3.0"),
        ("1.3.0-rc.1", "minor", "1.3.0"),
        ("1.3.2-rc.1", "minor", "1.4.0"),
        ("2.0.0-rc.1", "major", "2.0.0"),
        ("2.1.0-rc.1", "major", "3.0.0"),
        ("2.0.1-rc.1", "major", "3.0.0"),
    ],
)
def test_a_label_is_bumped_as_npm_does(label: str, part: str, expected: str) -> None:
    assert str(Label.parse(label).bump(part)) == expected


@given(LABELS, st.sampled_from(["major", "minor", "patch"]))
def test_a_bumped_label_is_higher_and_a_release(label: Label, part: str) -> None:
    bumped = label.bump(part)
    assert bumped > label
    assert not bumped.pre


def test_an_unknown_bump_is_quoted() -> None:
    with pytest.raises(InvalidRefError, match="bump 'huge' is not known"):
        Label.parse("1.0.0").bump("huge")


# Ranges


@given(CARETS)
def test_a_range_survives_being_written(caret: Caret) -> None:
    assert Caret.parse(str(caret)) == caret


# https://github.com/npm/node-semver#caret-ranges-123-025-004
@pytest.mark.parametrize(
    ("caret", "inside", "outside"),
    [
        ("^1.2.3", "1.2.3 1.2.4 1.3.0 1.99.99", "1.2.2 1.1.9 0.2.3 2.0.0 2.2.3"),
        ("^0.2.3", "0.2.3 0.2.99", "0.2.2 0.3.0 0.3.3 1.2.3"),
        ("^0.0.3", "0.0.3", "0.0.2 0.0.4 0.1.3 1.0.3"),
        ("^1.2", "1.2.0 1.9.9", "1.1.9 2.0.0 0.2.0"),
        ("^0.1", "0.1.0 0.1.9", "0.0.9 0.2.0 1.1.0"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0 1.0.0"),
        ("^1", "1.0.0 1.9.9", "0.9.9 2.0.0"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        ("^0.0.0", "0.0.0", "0.0.1 0.1.0 1.0.0"),
        ("^1.0.0", "1.0.0 1.0.1 1.9.0", "0.9.9 2.0.0 1.0.0-rc.1 1.5.0-rc.1 2.0.0-rc.1"),
    ],
)
def test_a_range_holds_what_npm_says(caret: str, inside: str, outside: str) -> None:
    chosen = Caret.parse(caret)
    assert [text for text in inside.split() if Label.parse(text) not in chosen] == []
    assert [text for text in outside.split() if Label.parse(text) in chosen] == []


@given(CARETS, LABELS)
def test_a_range_ends_where_its_first_number_above_zero_grows(caret: Caret, label: Label) -> None:
    fixed = next((i for i, n in enumerate(caret.numbers) if n), len(caret.numbers) - 1)
    lowest = label_of(caret.numbers)
    end = label_of((*caret.numbers[:fixed], caret.numbers[fixed] + 1))
    assert (label in caret) == (lowest <= label < end and not label.pre)
    assert lowest in caret
    assert end not in caret


def label_of(numbers: tuple[int, ...]) -> Label:
    major, minor, patch = (*numbers, 0, 0)[:3]
    return Label(major, minor, patch)


@pytest.mark.parametrize(
    "text", ["", "^", "1.2", "^01", "^1.", "^1.2.3.4", "^1.x", "^1.2.3-rc", "~1", "^ 1", "^1\n", "^-1"]
)
def test_what_is_no_range_is_quoted(text: str) -> None:
    with pytest.raises(InvalidRefError, match="cannot be read; write \\^1") as caught:
        Caret.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, b"^1"])
def test_a_range_and_a_label_are_parsed_from_text_only(value: Any) -> None:
    for parse in (Caret.parse, Label.parse, ModelRef.parse):
        with pytest.raises(InvalidRefError, match="give text") as caught:
            parse(value)
        assert repr(value) in str(caught.value)


@pytest.mark.parametrize("numbers", [(), (1, 2, 3, 4), (-1,), (True,), ("1",), (1.0,), [1, 2], None, (10**100,)])
def test_a_wrong_range_cannot_exist(numbers: Any) -> None:
    with pytest.raises(InvalidRefError) as caught:
        Caret(numbers)
    assert repr(numbers) in str(caught.value)


def test_a_range_of_more_than_100_characters_is_refused_with_the_count() -> None:
    assert str(Caret.parse("^" + "9" * 99)) == "^" + "9" * 99
    with pytest.raises(InvalidRefError, match="has 101 characters"):
        Caret.parse("^" + "9" * 100)


# References


@given(REFS)
def test_a_reference_survives_being_written(ref: ModelRef) -> None:
    assert ModelRef.parse(str(ref)) == ref


@given(NEAR_REFS | ANY_TEXT)
@example("churn:^1.3")
@example("churn\n")
@example("churn:7\n")
def test_what_parses_is_written_the_same(text: str) -> None:
    ref, refusal = read(ModelRef.parse, text)
    if refusal is None:
        assert str(ref) == text
    else:
        quoted = str(refusal.facts.get("text", refusal.facts.get("name")))
        assert quoted in text
        assert repr(quoted) in str(refusal)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("churn", ModelRef("churn")),
        ("churn:7", ModelRef("churn", 7)),
        ("churn:1000000000000000", ModelRef("churn", 10**15)),
        ("churn:1.3.0", ModelRef("churn", Label(1, 3, 0))),
        ("churn:2.0.0-rc.1", ModelRef("churn", Label(2, 0, 0, "rc.1"))),
        ("churn:^1.3", ModelRef("churn", Caret((1, 3)))),
        ("churn@production", ModelRef("churn", Alias("production"))),
        ("churn#b3f1", ModelRef("churn", Digest("b3f1"))),
        ("churn:7/onnx-int8", ModelRef("churn", 7, variant="onnx-int8")),
        ("churn~branch:3", ModelRef("churn", 3, branch="branch")),
        ("churn~b@production/v", ModelRef("churn", Alias("production"), variant="v", branch="b")),
        ("taux d'été:7", ModelRef("taux d'été", 7)),
    ],
)
def test_a_reference_is_read_as_the_guide_says(text: str, expected: ModelRef) -> None:
    assert ModelRef.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", "''"),
        (":7", "''"),
        ("churn:", "'churn:'"),
        ("churn@", "'churn@'"),
        ("churn#", "'churn#'"),
        ("churn:7:8", "'churn:7:8'"),
        ("churn:7@production", "'churn:7@production'"),
        ("churn~", "'churn~'"),
        ("churn/", "'churn/'"),
        ("churn:0", "'0'"),
        ("churn:07", "'07'"),
        ("churn:1000000000000001", "'1000000000000001'"),
        ("churn:" + "9" * 5000, "9" * 5000),
        ("churn:-1", "'-1'"),
        ("churn:\u0663", "'\u0663'"),
        ("churn:latest", "'latest'"),
        ("churn:1.3", "'1.3'"),
        ("churn:^1.x", "'^1.x'"),
        ("churn@latest", "'latest'"),
        ("churn@7", "'7'"),
        ("churn#b3f", "'b3f'"),
        ("churn#B3F1", "'B3F1'"),
        ("churn#" + "a" * 65, "of 65 characters"),
        ("churn/Onnx", "'Onnx'"),
        ("churn~.b", "'.b'"),
        ("churn/" + "a" * 101, "has 101 characters, and 100 are allowed"),
        (" churn:7", "' churn'"),
        ("churn :7", "'churn '"),
    ],
)
def test_a_reference_that_cannot_be_read_is_quoted(text: str, quoted: str) -> None:
    with pytest.raises((InvalidRefError, InvalidNameError)) as caught:
        ModelRef.parse(text)
    assert quoted in str(caught.value)


@pytest.mark.parametrize("selector", [0, -1, 10**15 + 1, True, 1.0, "7", "production", b"7", (1,), object])
def test_a_reference_with_a_wrong_selector_cannot_exist(selector: Any) -> None:
    with pytest.raises(InvalidRefError) as caught:
        ModelRef("churn", selector)
    assert str(selector) in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "b3f", "B3F1", "b3g1", "a" * 65, "b3f1\n", "b3f1…", None, 1234])
def test_a_wrong_digest_cannot_exist(prefix: Any) -> None:
    with pytest.raises(InvalidRefError) as caught:
        Digest(prefix)
    assert repr(prefix) in str(caught.value)


@pytest.mark.parametrize("word", ["", "A", ".a", "-a", "_a", "a b", "a/b", "a:b", "é", "a\n", "a" * 101, 7])
@pytest.mark.parametrize("field", ["variant", "branch"])
def test_a_reference_with_a_wrong_word_cannot_exist(field: str, word: Any) -> None:
    with pytest.raises(InvalidRefError) as caught:
        ModelRef("churn", 7, **{field: word})
    assert repr(word) in str(caught.value)


def test_a_reference_is_a_value() -> None:
    ref = ModelRef.parse("churn:7")
    assert {ref: 1}[ModelRef("churn", 7)] == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ref.name = "other"  # type: ignore[misc]
    with pytest.raises(InvalidNameError):
        attrs.evolve(ref, name="")
