"""What commands show: paragraphs, commands to copy, tables and bars, on a terminal or in a file; and JSON.

`rich` is loaded by what needs it: neither ``--help`` nor ``--json`` does.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    import modelkeep as mk

ROOMY = 120  # columns; a narrower terminal needs its room for what happened and why
_DIGITS = 8  # of the id of a failed run: enough to tell those of one model apart
UNBOUNDED = 10_000  # columns; what goes to a file or a pipe is not wrapped, so that grep finds a line whole

Cell = str | int | float | None


def printable(text: str) -> str:
    r"""Put *text* on one line and spell out what a terminal would obey: others may have written it.

    Example:
        >>> print(printable("wider\ntrees\x1b[2J"))
        wider trees\x1b[2J
    """
    line = " ".join(text.splitlines())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def wrapped(text: str) -> str:
    """The same with its lines broken between words, where standard error is a terminal; a file gets them whole."""
    if not sys.stderr.isatty():
        return text
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.splitlines())
    return "\n".join("\n".join(parts) for parts in lines)


class Page:
    """What a command shows: paragraphs, commands to copy, and tables, on a terminal or in a file."""

    def __init__(self) -> None:
        from rich.console import Console

        width = None if sys.stdout.isatty() else UNBOUNDED
        self._console = Console(width=width, markup=False, highlight=False, emoji=False)

    def say(self, text: str, *, indent: int = 0) -> None:
        """Show a paragraph, so many columns further in."""
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text(printable(text)), (0, 0, 0, indent), expand=False))

    def heading(self, text: str) -> None:
        """Show what comes next."""
        self._console.print()
        self._console.print(printable(text), style="bold")

    def command(self, text: str) -> None:
        """Show a command as it can be copied, on one line however long it is."""
        self._console.print(f"  {printable(text)}", style="cyan", soft_wrap=True)

    def text(self, text: str) -> None:
        """Show a text of several lines as it is, each on one line however long it is."""
        for line in text.splitlines():
            self._console.print(printable(line), soft_wrap=True)

    def tree(self, text: str) -> None:
        """Show a tree, each line cut where a terminal ends; in ASCII where it has nothing else."""
        from rich.text import Text

        from modelkeep.lineagetree import PLAIN

        ascii_only = self._console.options.ascii_only
        for line in text.splitlines():
            shown = printable(line.translate(PLAIN) if ascii_only else line)
            self._console.print(Text(shown), no_wrap=True, overflow="ellipsis")

    def facts(self, rows: Iterable[tuple[str, Cell]]) -> None:
        """Show what is known, a row for each fact; one that is None or empty is left out."""
        from rich.table import Table

        table = Table(box=None, show_header=False, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, max_width=30, overflow="ellipsis", style="bold")
        table.add_column(overflow="fold")
        known = ((name, _spelled(value)) for name, value in rows)
        self._rows(table, ((printable(name), value) for name, value in known if value))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Show rows below the names of their columns; numbers stand to the right, None is empty."""
        table = _table()
        for index, column in enumerate(columns):
            numbers = all(isinstance(row[index], int | float | None) for row in rows)
            table.add_column(column, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
        self._rows(table, (map(_spelled, row) for row in rows))

    def history(self, events: Iterable[mk.Event]) -> None:
        """Show what happened to a model, a row for each event; a narrow terminal cuts who did it."""
        narrow = self._console.width < ROOMY
        table = _table()
        table.add_column("time (UTC)", no_wrap=True)
        table.add_column("who", no_wrap=True, overflow="ellipsis", max_width=16 if narrow else None)
        table.add_column("what", overflow="fold")
        table.add_column("version", no_wrap=True, justify="right")
        table.add_column("why", overflow="fold")
        cells = ((f"{one.time:%Y-%m-%d %H:%M:%S}", one.actor, _what(one), one.version, _why(one)) for one in events)
        self._rows(table, (map(_spelled, row) for row in cells))

    def _rows(self, table: Table, rows: Iterable[Iterable[str]]) -> None:
        from rich.text import Text

        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table)


class Blank:
    """A page that shows nothing, where what was done is printed as JSON."""

    def say(self, text: str, *, indent: int = 0) -> None:
        """See `Page.say`."""

    def heading(self, text: str) -> None:
        """See `Page.heading`."""

    def command(self, text: str) -> None:
        """See `Page.command`."""

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """See `Page.table`."""

    def history(self, events: Iterable[mk.Event]) -> None:
        """See `Page.history`."""


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _what(event: mk.Event) -> str:
    """What happened; the journal's word for a failed run is draft, and its id is long."""
    if event.action in ("draft", "drop"):
        return f"{'drop ' * (event.action == 'drop')}failed run {event.subject[:_DIGITS]}"
    return f"{event.action} {event.subject}".rstrip()


def _why(event: mk.Event) -> str:
    """What people gave as the reason, and what gates found."""
    said = [event.text or "", "" if event.evidence is None else event.evidence.summary]
    return "; ".join(filter(None, said))


def _spelled(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return "" if cell is None else printable(str(cell))


def count(number: int, word: str) -> str:
    """A number and what it counts.

    Example:
        >>> count(1, "pack"), count(2000, "pack")
        ('1 pack', '2,000 packs')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """A number of bytes as people say it.

    Example:
        >>> size(1_500_000)
        '1.5 MB'
    """
    from rich.filesize import decimal

    return decimal(number)


def named(values: Mapping[str, object]) -> str:
    """Values by name on one line; of a float six digits.

    Example:
        >>> named({"auc": 0.912345678, "kind": "linear", "depth": 6})
        'auc 0.912346, kind linear, depth 6'
    """
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def shown(value: object) -> str:
    """A value as people read it; of a float six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def print_json(value: object) -> None:
    """Show a value as JSON that every parser reads: NaN and infinity are texts, and so are times."""
    import click

    click.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


@contextmanager
def bar(what: str, *, in_bytes: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's standard error; nothing elsewhere. Gives what is told (done, total)."""
    if not sys.stderr.isatty():
        yield _untold
        return
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    counted = DownloadColumn() if in_bytes else MofNCompleteColumn()
    with _progress(TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn()) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _untold(done: int, total: int) -> None:
    del done, total


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """That something goes on, and for how long, where nobody tells how far it is; on a terminal's standard error."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as shown:
        shown.add_task(what, total=None)
        yield


def _progress(*columns: Any) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)
