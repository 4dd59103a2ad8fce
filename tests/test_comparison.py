"""Comparing versions: known answers on trained chains, every part, what it costs, and names that nobody trusts."""

from __future__ import annotations

import json
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.code import Code, SourceFile
from modelkeep.codechange import code_change
from modelkeep.comparison import Comparison
from modelkeep.comparisonparts import changes
from modelkeep.errors import InvalidRefError, InvalidValueError, TrustError, UnknownVersionError
from modelkeep.markdown import escaped
from modelkeep.markup import readable
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording
from parsed import Parsed
from trained import digits

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b\n# c",
    "[x](javascript:1)",
    "```\n</style>",
    "https://evil.example",
    "\u202e",
]


def saved(*given: dict[str, Any], url: str | None = None) -> list[mk.ModelVersion]:
    registry = mk.Registry(url or MemoryStore())
    return [registry.save({"w": np.ones(2)}, "churn", **one) for one in given]


def of_chain(registry: mk.Registry, number: int, **options: Any) -> Comparison:
    return registry.get(f"{digits.NAME}:{number}").compare(number - 1, **options)


# -- the chain ---------------------------------------------------------------------------------------------------------


def parts(found: Comparison) -> set[str]:
    listed = ("params", "data", "code", "environment", "form", "seeds", "tensors")
    return {name for name in listed if getattr(found, name)}


@pytest.mark.parametrize(
    ("number", "differing"),
    [
        (2, {"params"}),
        (3, {"data"}),
        (4, {"data"}),
        (5, {"params", "code", "form"}),
        (6, {"params"}),
        (7, {"data"}),
        (8, {"params"}),
        (9, {"params", "data"}),
        (10, {"params"}),
    ],
)
def test_each_version_of_the_chain_differs_in_what_its_story_says_and_in_nothing_else(
    digits_registry: mk.Registry, number: int, differing: set[str]
) -> None:
    found = of_chain(digits_registry, number)
    assert parts(found) == differing
    assert [one.path for one in found.files] == ["model.pkl"]
    (accuracy,) = found.metrics
    metrics = [digits_registry.get(f"digits:{n}").metrics["accuracy"] for n in (number - 1, number)]
    assert accuracy.difference == metrics[1] - metrics[0]


def test_parameters_are_new_gone_and_changed(digits_registry: mk.Registry) -> None:
    assert {one.name: (one.kind, one.before, one.after) for one in of_chain(digits_registry, 5).params} == {
        "trees": ("new", None, 20),
        "depth": ("new", None, None),
        "seed": ("new", None, 0),
        "C": ("gone", 0.1, None),
    }
    (depth,) = of_chain(digits_registry, 8).params
    assert depth.to_dict() == {"name": "depth", "kind": "changed", "before": None, "after": 12}


def test_the_data_says_rows_columns_drift_and_how_many_rows_were_there_before(digits_registry: mk.Registry) -> None:
    (rows,) = of_chain(digits_registry, 3).data
    assert (rows.role, rows.kind, rows.is_reshaped) == ("train", "changed", False)
    assert rows.diff is not None
    assert rows.diff.rows == (500, 1000)
    assert rows.shared is not None
    assert rows.shared.low <= 0.5 <= rows.shared.high
    (column,) = of_chain(digits_registry, 4).data
    assert column.diff is not None
    assert (column.diff.columns_added, column.diff.columns_removed, column.is_reshaped) == (("ink",), (), True)
    (moved,) = of_chain(digits_registry, 7).data
    assert [name for name, _ in moved.most_drifted] == ["label"]
    assert moved.shared is not None
    assert moved.shared.low <= 0.5 <= moved.shared.high


def test_another_function_is_told_by_name_and_by_the_difference_of_its_source(digits_registry: mk.Registry) -> None:
    code = of_chain(digits_registry, 5).code
    assert code.functions == ("trained.digits:train_linear", "trained.digits:train_forest")
    assert (code.says, code.calls) == ("other", ())
    (diff,) = code.diffs.values()
    assert "-    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))" in diff.splitlines()
    assert "     return _fitted(model, train)" in diff.splitlines()


def test_the_bad_rows_made_a_worse_model_on_the_holdout_and_no_luck(digits_registry: mk.Registry) -> None:
    judged = of_chain(digits_registry, 7, on=digits.holdout()).judgement
    assert judged is not None
    accuracy = judged["accuracy"]
    assert (accuracy.before, accuracy.after) == tuple(
        digits_registry.get(f"digits:{n}").metrics["accuracy"] for n in (6, 7)
    )
    assert accuracy.high < -0.25
    assert accuracy.adjusted < 0.01
    assert judged.flips is not None
    assert judged.flips.worse - judged.flips.better == round((accuracy.before - accuracy.after) * judged.rows)
    assert judged.flips.adjusted < 1e-20
    assert judged.slices
    assert all(one.rows >= 20 and one.high < 0 for one in judged.slices)


