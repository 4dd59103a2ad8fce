"""`RegisteredModel`: one line of versions over time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep import packs
from modelkeep.errors import (
    ClosedError,
    ConflictError,
    DeletedError,
    IntegrityError,
    InvalidNameError,
    InvalidValueError,
    StaleError,
    UnknownAliasError,
    UnknownModelError,
    UnknownVersionError,
)
from modelkeep.events import Event
from modelkeep.folds import versions
from modelkeep.layout import pack_key
from modelkeep.packfiles import PackFiles
from modelkeep.packs import read_manifest
from modelkeep.packwriter import write_packs
from modelkeep.registry import Registry
from modelkeep.sources import memory_source
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Wrapper
from modelkeep.system import System

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is told otherwise, for a registry and its store alike."""

    def __init__(self) -> None:
        self.now = START
        self.store = MemoryStore(now=lambda: self.now)

    def registry(self, actor: str = "ada", skew: timedelta = timedelta()) -> Registry:
        return Registry(self.store, system=System(now=lambda: self.now + skew, actor=lambda: actor))


def weights(seed: int = 0) -> dict[str, Any]:
    return {"w": np.arange(4) + seed}


def saved(registry: Registry, count: int, name: str = "churn") -> list[mk.ModelVersion]:
    return [registry.save(weights(n), name, metrics={"auc": n / 10}) for n in range(1, count + 1)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return clock.registry()


def numbers(versions: Any) -> list[int]:
    return [version.number for version in versions]


# -- versions ------------------------------------------------------------------------------------------------------


def test_versions_are_listed_newest_first(registry: Registry) -> None:
    saved(registry, 3)
    listed = registry.model("churn").versions()
    assert numbers(listed) == [3, 2, 1]
    assert (len(listed), listed[0].number, numbers(listed[1:]), listed[-1].number) == (3, 3, [2, 1], 1)
    assert repr(listed) == "[churn:3, churn:2, churn:1]"
    assert registry.get("churn:2") in listed


def test_a_long_listing_shows_ten_and_tells_how_many_more(registry: Registry) -> None:
    saved(registry, 12)
    assert repr(registry.model("churn").versions()).endswith("churn:3, … 2 more]")


def test_versions_are_chosen_by_a_question_about_each(registry: Registry) -> None:
    saved(registry, 5)
    registry.save(weights(9), "churn", params={"depth": 6}, label="1.0.0")
    model = registry.model("churn")
    assert numbers(model.versions(where=lambda v: v.metrics["auc"] > 0.25)) == [5, 4, 3]
    assert numbers(model.versions(lambda v: v.params["depth"] == 6)) == [6]
    assert numbers(model.versions(where=lambda v: v.label is None)) == [5, 4, 3, 2, 1]
    assert numbers(model.versions(where=lambda _: False)) == []


def test_a_question_that_is_wrong_is_not_taken_for_a_no(registry: Registry) -> None:
    saved(registry, 1)
    with pytest.raises(ZeroDivisionError):
        registry.model("churn").versions(where=lambda _: bool(1 / 0))


def test_deleted_versions_are_listed_on_request_only(registry: Registry) -> None:
    saved(registry, 3)[1].delete()
    model = registry.model("churn")
    assert numbers(model.versions()) == [3, 1]
    assert numbers(model.versions(deleted=True)) == [3, 2, 1]
    assert numbers(model.versions(where=lambda v: v.metrics["auc"] < 0.25)) == [1]
    assert model.version(2).deleted


def test_a_listing_stays_as_it_was_made(registry: Registry) -> None:
    saved(registry, 1)
    before = registry.model("churn").versions()
    saved(registry, 1)
    assert numbers(before) == [1]


def test_a_listing_becomes_rows(registry: Registry) -> None:
    registry.save(weights(), "churn", params={"depth": 6}, metrics={"auc": 0.9}, label="1.0.0")
    (row,) = registry.model("churn").versions().to_dicts()
    assert (row["version"], row["label"], row["params.depth"], row["metrics.auc"]) == (1, "1.0.0", 6, 0.9)
    assert (row["created"], row["author"]) == (START, "ada")


def test_a_listing_becomes_a_frame_where_pandas_is_there(registry: Registry) -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    saved(registry, 2)
    registry.save(weights(), "churn", params={"depth": 6})
    frame = registry.model("churn").versions().to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["version"]) == [3, 2, 1]
    assert list(frame["metrics.auc"])[1:] == [0.2, 0.1]
    assert frame["params.depth"].isna().tolist() == [False, True, True]


