"""One pass over the columns of a frame: fingerprint, schema, profile and row hashes, a span of rows at a time.

Fingerprint ``frame-1``: a column is digested with BLAKE3 block by block (validity bits where a value is missing, then
the parts), ended by its word, its rows and the digests of its children; a frame by its rows, and names and digests of
its columns in their order. A column in which all is missing has the word ``null``, whatever it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
from blake3 import blake3

from modelkeep.capture.frames.columns import BLOCK, Array, Block, Column, UnknownColumnError
from modelkeep.capture.frames.counting import Counter, drawn
from modelkeep.capture.frames.rowhash import block_bits, mixed, nested_bits, seed_of, spread
from modelkeep.capture.frames.sketching import Least
from modelkeep.dataset import MAX_PROFILED, ColumnProfile, Sketch
from modelkeep.digest import digest_of, flat
from modelkeep.schema import Columns, Values
from modelkeep.threads import Threads, cores

SCHEME = "frame-1"
_SPAN = 16 * BLOCK  # rows; threads wait for each other after so many
_SMALL = 1 << 18  # values; fewer are done sooner than threads start
_MAX_NAMED = 10_000  # columns whose names and types are told


class _Sums:
    """The numbers of a span of rows: sums over their columns, so that the order of these does not matter."""

    def __init__(self, rows: int) -> None:
        self._total = np.zeros(rows, "u8")
        self._lock = threading.Lock()

    def add(self, place: int, part: Array) -> None:
        """Add the numbers of a column from a row on."""
        with self._lock:
            total = self._total[place : place + len(part)]
            np.add(total, part, out=total)

    def taken(self, rows: int) -> Array:
        """The first of them, spread; begins anew."""
        found = mixed(self._total[:rows])
        self._total[:] = 0
        return found


@attrs.define
class _Pass:
    """What is found out about one column on the way."""

    name: str
    column: Column
    counter: Counter | None
    seed: Any  # None: rows are not hashed
    hasher: Any = attrs.field(factory=blake3)
    nulls: int = 0
    size: int = 0
    _nested: Array | None = None

    def go(self, start: int, stop: int, sums: _Sums | None = None) -> None:
        """Look at a span of rows, and add their numbers to those of other columns."""
        if self.seed is None:
            sums = None
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            block = self.column.read(first, last)
            self._digest(block)
            if sums is None and self.counter is None:
                continue
            bits = self._bits(first, last, block)
            if self.counter is not None:
                self.counter.see(first, block, None if self.column.children else bits)
            if sums is not None:
                sums.add(first - start, spread(bits, self.seed, np.empty(last - first, "u8")))

    def _bits(self, start: int, stop: int, block: Block) -> Array:
        if not self.column.children:
            return block_bits(self.column.word, block)
        if self._nested is None:
            self._nested = nested_bits(self.column)
        return self._nested[start:stop]

    def _digest(self, block: Block) -> None:
        if block.valid is None:
            self.hasher.update(b"\x01")
        else:
            self.hasher.update(b"\x00" + np.packbits(block.valid, bitorder="little").tobytes())
            self.nulls += block.rows - int(np.count_nonzero(block.valid))
        for part in block.parts:
            self.size += part.nbytes
            self.hasher.update(flat(part.data))

    def digest(self) -> str:
        """The digest of the column, after all rows."""
        if self.nulls == self.column.rows:
            return digest_of("null", str(self.column.rows))
        children = [(name, digested(child)) for name, child in self.column.children]
        self.size += sum(child.size for _, child in children)
        inner = [text for name, child in children for text in (_quoted(name), child.digest())]
        return digest_of(self.column.word, str(self.column.rows), *inner, self.hasher.hexdigest())


def _quoted(name: str) -> str:
    return name.encode("unicode_escape", "surrogatepass").decode()  # one line each


def digested(column: Column) -> _Pass:
    """A column that was gone through for its digest alone."""
    one = _Pass("", column, None, None)
    one.go(0, column.rows)
    return one


@attrs.frozen
class Told:
    """What one pass over a frame tells."""

    fingerprint: str
    rows: int
    size: int
    schema: Columns | None
    types: dict[str, str]
    profile: dict[str, ColumnProfile] | None
    sketch: Sketch | None
    notes: tuple[str, ...]


def tell(columns: Sequence[tuple[str, Column]], *, profile: bool, sketch: bool, apart: frozenset[str]) -> Told:
    """Go over the columns of a frame once.

    Args:
        columns: their names and themselves, all of as many rows.
        profile: whether values are counted.
        sketch: whether rows are hashed.
        apart: names of columns that are no part of a row, such as row numbers.
    """
    rows = columns[0][1].rows if columns else 0
    picked = drawn(rows)
    passes = [
        _Pass(
            name,
            column,
            Counter(name, column, picked) if profile and place < MAX_PROFILED else None,
            None if not sketch or name in apart else seed_of(name),
        )
        for place, (name, column) in enumerate(columns)
    ]
    least = Least()
    _go(passes, rows, least.add if sketch else None)
    told = [(one.name, one.digest()) for one in passes]
    lines = [text for name, value in told for text in (_quoted(name), value)]
    names, notes = _names([name for name, _ in told])
    return Told(
        fingerprint=f"{SCHEME}:{digest_of(SCHEME, str(rows), *lines)}",
        rows=rows,
        size=sum(one.size for one in passes),
        schema=_schema(names, passes) if len(passes) <= _MAX_NAMED else None,
        types=dict(zip(names, [one.column.native or one.column.word for one in passes], strict=True))
        if len(passes) <= _MAX_NAMED
        else {},
        profile={name: _profiled(one) for name, one in zip(names, passes, strict=True) if one.counter is not None}
        if profile
        else None,
        sketch=Sketch(names_digest(name for name, _ in told if name not in apart), least.hashes()) if sketch else None,
        notes=(*notes, *_left_out(len(passes), profile=profile)),
    )


def _left_out(count: int, *, profile: bool) -> list[str]:
    notes = (
        [f"profile: only of the first {MAX_PROFILED} of {count} columns"] if profile and count > MAX_PROFILED else []
    )
    return notes + ([f"schema unknown: {count} columns are too many to name"] if count > _MAX_NAMED else [])


def names_digest(names: Iterable[str]) -> str:
    """A digest of the names of columns, whatever their order."""
    return digest_of(*sorted(map(_quoted, names)))[:16]


def _go(passes: Sequence[_Pass], rows: int, take: Callable[[Array], None] | None) -> None:
    """Go over all columns, side by side where that is worth threads; *take* is given the hashes of rows, in order."""
    count = min(cores(), len(passes)) if rows * len(passes) >= _SMALL else 1
    sums = None if take is None else _Sums(min(rows, _SPAN))
    with Threads(max(1, count)) as threads:
        for start in range(0, rows, _SPAN):
            stop = min(start + _SPAN, rows)
            if count < 2:  # noqa: PLR2004
                for one in passes:
                    one.go(start, stop, sums)
            else:
                for later in [threads.start(partial(one.go, start, stop, sums)) for one in passes]:
                    later.result()
            if take is not None and sums is not None:
                take(sums.taken(stop - start))


def row_hashes(columns: Sequence[tuple[str, Column]]) -> Array:
    """The hash of each row, by the names and values of its columns.

    Raises:
        UnknownColumnError: a column has no form.
    """
    rows = columns[0][1].rows if columns else 0
    parts: list[Array] = []
    _go([_Pass(name, column, None, seed_of(name)) for name, column in columns], rows, parts.append)
    return np.concatenate(parts) if parts else np.zeros(rows, "u8")


def _profiled(one: _Pass) -> ColumnProfile:
    assert one.counter is not None  # noqa: S101  for the type checker
    one.counter.nulls = one.nulls
    return one.counter.profile()


def _names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that are there once; a second column of a name gets a number."""
    found: list[str] = []
    seen: set[str] = set()
    for place, name in enumerate(names):
        text = name if name not in seen else f"{name} (column {place + 1})"
        seen.add(text)
        found.append(text)
    twice = len(set(names)) < len(names)
    return found, ["columns of one name are told apart by their place"] if twice else []


def _schema(names: Sequence[str], passes: Sequence[_Pass]) -> Columns:
    return Columns({name: _values(one) for name, one in zip(names, passes, strict=True)})


def _values(one: _Pass) -> Values:
    column = one.column
    dtype = column.dtype or column.word
    known = dtype if dtype.isalnum() and dtype.isascii() else "object"
    listed = column.categories
    plain = listed is not None and all(type(value) in (str, int, float, bool) and value == value for value in listed)  # noqa: PLR0124
    return Values(known, (None,), one.nulls > 0, listed if plain else None)


def read_all(columns: Iterable[tuple[str, Any]], turn: Callable[[Any], Column]) -> list[tuple[str, Column]]:
    """Columns of a library in their form.

    Raises:
        UnknownColumnError: one has none; names it.
    """
    found = []
    for name, column in columns:
        try:
            found.append((name, turn(column)))
        except UnknownColumnError as error:
            raise UnknownColumnError(f"the column {name!r:.80} {error}") from None
    return found
