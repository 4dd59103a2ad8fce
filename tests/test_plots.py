"""Plots: what is on the axes, that series differ without colour, and that nothing around them is touched."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep import plots
from modelkeep.errors import InvalidValueError, NotFoundError
from modelkeep.plots.canvas import plain, scatter_style, style
from modelkeep.stores.memory import MemoryStore

matplotlib = pytest.importorskip("matplotlib")
metrics = pytest.importorskip("sklearn.metrics")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402  it may not be there
from matplotlib.figure import Figure  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANDOM = np.random.default_rng(0)
Y = RANDOM.integers(0, 2, 400)
GOOD, POOR = np.clip(0.4 * Y + 0.6 * RANDOM.random(400), 0, 1), RANDOM.random(400)
TWO = {"churn:1": GOOD, "churn:2": POOR}


@pytest.fixture
def ax() -> Axes:
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots()


@pytest.fixture
def model() -> mk.RegisteredModel:
    """Five versions with a metric and a curve; `production` went 1, 2, 4 and back to 2, `staging` is on 5."""
    registry = mk.Registry(MemoryStore())
    for number, auc in enumerate((0.8, 0.9, math.nan, 0.85, 0.95), 1):
        with registry.run("churn") as run:
            for step in range(4 * number):
                run.log(loss=1 / (step + number), step=step)
            run.save({"w": np.full(3, number)}, metrics={"auc": auc})
    for number in (1, 2, 4):
        registry.get(f"churn:{number}").promote("production")
    registry.model("churn").rollback("production")
    registry.get("churn:5").promote("staging")
    return registry.model("churn")


def texts(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def drawn(ax: Axes, label: str) -> tuple[list[float], list[float]]:
    """The data of the one line whose label begins so."""
    (line,) = [line for line in ax.get_lines() if str(line.get_label()).startswith(label)]
    return list(line.get_xdata()), list(line.get_ydata())  # type: ignore[arg-type]


def labels(ax: Axes) -> tuple[str, str]:
    return ax.get_xlabel(), ax.get_ylabel()


# -- each plot -----------------------------------------------------------------------------------------------------


def test_a_metric_is_drawn_by_version_with_its_best_so_far_and_what_is_no_number(
    model: mk.RegisteredModel, ax: Axes
) -> None:
    assert plots.metric(model, "auc", ax=ax) is ax
    x, y = drawn(ax, "auc")
    assert x == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(y, [0.8, 0.9, math.nan, 0.85, 0.95])
    assert ax.get_lines()[1].get_drawstyle() == "steps-post"  # it stays until there is a better one
    assert drawn(ax, "highest so far")[1] == [0.8, 0.9, 0.9, 0.9, 0.95]
    assert drawn(ax, "no finite number")[0] == [3]
    assert labels(ax) == ("version of churn (number)", "auc")
    assert set(np.asarray(ax.get_xticks()) % 1) == {0}


def test_the_moves_of_an_alias_are_marked_in_their_order(model: mk.RegisteredModel, ax: Axes) -> None:
    plots.metric(model, "auc", ax=ax)
    assert drawn(ax, "production (now version 2)") == ([1, 2, 4, 2], [0.8, 0.9, 0.85, 0.9])
    assert drawn(ax, "staging (now version 5)") == ([5], [0.95])


def test_an_alias_on_a_version_that_is_not_drawn_is_not_marked_there(model: mk.RegisteredModel, ax: Axes) -> None:
    model.version(3).promote("production")  # its metric is NaN
    model.version(1).delete()
    model.unset("staging")
    plots.metric(model, "auc", unit="%", ax=ax)
    assert drawn(ax, "production (now version 3)")[0] == [2, 4, 2]
    assert drawn(ax, "staging (now unset)")[0] == [5]
    assert ax.get_ylabel() == "auc (%)"


@pytest.mark.parametrize(("by", "label"), [("step", "step (number)"), ("time", "time since the run began (s)")])
def test_the_curves_of_several_runs_are_drawn_as_they_were_logged(
    model: mk.RegisteredModel, ax: Axes, by: Any, label: str
) -> None:
    versions = list(model.versions())[::-1]
    assert plots.curves(*versions, by=by, unit="nats", ax=ax) is ax
    assert texts(ax) == [f"churn:{number}" for number in range(1, 6)]
    for version in versions:
        curve = version.history["loss"]
        x, y = drawn(ax, version.ref)
        assert y == curve.value.tolist()
        assert x == (curve.step if by == "step" else curve.time).tolist()
    assert labels(ax) == (label, "loss (nats)")


def test_few_steps_have_ticks_at_whole_steps_alone(ax: Axes) -> None:
    with mk.Registry(MemoryStore()).run("churn") as run:
        for loss in (0.7, 0.5, 0.4):
            run.log(loss=loss)
        version = run.save({"w": np.ones(2)})
    plots.curves(version, ax=ax)
    assert [tick for tick in ax.get_xticks() if tick % 1] == []


def test_without_a_tensor_the_error_says_that_there_may_be_none(ax: Axes) -> None:
    with pytest.raises(InvalidValueError, match="no tensor to draw: none changed, or models of this kind have none"):
        plots.tensor_change({}, ax=ax)


def test_a_version_without_the_curve_is_an_error_that_names_those_it_has(model: mk.RegisteredModel, ax: Axes) -> None:
    with pytest.raises(NotFoundError, match="churn:1 has no curve of 'auc'; it has loss"):
        plots.curves(model.version(1), metric="auc", ax=ax)
    with pytest.raises(InvalidValueError, match="no version to draw"):
        plots.curves(ax=ax)
    wrong: Any = "epoch"
    with pytest.raises(InvalidValueError, match="by is 'epoch'; give 'step' or 'time'"):
        plots.curves(model.version(1), by=wrong, ax=ax)
    assert ax.get_lines() == []  # nothing is half drawn


def test_roc_is_the_curve_and_area_of_scikit_learn(ax: Axes) -> None:
    assert plots.roc(Y, TWO, ax=ax) is ax
    false, true, _ = metrics.roc_curve(Y, GOOD)
    x, y = drawn(ax, "churn:1")
    np.testing.assert_array_equal(x, false)
    np.testing.assert_array_equal(y, true)
    assert texts(ax) == [
        f"churn:1: area {metrics.roc_auc_score(Y, GOOD):.3f}",
        f"churn:2: area {metrics.roc_auc_score(Y, POOR):.3f}",
        "chance",
    ]
    assert labels(ax) == ("false positive rate (share of negatives)", "true positive rate (share of positives)")


def test_precision_and_recall_are_those_of_scikit_learn_and_chance_is_the_share_of_positives(ax: Axes) -> None:
    assert plots.precision_recall(Y, TWO, ax=ax) is ax
    precision, recall, _ = metrics.precision_recall_curve(Y, POOR)
    x, y = drawn(ax, "churn:2")
    np.testing.assert_array_equal(x, recall)
    np.testing.assert_array_equal(y, precision)
    assert texts(ax)[0] == f"churn:1: average precision {metrics.average_precision_score(Y, GOOD):.3f}"
    assert drawn(ax, "chance")[1] == pytest.approx([Y.mean(), Y.mean()])
    assert labels(ax) == ("recall (share of positives)", "precision (share of what is called positive)")


def test_calibration_is_how_often_what_is_predicted_comes_true(ax: Axes) -> None:
    calibrated = np.repeat([0.05, 0.45, 0.95], 100)
    y = np.concatenate([np.arange(100) < count for count in (5, 45, 95)]).astype(int)
    assert plots.calibration(y, calibrated, ax=ax) is ax
    x, share = drawn(ax, "3 bins")
    assert x == pytest.approx([0.05, 0.45, 0.95])
    assert share == pytest.approx([0.05, 0.45, 0.95])
    assert drawn(ax, "calibrated") == ([0, 1], [0, 1])
    assert labels(ax) == ("mean predicted probability (0 to 1)", "share of positives (0 to 1)")


def test_confusion_counts_the_rows_of_each_class_that_were_predicted_as_which(ax: Axes) -> None:
    true, predicted = ["cat", "cat", "dog", "dog", "dog"], ["cat", "dog", "dog", "dog", "cat"]
    assert plots.confusion(true, predicted, ax=ax) is ax
    np.testing.assert_array_equal(ax.get_images()[0].get_array(), [[1, 1], [1, 2]])
    assert [text.get_text() for text in ax.texts] == ["1", "1", "1", "2"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat", "dog"]
    assert labels(ax) == ("predicted class (cells: rows)", "true class (cells: rows)")


def test_confusion_has_the_classes_that_it_is_given_in_their_order(ax: Axes) -> None:
    plots.confusion(["b", "a"], ["b", "b"], labels=["b", "a", "c"], ax=ax)
    np.testing.assert_array_equal(ax.get_images()[0].get_array(), [[1, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["b", "a", "c"]


def test_residuals_are_what_is_true_minus_what_was_predicted(ax: Axes) -> None:
    assert plots.residuals([1, 2, 4], {"churn:1": [1, 1, 1], "churn:2": [1, 2, 4]}, unit="EUR", ax=ax) is ax
    assert drawn(ax, "churn:1") == ([1, 1, 1], [0, 1, 3])
    assert texts(ax)[:2] == ["churn:1: root mean square 1.826", "churn:2: root mean square 0"]
    assert labels(ax) == ("predicted (EUR)", "residual: true - predicted (EUR)")


def test_the_tensors_that_moved_farthest_stand_on_top_and_new_ones_have_no_bar(ax: Axes) -> None:
    changes = {"body": 0.1, "head": 0.9, "frozen": 0.0, "new": math.inf}
    assert plots.tensor_change(changes, ax=ax) is ax
    bars = {label.get_text(): bar.get_width() for label, bar in zip(ax.get_yticklabels(), ax.patches, strict=True)}  # type: ignore[attr-defined]
    assert list(bars.items()) == [("frozen", 0.0), ("body", 0.1), ("head", 0.9), ("new (no ratio)", 0.0)]
    assert labels(ax) == ("norm of the change / norm before (ratio)", "tensor")


def test_of_many_tensors_the_farthest_are_drawn_and_the_label_says_of_how_many(ax: Axes) -> None:
    plots.tensor_change({f"layer.{n}": n / 100 for n in range(100)}, most=3, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["layer.97", "layer.98", "layer.99"]
    assert ax.get_ylabel() == "tensor (3 of 100, the farthest)"


@pytest.mark.parametrize(
    "plot",
    [
        lambda ax: plots.roc(Y, GOOD[:-1], ax=ax),
        lambda ax: plots.roc(Y, {}, ax=ax),
        lambda ax: plots.roc(["a", "b"], [0.1, 0.2], ax=ax),  # which is positive?
        lambda ax: plots.precision_recall(Y, {"churn:1": "scores"}, ax=ax),
        lambda ax: plots.calibration(Y, GOOD + 1, ax=ax),
        lambda ax: plots.confusion([1, 2], [1], ax=ax),
        lambda ax: plots.residuals([1, 2], [1], ax=ax),
        lambda ax: plots.residuals([], [], ax=ax),
        lambda ax: plots.residuals(["a"], [1], ax=ax),
        lambda ax: plots.tensor_change({}, ax=ax),
        lambda ax: plots.tensor_change({"w": 0.1}, most=0, ax=ax),
    ],
)
def test_what_cannot_be_drawn_is_an_error_before_anything_is(plot: Callable[[Axes], Axes], ax: Axes) -> None:
    with pytest.raises(InvalidValueError):
        plot(ax)
    assert [*ax.get_lines(), *ax.get_images(), *ax.patches] == []


def test_words_may_be_the_classes(ax: Axes) -> None:
    words = np.where(Y, "stays", "leaves")
    plots.precision_recall(words, GOOD, pos_label="stays", ax=ax)
    assert texts(ax)[0] == f"average precision {metrics.average_precision_score(Y, GOOD):.3f}"
    assert drawn(ax, "chance")[1] == pytest.approx([Y.mean(), Y.mean()])
    other = plots.roc(words, GOOD, pos_label="stays", ax=Figure().subplots())
    assert texts(other)[0] == f"area {metrics.roc_auc_score(Y, GOOD):.3f}"


# -- what holds for all --------------------------------------------------------------------------------------------


def all_plots(model: mk.RegisteredModel) -> Iterator[Callable[..., Axes]]:
    yield lambda ax=None: plots.metric(model, "auc", ax=ax)
    yield lambda ax=None: plots.trend(model.trend("auc"), ax=ax)
    yield lambda ax=None: plots.curves(*model.versions(), ax=ax)
    yield lambda ax=None: plots.roc(Y, TWO, ax=ax)
    yield lambda ax=None: plots.precision_recall(Y, TWO, ax=ax)
    yield lambda ax=None: plots.calibration(Y, TWO, ax=ax)
    yield lambda ax=None: plots.confusion(Y, POOR > 0.5, ax=ax)
    yield lambda ax=None: plots.residuals(GOOD, TWO, ax=ax)
    yield lambda ax=None: plots.tensor_change({"body": 0.1, "head": 0.4}, ax=ax)


def test_every_plot_is_among_those_that_are_held_to_this() -> None:
    assert len(plots.__all__) == 9


def look(line: Any) -> tuple[Any, ...]:
    """How a line looks on paper, without its colour."""
    return line.get_linestyle(), line._unscaled_dash_pattern, line.get_marker(), line.get_fillstyle(), _hollow(line)


def _hollow(line: Any) -> bool:
    return bool(line.get_markerfacecolor() == "none")


def test_series_differ_by_more_than_their_colour(model: mk.RegisteredModel) -> None:
    for plot in all_plots(model):
        found = plot(Figure().subplots())
        lines = found.get_lines()
        assert len({look(line) for line in lines}) == len(lines)


def test_45_series_differ_in_grey_and_their_neighbours_in_colour() -> None:
    ax = Figure().subplots()
    lines = [ax.plot([0, 1], [0, 1], **style(index))[0] for index in range(45)]
    assert len({look(line) for line in lines}) == 45
    assert all(one.get_color() != two.get_color() for one, two in pairwise(lines))


def test_18_clouds_of_points_differ_in_grey() -> None:
    ax = Figure().subplots()
    clouds = [ax.plot([0, 1], [0, 1], **scatter_style(index))[0] for index in range(18)]
    assert len({look(cloud) for cloud in clouds}) == 18


def test_of_a_long_line_some_points_get_a_marker_and_of_a_short_one_all() -> None:
    assert style(0, points=5)["markevery"] == 1
    assert style(0, points=10_000)["markevery"] == 1000


def test_both_axes_have_a_label_and_two_series_have_a_legend(model: mk.RegisteredModel) -> None:
    for plot in all_plots(model):
        found = plot(Figure().subplots())
        assert all(labels(found))
        assert len(found.get_lines()) < 2 or texts(found)


def test_nothing_global_is_touched_where_axes_are_given(model: mk.RegisteredModel) -> None:
    from matplotlib import pyplot as plt

    plt.close("all")
    before = dict(matplotlib.rcParams)
    for plot in all_plots(model):
        figure = Figure()
        found = figure.subplots()
        assert plot(found) is found
        assert figure.axes == [found]  # no further axes, as of a colour bar
        figure.savefig("/dev/null", format="png")
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_without_axes_each_plot_has_a_new_figure_of_pyplot(model: mk.RegisteredModel) -> None:
    from matplotlib import pyplot as plt

    backend = matplotlib.get_backend()
    plt.switch_backend("agg")
    try:
        found = [plot() for plot in all_plots(model)]
        assert len({one.figure for one in found}) == len(found) == len(plt.get_fignums())
    finally:
        plt.close("all")
        plt.switch_backend(backend)


# -- names from outside --------------------------------------------------------------------------------------------


def as_drawn(text: str) -> str:
    """What matplotlib draws of a label."""
    from matplotlib.text import Text

    figure = Figure()
    own = Text(text=text)
    own.set_figure(figure)
    shown, is_math = own._preprocess_math(text)  # type: ignore[attr-defined]
    assert is_math is False
    return str(shown)


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_name_is_drawn_letter_by_letter(name: str) -> None:
    seen = as_drawn(plain(name))
    assert seen.isprintable()
    if name.isprintable():
        assert seen.removeprefix(" " if name.startswith("_") else "") == name


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("a$b$", "a$b$"),
        (r"a\$b$", r"a\$b$"),
        (r"$\frac{1}{0}$", r"$\frac{1}{0}$"),
        ("a\nb\x00\u202ec", "a\\nb\\x00\\u202ec"),
        ("_hidden", " _hidden"),  # a legend leaves out what begins with an underscore
        ("n" * 100, f"{'n' * 30}…{'n' * 29}"),
    ],
)
def test_names_that_mean_something_to_matplotlib_are_names(name: str, seen: str) -> None:
    assert as_drawn(plain(name)) == seen


def test_hostile_names_are_drawn_wherever_a_plot_takes_names(tmp_path: Any) -> None:
    name = "$\\undefined{_^$\x00\n"
    registry = mk.Registry(MemoryStore())
    with registry.run("churn") as run:
        logged: dict[str, Any] = {name: 0.5}
        run.log(**logged)
        version = run.save({"w": np.zeros(2)}, metrics={name: 0.5})
    series = {name: GOOD, "_x": POOR}
    hostile: list[Callable[[Axes], Axes]] = [
        lambda ax: plots.metric(registry.model("churn"), name, unit=name, ax=ax),
        lambda ax: plots.curves(version, metric=name, unit=name, ax=ax),
        lambda ax: plots.roc(Y, series, ax=ax),
        lambda ax: plots.precision_recall(Y, series, ax=ax),
        lambda ax: plots.calibration(Y, series, ax=ax),
        lambda ax: plots.confusion([name, "b"], ["b", "b"], ax=ax),
        lambda ax: plots.residuals(Y, series, unit=name, ax=ax),
        lambda ax: plots.tensor_change({name: 0.5}, ax=ax),
    ]
    for number, plot in enumerate(hostile):
        figure = Figure()
        found = plot(figure.subplots())
        figure.savefig(tmp_path / f"{number}.png")  # a formula that cannot be read would fail here
        assert len(texts(found)) == len(found.get_lines())


# -- without the extra ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["matplotlib", "sklearn"])
def test_without_the_extra_the_error_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from modelkeep import plots; plots.roc([0, 1], [0.1, 0.2])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ModuleNotFoundError: plots need {missing}, which is not installed")
    assert last.endswith('pip install "modelkeep[plot]"')


def test_importing_the_plots_loads_neither_matplotlib_nor_numpy() -> None:
    code = "import sys; from modelkeep import plots; print({'matplotlib', 'numpy', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