def test_a_model_that_was_never_saved_is_unknown(registry: Registry) -> None:
    asked: tuple[Callable[[mk.RegisteredModel], object], ...] = (
        lambda m: m.versions(),
        lambda m: m.aliases,
        lambda m: m.history(),
        lambda m: m.version(1),
        lambda m: m.close(),
        lambda m: m.open(),
        lambda m: m.set_title("t"),
        lambda m: m.describe("d"),
        lambda m: m.rollback("production"),
        lambda m: m.unset("production"),
        lambda m: m.at("production", "2026-03-01"),
        lambda m: m.is_open,
    )
    for ask in asked:
        for written in (False, True):
            if written:
                registry.save(weights(), "other")
            with pytest.raises(UnknownModelError, match="no model 'churn'"):
                ask(registry.model("churn"))
    assert [model.name for model in registry.models()] == ["other"]


def test_models_are_equal_by_name_and_place(registry: Registry) -> None:
    assert registry.model("a") == registry.model("a") != registry.model("b")
    assert len({registry.model("a"), registry.model("a"), registry.model("b")}) == 2
    assert registry.model("a") != Registry(MemoryStore("memory://elsewhere")).model("a")
    assert repr(registry.model("a")) == "RegisteredModel a"


# -- aliases -------------------------------------------------------------------------------------------------------


def holder(registry: Registry, alias: str = "production") -> int | None:
    """Who stands there, read anew."""
    version = Registry(registry._store).model("churn").aliases.get(alias)
    return version.number if version else None


def test_aliases_show_who_stands_where(registry: Registry) -> None:
    one, two = saved(registry, 2)
    assert registry.model("churn").aliases == {}
    two.promote("staging")
    one.promote("production")
    assert registry.model("churn").aliases == {"production": one, "staging": two}
    assert list(registry.model("churn").aliases) == ["production", "staging"]


def test_a_rollback_goes_to_the_version_before_until_there_is_none(registry: Registry) -> None:
    for version in saved(registry, 3):
        version.promote("production")
    model = registry.model("churn")
    assert [model.rollback("production").number for _ in range(2)] == [2, 1]
    with pytest.raises(UnknownVersionError, match="no earlier version to go back to"):
        model.rollback("production")
    assert holder(registry) == 1


def test_what_was_rolled_back_comes_back_only_by_a_promote(registry: Registry) -> None:
    one, two, three = saved(registry, 3)
    for version in (one, two):
        version.promote("production")
    model = registry.model("churn")
    model.rollback("production")
    three.promote("production")
    assert model.rollback("production") == one
    two.promote("production")
    assert model.rollback("production") == one


def test_promoting_the_holder_again_is_recorded_and_not_pushed(registry: Registry) -> None:
    one, two = saved(registry, 2)
    for version in (one, two, two):
        version.promote("production")
    model = registry.model("churn")
    assert [event.action for event in model.history()].count("promote") == 3
    assert model.rollback("production") == one


def test_a_rollback_passes_over_deleted_versions(registry: Registry) -> None:
    one, two, three = saved(registry, 3)
    for version in (one, two, three):
        version.promote("production")
    two.delete()
    assert registry.model("churn").rollback("production") == one


def test_a_version_on_the_stack_that_is_restored_is_gone_back_to_again(registry: Registry) -> None:
    one, two, three = saved(registry, 3)
    for version in (one, two, three):
        version.promote("production")
    two.delete()
    two.restore()
    assert registry.model("churn").rollback("production") == two


def test_aliases_roll_back_each_for_itself(registry: Registry) -> None:
    one, two = saved(registry, 2)
    for version in (one, two):
        version.promote("production").promote("staging")
    registry.model("churn").rollback("production")
    assert (holder(registry), holder(registry, "staging")) == (1, 2)


