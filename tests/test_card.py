"""Cards: Hugging Face reads them back exactly, and what people wrote is text in them, whatever it is."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import modelkeep as mk
from injected import injected
from injections import PAYLOADS
from modelkeep.card import Card, to_yaml
from modelkeep.markdown import escaped, quoted, table
from modelkeep.markup import readable
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording
from modelkeep.telling import literal
from parsed import Parsed

yaml = pytest.importorskip("yaml")
WEIGHTS = {"w": np.ones(3)}
PLAIN = {"h1", "h2", "p", "ul", "li", "pre", "code", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "br"}
MARKS = st.text(st.sampled_from("<>&[]()!*_`~#|\\:.-+=\"'@ \t\n1ahwtps/"))
TEXTS = st.one_of(st.text(), st.sampled_from(PAYLOADS), MARKS)
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # YAML 1.1 has these for others; no name of ours
NAMES = st.from_regex("[a-z][a-z_-]{0,9}", fullmatch=True).filter(lambda name: name not in WORDS)


def renderings(markdown: str) -> list[Parsed]:
    """What three readers of Markdown make of it, none of which takes out elements."""
    one, two = pytest.importorskip("markdown"), pytest.importorskip("markdown_it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            Parsed(one.markdown(markdown)),
            Parsed(one.markdown(markdown, extensions=["extra", "sane_lists"])),
            Parsed(two.MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)),
        ]


def saved(**given: Any) -> mk.ModelVersion:
    version: mk.ModelVersion = mk.Registry(MemoryStore()).save(WEIGHTS, "churn", **given)
    return version


# -- front matter -----------------------------------------------------------------------------------------------------

PLAIN_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def exactly(value: Any) -> Any:
    """The same with the type of each part, so that 1, 1.0 and True differ."""
    if isinstance(value, list):
        return [exactly(part) for part in value]
    if isinstance(value, dict):
        return {name: exactly(part) for name, part in value.items()}
    return type(value), repr(value)


@given(st.dictionaries(NAMES, PLAIN_VALUES))
@example({"rate": 1e-05, "most": 1e16, "face": "\U0001f600\x85\u2028"})
def test_plain_values_are_read_back_from_yaml_exactly(values: dict[str, Any]) -> None:
    assert exactly(yaml.safe_load(to_yaml(values)) or {}) == exactly(values)


@given(st.lists(TEXTS, max_size=3))
def test_hugging_face_reads_any_text_of_the_front_matter_back(texts: list[str]) -> None:
    hub = pytest.importorskip("huggingface_hub")
    tags = list(dict.fromkeys(texts))
    card = hub.ModelCard(Card({"library_name": "sklearn", "tags": tags}, "# x").text)
    assert card.data.to_dict() == {"library_name": "sklearn", "tags": tags}


def test_hugging_face_reads_the_results_of_a_version_back() -> None:
    hub = pytest.importorskip("huggingface_hub")
    version = saved(metrics={"auc": 0.91, "n": 7}, tags={"task": "tabular-classification", "license": "mit"},
                    data={"train": np.zeros((5, 2)), "test": np.ones((3, 2))})  # fmt: skip
    data = hub.ModelCard(version.card().text).data
    assert (data.library_name, data.license, data.model_name) == ("tree", "mit", "churn")
    assert [(one.task_type, one.metric_type, one.metric_value) for one in data.eval_results] == [
        ("tabular-classification", "auc", 0.91),
        ("tabular-classification", "n", 7),
    ]
    assert {one.dataset_split for one in data.eval_results} == {"test"}
    assert {one.dataset_revision for one in data.eval_results} == {version.data["test"].fingerprint}
    data.to_yaml()


def test_a_card_that_lost_its_results_is_refused_by_hugging_face() -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = saved(metrics={"auc": 0.91}).card()
    broken = {**card.front_matter, "model-index": [{"name": "churn", "results": [{"metrics": [{"type": "auc"}]}]}]}
    with pytest.raises(ValueError, match="Invalid `model_index` in metadata"):
        hub.ModelCard(Card(broken, card.body).text, ignore_metadata_errors=False)


def test_what_nobody_said_is_not_said() -> None:
    front = saved().card().front_matter
    assert front == {"library_name": "tree", "tags": ["modelkeep"]}
    front = saved(metrics={"auc": 1}, data={"train": np.zeros((5, 2))}).card().front_matter
    (result,) = front["model-index"][0]["results"]
    assert result["task"] == {"type": "other"}
    assert result["dataset"] == {"type": "unknown", "name": "not recorded"}  # nobody measures on what was trained on


def test_datasets_are_named_as_the_registry_names_them() -> None:
    registry = mk.Registry(MemoryStore())
    registry.save_dataset(np.zeros((5, 2)), "sales")
    front = registry.save(WEIGHTS, "churn", data={"train": "sales:1"}).card().front_matter
    assert front["datasets"] == ["sales:1"]


def test_metrics_that_are_no_numbers_are_words_everywhere() -> None:
    version = saved(metrics={"loss": math.nan, "gain": math.inf}).measure(late=-math.inf)
    card = version.card()
    values = {one["type"]: one["value"] for one in card.front_matter["model-index"][0]["results"][0]["metrics"]}
    assert values == {"loss": "NaN", "gain": "infinity", "late": "-infinity"}
    assert "| loss | NaN |" in card.body
    assert card.text.count(".nan") == card.text.count(".inf") == 0


# -- what people read -------------------------------------------------------------------------------------------------


@given(TEXTS)
def test_any_text_is_that_text_to_every_reader_and_adds_nothing(text: str) -> None:
    for found in renderings(f"- x{escaped(text)}x"):
        assert set(found.tags) <= {"ul", "li"}
        assert " ".join(found.text.split()) == f"x{' '.join(readable(text).split())}x"


@given(TEXTS)
def test_any_text_is_a_quote_and_no_more(text: str) -> None:
    for found in renderings(quoted(text)):
        assert set(found.tags) <= {"blockquote", "p"}
        assert found.text.split() == readable(text).split()


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3))
def test_any_texts_are_cells_of_a_table(rows: list[tuple[str, str]]) -> None:
    _, *others = renderings(table(["a", "b"], rows))  # the first reader knows no tables
    for found in others:
        assert found.tags.count("td") == 2 * len(rows)
        assert set(found.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}


@given(TEXTS)
def test_a_text_in_the_snippet_is_a_string_of_python_and_of_no_other_language(text: str) -> None:
    assert eval(literal(text)) == text
    assert set(literal(text)[1:-1]) & set("<>&\"'`\n\r$#*[](){}!|") == set()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_that_tries_to_run_adds_an_element_or_an_address(payload: str, tmp_path: Path) -> None:
    card = injected(payload, tmp_path).card()
    for found in renderings(card.body):
        assert set(found.tags) <= PLAIN
        assert {name for name, _ in found.attributes} <= {"class", "start"}
    assert found.tags.count("h1") == 1
    assert found.tags.count("h2") == card.body.count("\n## ")
    assert yaml.safe_load(card.text.split("\n---\n")[0]) == card.front_matter


def test_a_card_says_what_the_version_says() -> None:
    registry = mk.Registry(MemoryStore())
    first = registry.save(WEIGHTS, "churn", params={"depth": 6})
    example = {"age": np.arange(3)}
    version = registry.save(WEIGHTS, "churn", params={"depth": 7}, notes="wider", parent=first, example=example)
    version.describe("One\nTwo").promote("production", reason="beats 1")
    first.promote("production")
    body = version.card().body
    for line in ("| depth | 7 |", "> One", "> Two", "> wider", "- churn:1, digest", "takes age: int64", "beats 1"):
        assert line in body
    assert "| production | moved on | 1 |" in body
    assert "| model.safetensors |" in body


def test_a_card_is_text_for_files_and_markdown_for_notebooks() -> None:
    card = saved(metrics={"auc": 1}).card()
    assert str(card) == card.text
    assert card._repr_markdown_() == card.body
    assert card.to_dict() == {"front_matter": card.front_matter, "body": card.body}
    assert card == Card(**card.to_dict())


def test_code_that_may_run_needs_trust_in_the_snippet_and_data_does_not() -> None:
    registry = mk.Registry(MemoryStore(), trust="cloudpickle")
    version = registry.save(lambda x: x, "double", serializer="cloudpickle")
    assert f'trust="{version.digest}"' in version.card().body
    assert "trust=" not in saved().card().body


def test_a_warm_card_costs_five_requests() -> None:
    store = Recording(MemoryStore())
    version = mk.Registry(store).save(WEIGHTS, "churn", metrics={"auc": 1})
    card = version.card()
    store.forget()
    assert version.card() == card
    assert store.counts() == {"get": 5}
