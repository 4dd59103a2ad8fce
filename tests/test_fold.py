"""What operations mean, with no storage: a fold takes whatever lies there, and only legal entries change the state."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelkeep.digest import digest
from modelkeep.entry import encode, genesis, sign
from modelkeep.fold import Fold
from modelkeep.folds import notes, policy, releases, versions
from modelkeep.folds.rules import IllegalError, Journalled, Op, Rules
from modelkeep.ref import Label

D = digest(b"")
TIME = "2026-03-01T13:00:00.000000Z"
REGISTRY = "the registry"
PREFIX = "models/churn/versions/"
ALL_RULES: dict[str, Rules[Any]] = {
    "versions": versions.RULES,
    "releases": releases.RULES,
    "notes": notes.RULES,
    "policy": policy.RULES,
}


def tx_of(number: int) -> str:
    return f"{number:032x}"


def pack(number: int) -> str:
    return f"{tx_of(number)}-1"


class Tale:
    """A journal told operation by operation."""

    def __init__(self, rules: Rules[Any]) -> None:
        self.fold: Fold[Any] = Fold(rules, (0, genesis(REGISTRY, PREFIX)))

    @property
    def state(self) -> Any:
        return self.fold.state

    def raw(self, *ops: dict[str, Any], tx: str | None = None) -> bytes:
        number = self.fold.head + 1
        time = f"2026-03-01T12:00:00.{number:06d}Z"
        return encode(number, self.fold.digest, tx or tx_of(number), time, f"actor {number}", {}, ops)

    def tell(self, *ops: dict[str, Any], tx: str | None = None) -> str | None:
        """Append an entry; why it is void, or None."""
        self.fold.take(self.raw(*ops, tx=tx))
        return self.fold.void.get(self.fold.head)

    def tell_as(self, actor: str, *ops: dict[str, Any]) -> str | None:
        """The same, by somebody who told something before."""
        number = self.fold.head + 1
        self.fold.take(encode(number, self.fold.digest, tx_of(number), TIME, actor, {}, ops))
        return self.fold.void.get(number)

    def tell_all(self, *ops: dict[str, Any]) -> Tale:
        """An entry for each operation, all of them legal."""
        for op in ops:
            assert self.tell(op) is None, op
        return self


def a_create(number: int, *packs: str, **more: Any) -> dict[str, Any]:
    named = list(packs or [pack(number)])
    facts = {"number": number, "identity": D, "content": D, "at": [named[-1], 16, 9], "packs": named, "size": 3}
    return {"op": "create", "serializer": "files", **facts, **more}


def a_move(number: int, was: str, to: str, *packs: str) -> dict[str, Any]:
    return {"op": "move", "number": number, "was": [was, 16, 9], "at": [to, 16, 9], "packs": [*packs, to]}


def a_variant(number: int, kind: str, *packs: str, **more: Any) -> dict[str, Any]:
    named = list(packs or [pack(50 + number)])
    facts = {"number": number, "kind": kind, "identity": D, "content": D, "at": [named[-1], 16, 9], "packs": named}
    return {"op": "variant", "size": 3, "serializer": "files", **facts, **more}


def a_draft(which: int, *packs: str, **more: Any) -> dict[str, Any]:
    named = list(packs or [pack(70 + which)])
    facts = {"id": tx_of(which), "kind": "run", "registry": REGISTRY, "identity": D, "content": D, "size": 3}
    place = {"at": [named[-1], 16, 9], "packs": named, "expires": "2026-03-31T12:00:00.000000Z"}
    return {"op": "draft", **facts, **place, **more}


def a_drop(which: int) -> dict[str, Any]:
    return {"op": "drop", "id": tx_of(which)}


def a_condemn(*packs: str, purged: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"op": "condemn", "packs": list(packs), "purged": list(purged)}


def an_alias(number: int, how: str = "promote", alias: str = "production") -> dict[str, Any]:
    return {"op": "alias", "alias": alias, "number": number, "identity": D, "at": [pack(number), 16, 9], "how": how}


def on(number: int, op: str) -> dict[str, Any]:
    return {"op": op, "number": number}


OPEN: dict[str, Any] = {"op": "open", "registry": REGISTRY}
CLOSE: dict[str, Any] = {"op": "close"}


@pytest.fixture
def made() -> Tale:
    """A journal `versions` that is open and has the versions 1 and 2."""
    tale = Tale(versions.RULES)
    assert tale.tell(OPEN, a_create(1)) is None
    assert tale.tell(a_create(2)) is None
    return tale


@pytest.fixture
def used() -> Tale:
    """A journal `releases` where production went from 1 to 2 to 3."""
    return Tale(releases.RULES).tell_all(an_alias(1), an_alias(2), an_alias(3))


def stack(tale: Tale, alias: str = "production") -> list[int]:
    return [holder.number for holder in tale.state.stacks.get(alias, ())]


# Void against damaged


def test_an_illegal_entry_takes_its_number_and_changes_nothing(made: Tale) -> None:
    before = made.state.copy()
    assert made.tell(a_create(4)) == "version 4 does not follow version 2"
    assert made.fold.head == 3
    assert made.state == before
    assert made.fold.faults == {}
    assert made.tell(a_create(3)) is None
    assert sorted(made.state.lines) == [1, 2, 3]


def test_a_damaged_entry_takes_its_number_and_the_next_one_follows_its_bytes(made: Tale) -> None:
    raw = made.raw(a_create(3))[:-1]
    assert made.fold.take(raw) is None
    assert made.fold.head == 3
    assert "digest line" in made.fold.faults[3]
    assert made.fold.digest == digest(raw)
    assert sorted(made.state.lines) == [1, 2]
    assert made.fold.void == {}


@pytest.mark.parametrize("resigned", [False, True])
def test_an_altered_entry_is_damage_and_signing_it_anew_breaks_the_chain_behind_it(resigned: bool) -> None:
    tale = Tale(policy.RULES)
    raws = []
    for text in "abc":
        raws.append(tale.raw({"op": "policy", "text": text}))
        tale.fold.take(raws[-1])
    altered = raws[1].replace(b'"b"', b'"x"')
    raws[1] = sign(altered.split(b"\n")[0]) if resigned else altered
    again = Tale(policy.RULES)
    for raw in raws:
        again.fold.take(raw)
    assert list(again.fold.faults) == [3 if resigned else 2]
    if resigned:
        assert "does not follow entry 2" in again.fold.faults[3]


def test_entry_1_of_another_journal_is_damage() -> None:
    tale = Tale(policy.RULES)
    raw = tale.raw({"op": "policy", "text": ""})
    elsewhere: Fold[Any] = Fold(policy.RULES, (0, genesis(REGISTRY, "models/other/versions/")))
    elsewhere.take(raw)
    assert "does not follow entry 0" in elsewhere.faults[1]


def test_an_unknown_operation_is_noted_and_one_that_may_be_skipped_apart_from_it(made: Tale) -> None:
    before = made.state.copy()
    assert made.tell({"op": "quantize"}) is None
    assert made.tell({"op": "annotate", "skippable": True}) is None
    assert made.tell({"op": "annotate", "skippable": 1}) is None
    assert made.fold.unknown == {3: "quantize", 5: "annotate"}
    assert made.fold.skipped == {4: "annotate"}
    assert made.state == before


def test_unknown_fields_of_a_known_operation_are_ignored(made: Tale) -> None:
    assert made.tell(a_create(3, signature="x", op2=[1], self=1)) is None
    assert 3 in made.state.lines
    assert made.fold.unknown == {}


def test_an_entry_without_operations_is_legal_and_changes_nothing(made: Tale) -> None:
    before = made.state.copy()
    assert made.tell() is None
    assert made.state == before
    assert made.fold.head == 3


# Total

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NEARLY = st.one_of(
    JSON,
    st.integers(-1, 4),
    st.sampled_from([D, pack(1), pack(2), "production", "1.0.0", "promote", "rollback", tx_of(1), "", "latest", "7"]),
    st.sampled_from([[pack(1), 16, 9], [pack(2), 16, 9], [pack(1)], [pack(1), pack(2)], [1], [1, 2], []]),
)
NAMES = sorted({name for rules in ALL_RULES.values() for name in rules.ops} | {"cancel", "seal"})
FIELDS = sorted(
    {name for rules in ALL_RULES.values() for op in rules.ops.values() for name in op._fields()}
    | {"n", "tx", "skippable"}
)
WILD_OPS = st.builds(
    lambda name, facts: {**facts, "op": name},
    st.sampled_from(NAMES) | st.text(max_size=6),
    st.dictionaries(st.sampled_from(FIELDS), NEARLY, max_size=8),
)
LIKELY_OPS = st.one_of(
    st.builds(a_create, st.integers(1, 5), st.sampled_from([pack(1), pack(2), pack(3)])),
    st.builds(an_alias, st.integers(1, 3), st.sampled_from(["promote", "rollback"])),
    st.builds(on, st.integers(1, 3), st.sampled_from(["delete", "restore", "hold", "unhold", "purge"])),
    st.builds(a_condemn, st.sampled_from([pack(1), pack(2), pack(3)]), purged=st.sampled_from([(), (1,), (1, 2)])),
    st.builds(a_move, st.integers(1, 3), st.sampled_from([pack(1), pack(2)]), st.sampled_from([pack(2), pack(3)])),
    st.builds(a_variant, st.integers(1, 3), st.sampled_from(["int8", "half"]), st.sampled_from([pack(2), pack(4)])),
    st.builds(a_draft, st.integers(1, 2), st.sampled_from([pack(2), pack(4), pack(5)])),
    st.builds(a_drop, st.integers(1, 2)),
    st.sampled_from([OPEN, CLOSE, {"op": "unalias", "alias": "production"}]),
    WILD_OPS,
)


@pytest.mark.parametrize("journal", sorted(ALL_RULES))
@given(entries=st.lists(st.lists(LIKELY_OPS, max_size=3) | st.binary(max_size=9), max_size=12))
def test_whatever_lies_in_a_journal_it_folds(journal: str, entries: list[list[dict[str, Any]] | bytes]) -> None:
    tale = Tale(ALL_RULES[journal])
    for ops in entries:
        before, head = tale.state.copy(), tale.fold.head
        if isinstance(ops, bytes):
            assert tale.fold.take(ops) is None
            assert tale.fold.head in tale.fold.faults
        elif tale.tell(*ops) is not None:
            assert tale.state == before
        assert tale.fold.head == head + 1


def refused_by_python(journal: str, name: str, field: str, levels: int) -> bool:
    """Whether the fold raises at an operation that has a list of *levels* levels as its *field*."""
    legal = {"open": OPEN, "create": a_create(1), "alias": an_alias(1), "move": a_move(1, pack(1), pack(2))}
    legal |= {"variant": a_variant(1, "int8"), "draft": a_draft(1), "drop": a_drop(1)}
    facts = {**legal.get(name, {"number": 1, "alias": "a", "text": D, "tags": {}}), "op": name, field: 0}
    deep = b'"%b":%b' % (field.encode(), b"[" * levels + b"]" * levels)
    op = orjson.dumps(facts).replace(b'"%b":0' % field.encode(), deep)
    tale = Tale(ALL_RULES[journal])
    line = tale.raw().split(b"\n")[0].replace(b'"ops":[]', b'"ops":[%b]' % op)
    assert deep in line
    try:
        tale.fold.take(sign(line))
    except RecursionError:
        return True
    assert tale.fold.head == 1
    return False


@pytest.mark.parametrize("levels", [200, 1000])
@pytest.mark.parametrize("journal", sorted(ALL_RULES))
def test_a_value_nested_as_deep_as_json_may_be_makes_an_entry_void_and_no_worse(journal: str, levels: int) -> None:
    known = [(name, field) for name, op in ALL_RULES[journal].ops.items() for field in op._fields()]
    asked = [*known, ("cancel", "tx"), ("seal", "n"), ("new", "x")]
    assert [f"{name}.{field}" for name, field in asked if refused_by_python(journal, name, field, levels)] == []


# Entries of several operations


def test_the_first_save_opens_the_model_and_creates_version_1_in_one_entry() -> None:
    tale = Tale(versions.RULES)
    assert tale.tell(OPEN, a_create(1)) is None
    assert tale.state.is_open
    assert list(tale.state.lines) == [1]


@pytest.mark.parametrize("ops", [(OPEN, a_create(2)), (a_create(1), OPEN), (OPEN, a_create(1), a_create(1))])
def test_of_several_operations_all_happen_or_none(ops: tuple[dict[str, Any], ...]) -> None:
    tale = Tale(versions.RULES)
    assert tale.tell(*ops) is not None
    assert tale.state == versions.Versions()


def test_move_and_condemn_happen_in_one_entry(made: Tale) -> None:
    assert made.tell(a_move(1, pack(1), pack(9)), a_condemn(pack(1))) is None
    assert made.state.lines[1].packs == (pack(9),)
    assert made.state.condemned == {pack(1)}
    assert made.state.lines[1].made.at.pack == pack(1)


def test_condemn_before_the_move_of_the_same_entry_is_void_as_a_whole(made: Tale) -> None:
    assert made.tell(a_condemn(pack(1)), a_move(1, pack(1), pack(9))) == f"version 1 needs pack {pack(1)}"
    assert made.state.condemned == set()
    assert made.state.lines[1].packs == (pack(1),)


def test_checking_operations_changes_nothing(made: Tale) -> None:
    before = made.state.copy()
    ops: list[Op] = [versions.Create.parse(a_create(3)), versions.Create.parse(a_create(4)), versions.Close()]
    made.fold.check(ops)
    with pytest.raises(IllegalError, match="closed already"):
        made.fold.check([*ops, versions.Close()])
    assert made.state == before


def test_a_void_entry_neither_seals_nor_cancels(made: Tale) -> None:
    made.fold.take(b"junk")
    assert made.tell({"op": "seal", "n": 3}, {"op": "cancel", "tx": tx_of(77)}, OPEN) == "the model is open already"
    assert list(made.fold.faults) == [3]
    assert made.fold.cancelled == set()


# Cancel and seal


def test_what_was_cancelled_never_happens(made: Tale) -> None:
    assert made.tell({"op": "cancel", "tx": tx_of(77)}) is None
    assert made.tell(a_create(3), tx=tx_of(77)) == "its transaction was cancelled"
    assert sorted(made.state.lines) == [1, 2]
    assert made.tell(a_create(3), tx=tx_of(78)) is None


def test_a_seal_names_the_damaged_entry_and_no_other(made: Tale) -> None:
    made.fold.take(b"junk")
    made.fold.take(b"more junk")
    assert made.tell({"op": "seal", "n": 4}) is None
    assert list(made.fold.faults) == [3]
    assert made.tell({"op": "seal", "n": 1}) is None
    assert made.tell({"op": "seal", "n": "3"}) is None
    assert list(made.fold.faults) == [3]
    assert made.tell({"op": "seal", "n": 3}) is None
    assert made.fold.faults == {}


def test_after_a_seal_the_chain_is_checked_again(made: Tale) -> None:
    made.fold.take(b"junk")
    made.tell({"op": "seal", "n": 3})
    raw = made.raw(a_create(4))
    made.fold.seen = (made.fold.head, digest(b"another"))
    assert made.fold.take(raw) is None
    assert "does not follow entry 4" in made.fold.faults[5]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_numbers_that_sealed_entries_may_have_given_are_not_given_again(made: Tale, lost: int) -> None:
    for _ in range(lost):
        made.fold.take(b"junk")
    for number in range(3, 3 + lost):
        made.tell({"op": "seal", "n": number})
    assert made.state.next_number() == 3 + lost
    assert made.tell(a_create(4 + lost)) is not None
    assert made.tell(a_create(3 + lost)) is None
    assert made.state.next_number() == 4 + lost
    assert made.tell(a_create(2 + lost)) is not None
    assert sorted(made.state.lines) == [1, 2, 3 + lost]


@pytest.mark.parametrize("number", [3, 4])
def test_after_a_seal_a_writer_that_knew_what_the_entry_was_may_go_on_without_a_gap(made: Tale, number: int) -> None:
    made.fold.take(b"junk")
    made.tell({"op": "seal", "n": 3})
    assert made.tell(a_create(number)) is None
    assert made.state.next_number() == number + 1


def test_a_lost_first_entry_leaves_a_model_that_can_be_opened_again() -> None:
    tale = Tale(versions.RULES)
    tale.fold.take(b"junk")
    tale.tell({"op": "seal", "n": 1})
    assert tale.tell(OPEN, a_create(tale.state.next_number())) is None
    assert list(tale.state.lines) == [2]


# Versions


@pytest.mark.parametrize("number", [1, 2, 4, 0, -1, True, "3", 3.0, None])
def test_a_version_gets_the_next_number_or_none(made: Tale, number: Any) -> None:
    assert made.tell({**a_create(3), "number": number}) is not None
    assert made.state.highest == 2


def test_a_closed_model_takes_no_version_until_it_is_opened_and_numbers_go_on(made: Tale) -> None:
    made.tell_all(CLOSE)
    assert made.tell(a_create(3)) == "the model is closed"
    assert made.tell(CLOSE) == "the model is closed already"
    made.tell_all(OPEN, a_create(3))
    assert made.tell(OPEN) == "the model is open already"
    assert sorted(made.state.lines) == [1, 2, 3]


def test_a_label_belongs_to_one_version_and_a_version_has_one_label(made: Tale) -> None:
    made.tell_all(a_create(3, label="1.0.0"))
    assert made.tell(a_create(4, label="1.0.0")) == "label 1.0.0 is taken"
    assert made.tell({"op": "label", "number": 1, "label": "1.0.0"}) == "label 1.0.0 is taken"
    assert made.tell({"op": "label", "number": 3, "label": "2.0.0"}) == "version 3 has a label already"
    assert made.tell({"op": "label", "number": 9, "label": "2.0.0"}) == "there is no version 9"
    made.tell_all({"op": "label", "number": 1, "label": "0.9.0"})
    assert made.state.labels == {"1.0.0": 3, "0.9.0": 1}
    assert [made.state.lines[number].label for number in (1, 2, 3)] == ["0.9.0", None, "1.0.0"]


def test_a_label_is_not_free_again_when_its_version_is_purged_or_the_model_opened_again(made: Tale) -> None:
    made.tell_all(a_create(3, label="1.0.0"), a_condemn(pack(3), purged=(3,)), CLOSE, OPEN)
    assert made.tell(a_create(4, label="1.0.0")) == "label 1.0.0 is taken"


@pytest.mark.parametrize("label", ["1.0", "v1.0.0", "01.0.0", "", 1, ["1.0.0"], "9" * 5000 + ".0.0"])
def test_what_is_no_semantic_version_is_no_label(made: Tale, label: Any) -> None:
    assert made.tell(a_create(3, label=label)) is not None
    assert made.state.labels == {}


def test_a_bump_counts_from_the_highest_label_ever_used(made: Tale) -> None:
    assert made.state.next_label("minor") == "1.0.0"
    made.tell_all(
        {"op": "label", "number": 1, "label": "1.10.0"},
        {"op": "label", "number": 2, "label": "1.9.0"},
        a_condemn(pack(1), purged=(1,)),
    )
    assert [made.state.next_label(part) for part in ("patch", "minor", "major")] == ["1.10.1", "1.11.0", "2.0.0"]


def test_the_manifest_lies_in_one_of_the_packs_and_those_of_other_saves_are_at_most_32(made: Tale) -> None:
    others = [pack(number) for number in range(10, 43)]
    assert made.tell(a_create(3, at=[pack(8), 16, 9])) == "the pack of the manifest is not among the packs"
    assert made.tell(a_create(3, *others, pack(3))) == "33 packs of other saves are more than 32"
    assert made.tell(a_create(3, *others[1:], pack(3))) is None
    assert made.tell(a_move(1, pack(1), pack(9), *others)) == "33 packs of other saves are more than 32"


def test_a_move_of_a_version_that_was_moved_meanwhile_is_void(made: Tale) -> None:
    made.tell_all(a_move(1, pack(1), pack(8)))
    assert made.tell(a_move(1, pack(1), pack(9))) == "version 1 does not lie where it lay"
    assert made.tell(a_move(7, pack(1), pack(9))) == "version 7 does not lie where it lay"
    assert made.state.lines[1].at.pack == pack(8)


# Variants


def test_a_variant_joins_its_version_and_its_packs_those_that_the_version_needs(made: Tale) -> None:
    made.tell_all(a_variant(1, "int8", pack(8), f"{tx_of(8)}-2"), a_variant(1, "half"), a_variant(2, "int8"))
    line = made.state.lines[1]
    assert list(line.variants) == ["int8", "half"]
    assert line.packs == (pack(1), pack(8), f"{tx_of(8)}-2", pack(51))
    assert (line.own, line.apart) == ((pack(1),), (pack(8), f"{tx_of(8)}-2", pack(51)))
    assert (line.variants["half"].made.at.pack, line.variants["half"].actor) == (pack(51), "actor 4")
    assert made.state.lines[2].packs == (pack(2), pack(52))
    assert made.state.highest == 2, "it takes no number"


@pytest.mark.parametrize(
    ("before", "variant", "why"),
    [
        ([CLOSE], a_variant(1, "int8"), "the model is closed"),
        ([], a_variant(3, "int8"), "there is no version 3"),
        ([a_condemn(pack(1), purged=(1,))], a_variant(1, "int8"), "version 1 was purged"),
        ([a_variant(1, "int8", pack(8))], a_variant(1, "int8"), "version 1 has a int8 already"),
        ([], a_variant(1, "int8", at=[pack(8), 16, 9]), "the pack of the manifest is not among the packs"),
        ([], a_variant(1, "int8", pack(7), pack(8)), "a variant has packs of one transaction"),
        ([], a_variant(1, "int8", pack(2)), f"packs of transaction {tx_of(2)} were named before"),
        ([], a_variant(1, "int8", f"{tx_of(2)}-2"), f"packs of transaction {tx_of(2)} were named before"),
        ([a_variant(2, "int8")], a_variant(1, "int8", pack(52)), f"packs of transaction {tx_of(52)} were named before"),
        (
            [a_move(1, pack(1), pack(8))],
            a_variant(1, "int8", pack(1)),
            f"packs of transaction {tx_of(1)} were named before",
        ),
        (
            [a_variant(2, "int8"), a_move(1, pack(1), pack(8)), a_create(3, pack(9))],
            a_variant(1, "int8", pack(9)),
            f"packs of transaction {tx_of(9)} were named before",
        ),
        (
            [a_variant(2, "int8"), a_move(1, pack(1), pack(8))],
            a_variant(1, "int8", pack(8)),
            f"packs of transaction {tx_of(8)} were named before",
        ),
        ([a_condemn(pack(8))], a_variant(1, "int8", pack(8)), f"pack {pack(8)} was condemned"),
    ],
)
def test_a_variant_that_breaks_a_rule_is_void(
    made: Tale, before: list[dict[str, Any]], variant: dict[str, Any], why: str
) -> None:
    made.tell_all(*before)
    state = made.state.copy()
    assert made.tell(variant) == why
    assert made.state == state


@pytest.mark.parametrize("kind", ["", "Int8", "int 8", "-int8", "a/b", "x" * 101, 8, None, ["int8"]])
def test_what_references_cannot_say_is_no_kind_of_variant(made: Tale, kind: Any) -> None:
    assert made.tell(a_variant(1, kind)) is not None
    assert made.state.lines[1].variants == {}


def test_no_later_entry_names_a_pack_of_a_variant(made: Tale) -> None:
    made.tell_all(a_variant(1, "int8", pack(8)))
    for shared in (pack(8), f"{tx_of(8)}-2"):
        assert made.tell(a_create(3, shared, pack(3))) == f"pack {shared} is that of a variant or draft"
        assert made.tell(a_move(1, pack(1), pack(9), shared)) == f"pack {shared} is that of a variant or draft"
    made.tell_all(a_create(3), a_move(1, pack(1), pack(9)))


def test_of_one_entry_too_no_operation_names_a_pack_of_a_variant(made: Tale) -> None:
    why = f"pack {pack(8)} is that of a variant or draft"
    assert made.tell(a_variant(1, "int8", pack(8)), a_create(3, pack(8))) == why
    assert made.tell(a_create(3, pack(8)), a_variant(1, "int8", pack(8))) is not None
    assert made.tell(a_variant(1, "int8", pack(8)), a_variant(2, "int8", pack(8))) is not None
    made.tell_all(a_variant(2, "int8", pack(8)))


def test_a_move_leaves_the_packs_of_variants_where_they_are(made: Tale) -> None:
    made.tell_all(a_variant(1, "int8", pack(8)), a_move(1, pack(1), pack(9)))
    assert made.state.lines[1].packs == (pack(9), pack(8))
    assert made.state.left == {pack(1)}
    assert made.tell(a_condemn(pack(8))) == f"version 1 needs pack {pack(8)}"
    assert made.tell(a_condemn(pack(1))) is None
    assert made.tell(a_condemn(pack(8), pack(9), purged=(1,))) is None


# Drafts


def test_a_draft_has_an_id_and_no_number_and_is_there_until_it_is_dropped(made: Tale) -> None:
    made.tell_all(a_draft(1, pack(8), f"{tx_of(8)}-2"), a_draft(2))
    state = made.state
    assert (list(state.kept_drafts()), state.highest) == ([tx_of(1), tx_of(2)], 2)
    assert (state.drafts[tx_of(1)].made.packs, state.drafts[tx_of(1)].actor) == ((pack(8), f"{tx_of(8)}-2"), "actor 3")
    made.tell_all(a_drop(1), a_create(3))
    assert list(made.state.kept_drafts()) == [tx_of(2)]
    assert (list(made.state.drafts), made.state.dropped) == ([tx_of(1), tx_of(2)], {tx_of(1)})


def test_the_first_entry_of_a_model_may_be_a_draft(made: Tale) -> None:
    tale = Tale(versions.RULES)
    assert tale.tell(OPEN, a_draft(1)) is None
    assert (tale.state.is_open, tale.state.began, tale.state.highest) == (True, True, 0)
    assert tale.tell(a_draft(2, pack(71))) == f"packs of transaction {tx_of(71)} were named before"
    tale.tell_all(CLOSE)
    assert (tale.state.is_open, tale.state.began) == (False, True)
    assert made.state.began
    assert not Tale(versions.RULES).state.began


@pytest.mark.parametrize(
    ("before", "op", "why"),
    [
        ([CLOSE], a_draft(1), "the model is closed"),
        ([a_draft(1, pack(8))], a_draft(1), f"draft {tx_of(1)} is there already"),
        ([a_draft(1, pack(8)), a_drop(1)], a_draft(1), f"draft {tx_of(1)} is there already"),
        ([], a_draft(1, at=[pack(8), 16, 9]), "the pack of the manifest is not among the packs"),
        ([], a_draft(1, pack(7), pack(8)), "a draft has packs of one transaction"),
        ([], a_draft(1, pack(2)), f"packs of transaction {tx_of(2)} were named before"),
        ([], a_draft(1, f"{tx_of(2)}-2"), f"packs of transaction {tx_of(2)} were named before"),
        ([a_draft(2, pack(8))], a_draft(1, pack(8)), f"packs of transaction {tx_of(8)} were named before"),
        ([a_draft(2, pack(8)), a_drop(2)], a_draft(1, pack(8)), f"packs of transaction {tx_of(8)} were named before"),
        ([a_draft(2, pack(8))], a_variant(1, "int8", pack(8)), f"packs of transaction {tx_of(8)} were named before"),
        ([a_variant(1, "int8", pack(8))], a_draft(1, pack(8)), f"packs of transaction {tx_of(8)} were named before"),
        ([a_condemn(pack(8))], a_draft(1, pack(8)), f"pack {pack(8)} was condemned"),
        ([], a_drop(1), f"there is no draft {tx_of(1)}"),
        ([a_draft(1), a_drop(1)], a_drop(1), f"draft {tx_of(1)} was dropped already"),
    ],
)
def test_a_draft_or_drop_that_breaks_a_rule_is_void(
    made: Tale, before: list[dict[str, Any]], op: dict[str, Any], why: str
) -> None:
    made.tell_all(*before)
    state = made.state.copy()
    assert made.tell(op) == why
    assert made.state == state


@pytest.mark.parametrize(
    "wrong",
    [
        *({"id": value} for value in ("", "x", tx_of(1).upper().replace("0", "A"), f"{tx_of(1)}0", 1, None)),
        *({"expires": value} for value in ("", "2026-03-31", "2026-02-30T12:00:00.000000Z", 1, None)),
        *({"kind": value} for value in ("", "Run", "a/b", None)),
        {"registry": None},
        {"size": -1},
    ],
)
def test_a_draft_with_a_field_of_another_form_is_void(made: Tale, wrong: dict[str, Any]) -> None:
    assert made.tell(a_draft(1, **wrong)) is not None
    assert made.state.drafts == {}
    made.tell_all(a_draft(1, kind="branch-2"))


def test_nothing_else_ever_names_a_pack_of_a_draft(made: Tale) -> None:
    made.tell_all(a_draft(1, pack(8)))
    for _ in range(2):
        for shared in (pack(8), f"{tx_of(8)}-2"):
            assert made.tell(a_create(3, shared, pack(3))) == f"pack {shared} is that of a variant or draft"
            assert made.tell(a_move(1, pack(1), pack(9), shared)) == f"pack {shared} is that of a variant or draft"
        made.tell(a_drop(1))


def test_packs_of_a_draft_are_condemned_only_once_it_was_dropped_or_in_that_entry(made: Tale) -> None:
    made.tell_all(a_draft(1, pack(8)), a_draft(2, pack(9)))
    assert made.tell(a_condemn(pack(8))) == f"draft {tx_of(1)} needs pack {pack(8)}"
    assert made.tell(a_condemn(pack(8)), a_drop(1)) == f"draft {tx_of(1)} needs pack {pack(8)}"
    assert made.tell(a_drop(1), a_condemn(pack(8), pack(9))) == f"draft {tx_of(2)} needs pack {pack(9)}"
    assert made.tell(a_drop(1), a_condemn(pack(8))) is None
    assert (made.state.condemned, list(made.state.kept_drafts())) == ({pack(8)}, [tx_of(2)])
    made.tell_all(a_drop(2), a_condemn(pack(9)))


# The pack rule


def test_a_condemned_pack_is_never_named_again(made: Tale) -> None:
    made.tell_all(a_condemn(pack(3)))
    assert made.tell(a_create(3)) == f"pack {pack(3)} was condemned"
    assert made.tell(a_create(3, pack(3), pack(4))) == f"pack {pack(3)} was condemned"
    assert made.tell(a_move(1, pack(1), pack(3))) == f"pack {pack(3)} was condemned"
    assert made.tell(a_create(3, pack(4))) is None


def test_a_pack_that_a_version_needs_is_not_condemned_unless_it_was_purged(made: Tale) -> None:
    made.tell_all(a_create(3, pack(1), pack(3)))
    assert made.tell(a_condemn(pack(1), pack(8), purged=(1,))) == f"version 3 needs pack {pack(1)}"
    assert made.tell(a_condemn(pack(1), purged=(1, 3))) is None


def test_a_version_that_does_not_exist_yet_cannot_be_claimed_to_be_purged(made: Tale) -> None:
    made.tell(a_condemn(purged=(3,)))
    made.tell_all(a_create(3))
    assert made.tell(a_condemn(pack(3))) == f"version 3 needs pack {pack(3)}"


PACKS = st.sampled_from([pack(number) for number in range(5)])
STEPS = st.one_of(
    st.tuples(st.just("create"), st.lists(PACKS, min_size=1, max_size=3), st.just(0)),
    st.tuples(st.just("move"), st.lists(PACKS, min_size=1, max_size=3), st.integers(1, 4)),
    st.tuples(st.just("variant"), st.lists(PACKS, min_size=1, max_size=1), st.integers(1, 4)),
    st.tuples(st.just("draft"), st.lists(PACKS, min_size=1, max_size=1), st.integers(1, 3)),
    st.tuples(st.just("drop"), st.just([]), st.integers(1, 3)),
    st.tuples(st.just("condemn"), st.lists(PACKS, max_size=3), st.integers(0, 4)),
)


def op_of(tale: Tale, number: int, kind: str, packs: list[str], which: int) -> list[dict[str, Any]]:
    """The operation that a step is; none for a move of what is not there."""
    there = which in tale.state.lines
    if kind == "create":
        return [a_create(number, *packs)]
    if kind == "variant":
        return [a_variant(which, f"of-{tale.fold.head}", *packs)]
    if kind == "draft":
        return [a_draft(which, *packs)]
    if kind == "drop":
        return [a_drop(which)]
    if kind == "condemn":
        return [a_condemn(*packs, purged=(which,) if there else ())]
    return [a_move(which, tale.state.lines[which].at.pack, packs[-1], *packs[:-1])] if there else []


@given(st.lists(st.lists(STEPS, min_size=1, max_size=3), max_size=25))
@example([[("create", [pack(0)], 0)], [("move", [pack(1)], 1), ("condemn", [pack(0)], 0)]])
def test_no_living_version_or_draft_ever_needs_a_condemned_pack(
    entries: list[list[tuple[str, list[str], int]]],
) -> None:
    tale = Tale(versions.RULES).tell_all(OPEN)
    condemned: set[str] = set()
    for steps in entries:
        number, ops = tale.state.highest, list[dict[str, Any]]()
        before = {n: set(line.packs) for n, line in tale.state.lines.items()}
        for step in steps:
            number += step[0] == "create"
            ops += op_of(tale, number, *step)
        void = tale.tell(*ops)
        state = tale.state
        assert condemned <= state.condemned
        for n, line in state.lines.items():
            if n not in state.purged:
                assert state.condemned.isdisjoint(line.packs)
            if set(line.packs) != before.get(n):
                assert condemned.isdisjoint(line.packs)
        for draft in state.kept_drafts().values():
            assert state.condemned.isdisjoint(draft.made.packs)
            assert not any(set(draft.made.packs) & set(line.packs) for line in state.lines.values())
        if void:
            assert state.condemned == condemned
            assert {n: set(line.packs) for n, line in state.lines.items()} == before
        condemned = set(state.condemned)


@given(
    needed=st.dictionaries(st.integers(1, 4), st.lists(PACKS, min_size=1, max_size=3), min_size=1),
    condemned=st.sets(PACKS),
    named=st.lists(PACKS, max_size=3),
    doomed=st.lists(PACKS, max_size=3),
    purged=st.sets(st.integers(1, 4)),
    claimed=st.sets(st.integers(1, 4)),
)
def test_the_pack_rule_is_what_the_protocol_says(
    needed: dict[int, list[str]],
    condemned: set[str],
    named: list[str],
    doomed: list[str],
    purged: set[int],
    claimed: set[int],
) -> None:
    state = versions.Versions(condemned=condemned, purged=purged)
    for number, packs in needed.items():
        made = versions.Create.parse(a_create(number, *packs))
        state.lines[number] = versions.Line(made, "", "", made.at, made.packs, None)
    lives = [packs for number, packs in needed.items() if number not in purged | claimed]
    legal = not condemned & set(named) and not any(set(doomed) & set(packs) for packs in lives)
    try:
        versions.check_packs(state, named=named, condemned=doomed, purged=claimed)
    except IllegalError:
        assert not legal
    else:
        assert legal


# Releases


def test_rollback_goes_down_the_stack_and_no_further(used: Tale) -> None:
    assert stack(used) == [1, 2, 3]
    used.tell_all(an_alias(2, "rollback"))
    assert stack(used) == [1, 2]
    used.tell_all(an_alias(1, "rollback"))
    assert stack(used) == [1]
    for number in (1, 2, 3):
        assert used.tell(an_alias(number, "rollback")) == f"no rollback leads to version {number}"
    assert stack(used) == [1]


def test_of_two_rollbacks_that_both_saw_the_same_holder_one_is_void(used: Tale) -> None:
    used.tell_all(an_alias(2, "rollback"))
    assert used.tell(an_alias(2, "rollback")) == "no rollback leads to version 2"
    assert stack(used) == [1, 2]


def test_what_was_popped_comes_back_only_by_a_new_promote(used: Tale) -> None:
    used.tell_all(an_alias(2, "rollback"))
    assert used.tell(an_alias(3, "rollback")) is not None
    used.tell_all(an_alias(3))
    assert stack(used) == [1, 2, 3]


def test_promoting_the_holder_is_recorded_and_not_pushed(used: Tale) -> None:
    used.tell_all(an_alias(3))
    assert stack(used) == [1, 2, 3]
    assert used.state.holder("production").actor == "actor 4"
    used.tell_all(an_alias(2, "rollback"))
    assert stack(used) == [1, 2]


@pytest.mark.parametrize(("gone", "next_one"), [((2,), 1), ((1,), 2), ((1, 2), None)])
@pytest.mark.parametrize("purged", [False, True])
def test_rollback_passes_over_what_is_deleted_or_purged(
    used: Tale, gone: tuple[int, ...], next_one: int | None, purged: bool
) -> None:
    for number in gone:
        used.tell_all(on(number, "delete"))
        if purged:
            used.tell_all(on(number, "purge"))
    legal = [number for number in (1, 2, 3) if used.tell(an_alias(number, "rollback")) is None]
    assert legal == ([next_one] if next_one else [])
    assert stack(used) == ([1, 2, 3] if next_one is None else [1, 2][:next_one])


def test_a_version_that_is_restored_can_be_rolled_back_to_again(used: Tale) -> None:
    used.tell_all(on(2, "delete"), on(2, "restore"), an_alias(2, "rollback"))
    assert stack(used) == [1, 2]


def test_an_alias_that_is_unset_forgets_its_stack(used: Tale) -> None:
    used.tell_all({"op": "unalias", "alias": "production"})
    assert used.state.holder("production") is None
    assert used.tell({"op": "unalias", "alias": "production"}) == "alias production is not set"
    used.tell_all(an_alias(3))
    assert used.tell(an_alias(2, "rollback")) is not None


def test_aliases_do_not_touch_each_other(used: Tale) -> None:
    used.tell_all(an_alias(1, alias="staging"), an_alias(2, alias="staging"), an_alias(2, "rollback"))
    assert stack(used) == [1, 2]
    assert stack(used, "staging") == [1, 2]
    assert used.state.aliases_of(2) == ("production", "staging")


def test_a_version_under_an_alias_is_not_deleted_and_one_further_down_may_be(used: Tale) -> None:
    used.tell_all(an_alias(3, alias="canary"))
    assert used.tell(on(3, "delete")) == "version 3 stands under canary, production"
    used.tell_all(on(2, "delete"))
    assert used.tell(on(2, "delete")) == "version 2 is deleted already"


def test_a_deleted_version_takes_no_alias_until_it_is_restored(used: Tale) -> None:
    used.tell_all(on(2, "delete"))
    assert used.tell(an_alias(2)) == "version 2 is deleted"
    used.tell_all(on(2, "restore"), an_alias(2))
    assert stack(used) == [1, 2, 3, 2]
    assert used.tell(on(2, "restore")) == "version 2 is not deleted"


def test_only_what_is_deleted_and_not_held_is_purged_and_it_never_comes_back(used: Tale) -> None:
    assert used.tell(on(3, "purge")) == "version 3 is not deleted"
    assert used.tell(on(1, "purge")) == "version 1 is not deleted"
    used.tell_all(on(1, "hold"), on(1, "delete"))
    assert used.tell(on(1, "hold")) == "version 1 is held already"
    assert used.tell(on(1, "purge")) == "version 1 is held"
    used.tell_all(on(1, "unhold"))
    assert used.tell(on(1, "unhold")) == "version 1 is not held"
    used.tell_all(on(1, "purge"))
    assert used.tell(on(1, "purge")) == "version 1 is purged already"
    assert used.tell(on(1, "restore")) == "version 1 is purged"
    assert used.tell(on(1, "hold")) == "version 1 is purged"
    assert used.tell(an_alias(1)) is not None


def test_repin_tells_every_alias_the_new_place_and_nothing_else(used: Tale) -> None:
    used.tell_all(an_alias(3, alias="canary"), {"op": "repin", "number": 3, "at": [pack(9), 16, 9]})
    assert used.state.holder("production").at.pack == used.state.holder("canary").at.pack == pack(9)
    assert [holder.at.pack for holder in used.state.stacks["production"]] == [pack(1), pack(2), pack(9)]
    assert used.state.holder("production").actor == "actor 3"
    assert used.tell({"op": "repin", "number": 2, "at": [pack(8), 16, 9]}) is None  # a rollback may come back to it
    assert [holder.at.pack for holder in used.state.stacks["production"]] == [pack(1), pack(8), pack(9)]
    assert used.tell({"op": "repin", "number": 7, "at": [pack(9), 16, 9]}) == "version 7 stands on no alias stack"


RELEASE_STEPS = st.one_of(
    st.builds(an_alias, st.integers(1, 4), st.sampled_from(["promote", "rollback"]), st.sampled_from(["a", "b"])),
    st.builds(on, st.integers(1, 4), st.sampled_from(["delete", "restore", "hold", "unhold", "purge"])),
    st.sampled_from([{"op": "unalias", "alias": "a"}, {"op": "repin", "number": 1, "at": [pack(9), 1, 1]}]),
)


@given(st.lists(RELEASE_STEPS, max_size=40))
def test_an_alias_always_stands_on_a_living_version_and_what_is_purged_stays_so(steps: list[dict[str, Any]]) -> None:
    tale = Tale(releases.RULES)
    purged: set[int] = set()
    for step in steps:
        held = set(tale.state.held)
        tale.tell(step)
        state = tale.state
        assert all(state.stacks.values())
        assert {stack[-1].number for stack in state.stacks.values()}.isdisjoint(state.deleted)
        assert purged <= set(state.purged) <= set(state.deleted)
        assert held.isdisjoint(set(state.purged) - purged)
        purged = set(state.purged)


def of_review(op: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"op": op, "number": number, "identity": D, "skippable": True, **more}


def said_of(tale: Tale, number: int = 1) -> list[tuple[str, bool]]:
    return [(verdict.actor, verdict.approves) for verdict in tale.state.review(number).verdicts]


def test_of_each_actor_the_last_verdict_stands_until_it_is_withdrawn() -> None:
    tale = Tale(releases.RULES)
    for op in ("approve", "reject", "approve"):
        tale.tell_all(of_review(op))  # each by an actor of its own
    assert said_of(tale) == [("actor 1", True), ("actor 2", False), ("actor 3", True)]
    assert said_of(tale, 2) == []
    assert tale.tell_as("actor 1", of_review("reject")) is None
    assert said_of(tale) == [("actor 2", False), ("actor 3", True), ("actor 1", False)]
    assert tale.tell_as("actor 2", of_review("withdraw")) is None
    assert said_of(tale) == [("actor 3", True), ("actor 1", False)]


def test_who_says_nothing_withdraws_the_request_that_they_made_and_no_others() -> None:
    tale = Tale(releases.RULES).tell_all(of_review("request", reviewers=["ada"]))
    tale.tell_all(of_review("withdraw"))  # by another
    assert tale.state.review(1) == releases.Review("actor 1", ("ada",))
    assert tale.tell_as("actor 1", of_review("approve")) is None
    assert tale.tell_as("actor 1", of_review("withdraw")) is None
    assert tale.state.review(1).requested_by == "actor 1"
    assert tale.tell_as("actor 1", of_review("withdraw")) is None
    assert tale.state.review(1) == releases.Review()


@pytest.mark.parametrize("op", ["request", "approve", "reject", "withdraw"])
def test_nothing_is_said_of_what_is_deleted_and_what_was_said_stays(op: str) -> None:
    tale = Tale(releases.RULES).tell_all(of_review("approve"), on(1, "delete"))
    assert tale.tell(of_review(op)) == "version 1 is deleted"
    tale.tell_all(on(1, "purge"))
    assert tale.tell(of_review(op)) == "version 1 is purged"
    assert said_of(tale) == [("actor 1", True)]


@pytest.mark.parametrize(
    "op",
    [
        {"op": "approve", "number": 1},
        {"op": "approve", "number": 0, "identity": D},
        {"op": "reject", "number": 1, "identity": "x"},
        {"op": "withdraw", "number": 1, "identity": D, "reason": "in clear"},
        {"op": "request", "number": 1, "identity": D, "reviewers": "ada"},
        {"op": "request", "number": 1, "identity": D, "reviewers": [1]},
        {"op": "refuse", "number": 1, "identity": D},
        {"op": "refuse", "number": 1, "identity": D, "alias": "a/b"},
    ],
)
def test_a_review_or_refusal_with_a_wrong_field_is_void(op: dict[str, Any]) -> None:
    tale = Tale(releases.RULES)
    assert tale.tell(op) is not None
    assert tale.state == releases.Releases()


def test_a_refusal_moves_nothing(used: Tale) -> None:
    before = used.state.copy()
    assert used.tell({**of_review("refuse", 1), "alias": "production", "evidence": {"policy": 3}}) is None
    assert used.state == before


@pytest.mark.parametrize("evidence", [7, "x", [], {"policy": "odd"}])
def test_whatever_stands_as_evidence_an_alias_that_was_legal_before_moves(evidence: Any) -> None:
    tale = Tale(releases.RULES).tell_all({**an_alias(1), "evidence": evidence})
    assert tale.state.stacks["production"][-1].number == 1


def test_a_release_that_knows_no_reviews_reads_past_them_and_may_not_write() -> None:
    ops = (
        releases.Refuse("production", 2, D, {"policy": 1}),
        releases.Request(2, D, reviewers=("ada",)),
        releases.Approve(2, D),
        releases.Reject(2, D),
        releases.Withdraw(2, D),
    )
    known = {name: op for name, op in releases.RULES.ops.items() if op not in map(type, ops)}
    for op in ops:
        old = Tale(Journalled(releases.Releases, known)).tell_all(an_alias(1))
        assert old.tell(op.to_json()) is None
        assert (old.fold.unknown, old.fold.skipped) == ({}, {2: op.op})
        assert old.state.stacks["production"][-1].number == 1


def test_what_stands_on_the_stack_stood_there_and_what_was_rolled_back_did_not(used: Tale) -> None:
    assert [used.state.stands("production", number) for number in (1, 2, 3, 4)] == [True, True, True, False]
    used.tell_all({**an_alias(2), "how": "rollback"})
    assert [used.state.stands("production", number) for number in (1, 2, 3)] == [True, True, False]
    assert not used.state.stands("staging", 1)


# Notes and policy


def test_the_last_title_description_and_tag_stand_and_all_comments() -> None:
    tale = Tale(notes.RULES).tell_all(
        {"op": "title", "title": "Churn"},
        {"op": "title", "title": "Customer churn"},
        {"op": "tag", "tags": {"team": "growth", "tier": "1"}},
        {"op": "tag", "tags": {"team": "core", "tier": None}},
        {"op": "tag", "number": 2, "tags": {"team": "x"}},
        {"op": "measure", "number": 2, "metrics": {"auc": 0.8, "loss": {"$float": "nan"}}},
        {"op": "measure", "number": 2, "metrics": {"auc": 0.9}},
        {"op": "describe", "text": D, "number": 2},
        {"op": "describe", "text": digest(b"x"), "number": 2},
        {"op": "comment", "text": D},
        {"op": "comment", "text": digest(b"x")},
    )
    state = tale.state
    assert state.title == "Customer churn"
    assert state.tags == {None: {"team": "core", "tier": None}, 2: {"team": "x"}}
    assert state.measured == {2: {"auc": 0.9, "loss": {"$float": "nan"}}}
    assert state.descriptions[2].digest == digest(b"x")
    assert state.descriptions[2].tx == tx_of(9)
    assert [said.digest for said in state.comments[None]] == [D, digest(b"x")]
    tale.tell_all({"op": "title"})
    assert tale.state.title is None


@pytest.mark.parametrize(
    "op",
    [
        {"op": "title", "title": "x" * 201},
        {"op": "title", "title": 1},
        {"op": "tag", "tags": {"": "x"}},
        {"op": "tag", "tags": {"a": "x" * 1001}},
        {"op": "tag", "tags": {"a": 1}},
        {"op": "tag", "tags": []},
        {"op": "tag"},
        {"op": "measure", "number": 1, "metrics": [1]},
        {"op": "measure", "metrics": {}},
        {"op": "describe", "text": "in clear"},
        {"op": "comment", "number": 0, "text": D},
    ],
)
def test_a_note_with_a_wrong_field_is_void(op: dict[str, Any]) -> None:
    tale = Tale(notes.RULES)
    assert tale.tell(op) is not None
    assert tale.state == notes.Notes()


def test_a_policy_knows_the_entry_that_set_it() -> None:
    tale = Tale(policy.RULES).tell_all({"op": "policy", "text": "a"}, {"op": "policy", "text": "b"})
    assert tale.tell({"op": "policy"}) is not None
    assert tale.state == policy.Policy("b", 2)


@pytest.mark.parametrize(
    ("rules", "ops"),
    [
        (versions.RULES, [OPEN, a_create(1, label="1.0.0", params={"a": 1}, metrics={}), a_move(1, pack(1), pack(2))]),
        (versions.RULES, [CLOSE, a_condemn(pack(1), purged=(1,)), {"op": "label", "number": 1, "label": "1.0.0"}]),
        (releases.RULES, [of_review(op) for op in ("approve", "reject", "withdraw")]),
        (releases.RULES, [of_review("request", reviewers=["a"], reason=D), of_review("refuse", alias="a")]),
        (releases.RULES, [{**an_alias(1), "evidence": {"policy": 1}}]),
        (releases.RULES, [an_alias(1), {"op": "unalias", "alias": "a", "reason": D}, on(1, "delete")]),
        (notes.RULES, [{"op": "title"}, {"op": "tag", "tags": {"a": None}, "number": 1}]),
    ],
)
def test_an_operation_survives_its_own_form_in_entries(rules: Rules[Any], ops: list[dict[str, Any]]) -> None:
    for facts in ops:
        op = rules.ops[facts["op"]].parse(facts)
        written = orjson.loads(orjson.dumps(op.to_json()))
        assert written == {name: value for name, value in facts.items() if value is not None}
        assert rules.ops[facts["op"]].parse(written) == op


def test_a_bump_counts_from_the_highest_label_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    state = versions.Versions()
    for text in ("1.2.0", "1.10.0", "1.9.9", "2.0.0-rc.1"):
        state.use_label(text, 1)
    assert (state.next_label("patch"), state.copy().next_label("minor")) == ("2.0.0", "2.0.0")
    parsed: list[str] = []
    monkeypatch.setattr(Label, "parse", parsed.append)
    assert state.next_label("major") == "2.0.0"
    assert parsed == []