def test_of_two_operators_at_once_one_rolls_back_and_the_other_is_told(clock: Clock) -> None:
    registry = clock.registry()
    for version in saved(registry, 3):
        version.promote("production")

    class Second(Wrapper):
        """Lets the first operator in between what the second sees and what the second writes."""

        def create(self, key: str, value: bytes) -> None:
            if "/releases/0" in key and holder(registry) == 3:
                registry.model("churn").rollback("production")
            super().create(key, value)

    second = Registry(Second(clock.store))
    with pytest.raises(StaleError, match="stands on version 2, not on version 3"):
        second.model("churn").rollback("production")
    assert holder(registry) == 2


def test_a_rollback_expects_the_holder_that_it_was_given(registry: Registry) -> None:
    one, two = saved(registry, 2)
    for version in (one, two):
        version.promote("production")
    model = registry.model("churn")
    with pytest.raises(StaleError) as caught:
        model.rollback("production", expect=one)
    assert (caught.value.expected, caught.value.found) == (1, 2)
    assert model.rollback("production", expect=two) == one


def test_an_alias_that_is_not_set_cannot_go_back_or_be_unset(registry: Registry) -> None:
    saved(registry, 1)
    model = registry.model("churn")
    for act in (model.rollback, model.unset):
        with pytest.raises(UnknownAliasError, match="churn@production is not set"):
            act("production")


def test_unset_takes_the_alias_and_its_past_away(registry: Registry) -> None:
    one, two = saved(registry, 2)
    for version in (one, two):
        version.promote("production")
    model = registry.model("churn")
    model.unset("production", reason="retired")
    assert model.aliases == {}
    with pytest.raises(UnknownAliasError):
        registry.load("churn@production")
    two.promote("production")
    with pytest.raises(UnknownVersionError):
        model.rollback("production")
    assert [(e.action, e.text) for e in model.history() if e.action == "unalias"] == [("unalias", "retired")]


# -- time ----------------------------------------------------------------------------------------------------------


def test_at_tells_who_stood_there_then(clock: Clock) -> None:
    registry = clock.registry()
    one, two = saved(registry, 2)
    model = registry.model("churn")
    for act in (
        lambda: one.promote("production"),
        lambda: two.promote("production"),
        lambda: model.rollback("production"),
        lambda: model.unset("production"),
    ):
        clock.now += DAY
        act()
    moments = [model.at("production", START + n * DAY).number for n in (1, 2, 3)]
    assert moments == [1, 2, 1]
    assert model.at("production", START + 2 * DAY - timedelta(microseconds=1)) == one
    for moment in (START, START + 4 * DAY, START + 99 * DAY):
        with pytest.raises(UnknownAliasError, match="was not set at"):
            model.at("production", moment)


def test_at_takes_text_dates_and_times_with_and_without_a_zone(clock: Clock) -> None:
    registry = clock.registry()
    (one,) = saved(registry, 1)
    one.promote("production")  # at noon, UTC, on the first of March
    model = registry.model("churn")
    noon: list[Any] = [
        "2026-03-01T12:00",
        "2026-03-01T12:00Z",
        "2026-03-01T13:00+01:00",
        "2026-03-02",
        date(2026, 3, 2),
        datetime(2026, 3, 1, 12),  # noqa: DTZ001  naive on purpose: it is UTC
        datetime(2026, 3, 1, 7, tzinfo=timezone(timedelta(hours=-5))),
    ]
    assert {model.at("production", when).number for when in noon} == {1}
    early: list[Any] = ["2026-03-01", date(2026, 3, 1), "2026-03-01T12:00+00:01", "2026-03-01T11:59:59.999999"]
    for when in early:
        with pytest.raises(UnknownAliasError):
            model.at("production", when)


@pytest.mark.parametrize("when", ["yesterday", "", "2026-13-01", 5, None, "2026-03-01T25:00"])
def test_a_moment_that_cannot_be_read_is_refused(registry: Registry, when: Any) -> None:
    saved(registry, 1)[0].promote("production")
    with pytest.raises(InvalidValueError, match="is no date or time"):
        registry.model("churn").at("production", when)


def test_an_entry_of_a_slow_clock_does_not_turn_time_back(clock: Clock) -> None:
    ada, slow = clock.registry(), clock.registry(skew=timedelta(minutes=-4))
    one, two = saved(ada, 2)
    clock.now += DAY
    one.promote("production")
    slow.get(two.ref).promote("production")
    assert ada.model("churn").at("production", clock.now).number == 2
    with pytest.raises(UnknownAliasError):
        # the second move claims an earlier time, but comes after the first
        ada.model("churn").at("production", clock.now - timedelta(minutes=2))


