"""Push and pull: a line arrives whole, as it was, or not at all; what is cut off goes on; nothing is overwritten."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.birth import encode_origin
from modelkeep.digest import Buffer
from modelkeep.entry import check_signed, sign
from modelkeep.errors import (
    ConflictError,
    IntegrityError,
    InvalidValueError,
    ModelkeepError,
    OutcomeUnknownError,
    StoreError,
    UnknownModelError,
)
from modelkeep.folds import releases, versions
from modelkeep.layout import entry_key, journal_prefix, origin_key, pack_key, tile_key
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper
from modelkeep.system import System

pytestmark = [
    pytest.mark.filterwarnings("ignore:registry.models\\(\\) will not list"),  # by design it only warns
    pytest.mark.filterwarnings("ignore:the model 'churn' was closed"),
]

QUICK = System(sleep=lambda _: None, actor=lambda: "ada@example.org")
ORIGIN = origin_key("churn")
JOURNALS = ("versions", "releases", "notes")


def memory(name: str) -> MemoryStore:
    return MemoryStore(f"memory://{name}")


def opened(store: Store) -> Registry:
    return Registry(store, system=QUICK)


def weights(seed: int) -> dict[str, Any]:
    return {"w": np.arange(3) + seed}


def live(registry: Registry) -> Registry:
    """Gives churn three versions with labels, reasons, tags and texts, an alias that went back, and a deletion."""
    for seed in (1, 2, 3):
        version = registry.save(weights(seed), "churn", bump="minor", metrics={"auc": seed}, notes="wider trees")
        version.promote("production", reason=f"better than {seed - 1}")
    version.tag(team="growth").describe("the third")
    registry.model("churn").rollback("production", reason="drift")
    registry.get("churn:3").delete(reason="bad")
    return registry


@pytest.fixture
def source() -> MemoryStore:
    store = memory("source")
    live(opened(store))
    return store


def objects(store: Store) -> dict[str, bytes]:
    return {item.key: store.get(item.key) for item in store.list("")}


def line_of(store: Store, *, tiles: bool = True) -> dict[str, bytes]:
    """The objects of churn, but for what says where it was born."""
    found = {key: raw for key, raw in objects(store).items() if key.startswith("models/churn/") and key != ORIGIN}
    return {key: raw for key, raw in found.items() if tiles or "/t" not in key or "/texts/" in key}


def facts(store: Store) -> dict[str, Any]:
    """All that people see of churn."""
    model = opened(store).model("churn")
    every = model.versions(deleted=True)
    return {
        "versions": [(v.number, v.digest, v.label, v.deleted, v.tags, v.description, v.created) for v in every],
        "loads": [v.load()["w"].tolist() for v in every if not v.deleted],
        "aliases": {alias: (v.number, v.load()["w"].tolist()) for alias, v in model.aliases.items()},
        "history": list(model.history()),
        "open": model.is_open,
    }


def check_ok(store: Store) -> None:
    assert [str(finding) for finding in opened(store).storage.verify().findings] == []


class Step(Wrapper):
    """Hands each call on by way of *act*, which is told its number, counted from 1 on.

    Args:
        within: the store that does the work.
        act: gets the number of the call, whether it writes, and what does it.
    """

    def __init__(self, within: Store, act: Callable[[int, bool, Callable[[], Any]], Any]) -> None:
        super().__init__(within)
        self.calls = 0
        self._act = act

    def _call(self, writes: bool, do: Callable[[], Any]) -> Any:
        self.calls += 1
        return self._act(self.calls, writes, do)

    def create(self, key: str, value: bytes) -> None:
        self._call(True, lambda: super(Step, self).create(key, value))

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        found: bytes = self._call(False, lambda: super(Step, self).get(key, span))
        return found

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._call(False, lambda: super(Step, self).get_many(keys))
        return found

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        self._call(True, lambda: super(Step, self).put_pack(key, source))

    def list(self, prefix: str) -> Iterator[Any]:
        found: Iterator[Any] = self._call(False, lambda: super(Step, self).list(prefix))
        return found

    def delete(self, keys: Iterable[str]) -> None:
        self._call(True, lambda: super(Step, self).delete(keys))


def sees(store: Store) -> str:
    """What a fresh reader meets: ``nothing``, ``all``, or an assertion fails."""
    asked: list[Callable[[Registry], object]] = [
        lambda r: r.load("churn@production"),
        lambda r: r.load("churn:1"),
        lambda r: r.model("churn").versions(),
        lambda r: r.model("churn").version(3).tags,
        lambda r: r.model("churn").version(3).description,
    ]
    answers = set()
    for ask in asked:
        try:
            ask(opened(store))
        except UnknownModelError:
            answers.add("nothing")
        except IntegrityError as error:
            said = str(error)
            answers.add("nothing" if "run that push again" in said and "seal" not in said else said)
        else:
            answers.add("all")
    assert len(answers) == 1, answers
    listed = [model.name for model in opened(store).models()]
    assert "churn" not in listed or answers == {"all"}
    return answers.pop()


# -- it is all there ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["memory to disk", "disk to memory"])
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_what_arrives_is_what_was_sent(way: str, verb: str, tmp_path: Path) -> None:
    disk, ram = mk.open_store(tmp_path / "registry", durable=False), memory("ram")
    here, there = (ram, disk) if way == "memory to disk" else (disk, ram)
    live(opened(here))
    push = verb == "push"
    done = opened(here).push("churn", to=there) if push else opened(there).pull("churn", source=here)
    assert facts(there) == facts(here)
    assert line_of(there) == line_of(here)
    assert [model.name for model in opened(there).models()] == ["churn"]
    moved = sum(map(len, line_of(there).values())) + len(there.get(ORIGIN))
    assert (done.versions, done.entries, done.packs, done.bytes, done.ahead) == (3, 10, 3, moved, False)
    assert (done.name, done.source, done.target) == ("churn", here.url, there.url)
    assert str(done) == f"churn: 3 versions, 10 entries and 3 packs ({moved:,} bytes) copied to {there.url}"
    check_ok(there)
    check_ok(here)


def test_a_place_is_named_by_url_path_store_or_registry(source: MemoryStore, tmp_path: Path) -> None:
    for place in (tmp_path / "path", str(tmp_path / "text"), (tmp_path / "url").as_uri(), Registry(tmp_path / "open")):
        assert opened(source).push("churn", to=place).versions == 3
        assert Registry(tmp_path / "second").pull("churn", source=place).versions in (3, 0)


def test_work_goes_on_at_the_target(source: MemoryStore) -> None:
    target = memory("target")
    team = opened(target)
    team.pull("churn", source=source)
    assert team.save(weights(4), "churn", bump="patch").number == 4
    assert team.get("churn:4").label == "1.2.1"
    assert team.model("churn").rollback("production").number == 1
    team.get("churn:4").promote("production", expect=1).tag(more="yes")
    team.model("churn").version(3).restore()
    team.model("churn").close()
    team.model("churn").open()
    check_ok(target)


def test_a_registry_that_looked_before_sees_the_model_after(source: MemoryStore) -> None:
    target = memory("target")
    opened(target).save(weights(0), "other")
    before = opened(target)
    with pytest.raises(UnknownModelError):
        before.load("churn")
    opened(source).push("churn", to=target)
    assert before.load("churn:1")["w"].tolist() == [1, 2, 3]
    assert before.save(weights(4), "churn").number == 4


def test_the_source_is_only_read_and_other_models_stay_where_they_are(source: MemoryStore) -> None:
    opened(source).save(weights(0), "other")
    before = objects(source)
    target = memory("target")
    opened(target).pull("churn", source=ReadOnly(source))
    assert objects(source) == before
    assert [model.name for model in opened(target).models()] == ["churn"]


def test_a_target_that_can_only_be_read_is_refused(source: MemoryStore) -> None:
    with pytest.raises(mk.StoreError, match="reading only"):
        opened(source).push("churn", to=ReadOnly(memory("target")))


def test_an_unknown_model_is_refused_and_leaves_nothing(source: MemoryStore) -> None:
    target = memory("target")
    with pytest.raises(UnknownModelError):
        opened(source).push("tumour", to=target)
    with pytest.raises(UnknownModelError):
        opened(target).pull("churn", source=memory("empty"))
    assert objects(target) == {}


def test_a_registry_is_not_copied_into_itself(source: MemoryStore) -> None:
    with pytest.raises(InvalidValueError, match="lies in memory://source already"):
        opened(source).push("churn", to=source)


def test_a_line_that_was_never_pushed_pays_nothing(source: MemoryStore) -> None:
    store = Recording(memory("recorded"))
    live(opened(store))
    facts(store)
    assert [key for _, key in store.requests if key == ORIGIN] == []
    opened(source).push("churn", to=(pushed := Recording(memory("pushed"))))
    pushed.forget()
    registry = opened(pushed)
    for _ in range(3):
        registry.load("churn@production")
        registry.model("churn").history()
    assert pushed.requests.count(("get", ORIGIN)) == 1


# -- again and again ---------------------------------------------------------------------------------------------


def test_a_second_push_copies_nothing(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    before = objects(target)
    again = opened(source).push("churn", to=target)
    assert (again.versions, again.entries, again.packs, again.bytes, again.ahead) == (0, 0, 0, 0, False)
    assert str(again) == "churn: nothing is new to memory://target"
    assert objects(target) == before


def test_a_push_later_copies_what_is_new_and_nothing_else(source: MemoryStore) -> None:
    target = Recording(memory("target"))
    opened(source).push("churn", to=target)
    opened(source).save(weights(4), "churn").promote("production", reason="at last")
    target.forget()
    done = opened(source).push("churn", to=target)
    assert (done.versions, done.entries, done.packs) == (1, 2, 1)
    assert str(done).startswith("churn: 1 version, 2 entries and 1 pack (")
    assert target.counts()["put_pack"] == 2  # a pack and a reason
    assert facts(target) == facts(source)
    check_ok(target)


def test_a_pull_from_a_target_that_went_on_brings_it_home(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    opened(target).save(weights(4), "churn").promote("production").tag(new="yes")
    ahead = opened(source).push("churn", to=target)
    assert ahead.ahead
    assert str(ahead) == (
        "churn: nothing is new to memory://target; memory://target has entries that memory://source lacks"
    )
    home = opened(source).pull("churn", source=target)
    assert (home.versions, home.packs, home.ahead) == (1, 1, False)
    assert ORIGIN not in objects(source)
    assert facts(source) == facts(target)
    check_ok(source)
    check_ok(target)


def test_journals_that_went_on_at_different_ends_are_joined(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    opened(target).save(weights(4), "churn")
    opened(source).get("churn:2").promote("staging", reason="try it")
    done = opened(source).push("churn", to=target)
    assert (done.versions, done.entries, done.ahead) == (0, 1, True)
    assert sorted(opened(target).model("churn").aliases) == ["production", "staging"]
    check_ok(target)


def test_a_line_is_pushed_on_to_a_third_registry_and_knows_where_it_was_born(source: MemoryStore) -> None:
    second, third, fourth = memory("second"), memory("third"), memory("fourth")
    opened(source).push("churn", to=second)
    opened(second).push("churn", to=third)
    assert third.get(ORIGIN) == second.get(ORIGIN)
    opened(source).push("churn", to=fourth)
    assert opened(third).push("churn", to=fourth).entries == 0
    assert facts(fourth) == facts(third) == facts(source)
    for store in (second, third, fourth):
        check_ok(store)


def test_a_journal_that_begins_at_the_target_can_be_pushed_on_and_home() -> None:
    home, team, third = memory("home"), memory("team"), memory("third")
    opened(home).save(weights(1), "churn")
    opened(home).push("churn", to=team)
    opened(team).get("churn:1").promote("production").tag(first="here").describe("begun away from home")
    opened(team).push("churn", to=third)
    opened(home).pull("churn", source=team)
    assert facts(home) == facts(team) == facts(third)
    for store in (home, team, third):
        check_ok(store)


def test_what_is_settled_in_a_pushed_line_begins_its_journal_as_the_line_began() -> None:
    home, team, third = memory("home"), memory("team"), memory("third")
    opened(home).save(weights(1), "churn")
    opened(home).push("churn", to=team)
    assert opened(team).settle(f"models/churn/releases/1/{'0' * 32}").committed is False
    assert opened(third).pull("churn", source=team).entries == 2
    check_ok(third)


def test_a_line_comes_back_to_a_home_that_lost_it(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    expected = facts(source)
    source.delete([key for key in objects(source) if "churn" in key])
    assert opened(source).pull("churn", source=target).versions == 3
    assert facts(source) == expected
    assert ORIGIN not in objects(source)
    check_ok(source)


# -- refusals ----------------------------------------------------------------------------------------------------


def test_a_target_with_a_model_of_that_name_is_refused(source: MemoryStore) -> None:
    target = memory("target")
    opened(target).save(weights(9), "churn")
    before = objects(target)
    with pytest.raises(ConflictError, match="a history of its own in memory://target: its versions") as caught:
        opened(source).push("churn", to=target)
    assert (caught.value.name, caught.value.journal, caught.value.number) == ("churn", "versions", 1)
    assert objects(target) == before


@pytest.mark.parametrize("journal", JOURNALS)
def test_lines_that_went_apart_are_refused_and_nothing_changes(source: MemoryStore, journal: str) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    acts: dict[str, Callable[[Registry], object]] = {
        "versions": lambda r: r.save(weights(9), "churn"),
        "releases": lambda r: r.get("churn:2").promote("staging", reason="why"),
        "notes": lambda r: r.get("churn:2").tag(a="b"),
    }
    for store in (source, target):
        acts[journal](opened(store))
    opened(source).save(weights(5), "churn")  # also something that could be copied
    before = objects(target)
    with pytest.raises(ConflictError, match=rf"its {journal} differ from entry \d+ on") as caught:
        opened(source).push("churn", to=target)
    assert caught.value.journal == journal
    assert objects(target) == before


def test_every_wrong_byte_at_the_source_is_an_error_that_names_the_object(source: MemoryStore) -> None:
    for key, raw in line_of(source).items():
        for place in (0, len(raw) // 2, len(raw) - 1):
            bad = memory("bad")
            for other, value in objects(source).items():
                bad.put_pack(other, [value])
            bad.put_pack(key, [raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :]])
            target = memory("target")
            with pytest.raises(IntegrityError) as caught:
                opened(bad).push("churn", to=target)
            assert caught.value.key == key
            assert sees(target) == "nothing"


def test_packs_that_were_swapped_at_the_source_are_an_error(source: MemoryStore) -> None:
    by_length: dict[int, str] = {}
    while True:
        opened(source).save(weights(11), "churn")
        line = opened(source).model("churn")._line
        line.read()
        place = line.versions.state.lines[line.versions.state.highest].at
        first, second = by_length.setdefault(place.length, pack_key("churn", place.pack)), pack_key("churn", place.pack)
        if first != second:
            break
    one, two = source.get(first), source.get(second)
    source.put_pack(first, [two])
    source.put_pack(second, [one])
    with pytest.raises(IntegrityError, match="differ in the place of version"):
        opened(source).push("churn", to=memory("target"))
    assert not opened(source).storage.verify().ok


def test_a_pack_that_is_missing_at_the_source_is_named(source: MemoryStore) -> None:
    key = next(key for key in objects(source) if key.endswith(".pack"))
    source.delete([key])
    target = memory("target")
    with pytest.raises(IntegrityError, match=f"{key} is missing although a version needs it"):
        opened(source).push("churn", to=target)
    assert sees(target) == "nothing"


def test_a_damaged_entry_at_the_target_is_named_and_left(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    key = entry_key(journal_prefix("churn", "versions"), 2)
    target.put_pack(key, [target.get(key)[:-9]])
    before = objects(target)
    with pytest.raises(IntegrityError, match="in memory://target is damaged"):
        opened(source).push("churn", to=target)
    assert objects(target) == before


def test_a_half_written_pack_at_the_target_is_written_anew(source: MemoryStore) -> None:
    target = memory("target")
    opened(target).save(weights(0), "other")
    key = next(key for key in objects(source) if key.endswith(".pack"))
    target.put_pack(key, [b"half"])
    opened(source).push("churn", to=target)
    check_ok(target)


def test_a_target_that_does_not_keep_what_it_is_given_is_found_out(source: MemoryStore) -> None:
    class Forgetful(Wrapper):
        def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
            super().put_pack(key, [b"".join(source)[:-1]])

    target = memory("target")
    with pytest.raises(StoreError, match="did not keep pack"):
        opened(source).push("churn", to=Forgetful(target))
    assert sees(target) == "nothing"


# -- where it was born -------------------------------------------------------------------------------------------


def test_journals_that_were_copied_by_hand_are_refused(source: MemoryStore) -> None:
    target = memory("target")
    opened(target).save(weights(0), "other")
    for key, raw in line_of(source).items():
        target.put_pack(key, [raw])
    with pytest.raises(IntegrityError, match="it was born in another registry"):
        opened(target).load("churn@production")
    with pytest.raises(IntegrityError, match=r"versions/00000000000000000001\.json"):
        opened(target).save(weights(4), "churn")
    assert not opened(target).storage.verify().ok


def test_a_later_entry_that_does_not_follow_is_damage_as_ever(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    key = entry_key(journal_prefix("churn", "versions"), 2)
    target.put_pack(key, [sign(check_signed(target.get(key)).replace(b"ada@", b"eve@"))])
    with pytest.raises(IntegrityError, match=r"0003\.json is damaged: it does not follow entry 2: one of the two was"):
        opened(target).save(weights(4), "churn")


@pytest.mark.parametrize("wrong", ["another registry", "no registry", "a flipped bit", "nothing"])
def test_a_wrong_origin_lets_nobody_in_and_is_named(source: MemoryStore, wrong: str) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    raw = target.get(ORIGIN)
    target.put_pack(
        ORIGIN,
        [
            {
                "another registry": encode_origin("0" * 32),
                "no registry": raw.replace(b"registry", b"registre"),
                "a flipped bit": bytes([raw[0] ^ 1]) + raw[1:],
                "nothing": b"",
            }[wrong]
        ],
    )
    named = entry_key(journal_prefix("churn", "releases"), 1) if wrong == "another registry" else ORIGIN
    with pytest.raises(IntegrityError) as caught:
        opened(target).load("churn@production")
    assert caught.value.key == named
    assert named in {finding.key for finding in opened(target).storage.verify().findings}
    before = objects(target)
    with pytest.raises((IntegrityError, ConflictError), match=ORIGIN):
        opened(source).push("churn", to=target)
    assert objects(target) == before


def test_an_origin_that_was_lost_is_put_back_by_a_push(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    raw = target.get(ORIGIN)
    target.delete([ORIGIN, "catalog/churn"])
    assert sees(target) == "nothing"
    done = opened(source).push("churn", to=target)
    assert (done.versions, done.entries, done.bytes) == (3, 0, len(raw))
    assert str(done).startswith("churn: 3 versions, 0 entries and 0 packs (")
    assert target.get(ORIGIN) == raw
    check_ok(target)


def test_an_unfinished_push_cannot_be_sealed_away(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    target.delete([ORIGIN])
    with pytest.raises(ConflictError, match="run that push again"):
        opened(target).storage.seal(entry_key(journal_prefix("churn", "versions"), 1))
    opened(source).push("churn", to=target)
    assert facts(target) == facts(source)


# -- cut off, and under way --------------------------------------------------------------------------------------


def calls_of_a_push(source: Store) -> int:
    store = Step(memory("counted"), lambda _, __, do: do())
    opened(source).push("churn", to=store)
    return store.calls


CALLS = range(1, 60)
KINDS = ("refused", "lost request", "lost reply")


def failing(first: int, last: int, kind: str) -> Callable[[int, bool, Callable[[], Any]], Any]:
    def act(number: int, writes: bool, do: Callable[[], Any]) -> Any:
        if not first <= number <= last:
            return do()
        if kind == "refused" or not writes:
            raise StoreError("refused")
        if kind == "lost reply":
            do()
        raise OutcomeUnknownError("no answer")

    return act


def test_the_cases_reach_to_the_end_of_a_push(source: MemoryStore) -> None:
    assert CALLS.stop > calls_of_a_push(source) > CALLS.stop // 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_a_push_that_is_cut_off_at_any_call_shows_nothing_or_all_and_goes_on(
    source: MemoryStore, call: int, kind: str
) -> None:
    target = memory("target")
    expected = facts(source)
    try:
        opened(source).push("churn", to=Step(target, failing(call, 10**9, kind)))
    except StoreError as error:
        cut = error
        assert sees(target) == ("all" if ORIGIN in objects(target) else "nothing")
        if any(key.startswith("models/") for key in objects(target)):
            assert "run it again" in str(cut)
    assert opened(source).push("churn", to=target).target == target.url
    assert facts(target) == expected
    assert line_of(target) == line_of(source)
    assert [model.name for model in opened(target).models()] == ["churn"]
    check_ok(target)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("call", CALLS)
def test_a_single_answer_that_is_lost_is_not_even_noticed(source: MemoryStore, call: int, kind: str) -> None:
    target = memory("target")
    writes: list[int] = []

    def note(number: int, write: bool, do: Callable[[], Any]) -> Any:
        writes.extend([number] if write else [])
        return do()

    opened(source).push("churn", to=Step(memory("probe"), note))
    if call not in writes[2:]:  # the marker and its test are those of any first write
        return
    opened(source).push("churn", to=Step(target, failing(call, call, kind)))
    assert line_of(target) == line_of(source)
    assert opened(target).storage.verify().ok  # perhaps unlisted, of which a warning was given


def test_after_every_write_of_a_push_a_reader_sees_nothing_or_all(source: MemoryStore) -> None:
    target = memory("target")
    seen = []

    def watched(_: int, writes: bool, do: Callable[[], Any]) -> Any:
        done = do()
        if writes:
            seen.append(sees(target))
        return done

    opened(target).save(weights(0), "other")
    opened(source).push("churn", to=Step(target, watched))
    assert seen.count("nothing") > 15
    assert seen == sorted(seen, reverse=True)  # nothing, nothing, …, all, all
    assert seen[-1] == "all"


@pytest.mark.parametrize("call", CALLS)
def test_a_second_push_may_come_between_any_two_calls_of_the_first(source: MemoryStore, call: int) -> None:
    target = memory("target")

    def act(number: int, _: bool, do: Callable[[], Any]) -> Any:
        if number == call:
            opened(source).push("churn", to=target)
        return do()

    opened(source).push("churn", to=Step(target, act))
    assert facts(target) == facts(source)
    check_ok(target)


def test_pushes_at_once_all_succeed(source: MemoryStore) -> None:
    target = memory("target")
    gate = threading.Barrier(4)
    faults: list[BaseException] = []

    def push() -> None:
        gate.wait()
        try:
            Registry(source).push("churn", to=target)
        except BaseException as error:  # noqa: BLE001  a thread would swallow it
            faults.append(error)

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert facts(target) == facts(source)
    check_ok(target)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("call", CALLS)
def test_a_save_under_the_same_name_meets_a_push_and_one_of_the_two_is_refused(
    call: int, count: int, warm: bool
) -> None:
    source, target = memory("source"), memory("target")
    for seed in range(count):
        opened(source).save(weights(seed), "churn").promote("production")
    saver = opened(target)
    saver.save(weights(0), "other")
    if warm:
        with pytest.raises(UnknownModelError):
            saver.load("churn")
    told: list[ModelkeepError | mk.ModelVersion] = []

    def act(number: int, _: bool, do: Callable[[], Any]) -> Any:
        if number == call:
            try:
                told.append(saver.save(weights(77), "churn"))
                saver.get("churn").promote("production")
            except ModelkeepError as error:
                told.append(error)
        return do()

    try:
        opened(source).push("churn", to=Step(target, act))
        pushed = True
    except ConflictError as error:
        pushed = "a history of its own" not in str(error)
    findings = [finding for finding in opened(target).storage.verify().findings if finding.kind != "leftover"]
    assert findings == []
    model = opened(target).model("churn")
    if not pushed:
        assert [v.load()["w"].tolist() for v in model.versions()] == [[77, 78, 79]]
        assert model.aliases["production"].number == 1
        return
    numbers = [v.number for v in model.versions()]
    if told and isinstance(told[0], mk.ModelVersion):  # it came after the push, as the next version
        assert told[0].number == count + 1 == numbers[0]
    else:
        assert all(isinstance(error, IntegrityError) for error in told)
        assert numbers[0] == count
    assert opened(target).load("churn:1")["w"].tolist() == [0, 1, 2]


def test_a_copy_that_is_behind_does_not_finish_what_a_newer_one_began(source: MemoryStore) -> None:
    old = memory("old")
    for key, raw in objects(source).items():
        old.put_pack(key, [raw])
    opened(source).save(weights(4), "churn")
    target = memory("target")
    opened(source).push("churn", to=target)
    target.delete([ORIGIN])
    with pytest.raises(ConflictError, match="another copy"):
        opened(old).push("churn", to=target)
    opened(source).push("churn", to=target)
    check_ok(target)


def test_what_is_written_while_the_source_is_read_comes_along_or_not_but_never_in_part() -> None:
    source, target = memory("source"), memory("target")
    writer = live(opened(source))
    left = [3]

    def act(_: int, __: bool, do: Callable[[], Any]) -> Any:
        done = do()
        if left[0]:
            left[0] -= 1
            version = writer.save(weights(left[0] + 10), "churn").promote("production", reason="newer")
            version.tag(left=str(left[0]))
        return done

    opened(target).pull("churn", source=Step(source, act))
    check_ok(target)


def test_a_source_that_never_rests_is_an_error(source: MemoryStore) -> None:
    writer = opened(source)

    def act(_: int, __: bool, do: Callable[[], Any]) -> Any:
        writer.get("churn:1").tag(again="yes")
        return do()

    with pytest.raises(ConflictError, match="written to all the while"):
        opened(memory("target")).pull("churn", source=Step(source, act))


# -- what a line may hold ----------------------------------------------------------------------------------------


def test_a_closed_model_arrives_closed_and_one_that_is_closed_later_is_closed_there(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    opened(source).model("churn").close()
    opened(source).push("churn", to=target)
    opened(source).push("churn", to=(second := memory("second")))
    for store in (target, second):
        assert not opened(store).model("churn").is_open
        assert opened(store).models() == []
        check_ok(store)
    opened(source).model("churn").open()
    opened(source).push("churn", to=target)
    assert [model.name for model in opened(target).models()] == ["churn"]


def test_a_model_that_was_closed_at_the_target_is_not_listed_by_a_push(source: MemoryStore) -> None:
    target = memory("target")
    opened(source).push("churn", to=target)
    opened(target).model("churn").close()
    opened(source).get("churn:2").tag(late="yes")
    assert opened(source).push("churn", to=target).entries == 1
    assert opened(target).models() == []


def test_packs_of_purged_versions_are_not_needed(source: MemoryStore) -> None:
    registry = opened(source)
    line = registry.model("churn")._line
    line.read()
    packs = line.versions.state.lines[3].packs
    line.append("releases", lambda _: [releases.Purge(3)])
    line.append("versions", lambda _: [versions.Condemn(packs, (3,))])
    source.delete([pack_key("churn", pack) for pack in packs])
    target = memory("target")
    assert opened(source).push("churn", to=target).packs == 2
    assert [v.number for v in opened(target).model("churn").versions()] == [2, 1]
    check_ok(target)


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_damaged_entry_stops_a_push_until_it_is_sealed_and_then_comes_along(
    source: MemoryStore, journal: str
) -> None:
    key = entry_key(journal_prefix("churn", journal), 3 if journal == "versions" else 2)
    source.put_pack(key, [source.get(key)[:-7]])
    target = memory("target")
    with pytest.raises(IntegrityError, match=key):
        opened(source).push("churn", to=target)
    assert objects(target) == {}
    opened(source).storage.seal(key)
    opened(source).push("churn", to=target)
    assert line_of(target, tiles=False).keys() <= line_of(source).keys()
    assert facts(target) == facts(source)
    assert [str(f) for f in opened(target).storage.verify().findings if f.kind == "damaged"] == []


def test_an_erased_text_stays_erased(source: MemoryStore) -> None:
    target = memory("target")
    texts = [key for key in objects(source) if "/texts/" in key]
    source.delete(texts[:1])
    opened(source).push("churn", to=target)
    assert texts[0] not in objects(target)
    target.delete(texts[1:2])
    opened(source).get("churn:2").describe("a new one")
    opened(source).push("churn", to=target)
    assert texts[1] not in objects(target)
    check_ok(target)


@pytest.mark.parametrize("count", [99, 100, 230])
def test_long_journals_bring_their_tiles(count: int) -> None:
    source, target = memory("source"), memory("target")
    version = opened(source).save(weights(1), "churn")
    for n in range(count):
        version.tag(n=str(n))
    opened(source).push("churn", to=target)
    written = [tile_key(journal_prefix("churn", "notes"), 1, index) for index in range(count // 100)]
    assert [key for key in objects(target) if "/t1/" in key] == written
    check_ok(target)
    target.delete(written)
    assert opened(source).push("churn", to=target).entries == 0
    assert [key for key in objects(target) if "/t1/" in key] == written
    for n in range(110):
        version.tag(m=str(n))
    assert opened(source).push("churn", to=target).entries == 110
    check_ok(target)
    assert facts(target) == facts(source)


def test_a_tile_is_not_made_of_an_entry_that_was_sealed() -> None:
    source, target = memory("source"), memory("target")
    version = opened(source).save(weights(1), "churn")
    for n in range(150):
        version.tag(n=str(n))
    prefix = journal_prefix("churn", "notes")
    source.delete([tile_key(prefix, 1, 0)])
    source.put_pack(entry_key(prefix, 50), [b""])
    opened(source).storage.seal(entry_key(prefix, 50))
    opened(source).push("churn", to=target)
    assert [key for key in objects(target) if "/t1/" in key] == []
    check_ok(target)


def test_a_model_of_many_packs_and_empty_files_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelkeep import packwriter

    monkeypatch.setattr(packwriter, "MAX_PACK", 4096)
    folder = tmp_path / "folder"
    folder.mkdir()
    for n in range(5):
        (folder / f"{n}.bin").write_bytes(np.random.default_rng(n).bytes(3000) if n else b"")
    source, target = memory("source"), memory("target")
    opened(source).save(folder, "churn")
    assert opened(source).push("churn", to=target).packs == 4
    opened(target).load("churn", into=tmp_path / "copy")
    assert (tmp_path / "copy/3.bin").read_bytes() == (folder / "3.bin").read_bytes()
    check_ok(target)


ACTIONS: dict[str, Callable[[Registry], object]] = {
    "save": lambda r: r.save(weights(5), "churn", bump="patch"),
    "promote": lambda r: r.get("churn:2").promote("production", reason="so"),
    "staging": lambda r: r.get("churn").promote("staging"),
    "rollback": lambda r: r.model("churn").rollback("production"),
    "tag": lambda r: r.get("churn").tag(a="b"),
    "describe": lambda r: r.get("churn:1").describe("text"),
    "delete": lambda r: r.get("churn:2").delete(),
    "close": lambda r: r.model("churn").close(),
    "open": lambda r: r.model("churn").open(),
}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted([*ACTIONS, "push", "pull", "cut"])), st.booleans(), st.integers(1, 40)))
)
def test_whatever_happens_at_one_end_at_a_time_arrives_at_the_other(steps: list[tuple[str, bool, int]]) -> None:
    ends = (live(opened(memory("one"))), opened(memory("two")))
    ends[0].push("churn", to=ends[1])
    at = 0  # who is at work; it changes hands by a transfer
    for name, switch, call in steps:
        here, there = ends[at], ends[1 - at]
        if name in ACTIONS:
            try:
                ACTIONS[name](here)
            except ModelkeepError:
                continue
        elif name == "cut":
            try:
                here.push("churn", to=Step(there._store, failing(call, 10**9, KINDS[call % 3])))
            except StoreError:
                continue
        elif name == "push":
            here.push("churn", to=there)
            at = 1 - at if switch else at
        else:
            there.pull("churn", source=here)
            at = 1 - at if switch else at
    ends[at].push("churn", to=ends[1 - at])
    assert facts(ends[0]._store) == facts(ends[1]._store)
    assert line_of(ends[0]._store) == line_of(ends[1]._store)
    for end in ends:
        check_ok(end._store)
