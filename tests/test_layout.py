from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep import layout
from modelkeep.errors import InvalidNameError
from modelkeep.stores.memory import MemoryStore, check_key

LEVELS = [1, 2]
NUMBERS = st.integers(min_value=1, max_value=10**15)
JOURNALS = st.sampled_from(["versions", "releases", "notes"])
NAMES = st.sampled_from(["churn", "Churn", "taux d'été", "a.b", "é" * 33, "x" * 200])


@given(NAMES, JOURNALS, st.lists(NUMBERS, min_size=2))
def test_entry_keys_sort_as_their_numbers(name: str, journal: str, numbers: list[int]) -> None:
    prefix = layout.journal_prefix(name, journal)
    keys = [layout.entry_key(prefix, number) for number in numbers]
    assert sorted(keys) == [layout.entry_key(prefix, number) for number in sorted(numbers)]


@given(st.lists(NUMBERS, min_size=2), st.sampled_from(LEVELS))
def test_tile_keys_sort_as_their_numbers(numbers: list[int], level: int) -> None:
    keys = [layout.tile_key("models/churn/versions/", level, number) for number in numbers]
    assert sorted(keys) == [layout.tile_key("models/churn/versions/", level, n) for n in sorted(numbers)]


@given(NAMES, JOURNALS, NUMBERS, st.sampled_from(LEVELS))
def test_number_of_reads_back_what_a_key_spells(name: str, journal: str, number: int, level: int) -> None:
    prefix = layout.journal_prefix(name, journal)
    assert layout.number_of(layout.entry_key(prefix, number)) == number
    assert layout.number_of(layout.tile_key(prefix, level, number - 1)) == number - 1


@pytest.mark.parametrize(
    "key",
    [
        "",
        "modelkeep.json",
        "catalog/churn",
        "models/churn/data/5f0c-1.pack",
        "models/churn/versions/",
        "models/churn/versions/7.json",
        "models/churn/versions/0000000000000000007.json",
        "models/churn/versions/000000000000000000007.json",
        "models/churn/versions/00000000000000000007",
        "models/churn/versions/00000000000000000007.txt",
        "models/churn/versions/00000000000000000007.json.bak",
        "models/churn/versions/0000000000000000000x.json",
        "models/churn/versions/-0000000000000000007.json",
        "models/churn/versions/+0000000000000000007.json",
        "models/churn/versions/ 0000000000000000007.json",
        "models/churn/versions/00000000_00000000007.json",
        "00000000000000000007.json/x",
    ],
)
def test_number_of_another_key_is_none(key: str) -> None:
    assert layout.number_of(key) is None


@given(NAMES, JOURNALS, NUMBERS)
def test_every_key_is_one_that_stores_take(name: str, journal: str, number: int) -> None:
    prefix = layout.journal_prefix(name, journal)
    keys = [
        layout.MARKER,
        layout.catalog_key(name),
        layout.entry_key(prefix, number),
        layout.tile_key(prefix, 1, number),
        layout.pack_key(name, "5f0c-1"),
        layout.text_key(name, "5f0c"),
    ]
    assert [check_key(key) for key in keys] == keys
    for one in keys:
        assert not [other for other in keys if other.startswith(f"{one}/")], "a key is a folder of another"


@given(NAMES, JOURNALS, NUMBERS)
def test_prefixes_are_what_their_keys_begin_with(name: str, journal: str, number: int) -> None:
    prefix = layout.journal_prefix(name, journal)
    assert prefix.startswith(layout.model_prefix(name))
    assert layout.entry_key(prefix, number).startswith(prefix)
    assert layout.tile_key(prefix, 2, number).startswith(layout.tiles_prefix(prefix))
    assert not layout.entry_key(prefix, number).startswith(layout.tiles_prefix(prefix))
    assert layout.pack_key(name, "5f0c-1").startswith(layout.data_prefix(name))
    assert layout.catalog_key(name).startswith(layout.CATALOG)


def test_keys_of_models_whose_names_begin_alike_do_not_mix() -> None:
    store = MemoryStore()
    for name in ("churn", "churn2", "churn-eu", "Churn"):
        store.create(layout.entry_key(layout.journal_prefix(name, "versions"), 1), b"")
    assert [facts.key for facts in store.list(layout.model_prefix("churn"))] == [
        "models/churn/versions/00000000000000000001.json"
    ]


@pytest.mark.parametrize("name", ["..", "a/b", "", "con"])
def test_no_key_is_spelled_for_a_name_that_cannot_be_one(name: str) -> None:
    for spell in (layout.catalog_key, layout.model_prefix, layout.data_prefix):
        with pytest.raises(InvalidNameError):
            spell(name)
