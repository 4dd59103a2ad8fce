"""Ordered, lazily made results that a notebook and pandas can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class Listing(Sequence[T], Generic[T]):
    """A sequence whose items are made when they are looked at.

    Args:
        keys: what each item is made from.
        make: makes an item from its key.
        row: turns an item into a row for a table.
    """

    def __init__(self, keys: Sequence[Any], make: Callable[[Any], T], row: Callable[[T], dict[str, Any]]) -> None:
        self._keys = keys
        self._make = make
        self._row = row

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Listing[T]: ...
    def __getitem__(self, index: int | slice) -> T | Listing[T]:
        if isinstance(index, slice):
            return Listing(self._keys[index], self._make, self._row)
        return self._make(self._keys[index])

    def __iter__(self) -> Iterator[T]:
        return map(self._make, self._keys)

    def __repr__(self) -> str:
        shown = ", ".join(str(item) for item in self[:10])
        more = f", … {len(self) - 10} more" if len(self) > 10 else ""  # noqa: PLR2004  what fits on a line
        return f"[{shown}{more}]"

    def _repr_html_(self) -> str:
        """The first 20 items as a table."""
        from modelkeep.views.listing import listing_html

        return listing_html(len(self), lambda count: self[:count].to_dicts())

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dict for each item."""
        return [self._row(item) for item in self]

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each item; parameters and metrics become columns.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(self.to_dicts())
