"""Two outputs side by side: which values differ, where first, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from modelkeep.samples import family, is_missing, names_of
from modelkeep.version import Tolerance


@attrs.define
class Difference:
    """What a comparison found so far; `modelkeep.golden.GoldenCheck` explains the words, and is what users get."""

    compared: int = 0
    differing: int = 0
    worst_absolute: float = 0.0
    worst_relative: float = 0.0
    where: str | None = None
    why: str | None = None

    def note(self, count: int, where: str, why: str) -> None:
        """Add values that differ."""
        self.differing += count
        if self.where is None:
            self.where, self.why = where or "the outputs", why

    def compare(self, then: Any, now: Any, tolerance: Tolerance) -> None:
        """Compare outputs with those that are expected."""
        old, new = dict(_leaves("", then)), dict(_leaves("", now))
        for path, expected in old.items():
            if path in new:
                self._arrays(path, expected, new[path], tolerance)
            else:
                self.compared += expected.size
                self.note(max(1, expected.size), path, "it is not there")
        for path in new.keys() - old.keys():
            self.note(max(1, new[path].size), path, "it was not there")

    def _arrays(self, path: str, then: Any, now: Any, tolerance: Tolerance) -> None:
        self.compared += then.size
        if then.shape != now.shape:
            self.note(max(1, then.size), path, f"shape {now.shape} came, and {then.shape} is expected")
            return
        if then.dtype.kind in "fc" or now.dtype.kind in "fc":
            if then.dtype.kind in "biufc" and now.dtype.kind in "biufc":
                self._numbers(path, then, now, tolerance)
                return
        elif "O" not in (then.dtype.kind, now.dtype.kind) and _kind(then) == _kind(now):
            equal = (then == now) | (_is_nat(then) & _is_nat(now))
            self._note_first(path, np.asarray(equal), then, now)
            return
        self._objects(path, then, now, tolerance)

    def _numbers(self, path: str, then: Any, now: Any, tolerance: Tolerance) -> None:
        wide = np.complex128 if "c" in (then.dtype.kind, now.dtype.kind) else np.float64
        old, new = then.astype(wide), now.astype(wide)
        with np.errstate(all="ignore"):
            equal = (old == new) | (np.isnan(old) & np.isnan(new))
            distance = np.where(equal, 0.0, np.abs(new - old))
            distance = np.where(np.isnan(distance), np.inf, distance)
            within = equal | (np.isfinite(old) & (distance <= tolerance.atol + tolerance.rtol * np.abs(old)))
            relative = np.where(equal, 0.0, distance / np.abs(old))
            relative = np.where(np.isnan(relative), np.inf, relative)
        if old.size:
            self.worst_absolute = max(self.worst_absolute, float(distance.max()))
            self.worst_relative = max(self.worst_relative, float(relative.max()))
        self._note_first(path, within, then, now)

    def _objects(self, path: str, then: Any, now: Any, tolerance: Tolerance) -> None:
        """Values of mixed kinds, one by one."""
        pairs = zip(then.reshape(-1).tolist(), now.reshape(-1).tolist(), strict=True)
        same = [_is_same(old, new, tolerance) for old, new in pairs]
        self._note_first(path, np.array(same, dtype=bool).reshape(then.shape), then, now)

    def _note_first(self, path: str, same: Any, then: Any, now: Any) -> None:
        if same.all():
            return
        index = tuple(int(one) for one in np.argwhere(~same)[0])
        place = f"[{', '.join(map(str, index))}]" if index else ""
        count = int(same.size - np.count_nonzero(same))
        self.note(count, path + place, f"{now[index]!r:.80} came, and {then[index]!r:.80} is expected")


def _kind(array: Any) -> str:
    """Whole numbers of any width can be equal; text and numbers cannot."""
    return "number" if array.dtype.kind in "biu" else str(array.dtype.kind)


def _is_nat(array: Any) -> Any:
    return np.isnat(array) if array.dtype.kind in "mM" else np.zeros(array.shape, bool)


def _is_same(old: Any, new: Any, tolerance: Tolerance) -> bool:
    if is_missing(old) or is_missing(new):
        return is_missing(old) and is_missing(new)
    numbers = (int, float, complex)
    if isinstance(old, numbers) and isinstance(new, numbers) and not (isinstance(old, int) and isinstance(new, int)):
        return bool(old == new or abs(new - old) <= tolerance.atol + tolerance.rtol * abs(old))
    try:
        return bool(old == new)
    except (TypeError, ValueError):  # arrays in objects
        return False


def _leaves(path: str, obj: Any) -> Iterator[tuple[str, Any]]:
    """The arrays in outputs of any library, each with its path."""
    library = family(obj)
    if library in ("pandas", "polars", "pyarrow") and hasattr(obj, "columns"):
        columns = obj.columns if library == "pyarrow" else (obj[name] for name in obj.columns)
        for name, column in zip(names_of(obj), columns, strict=True):
            yield f"{path}column {name!r}", _array(column)
    elif library is not None or not isinstance(obj, (Mapping, list, tuple)):
        yield path, _array(obj)
    elif isinstance(obj, Mapping):
        for name, part in obj.items():
            yield from _leaves(f"{path}[{name!r}]", part)
    elif any(isinstance(part, (Mapping, list, tuple)) or family(part) for part in obj):
        for index, part in enumerate(obj):
            yield from _leaves(f"{path}[{index}]", part)
    else:
        yield path, _array(list(obj))


def _array(obj: Any) -> Any:
    library = family(obj)
    if library is not None:
        return _ARRAYS[library](obj)
    try:
        return np.asarray(obj)
    except ValueError:  # lists of different lengths
        return np.array([obj], dtype=object)


def _of_torch(tensor: Any) -> Any:
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    return plain.float().numpy() if str(plain.dtype) == "torch.bfloat16" else plain.numpy()


_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "numpy": np.asarray,
    "torch": _of_torch,
    "scipy": lambda matrix: matrix.toarray(),
    "pandas": lambda series: np.asarray(series.to_numpy()),
    "polars": lambda series: np.asarray(series.to_numpy()),
    "pyarrow": lambda column: np.asarray(column.to_pylist(), dtype=object),
}
