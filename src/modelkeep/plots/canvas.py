"""What all plots share: where they are drawn, how series differ, and how names from outside are written."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito 2008, told apart by the colour-blind; without their yellow, which is too light for a line on paper
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (7, 2, 1, 2, 1, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_LONGEST = 60  # characters of a name in a label
GREY = "0.45"  # of what is drawn to compare with; 0 is black


def need(module: str) -> ModuleType:
    """A module of the extra ``plot``.

    Raises:
        ModuleNotFoundError: it is not installed; says what to install.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'plots need {module.partition(".")[0]}, which is not installed ({error}); pip install "modelkeep[plot]"',
            name=error.name,
        ) from error


def axes(ax: Axes | None) -> Axes:
    """*ax*, or the axes of a new figure of pyplot, so that a notebook shows it."""
    if ax is not None:
        return ax
    found: Axes = need("matplotlib.pyplot").subplots(layout="constrained")[1]
    return found


def plain(name: object) -> str:
    r"""A name as matplotlib shows it letter by letter: no formula, nothing unseen, and not too long.

    Example:
        >>> print(plain("a$b$\n"), plain("_x"), plain("n" * 90))
        a\$b\$\n  _x nnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…nnnnnnnnnnnnnnnnnnnnnnnnnnnnn
    """
    text = str(name)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]}…{text[1 - half :]}"
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # a legend leaves out what begins with an underscore


def with_unit(name: str, unit: str | None) -> str:
    """The label of an axis.

    Example:
        >>> with_unit("price", "EUR"), with_unit("auc", None)
        ('price (EUR)', 'auc')
    """
    return f"{plain(name)} ({plain(unit)})" if unit else plain(name)


def style(index: int, *, points: int = 0) -> dict[str, Any]:
    """How the line of a series looks: colour, dash and marker, so that it can be told from others in grey, too.

    Args:
        index: of the series, from 0 on; 45 differ without their colour.
        points: of the line; of many, some ten get a marker.
    """
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "linestyle": _DASHES[index % len(_DASHES)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "markersize": 5,
        "linewidth": 1.6,
        "markevery": max(1, points // 10),
    }


def scatter_style(index: int) -> dict[str, Any]:
    """How the points of a series look: colour and marker, every other one hollow."""
    colour = _COLOURS[index % len(_COLOURS)]
    return {
        "color": colour,
        "linestyle": "none",
        "marker": _MARKERS[index % len(_MARKERS)],
        "markerfacecolor": "none" if index % 2 else colour,
        "markersize": 4,
    }


def reference(label: str) -> dict[str, Any]:
    """How a line looks that others are compared with."""
    return {"color": GREY, "linestyle": (0, (1, 2)), "linewidth": 1.2, "label": label}


def whole_numbers(ax: Axes) -> None:
    """Let ticks of the x axis stand at whole numbers only."""
    ax.xaxis.set_major_locator(need("matplotlib.ticker").MaxNLocator(integer=True))
