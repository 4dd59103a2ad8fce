"""What a notebook shows of a listing: a row for each of the first items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelkeep.markup import Child, tag
from modelkeep.views.shapes import bounded, clipped, safely, spelled

MAX_ITEMS = 20
_MAX_COLUMNS = 30


def listing_html(total: int, rows: Callable[[int], Sequence[Mapping[str, Any]]]) -> str:
    """The first 20 items as a table. Costs what their rows cost: a request for each failed run, nothing for versions.

    Args:
        total: how many items there are.
        rows: gives the rows of so many.
    """
    return safely("this listing", lambda: _listing(total, rows(MAX_ITEMS)))


def _listing(total: int, rows: Sequence[Mapping[str, Any]]) -> Child:
    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = names[:_MAX_COLUMNS]
    cells = [[spelled(row.get(name)) for name in shown] for row in rows]
    more = f"{len(names) - len(shown):,} more columns: to_pandas()"
    left = tag("p", more, class_="soft") if len(names) > len(shown) else None
    if not rows:
        return tag("p", "nothing is listed", class_="soft")
    return [bounded([clipped(str(name)) for name in shown], cells, total, rest="to_pandas()"), left]