def test_another_seed_is_not_told_apart_from_luck(digits_registry: mk.Registry) -> None:
    judged = of_chain(digits_registry, 10, on=digits.holdout()).judgement
    assert judged is not None
    assert judged["accuracy"].low < 0 < judged["accuracy"].high
    assert judged["accuracy"].adjusted > 0.05


def test_predictions_of_ones_own_give_what_predicting_gives(digits_registry: mk.Registry) -> None:
    inputs, labels = digits.holdout()
    versions = [digits_registry.get(f"digits:{n}") for n in (5, 6)]
    given = of_chain(digits_registry, 6, predictions=(labels, *(version.predict(inputs) for version in versions)))
    asked = of_chain(digits_registry, 6, on=(inputs, labels))
    assert given.judgement is not None
    assert asked.judgement is not None
    assert given.judgement.metrics == asked.judgement.metrics
    assert given.judgement.slices == ()


def test_a_metric_of_ones_own_is_asked_of_both(digits_registry: mk.Registry) -> None:
    metrics = pytest.importorskip("sklearn.metrics")

    def f1(y: Any, predicted: Any) -> float:
        return float(metrics.f1_score(y, predicted, average="macro"))

    inputs, labels = digits.holdout()
    judged = of_chain(digits_registry, 7, on=(inputs[:150], labels[:150]), metrics={"f1": f1}).judgement
    assert judged is not None
    expected = f1(labels[:150], digits_registry.get("digits:7").predict(inputs[:150]))
    assert (judged["f1"].after, judged["f1"].high < 0) == (expected, True)


# -- which version -----------------------------------------------------------------------------------------------------


def test_a_version_is_compared_with_a_number_a_reference_an_alias_or_a_version_of_any_model() -> None:
    old, new = saved({"params": {"a": 1}}, {"params": {"a": 2}}, url="memory://which")
    other = mk.Registry("memory://which").save({"w": np.ones(2)}, "lead", params={"a": 3})
    old.promote("production")
    for other_one in (1, "churn:1", "churn@production", mk.ModelRef.parse("churn:1"), old):
        found = new.compare(other_one)
        assert (found.before, found.after, found.params[0].before) == ("churn:1", "churn:2", 1)
    assert new.compare("lead").before == other.compare("lead:1").after == "lead:1"


def test_what_is_no_version_is_refused() -> None:
    (version,) = saved({}, url="memory://refused")
    for named, error in ((9, UnknownVersionError), (None, InvalidRefError), ("churn:1/int8", InvalidRefError)):
        with pytest.raises(error):
            version.compare(named)  # type: ignore[arg-type]  # that is what is tried


def test_a_version_beside_itself_differs_in_nothing() -> None:
    (version,) = saved({"params": {"a": math.nan}, "metrics": {"b": math.nan}}, url="memory://itself")
    found = version.compare(version)
    assert not found
    assert str(found) == "churn:1 -> churn:1: no difference"
    assert len(found.to_pandas()) == 0


# -- the parts ---------------------------------------------------------------------------------------------------------


def test_a_run_beside_one_that_logged_the_same_later_differs_in_no_file() -> None:
    registry = mk.Registry(MemoryStore())
    for _ in range(2):
        with registry.run("churn") as run:
            for loss in (0.7, 0.5):
                run.log(loss=loss)
            run.save({"w": np.ones(3)})
    before, after = registry.get("churn:1"), registry.get("churn:2")
    assert before.history["loss"].time.tolist() != after.history["loss"].time.tolist()
    found = after.compare(before)
    assert (found.files, bool(found)) == ((), False)


def test_a_file_of_the_model_that_lies_in_a_folder_history_is_compared(tmp_path: Path) -> None:
    registry = mk.Registry(MemoryStore())
    (tmp_path / "history").mkdir()
    for text in ("a", "b"):
        (tmp_path / "history" / "notes").write_text(text)
        registry.save(tmp_path, "churn")
    found = registry.get("churn:2").compare(1)
    assert [(one.path, one.kind) for one in found.files] == [("history/notes", "changed")]


def test_values_are_equal_as_people_count_them() -> None:
    before = {"a": 1, "b": math.nan, "c": (1, 2), "d": True, "e": None, "f": {"x": [1]}}
    after = {"a": 1.0, "b": math.nan, "c": [1, 2], "d": 1, "e": 0, "f": {"x": [2]}}
    assert [one.name for one in changes(before, after)] == ["d", "e", "f"]


