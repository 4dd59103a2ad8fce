"""Arrays of NumPy, tensors of torch, sparse matrices of SciPy.

Strides, byte order and the format of a sparse one do not count; shape and dtype do.
"""

from __future__ import annotations

import sys
from typing import Any

import attrs
import numpy as np
from blake3 import blake3

from modelkeep.capture.frames.columns import Array, Column, UnknownColumnError, numbers_block
from modelkeep.capture.frames.objects import column_of_array
from modelkeep.capture.frames.rowhash import mixed, number_bits, seed_of, spread
from modelkeep.capture.frames.sketching import Least
from modelkeep.capture.frames.table import digested, names_digest
from modelkeep.dataset import DatasetFacts, Sketch
from modelkeep.digest import digest_of, flat
from modelkeep.schema import Values

_AT_ONCE = 1 << 18  # values; 2 MiB of float64
_MANY = 1 << 20  # bytes that BLAKE3 takes all cores for


@attrs.frozen
class _Flat:
    """An array of numbers, and what its dtype is called."""

    values: Array
    word: str


def facts_of_array(obj: Any, *, sketch: bool) -> DatasetFacts:
    """The facts of an array or a tensor.

    Raises:
        UnknownColumnError: it holds what has no form here.
    """
    array = flattened(obj)
    shape = tuple(int(size) for size in array.values.shape)
    rows = shape[0] if shape else None
    width = int(np.prod(shape[1:])) if len(shape) > 1 else 1 if shape else None
    least = Least() if sketch and array.values.dtype.kind in "biufc" and rows is not None else None
    value, missing, size = _digest(array, least)
    names = names_digest(map(str, range(width or 0)))
    return DatasetFacts(
        kind="array",
        fingerprint=f"array-1:{digest_of('array-1', array.word, *map(str, shape), value)}",
        rows=rows,
        columns=width,
        size=size,
        schema=Values(_known(array.word), (None, *shape[1:]) if shape else (), missing),
        sketch=None if least is None else Sketch(names, least.hashes()),
    )


def _known(word: str) -> str:
    return word if word.isalnum() and word.isascii() else "object"


def flattened(obj: Any) -> _Flat:
    """The array of NumPy behind an object; a tensor on a device is copied.

    Raises:
        UnknownColumnError: it has none.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(obj, torch.Tensor):
        return _tensor(obj, torch)
    values = np.ma.filled(obj.astype("f8"), np.nan) if isinstance(obj, np.ma.MaskedArray) else np.asarray(obj)
    if values.dtype.names is not None:
        raise UnknownColumnError("an array of records; give a frame")
    word = {"b": "bool", "M": "datetime", "m": "duration"}.get(values.dtype.kind, values.dtype.newbyteorder("=").name)
    return _Flat(values, word)


def _tensor(tensor: Any, torch: Any) -> _Flat:
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise UnknownColumnError(f"a tensor of the layout {tensor.layout}; give a dense one")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    word = str(plain.dtype).removeprefix("torch.")
    if word == "bfloat16":
        return _Flat(plain.float().numpy(), word)  # exact, and has room for one NaN
    try:
        return _Flat(plain.numpy(), word)
    except TypeError:
        raise UnknownColumnError(f"a tensor of {word}") from None


def _digest(array: _Flat, least: Least | None) -> tuple[str, bool, int]:
    values = array.values
    if values.dtype.kind not in "biufc":
        one = digested(_others(values))
        return one.digest(), one.nulls > 0, one.size
    if values.dtype.itemsize > (16 if values.dtype.kind == "c" else 8):
        raise UnknownColumnError(f"holds {values.dtype}, of which each machine has another")
    hasher = blake3(max_threads=blake3.AUTO) if values.nbytes >= _MANY else blake3()
    missing, wide = False, int(np.prod(values.shape[1:]))
    each = max(1, _AT_ONCE // max(1, wide))
    seeds: Array = None if least is None else _seeds(wide)
    rows = values if values.ndim else values.reshape(1)
    for start in range(0, len(rows), each):
        part = np.ascontiguousarray(rows[start : start + each]).reshape(-1)
        block = numbers_block(part.view("u1") if part.dtype.kind == "b" else part, None)
        kept = block.parts[0]
        if block.valid is not None:  # NaN is one value here, and the only one that stays
            missing = True
            kept[~block.valid] = np.nan
        hasher.update(flat(kept.data))
        if least is not None and wide:
            bits = number_bits(kept).reshape(-1, wide)
            least.add(mixed(spread(bits, seeds, np.empty_like(bits)).sum(axis=1, dtype="u8")))
    return hasher.hexdigest(), missing, values.nbytes


def _seeds(wide: int) -> Array:
    if wide <= 1024:  # noqa: PLR2004  few enough to have the seeds of columns of these names
        return np.array([seed_of(str(place)) for place in range(wide)], "u8")
    return mixed(np.arange(1, wide + 1, dtype="u8"))


def _others(values: Array) -> Column:
    """Text, moments and objects, one after another."""
    try:
        return column_of_array(np.ascontiguousarray(values).reshape(-1))
    except RecursionError:
        raise UnknownColumnError("is nested without end") from None


def facts_of_sparse(matrix: Any, *, sketch: bool) -> DatasetFacts:
    """The facts of a sparse matrix or array of SciPy: of its rows in order, their columns in order, without zeros.

    Raises:
        UnknownColumnError: it has other than two dimensions, or holds what is no number.
    """
    if matrix.ndim != 2 or matrix.dtype.kind not in "biufc":  # noqa: PLR2004
        raise UnknownColumnError(f"a sparse array of {matrix.ndim} dimensions of {matrix.dtype}")
    rows = matrix.tocsr(copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    rows.sort_indices()
    block = numbers_block(rows.data.view("u1") if rows.data.dtype.kind == "b" else rows.data, None)
    kept = block.parts[0]
    if block.valid is not None:
        kept[~block.valid] = np.nan
    ends, places = rows.indptr.astype("<i8"), rows.indices.astype("<i8")
    hasher = blake3(max_threads=blake3.AUTO)
    for part in (ends, places, kept):
        hasher.update(flat(part.data))
    word = "bool" if matrix.dtype.kind == "b" else matrix.dtype.newbyteorder("=").name
    count, width = (int(size) for size in matrix.shape)
    return DatasetFacts(
        kind="sparse",
        fingerprint=f"sparse-1:{digest_of('sparse-1', word, str(count), str(width), hasher.hexdigest())}",
        rows=count,
        columns=width,
        size=ends.nbytes + places.nbytes + kept.nbytes,
        schema=Values(_known(word), (None, width), block.valid is not None),
        sketch=_sparse_sketch(ends, places, kept, width) if sketch else None,
    )


def _sparse_sketch(ends: Array, places: Array, values: Array, width: int) -> Sketch:
    cells = mixed(number_bits(values) ^ mixed((places + 1).view("u8")))
    sums = np.concatenate([np.zeros(1, "u8"), np.cumsum(cells, dtype="u8")])
    least = Least()
    least.add(mixed(sums[ends[1:]] - sums[ends[:-1]]))
    return Sketch(digest_of("sparse", str(width))[:16], least.hashes())
