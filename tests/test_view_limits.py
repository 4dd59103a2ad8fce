"""What a view costs, how much it shows at most, and the line that stands where something cannot be read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import modelkeep as mk
from modelkeep.errors import StoreError
from modelkeep.markup import view
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Latency, Recording, Wrapper
from modelkeep.views.shapes import safely
from modelkeep.views.timeline import Step, timeline
from sights import html_of
from viewtext import read


@pytest.fixture
def recording() -> Recording:
    return Recording(MemoryStore())


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_of_51_models_50_are_shown_and_read_and_the_rest_is_counted(recording: Recording) -> None:
    registry = mk.Registry(recording)
    for number in range(51):
        registry.save({"w": np.ones(2)}, f"m{number:02d}")
    recording.forget()
    found = read(mk.Registry(recording))
    assert len(found.rows) == 51
    assert "51 models" in found.text
    assert "and 1 more: registry.models()" in found.text
    assert not [key for _, key in recording.requests if "m50/" in key]


def test_of_many_versions_20_are_shown_with_the_metrics_that_most_have() -> None:
    registry = mk.Registry(MemoryStore())
    for number in range(22):
        registry.save({"w": np.ones(2)}, "churn", metrics={"auc": 0.5, f"only {number}": 1})
    found = read(registry.model("churn"))
    head = next(row for row in found.rows if row[0] == "version")
    assert head[2] == "auc"
    assert len(head) == 6 + 5
    assert len(found.rows) == 21
    assert "and 2 more: registry.model(" in found.text


def test_of_many_params_and_columns_100_are_shown_and_long_values_are_cut() -> None:
    registry = mk.Registry(MemoryStore())
    frame = pd.DataFrame({f"c{number}": [1.0] for number in range(120)})
    registry.save_dataset(frame, "wide")
    version = registry.save({"w": np.ones(2)}, "churn", params={f"p{number}": "x" * 5000 for number in range(103)})
    assert "and 3 more" in read(version).text
    assert len(html_of(version)) < 60_000
    assert "and 20 more: dataset.schema, dataset.profile" in read(registry.dataset("wide")).text


def test_a_timeline_of_many_steps_shows_the_newest_and_what_stood_before() -> None:
    saves = [Step(f"2026-01-{day:02d}", day) for day in range(1, 29)]
    saves += [Step(f"2026-02-{day:02d}", 28 + day) for day in range(1, 29)]
    moves = [Step("2026-01-02", 2, "production", "promote")]
    drawn = timeline(saves, moves)
    html = view(drawn)
    assert html.count("<circle") == 40
    assert html.count('class="run"') == 1  # from the edge: it was promoted before
    assert ">56</text>" in html
    assert timeline([], moves) is None


def test_a_line_of_an_alias_ends_where_it_was_unset() -> None:
    saves = [Step("2026-01-01", 1)]
    moves = [Step("2026-01-02", 1, "staging", "promote"), Step("2026-01-03", None, "staging", "unset")]
    (run,) = re.findall(r'<line x1="(\d+)" x2="(\d+)" [^>]*class="run"', view(timeline(saves, moves)))
    assert run == ("149", "175")


# -- cost --------------------------------------------------------------------------------------------------------------


def cost(recording: Recording, shown: object) -> dict[str, int]:
    recording.forget()
    assert "cannot be" not in html_of(shown)
    return dict(recording.counts())


def test_a_registry_costs_one_listing_and_three_gets_for_each_model(recording: Recording) -> None:
    registry = mk.Registry(recording)
    for name in ("churn", "fraud"):
        registry.save({"w": np.ones(2)}, name).promote("production")
    html_of(registry)
    assert cost(recording, registry) == {"list": 1, "get": 6}


def test_a_version_costs_its_record_once_and_two_gets(recording: Recording) -> None:
    mk.Registry(recording).save({"w": np.ones(2)}, "churn", data={"train": np.ones((3, 2))}).promote("production")
    version = mk.Registry(recording).get("churn@production")
    version.tag(team="growth")
    assert cost(recording, version) == {"get": 3}
    assert cost(recording, version) == {"get": 2}


def test_a_dataset_costs_its_record_once_and_one_get(recording: Recording) -> None:
    mk.Registry(recording).save_dataset(np.ones((3, 2)), "rows")
    dataset = mk.Registry(recording).dataset("rows")
    assert cost(recording, dataset) == {"get": 2}
    assert cost(recording, dataset) == {"get": 1}


def test_a_model_reads_no_manifest(recording: Recording) -> None:
    registry = mk.Registry(recording)
    for _ in range(3):
        registry.save({"w": np.ones(2)}, "churn").promote("production")
    recording.forget()
    html_of(mk.Registry(recording).model("churn"))
    assert len(recording.requests) > 5
    assert not [key for _, key in recording.requests if "/data/" in key]


def test_a_listing_of_versions_costs_nothing(recording: Recording) -> None:
    registry = mk.Registry(recording)
    registry.save({"w": np.ones(2)}, "churn")
    assert cost(recording, registry.model("churn").versions()) == {}


def test_models_of_a_far_store_are_read_side_by_side() -> None:
    near = MemoryStore()
    for number in range(8):
        mk.Registry(near).save({"w": np.ones(2)}, f"m{number}")
    under_way: list[str] = []
    most: list[int] = []

    class Far(Latency):
        remote = True

        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            listed = list(keys)
            models = [key.split("/")[1] for key in listed]
            under_way.extend(models)
            most.append(len(set(under_way)))
            try:
                return super().get_many(listed)
            finally:
                for model in models:
                    under_way.remove(model)

    assert len(read(mk.Registry(Far(near, 0.01), cache=False)).rows) == 9
    assert max(most) > 2


# -- what cannot be read -----------------------------------------------------------------------------------------------


class Broken(Wrapper):
    """A store that can be taken away, or whose packs can."""

    gone: str | None = None

    def _check(self, key: str) -> None:
        if self.gone is not None and self.gone in key:
            raise StoreError(f"<no network> for {key}", key=key)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        self._check(key)
        return super().get(key, span)

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        self._check(key)
        return super().get_into(key, offset, target)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        for key in keys:
            self._check(key)
        return super().get_many(keys)

    def list(self, prefix: str) -> Iterator[Any]:
        self._check(prefix)
        return super().list(prefix)


@pytest.fixture
def broken() -> Broken:
    return Broken(MemoryStore())


@pytest.fixture
def offline(broken: Broken) -> mk.Registry:
    registry = mk.Registry(broken)
    registry.save_dataset(np.ones((3, 2)), "rows")
    registry.save({"w": np.ones(2)}, "churn", metrics={"auc": 0.9}, data={"train": "rows:1"}).promote("production")
    registry.save({"w": np.ones(2)}, "fraud")
    return registry


def test_without_a_network_each_view_is_a_line_that_says_so(offline: mk.Registry, broken: Broken) -> None:
    model, version, dataset = offline.model("churn"), offline.get("churn"), offline.dataset("rows")
    broken.gone = ""
    for shown in (offline, model, version, dataset, mk.Registry(broken), mk.Registry(broken).model("churn")):
        assert "cannot be" in read(shown).text
        assert "<no network>" in read(shown).text


def test_a_version_whose_record_is_out_of_reach_shows_what_the_journal_tells(
    offline: mk.Registry, broken: Broken
) -> None:
    del offline
    version = mk.Registry(broken).get("churn")
    broken.gone = "/data/"
    found = read(version)
    assert found.row("auc") == ["auc", "0.9"]
    assert "what was recorded cannot be read: <no network>" in found.text
    assert found.badges == ["production"]
    assert html_of(version).count("cannot be read") == 1


def test_what_cannot_be_read_leaves_the_rest_of_a_view(offline: mk.Registry, broken: Broken) -> None:
    del offline
    again = mk.Registry(broken)
    model, version, dataset = again.model("churn"), again.get("churn"), again.dataset("rows")
    broken.gone = "/notes/"
    assert "the title cannot be read: <no network>" in read(model).text
    assert read(model).row("1")[2] == "0.9"
    assert "what was said cannot be read: <no network>" in read(version).text
    assert read(version).row("train")[2] == "array"
    broken.gone = "/releases/"
    assert "the aliases cannot be read: <no network>" in read(dataset).text
    assert dataset.digest in read(dataset).text
    broken.gone = "/data/"
    assert "what is known of the data cannot be read: <no network>" in read(again.dataset("rows")).text


def test_a_model_that_is_out_of_reach_leaves_the_others_in_the_table(offline: mk.Registry, broken: Broken) -> None:
    del offline
    broken.gone = "models/fraud/"
    found = read(mk.Registry(broken))
    assert found.row("churn")[1] == "1"
    assert "it cannot be read: <no network>" in found.row("fraud")[1]


def test_a_purged_version_a_model_that_is_not_there_and_an_empty_place_say_so(tmp_path: Path) -> None:
    registry = mk.Registry(MemoryStore())
    assert "no model yet; the first save makes one" in read(registry).text
    version = registry.save({"w": np.ones(2)}, "churn", metrics={"auc": 0.9})
    assert "there is no model 'other'" in read(registry.model("other")).text
    version.erase("request 17")
    gone = registry.model("churn").version(1)
    assert read(gone).badges == ["purged", "deleted"]
    assert "was purged" in read(gone).text
    assert read(gone).row("auc") == ["auc", "0.9"]
    assert "no model yet" in read(mk.Registry(tmp_path / "nowhere")).text
    assert not (tmp_path / "nowhere").exists()


def test_an_error_that_cannot_even_be_written_out_is_a_line() -> None:
    class Mute(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    def fail() -> str:
        raise Mute

    assert "churn cannot be shown" in safely("churn", fail)


def test_a_value_that_no_page_can_hold_is_shown_as_far_as_it_can() -> None:
    registry = mk.Registry(MemoryStore())
    params = {
        "huge": 10**5000,
        "nan": math.nan,
        "tuple": (1, None),
        "nul": "a\0b",
        "when": datetime(2026, 3, 1, tzinfo=UTC),
    }
    found = read(registry.save({"w": np.ones(2)}, "churn", params=params))
    assert [found.row(name)[1] for name in params] == [
        "too long to show",
        "nan",
        "(1, None)",
        "a\ufffdb",
        "2026-03-01 00:00",
    ]