def test_a_metric_that_is_nan_has_no_difference() -> None:
    found = saved({"metrics": {"a": math.nan, "b": 1.0}}, {"metrics": {"a": 0.5, "b": math.inf}})[1].compare(1)
    assert [(one.name, one.difference) for one in found.metrics] == [("a", None), ("b", math.inf)]


def test_data_that_a_version_names_is_read_where_the_dataset_is() -> None:
    pd = pytest.importorskip("pandas")
    registry = mk.Registry("memory://named-data")
    for count in (100, 200):
        registry.save_dataset(pd.DataFrame({"x": np.arange(count), "y": np.arange(count) % 7}), "sales")
        registry.save({"w": np.ones(2)}, "churn", data={"train": f"sales:{count // 100}"})
    registry.save({"w": np.ones(2)}, "churn", data={"train": "sales:2"})
    (change,) = registry.get("churn:2").compare(1).data
    assert change.names == ("sales:1", "sales:2")
    assert change.diff is not None
    assert (change.diff.rows, change.shared and change.shared.low <= 0.5) == ((100, 200), True)
    assert change.most_drifted[0][0] == "x"
    assert "sales:1 and sales:2" in change.source
    assert registry.get("churn:3").compare(2).data == ()


def test_data_whose_dataset_is_not_here_is_told_by_what_the_version_says(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    registry, elsewhere = mk.Registry(tmp_path / "here"), mk.Registry(tmp_path / "there")
    for count in (100, 200):
        registry.save_dataset(pd.DataFrame({"x": np.arange(count)}), "sales")
        registry.save({"w": np.ones(2)}, "churn", data={"train": f"sales:{count // 100}"})
    registry.push("churn", to=elsewhere)
    (change,) = elsewhere.get("churn:2").compare(1).data
    assert (change.kind, change.diff and change.diff.rows, change.shared) == ("changed", (100, 200), None)


def test_a_role_that_came_or_went_is_told() -> None:
    rows = np.zeros((5, 2))
    found = saved({"data": {"train": rows}}, {"data": {"test": rows}})[1].compare(1).data
    assert [(one.role, one.kind) for one in found] == [("test", "new"), ("train", "gone")]


def test_of_code_comments_are_wording_and_what_is_called_is_told_by_name() -> None:
    one, two, three = ("0" * 64, "1" * 64, "2" * 64)
    facts = {"name": "m:f", "source": "a\n", "source_digest": one, "ast_digest": two, "calls": {"m:g": one}}
    before = Code.from_json({"commit": "0" * 40, "function": facts})
    worded = Code.from_json({"commit": "0" * 40, "function": facts | {"source": "a  # b\n", "source_digest": three}})
    assert (code_change(before, worded).says, bool(code_change(before, worded))) == ("wording", True)
    called = Code.from_json({"commit": "1" * 40, "function": facts | {"calls": {"m:g": two, "m:h": one}}})
    found = code_change(before, called)
    assert (found.says, [(call.name, call.kind) for call in found.calls]) == (
        "same",
        [("m:g", "changed"), ("m:h", "new")],
    )
    assert found.diffs == {}
    assert not code_change(before, before)
    assert not code_change(None, None)
    unknown = code_change(None, before)
    assert (bool(unknown), unknown.notes) == (False, ("no code was recorded for the version before",))
    unsure = Code.from_json({"commit": "0" * 40, "dirty": True, "function": facts})
    assert not code_change(before, unsure)  # whether files differed then, nobody knows


def test_files_of_the_project_that_were_recorded_are_compared_line_by_line() -> None:
    sides = [Code(files=(SourceFile("train.py", "0" * 64, text),)) for text in ("a\nb\n", "a\nc\n")]
    assert code_change(*sides).diffs == {"train.py": "@@ -1,2 +1,2 @@\n a\n-b\n+c"}


def test_where_no_environment_was_recorded_python_and_the_packages_of_the_serializer_are_compared(
    digits_registry: mk.Registry,
) -> None:
    (plain,) = saved({}, url="memory://plain-save")
    names = {one.what for one in plain.compare(digits_registry.get("digits:6")).environment}
    assert names >= {"scikit-learn", "torch"}
    assert "Python" not in names  # it is the same


def test_files_are_new_gone_and_changed_with_their_sizes(tmp_path: Path) -> None:
    registry = mk.Registry("memory://files")
    for name, files in {"old": {"a": "1", "b": "22"}, "new": {"b": "222", "c": "4"}}.items():
        (tmp_path / name).mkdir()
        for path, text in files.items():
            (tmp_path / name / path).write_text(text, encoding="utf-8")
        registry.save(tmp_path / name, "churn")
    found = registry.get("churn:2").compare(1)
    assert [(one.path, one.kind, one.sizes) for one in found.files] == [
        ("b", "changed", (2, 3)),
        ("c", "new", (None, 1)),
        ("a", "gone", (1, None)),
    ]
    assert found.sizes == (3, 4)


def test_load_times_are_measured_when_asked_and_say_of_which_machine() -> None:
    old, new = saved({}, {}, url="memory://loads")
    assert new.compare(old).loads is None
    loads = new.compare(old, measure_load=True).loads
    assert loads is not None
    assert loads.loads == 3
    assert min(loads.before, loads.after) > 0
    assert loads.host
    assert loads.host in new.compare(old, measure_load=True).to_markdown()


def test_tensors_are_left_alone_when_asked() -> None:
    old, new = saved({}, {}, url="memory://no-tensors")
    assert new.compare(old, tensors=False).tensors is None
    assert new.compare(old).tensors is not None


# -- what does not fit -------------------------------------------------------------------------------------------------


def test_options_that_do_not_fit_together_are_refused() -> None:
    old, new = saved({}, {}, url="memory://options")
    rows = ([0, 1], [0, 1], [0, 1])
    for options, said in (
        ({"on": ([], []), "predictions": rows}, "not both"),
        ({"metrics": {"a": len}}, "on=(X, y)"),
        ({"on": 3}, "on=3 is no holdout"),
    ):
        with pytest.raises(InvalidValueError) as caught:
            new.compare(old, **options)
        assert said in str(caught.value)


def test_trust_is_asked_for_where_predicting_needs_it() -> None:
    registry = mk.Registry("memory://trusting")
    for factor in (1, 2):
        registry.save(lambda rows, factor=factor: factor * rows, "double", serializer="cloudpickle")
    holdout = (np.arange(30.0), np.arange(30.0))
    version = registry.get("double:2")
    with pytest.raises(TrustError):
        version.compare(1, on=holdout)
    found = version.compare(1, on=holdout, trust=True).judgement
    assert found is not None
    assert (found["mae"].before, found["mae"].after) == (0.0, 14.5)


def test_a_version_that_cannot_predict_the_holdout_is_named(digits_registry: mk.Registry) -> None:
    with pytest.raises(ValueError, match="feature") as caught:  # the version before has no ink
        of_chain(digits_registry, 4, on=digits.holdout())
    assert any("digits:3 predicted the holdout" in note for note in caught.value.__notes__)


# -- cost --------------------------------------------------------------------------------------------------------------


def test_a_comparison_costs_two_gets_and_the_manifest_of_each_once() -> None:
    store = Recording(MemoryStore())
    registry = mk.Registry(store)
    for number in range(2):
        registry.save({"w": np.ones(2) * number}, "churn")
    fresh = mk.Registry(store)
    version = fresh.get("churn:2")
    store.forget()
    version.compare(1, tensors=False)
    assert store.counts() == {"get": 4}  # the heads of two journals, and two manifests
    store.forget()
    version.compare(1, tensors=False)
    assert store.counts() == {"get": 3}  # the manifest of the other, which was opened anew


# -- to be looked at ---------------------------------------------------------------------------------------------------


def hostile() -> Comparison:
    named = {f"{text.replace('.', '')}": n for n, text in enumerate(HOSTILE)}
    pd = pytest.importorskip("pandas")
    frames = [pd.DataFrame({text: np.arange(30) * n for text in HOSTILE}) for n in (1, 2)]
    before: dict[str, Any] = {
        "params": dict.fromkeys(named, 0),
        "data": {HOSTILE[0]: frames[0]},
        "metrics": {HOSTILE[1]: 1},
    }
    after = {"params": dict.fromkeys(named, HOSTILE[0]), "data": {HOSTILE[0]: frames[1]}, "metrics": {HOSTILE[1]: 2}}
    return saved(before, after, url="memory://hostile-names")[1].compare(1)


def test_hostile_names_are_text_in_a_notebook() -> None:
    found = hostile()
    for html in (found._repr_html_(), found.why()._repr_html_()):
        read = Parsed(html.replace("<style>", "<i>").replace("</style>", "</i>"))
        assert set(read.tags) <= {
            *("div", "i", "h2", "h3", "section", "table", "thead", "tbody", "tr", "th", "td"),
            *("p", "details", "summary", "pre", "code"),
        }
        assert not [name for name, _ in read.attributes if name not in ("class", "scope")]
        assert "<script>alert(1)</script>" in read.text


def markdown_as_html(text: str) -> str:
    markdown = pytest.importorskip("markdown_it")
    return str(markdown.MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text))


