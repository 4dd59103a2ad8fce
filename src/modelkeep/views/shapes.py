"""What views have in common: how values, bytes and moments are written, and what stands where nothing can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from modelkeep.digest import is_digest
from modelkeep.errors import ModelkeepError, shown
from modelkeep.markup import Child, table, tag, view
from modelkeep.system import parse_time

LONGEST = 200  # characters of a value in a table; the rest is for who asks for the value itself
MAX_ROWS = 100  # of a table of parameters, metrics or columns
_SHORT = 12  # characters of a digest: enough for a reference, `churn#b3f1…`
_EXACT = 1 << 63


def safely(what: str, make: Callable[[], Child]) -> str:
    """The view of what *make* gives, or of the reason why there is none: a notebook shows no traceback for a glance.

    Args:
        what: the subject of that sentence.
        make: reads, and builds the tree.

    Example:
        >>> "churn cannot be shown: ZeroDivisionError" in safely("churn", lambda: str(1 // 0))
        True
    """
    try:
        return view(make())
    except Exception as error:  # noqa: BLE001  whatever a store or a record does, a glance must not fail
        return view(unread(what, error, "shown"))


def attempted(what: str, make: Callable[[], Child]) -> Child:
    """A part of a view, or a line that says why it is not there. *make* reads when it is called, not later."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001  the other parts are still worth a look
        return unread(what, error)


def unread(what: str, error: Exception, done: str = "read") -> Element:
    """The line that stands in place of what could not be read."""
    reason = str(error) if isinstance(error, ModelkeepError) else shown(error)
    return tag("p", f"{what} cannot be {done}: {clipped(reason, 500)}", class_="bad")


def clipped(text: str, longest: int = LONGEST) -> str:
    """*text*, with a mark where it was cut.

    Example:
        >>> clipped("abcdef", 3)
        'abc…'
    """
    return text if len(text) <= longest else f"{text[:longest]}…"


def spelled(value: object) -> str | int | float:
    """Any value as a cell of a table has it: numbers stay numbers, the rest becomes one short text.

    Example:
        >>> spelled(0.5), spelled([1, 2]), spelled("b3" * 32), spelled(None)
        (0.5, '[1, 2]', 'b3b3b3b3b3b3…', '')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return f"{value[:_SHORT]}…" if is_digest(value) else clipped(value)
    if type(value) is float or (type(value) is int and abs(value) < _EXACT):
        return value
    return when(value) if isinstance(value, datetime) else clipped(shown(value))


def when(moment: datetime | str) -> str:
    """A moment as people read it, in UTC, to the minute.

    Example:
        >>> when("2026-03-01T12:00:07.000000Z")
        '2026-03-01 12:00'
    """
    known = parse_time(moment) if isinstance(moment, str) else moment
    return f"{known.astimezone(UTC) if known.tzinfo else known:%Y-%m-%d %H:%M}"


def moment(known: datetime | str) -> Element:
    """The same for a cell of a table, on one line."""
    return tag("span", when(known), class_="whole")


def quoted(text: str) -> str:
    """A text as Python has it, in double quotes where that says the same.

    Example:
        >>> print(quoted("churn:7"), quoted('a"b'))
        "churn:7" 'a"b'
    """
    plain = repr(text)
    return f'"{text}"' if plain == f"'{text}'" and '"' not in text else plain


def size(count: int) -> str:
    """A number of bytes as people say it.

    Example:
        >>> size(999), size(1_500_000)
        ('999 bytes', '1.5 MB')
    """
    if count < 1000:  # noqa: PLR2004  a kilobyte
        return f"{count} byte{'' if count == 1 else 's'}"
    amount, units = float(count), iter("kMGTPE")
    unit = next(units)
    amount /= 1000
    while amount >= 999.95 and unit != "E":  # noqa: PLR2004  what one decimal would show as 1000.0
        amount, unit = amount / 1000, next(units)
    return f"{amount:.1f} {unit}B"


def counted(number: int, word: str) -> str:
    """A number and what it counts.

    Example:
        >>> counted(1, "version"), counted(2000, "version")
        ('1 version', '2,000 versions')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def badges(words: Iterable[str], role: str = "") -> list[Child]:
    """Each word in a frame of its own, with a space between."""
    return [[tag("span", word, class_=f"badge {role}".rstrip()), " "] for word in words]


def bounded(
    head: Sequence[str], rows: Sequence[Sequence[Child]], total: int, *, caption: str | None = None, rest: str = ""
) -> Child:
    """A table of the first rows, and a line that says how many more there are, and what gives them.

    Args:
        head: the names of the columns.
        rows: those that are shown.
        total: how many there are.
        caption: above the table.
        rest: the call that gives all of them.
    """
    more = total - len(rows)
    said = f"and {more:,} more{f': {rest}' if rest else ''}"
    return [table(head, rows, caption=caption), tag("p", said, class_="soft") if more else None]


def named(values: Mapping[str, object], head: tuple[str, str], *, rest: str = "") -> Child:
    """A table of names and values; nothing where there are none."""
    rows = [[clipped(str(name)), spelled(value)] for name, value in list(values.items())[:MAX_ROWS]]
    return bounded(head, rows, len(values), rest=rest) if rows else None


def picture(width: int, height: int, label: str, *children: Child) -> Element:
    """A drawing of so many pixels, and what it says to those who cannot see it."""
    box = f"0 0 {width} {height}"
    return tag("svg", children, viewBox=box, width=width, height=height, role="img", aria_label=label)


def folded(title: str, *children: Child, unfolded: bool = False) -> Element | None:
    """A part that opens when its title is clicked; None without children."""
    if all(child is None for child in children):
        return None
    return tag("details", tag("summary", title), children, open="" if unfolded else None)
