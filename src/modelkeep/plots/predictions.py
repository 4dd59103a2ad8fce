"""Plots of what models predict: ROC, precision and recall, calibration, confusion and residuals.

The scores of one model may come alone, those of several in a dict by name. scikit-learn computes the curves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelkeep.errors import InvalidValueError
from modelkeep.plots.canvas import axes, need, plain, reference, scatter_style, style, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _series(given: Any) -> dict[str, Any]:
    """What is drawn, by name: one that came alone has none."""
    found = dict(given) if isinstance(given, Mapping) else {"": given}
    if not found:
        raise InvalidValueError("there is nothing to draw; give scores, or a dict of them by name", key="scores")
    return found


def _computed(name: str, compute: Callable[..., Any], *arrays: Any, **options: Any) -> Any:
    """What scikit-learn or NumPy makes of arrays.

    Raises:
        InvalidValueError: it refuses them; says which series, and why.
    """
    try:
        return compute(*arrays, **options)
    except (ValueError, TypeError) as error:
        raise InvalidValueError(f"{name or 'what was given'} cannot be drawn: {error}", key=name) from error


def _label(name: str, said: str) -> str:
    return f"{plain(name)}: {said}" if name else said


def roc(y: Any, scores: Any, *, pos_label: Any = None, ax: Axes | None = None) -> Axes:
    """The ROC curve of each series of scores, with the area under it.

    Args:
        y: what is true, of two classes, one for each row.
        scores: the higher, the more likely positive; or a dict of such by name.
        pos_label: the positive class; None: 1, where classes are 0 and 1, or -1 and 1.
        ax: where to draw; None: a new figure.

    Raises:
        InvalidValueError: scikit-learn refuses the arrays.
        ModuleNotFoundError: matplotlib or scikit-learn is not installed.
    """
    metrics = need("sklearn.metrics")
    found = {
        name: _computed(name, metrics.roc_curve, y, own, pos_label=pos_label) for name, own in _series(scores).items()
    }
    ax = axes(ax)
    for index, (name, (false, true, _)) in enumerate(found.items()):
        label = _label(name, f"area {metrics.auc(false, true):.3f}")
        ax.plot(false, true, label=label, **style(index, points=len(false)))
    ax.plot([0, 1], [0, 1], **reference("chance"))
    ax.set_xlabel("false positive rate (share of negatives)")
    ax.set_ylabel("true positive rate (share of positives)")
    ax.legend(loc="lower right")
    return ax


def precision_recall(y: Any, scores: Any, *, pos_label: Any = None, ax: Axes | None = None) -> Axes:
    """Precision over recall for each series of scores, with the average precision; arguments and errors as in `roc`."""
    import numpy as np

    metrics = need("sklearn.metrics")
    positive = 1 if pos_label is None else pos_label
    given = _series(scores)
    found = {
        name: _computed(name, metrics.precision_recall_curve, y, own, pos_label=pos_label)
        for name, own in given.items()
    }
    ax = axes(ax)
    for index, (name, (precision, recall, _)) in enumerate(found.items()):
        average = metrics.average_precision_score(y, given[name], pos_label=positive)
        label = _label(name, f"average precision {average:.3f}")
        ax.plot(recall, precision, drawstyle="steps-post", label=label, **style(index, points=len(recall)))
    share = float(np.mean(np.asarray(y) == positive))
    ax.plot([0, 1], [share, share], **reference("chance"))
    ax.set_xlabel("recall (share of positives)")
    ax.set_ylabel("precision (share of what is called positive)")
    ax.legend()
    return ax


def calibration(y: Any, scores: Any, *, pos_label: Any = None, bins: int = 10, ax: Axes | None = None) -> Axes:
    """How often what is predicted with a probability comes true, in *bins* of equal width; empty ones are left out.

    Args:
        y: what is true, of two classes, one for each row.
        scores: probabilities of the positive class, or a dict of such by name.
        pos_label: as in `roc`.
        bins: how many.
        ax: where to draw; None: a new figure.

    Raises:
        InvalidValueError: scikit-learn refuses the arrays: a score lies outside of 0 to 1.
        ModuleNotFoundError: matplotlib or scikit-learn is not installed.
    """
    compute = need("sklearn.calibration").calibration_curve
    found = {
        name: _computed(name, compute, y, own, pos_label=pos_label, n_bins=bins)
        for name, own in _series(scores).items()
    }
    ax = axes(ax)
    for index, (name, (true, predicted)) in enumerate(found.items()):
        ax.plot(predicted, true, label=_label(name, f"{len(true)} bins"), **style(index))
    ax.plot([0, 1], [0, 1], **reference("calibrated"))
    ax.set_xlabel("mean predicted probability (0 to 1)")
    ax.set_ylabel("share of positives (0 to 1)")
    ax.legend(loc="upper left")
    return ax


def confusion(y: Any, predicted: Any, *, labels: Any = None, ax: Axes | None = None) -> Axes:
    """How many rows of each class were predicted as which.

    Args:
        y: what is true, one class for each row.
        predicted: what was predicted.
        labels: the classes in their order; None: all that there are, sorted.
        ax: where to draw; None: a new figure.

    Raises:
        InvalidValueError: scikit-learn refuses the arrays.
        ModuleNotFoundError: matplotlib or scikit-learn is not installed.
    """
    metrics = need("sklearn.metrics")
    counts = _computed("", metrics.confusion_matrix, y, predicted, labels=labels)
    classes = need("sklearn.utils.multiclass").unique_labels(y, predicted) if labels is None else labels
    ax = axes(ax)
    names = [plain(name) for name in classes]
    shown_as = metrics.ConfusionMatrixDisplay(counts, display_labels=names)
    shown_as.plot(ax=ax, cmap="Greys", colorbar=False, values_format="d")
    ax.set_xlabel("predicted class (cells: rows)")
    ax.set_ylabel("true class (cells: rows)")
    return ax


def residuals(y: Any, predicted: Any, *, unit: str | None = None, ax: Axes | None = None) -> Axes:
    """What is true minus what was predicted, over what was predicted.

    Args:
        y: what is true, a number for each row.
        predicted: what was predicted, or a dict of such by name.
        unit: of both, for the labels; None where they have none.
        ax: where to draw; None: a new figure.

    Raises:
        InvalidValueError: these are no numbers, or not as many.
        ModuleNotFoundError: matplotlib is not installed.
    """
    import numpy as np

    true = np.ravel(_computed("y", np.asarray, y, dtype=float))
    found = {name: np.ravel(_computed(name, np.asarray, own, dtype=float)) for name, own in _series(predicted).items()}
    for name, own in found.items():
        if own.shape != true.shape or not own.size:
            raise InvalidValueError(
                f"{name or 'predicted'} has {own.size} values, and y {true.size}; give one for each row", key=name
            )
    ax = axes(ax)
    for index, (name, own) in enumerate(found.items()):
        spread = f"root mean square {np.sqrt(np.mean((true - own) ** 2)):.4g}"
        ax.plot(own, true - own, label=_label(name, spread), **scatter_style(index))
    ax.axhline(0, **reference("no error"))
    ax.set_xlabel(with_unit("predicted", unit))
    ax.set_ylabel(with_unit("residual: true - predicted", unit))
    ax.legend()
    return ax