def test_hostile_names_are_text_in_markdown() -> None:
    found = hostile()
    for text in (found.to_markdown(), found.why().to_markdown()):
        read = Parsed(markdown_as_html(text))
        assert not {"script", "a", "style", "img", "em"} & set(read.tags)
        assert "<script>alert(1)</script>" in read.text
    rows = re.findall("^\\|.*$", found.to_markdown(), re.MULTILINE)
    assert len(rows) > 10


@given(st.text(max_size=60))
def test_any_text_in_a_table_of_markdown_comes_back_as_that_text(text: str) -> None:
    read = Parsed(markdown_as_html(f"| a | b |\n| --- | --- |\n| x{escaped(text)}y | z |\n"))
    assert read.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    shown = " ".join(readable(text).split())
    assert f"x{shown}y" in read.text


@given(st.text(alphabet="-+=#1. \t~_*<>&`|\\)x", max_size=12))
def test_any_text_on_a_line_of_its_own_is_a_paragraph_of_that_text(text: str) -> None:
    read = Parsed(markdown_as_html(f"{escaped(text)}\n"))
    shown = " ".join(readable(text).split())
    assert (read.tags, read.text.strip()) == (["p"] if shown else [], shown)


def test_a_source_with_fences_stays_in_its_fence() -> None:
    sides = [Code(files=(SourceFile("a.md", "0" * 64, text),)) for text in ("x", "```\n<script>\n````")]
    found = Comparison(before="churn:1", after="churn:2", code=code_change(*sides))
    read = Parsed(markdown_as_html(found.to_markdown()))
    assert "script" not in read.tags
    assert "<script>" in read.text