# -- history -------------------------------------------------------------------------------------------------------


def told(events: Any) -> list[tuple[str, int | None, str, str | None]]:
    return [(event.action, event.version, event.subject, event.text) for event in events]


def test_history_tells_all_that_happened_oldest_first(clock: Clock) -> None:
    registry = clock.registry()
    model = registry.model("churn")
    one = registry.save(weights(), "churn")
    steps = [
        lambda: registry.save(weights(1), "churn", label="1.0.0"),
        lambda: one.promote("production", reason="first"),
        lambda: one.tag(team="growth", stage=None),
        lambda: one.measure(auc_live=0.9),
        lambda: one.describe("a *good* one"),
        lambda: model.describe("who leaves"),
        lambda: model.set_title("Churn"),
        lambda: one.set_label("2.0.0"),
        lambda: registry.get("churn:2").promote("production"),
        lambda: model.rollback("production", reason="drift"),
        lambda: model.unset("production"),
        lambda: one.delete(reason="old"),
        lambda: one.restore(reason="not so old"),
        model.close,
        model.open,
    ]
    for step in steps:
        clock.now += DAY
        step()
    assert told(clock.registry().model("churn").history()) == [
        ("open", None, "", None),
        ("create", 1, "", None),
        ("create", 2, "1.0.0", None),
        ("promote", 1, "production", "first"),
        ("tag", 1, "team, stage", None),
        ("measure", 1, "auc_live", None),
        ("describe", 1, "", "a *good* one"),
        ("describe", None, "", "who leaves"),
        ("title", None, "Churn", None),
        ("label", 1, "2.0.0", None),
        ("promote", 2, "production", None),
        ("rollback", 1, "production", "drift"),
        ("unalias", None, "production", None),
        ("delete", 1, "", "old"),
        ("restore", 1, "", "not so old"),
        ("close", None, "", None),
        ("open", None, "", None),
    ]


def test_an_event_tells_when_by_whom_and_where_it_stands(clock: Clock) -> None:
    saved(clock.registry("bob"), 1)[0].promote("production")
    *_, event = clock.registry().model("churn").history()
    assert event == Event(START, "bob", "promote", 1, "production", None, "releases", 1)
    assert str(event) == "2026-03-01 12:00 bob: promote version 1 production"


def test_a_reason_that_was_erased_is_none(clock: Clock) -> None:
    registry = clock.registry()
    saved(registry, 1)[0].promote("production", reason="because of Mr Smith")
    clock.store.delete([item.key for item in clock.store.list("models/churn/texts/")])
    assert told(registry.model("churn").history())[-1] == ("promote", 1, "production", None)
    assert registry.storage.verify().ok


def test_within_one_journal_history_keeps_its_order_whatever_clocks_say(clock: Clock) -> None:
    ada, slow = clock.registry("ada"), clock.registry("slow", skew=timedelta(minutes=-4))
    one, _ = saved(ada, 2)
    one.promote("production")
    slow.get("churn:2").promote("production")
    moves = [event.entry for event in ada.model("churn").history() if event.journal == "releases"]
    assert moves == [1, 2]


# -- title, description, closing -----------------------------------------------------------------------------------


def test_the_title_is_the_name_until_one_is_set(clock: Clock) -> None:
    registry = clock.registry()
    saved(registry, 1)
    model = registry.model("churn")
    assert model.title == "churn"
    model.set_title("Who leaves — été")
    assert clock.registry().model("churn").title == "Who leaves — été"
    model.set_title(None)
    assert model.title == "churn"
    with pytest.raises(InvalidValueError, match="the title has 201 characters, and 200 are allowed"):
        model.set_title("x" * 201)
    model.set_title("x" * 200)
    assert model.title == "x" * 200


