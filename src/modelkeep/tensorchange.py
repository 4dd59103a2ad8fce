"""How far the tensors of a version moved from those of another: the relative norm of the change, tensor by tensor.

Bytes are read a piece at a time, mapped where they can be, and each piece is widened a little at a time: two models of
any size need some 40 MiB. A tensor all of whose pieces have equal digests in both is equal, and none of it is read; of
others, an equal piece is read once, for its norm.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import attrs

from modelkeep.errors import SerializerError
from modelkeep.pieces import PIECE
from modelkeep.tensornorms import Sums, differing, of_elements
from modelkeep.tensorreading import Located, Side
from modelkeep.threads import Threads
from modelkeep.versionfacts import VersionFacts

_AT_ONCE = 2  # raw pieces of each side in memory, where they cannot be mapped: 2 x 2 x 8 MiB

Kind = Literal["new", "gone", "reshaped", "retyped", "changed", "unknown"]


@attrs.frozen(kw_only=True)
class TensorChange:
    """One tensor that is not the same in both.

    Args:
        name: of the tensor.
        kind: ``new``, ``gone``, ``reshaped``, ``retyped`` (another dtype), ``changed``, or ``unknown``, and *note* says
            why.
        relative: the Frobenius norm of the change by that of the tensor before, of the elements that are finite in
            both; infinite where all were 0. None without two tensors of numbers of one shape.
        changed: how many elements differ; NaN equals NaN. None where *relative* is, unless it is of text.
        shapes: before and after.
        dtypes: before and after.
        not_finite: how many elements were, and are, NaN or infinite.
        note: why nothing is known.
    """

    name: str
    kind: Kind
    relative: float | None = None
    changed: int | None = None
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None] = (None, None)
    dtypes: tuple[str | None, str | None] = (None, None)
    not_finite: tuple[int, int] = (0, 0)
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        shapes = [None if shape is None else list(shape) for shape in self.shapes]
        return attrs.asdict(self) | {
            "shapes": shapes,
            "dtypes": list(self.dtypes),
            "not_finite": list(self.not_finite),
        }


@attrs.frozen
class TensorChanges:
    """All tensors that are not the same; true if there are any.

    Args:
        changes: in the order of the files of the later version, those that are gone at the end.
        equal: how many are the same.
        read: the bytes that were read, of both.
        note: why nothing is known of them.
    """

    changes: tuple[TensorChange, ...] = ()
    equal: int = 0
    read: int = 0
    note: str = ""

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[TensorChange]:
        return iter(self.changes)

    def __getitem__(self, name: str) -> TensorChange:
        """The change of one tensor.

        Raises:
            KeyError: it is the same in both, or in neither.
        """
        return {change.name: change for change in self.changes}[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        listed = [one.to_dict() for one in self.changes]
        return {"changes": listed, "equal": self.equal, "read": self.read, "note": self.note}


def tensor_changes(before: VersionFacts, after: VersionFacts) -> TensorChanges:
    """What of the tensors of *before* is otherwise in *after*.

    Reads the headers of both, and what is not equal by digest.

    Raises:
        IntegrityError: a stored byte is wrong; names the object.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://tensorchange")
        >>> old = registry.save({"w": np.array([3.0, 4.0]), "b": np.zeros(2)}, "churn")
        >>> new = registry.save({"w": np.array([3.0, 4.5]), "b": np.zeros(2)}, "churn")
        >>> found = tensor_changes(old, new)
        >>> found["w"].relative, found["w"].changed, found.equal
        (0.1, 1, 1)
    """
    old, new = Side(before), Side(after)
    names = [*new.names, *(name for name in old.names if name not in new.names)]
    with Threads(_AT_ONCE) as threads:
        found = [_change(name, old, new, threads) for name in names]
    changes = tuple(change for change, _ in found if change is not None)
    return TensorChanges(changes, len(found) - len(changes), sum(read for _, read in found))


def _change(name: str, old: Side, new: Side, threads: Threads) -> tuple[TensorChange | None, int]:
    """What became of one tensor, and the bytes that were read for it."""
    try:
        was = old.locate(name) if name in old.names else None
        now = new.locate(name) if name in new.names else None
        if was and now and was.shape == now.shape and was.is_in_rows != now.is_in_rows:
            was, now = old.whole(name), new.whole(name)  # no run of bytes of the one is one of the other
    except SerializerError as error:  # the library that it is of is not here, or does not take it
        return TensorChange(name=name, kind="unknown", note=str(error)), 0
    shapes = (was.shape if was else None, now.shape if now else None)
    dtypes = (was.dtype if was else None, now.dtype if now else None)
    known = partial(TensorChange, name=name, shapes=shapes, dtypes=dtypes)
    if was is None or now is None:
        return known(kind="gone" if now is None else "new"), 0
    if was.shape != now.shape:
        return known(kind="reshaped"), 0
    sums = Sums() if was.is_same(now) else _summed(old, was, new, now, threads)
    if was.dtype == now.dtype and not sums.changed:
        return None, sums.read
    change = known(
        kind="changed" if was.dtype == now.dtype else "retyped",
        relative=sums.relative if was.is_number and now.is_number else None,
        changed=sums.changed,
        not_finite=sums.not_finite,
    )
    return change, sums.read


def _summed(old: Side, was: Located, new: Side, now: Located, threads: Threads) -> Sums:
    spans = list(_spans(was, now))
    works = [partial(_of_span, old, was, new, now, *span) for span in spans]
    if len(works) == 1 or was.is_packed or now.is_packed:
        return sum((work() for work in works), Sums())
    return sum((later.result() for later in [threads.start(work) for work in works]), Sums())


def _spans(was: Located, now: Located) -> Iterator[tuple[int, int]]:
    """Runs of elements that end where pieces of both end, and none of which is longer than a piece can be."""
    most = max(1, PIECE // max(was.itemsize, now.itemsize))
    inner = {end for end in was.ends() & now.ends() if 0 < end < was.count}
    for start, stop in pairwise([0, *sorted(inner), was.count]):
        yield from ((at, min(at + most, stop)) for at in range(start, stop, most))


def _of_span(old: Side, was: Located, new: Side, now: Located, start: int, stop: int) -> Sums:
    runs = was.within(start, stop)
    same = bool(runs) and was.dtype == now.dtype and runs == now.within(start, stop)
    before = old.elements(was, start, stop)
    after = before if same else new.elements(now, start, stop)
    read = Sums(read=(stop - start) * (was.itemsize + (0 if same else now.itemsize)))
    if not (was.is_number and now.is_number):
        return read + Sums(changed=differing(before, after))
    return read + of_elements(before, after)