def test_the_forms_tell_the_same(digits_registry: mk.Registry) -> None:
    found = of_chain(digits_registry, 7, on=digits.holdout(), measure_load=True)
    plain = found.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["before"], plain["data"][0]["diff"]["rows"]) == ("digits:6", [1000, 1000])
    assert plain["judgement"]["flips"]["worse"] == found.judgement.flips.worse  # type: ignore[union-attr]
    frame = found.to_pandas()
    assert list(frame.columns) == ["part", "name", "change", "before", "after", "difference"]
    assert set(frame["part"]) == {"metrics", "data", "files"}
    text = found.to_markdown()
    for word in ("# digits:6 to digits:7", "Worst slices", "McNemar", "Drift", "| accuracy |"):
        assert word in text
    assert pickle.loads(pickle.dumps(found)) == found


# -- several -----------------------------------------------------------------------------------------------------------


def test_a_table_has_all_versions_and_marks_the_best_only_where_it_was_told_what_is_better(
    digits_registry: mk.Registry,
) -> None:
    model = digits_registry.model(digits.NAME)
    table = model.compare(better={"accuracy": "max"})
    assert [row.ref for row in table] == [f"digits:{n}" for n in range(1, 11)]
    assert set(table.best["accuracy"]) <= {f"digits:{n}" for n in digits.BEST}
    assert table.to_markdown().count("**") == 2 * len(table.best["accuracy"])
    assert 'class="good"' in table._repr_html_()
    plain = model.compare(6, "digits@production", digits_registry.get("digits:1"))
    assert ([row.ref for row in plain], plain.best) == (["digits:6", "digits:8", "digits:1"], {})
    assert "**" not in plain.to_markdown()
    assert list(plain.to_pandas()["rows.train"]) == [1000, 1000, 500]
    assert json.loads(json.dumps(plain.to_dict())) == plain.to_dict()


def test_the_least_is_best_where_it_was_said_and_nan_never_is() -> None:
    saved(*({"metrics": {"loss": value}} for value in (math.nan, 0.5, 0.25)), url="memory://least")
    table = mk.Registry("memory://least").model("churn").compare(better={"loss": "min"})
    assert table.best == {"loss": ("churn:3",)}
    assert mk.Registry("memory://least").model("churn").compare(1, better={"loss": "max"}).best == {"loss": ()}


@pytest.mark.parametrize(("better", "said"), [({"auc": "max"}, "loss"), ({"loss": "high"}, "neither"), ("loss", "nei")])
def test_a_table_is_told_what_is_better_by_metrics_that_there_are(better: Any, said: str) -> None:
    saved({"metrics": {"loss": 1}}, url="memory://better")
    with pytest.raises(InvalidValueError, match=said):
        mk.Registry("memory://better").model("churn").compare(better=better)