def test_a_closed_model_takes_no_saves_and_loads_what_stands_with_a_warning(clock: Clock) -> None:
    registry = clock.registry()
    saved(registry, 2)[0].promote("production")
    model = registry.model("churn")
    assert model.is_open
    model.close()
    assert not model.is_open
    with pytest.raises(ClosedError, match=r"'churn' was closed; open it again with registry\.model\('churn'\)\.open"):
        registry.save(weights(), "churn")
    with pytest.raises(ClosedError, match="closed already"):
        model.close()
    for ref in ("churn", "churn:2", "churn@production"):
        with pytest.warns(UserWarning, match="the model 'churn' was closed"):
            registry.load(ref)
    assert registry.models() == []


def test_a_closed_model_opens_again_and_numbers_go_on(clock: Clock) -> None:
    registry = clock.registry()
    saved(registry, 2)
    model = registry.model("churn")
    model.close()
    clock.registry().model("churn").open()
    assert saved(registry, 1)[0].number == 3
    assert registry.models() == [model]
    with pytest.raises(ConflictError, match="'churn' is open"):
        model.open()


def test_a_closed_model_warns_readers_that_come_anew_by_alias_too(clock: Clock) -> None:
    registry = clock.registry()
    saved(registry, 1)[0].promote("production")
    registry.model("churn").close()
    reader = clock.registry()
    reader.model("churn").is_open  # noqa: B018  the reader has seen that it is closed
    with pytest.warns(UserWarning, match="was closed"):
        reader.load("churn@production")


def test_when_all_are_deleted_there_is_no_latest(registry: Registry) -> None:
    saved(registry, 1)[0].delete()
    with pytest.raises(UnknownVersionError, match="all versions of 'churn' are deleted"):
        registry.load("churn")
    with pytest.raises(DeletedError, match=r"churn:1 is deleted; bring it back with .*restore\(\)"):
        registry.load("churn:1")


@pytest.mark.parametrize("alias", ["7", "latest", "", "a b", "a/b", "ä", "x" * 101, "-a", 7, None])
def test_what_cannot_be_an_alias_is_refused_everywhere(registry: Registry, alias: Any) -> None:
    (version,) = saved(registry, 1)
    model = registry.model("churn")
    before = {item.key for item in registry._store.list("")}
    for act in (version.promote, model.rollback, model.unset, lambda a: model.at(a, "2026-03-01")):
        with pytest.raises(InvalidNameError, match="alias"):
            act(alias)
    assert {item.key for item in registry._store.list("")} == before


class Moving(Wrapper):
    """Another process moves version 1 while its second pack is asked for."""

    moved = False

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        if not self.moved and key.endswith("-2.pack"):
            self.moved = True
            line = Registry(self.within).get("churn:1")._line
            known = line.versions.state.lines[1]
            manifest, _ = read_manifest(self.within, "churn", known.at)
            files = PackFiles(self.within, "churn", manifest)
            sources = [memory_source(path, [files.read(path)]) for path in files.names()]
            ids = (f"{'a' * 32}-{n}" for n in range(1, 99))
            written = write_packs(self.within, "churn", ids, sources, manifest.record)
            move = versions.Move(1, known.at, written.place, written.manifest.packs)
            line.append("versions", lambda _: [move, versions.Condemn(manifest.packs)])
            self.within.delete([pack_key("churn", pack) for pack in manifest.packs])
        return super().get(key, span)


@pytest.mark.parametrize("way", ["load", "export"])
def test_a_version_that_is_moved_while_its_files_are_written_is_read_where_it_lies_now(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "MAX_PACK", 3000)
    monkeypatch.setattr(packs, "WHOLE", 0)
    store = MemoryStore()
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"f{number}").write_bytes(np.random.default_rng(number).bytes(2000))
    Registry(store).save(tmp_path / "in", "churn")
    version = Registry(Moving(store)).get("churn:1")
    out = tmp_path / "out"
    if way == "load":
        version.load(into=out)
    else:
        assert version.record.serializer == "files"  # it knows where the version lay before
        version.export(out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()
    }
    assert Registry(store).storage.verify().ok


def test_an_export_of_a_version_whose_pack_is_lost_names_the_object(tmp_path: Path) -> None:
    store = MemoryStore()
    version = Registry(store).save({"w": np.ones(300_000)}, "churn")
    assert version.record.serializer == "tree"
    (pack,) = [item.key for item in store.list("models/churn/data/")]
    store.delete([pack])
    with pytest.raises(IntegrityError, match=f"{pack} is missing although a version needs it"):
        version.export(tmp_path / "out")
