"""What is looked at once all is built: numbers that native code uses as places in memory, and does not check itself.

Each check takes one finished object and raises `Broken` where a number points outside. They are written against what
predict, transform and query read, as found by forging each of these arrays in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Check = Callable[[Any], None]
CHECKS: dict[str, Check] = {}
_TWISTER = 624  # words of the state of a Mersenne twister


class Broken(Exception):  # noqa: N818  never leaves the package
    """A number points where nothing is."""


def check(name: str) -> Callable[[Check], Check]:
    """Enter a check under the name that the list uses."""

    def enter(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return enter


def demand(fits: object, what: str) -> None:
    """Raise `Broken` with *what* unless *fits*."""
    if not fits:
        raise Broken(what)


def array(value: Any, what: str, *, kind: str = "", ndim: int | None = None) -> Any:
    """*value*, if it is a plain array of the kinds of dtype in *kind*."""
    import numpy as np

    demand(isinstance(value, np.ndarray), f"{what} is no array")
    demand(not kind or value.dtype.kind in kind, f"{what} holds {value.dtype}")
    demand(ndim is None or value.ndim == ndim, f"{what} has {value.ndim} dimensions")
    return value


def within(values: Any, low: int, high: int, what: str) -> None:
    """Raise `Broken` unless all *values* are at least *low* and below *high*."""
    if values.size and not (values.min() >= low and values.max() < high):
        raise Broken(f"{what} points outside of {low} to {high - 1}")


def whole(value: Any, low: int, high: int, what: str) -> int:
    """*value*, if it is an integer from *low* to *high*."""
    import numbers

    demand(isinstance(value, numbers.Integral) and low <= int(value) <= high, f"{what} is {value!r:.50}")
    return int(value)


def fields(found: Any) -> dict[str, Any]:
    """What the object was given; an estimator that was never fitted has no fitted part to look at."""
    given: dict[str, Any] = vars(found)
    return given


def unshadowed(found: Any) -> None:
    """Raise `Broken` if an attribute stands before a method: predict might then take what was never validated."""
    for name in getattr(found, "__dict__", ()):
        demand(not callable(getattr(type(found), name, None)), f"an attribute hides the method {name}")


# -- numpy and scipy ------------------------------------------------------------------------------------------------


@check("bits")
def _bits(found: Any) -> None:
    state = found.state["state"]
    if "pos" in state:
        whole(state["pos"], 0, _TWISTER, "the position of a random number generator")


@check("sparse")
def _sparse(found: Any) -> None:
    given = fields(found)
    shape: Any = given.get("_shape")
    demand(type(shape) is tuple and 1 <= len(shape) <= 2, "a sparse matrix has no shape")  # noqa: PLR2004
    for size in shape:
        whole(size, 0, 2**62, "a size of a sparse matrix")
    array(given.get("data"), "the values of a sparse matrix")
    if "coords" in given:
        demand(type(given["coords"]) is tuple, "the coordinates of a sparse matrix are no tuple")
        demand(
            all(array(c, "coordinates", kind="iu").size == found.data.size for c in found.coords), "coordinates differ"
        )
        for part, size in zip(found.coords, shape, strict=True):
            within(part, 0, size, "a coordinate of a sparse matrix")
        return
    for part in ("indices", "indptr"):
        array(given.get(part), f"{part} of a sparse matrix", kind="i", ndim=1)
    found.has_canonical_format = False  # it is recomputed: what it claimed decides which loops trust it
    found.has_sorted_indices = False
    _compressed(found)


def _compressed(found: Any) -> None:
    rows, columns = found._swap(found.shape) if len(found.shape) == 2 else (1, found.shape[0])  # noqa: PLR2004, SLF001
    demand(found.data.ndim == 1 and found.indices.size == found.data.size, "a sparse matrix lacks indices")
    demand(found.indptr.size == rows + 1 and found.indptr[0] == 0, "the rows of a sparse matrix are cut wrongly")
    demand(bool((found.indptr[1:] >= found.indptr[:-1]).all()), "the rows of a sparse matrix are cut wrongly")
    demand(found.indptr[-1] <= found.indices.size, "the rows of a sparse matrix end behind its values")
    within(found.indices, 0, columns, "an index of a sparse matrix")


@check("spline")
def _spline(found: Any) -> None:
    given = fields(found)
    knots = array(given.get("_t", given.get("t")), "the knots of a spline", kind="f", ndim=1)
    values = array(given.get("_c", given.get("c")), "the coefficients of a spline", kind="fc")
    degree = whole(given.get("k"), 0, 100, "the degree of a spline")
    demand(values.ndim >= 1 and values.shape[0] >= knots.size - degree - 1 >= degree + 1, "a spline lacks coefficients")
    demand(knots.flags.c_contiguous and values.flags.c_contiguous, "a spline is not laid out as written")
    demand(bool((knots[1:] >= knots[:-1]).all()), "the knots of a spline are not in order")
    whole(given.get("axis"), 0, values.ndim - 1, "the axis of a spline")
