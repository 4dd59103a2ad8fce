"""What commands show: paragraphs, commands to copy, tables and bars, on a terminal or in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import modelkeep as mk

try:
    import click
    from rich import box
    from rich.console import Console
    from rich.filesize import decimal
    from rich.padding import Padding
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table
    from rich.text import Text
except ModuleNotFoundError as error:
    if error.name not in ("click", "rich"):
        raise
    # the console script imports this module, so only an exit can say this without a traceback
    raise SystemExit(f'the command modelkeep needs {error.name}: pip install "modelkeep[cli]"') from None

ROOMY = 120  # columns; a narrower terminal needs its room for what happened and why
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


class Page:
    """What a command shows: paragraphs, commands to copy, and tables, on a terminal or in a file."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else UNBOUNDED
        self._console = Console(width=width, markup=False, highlight=False, emoji=False)

    def say(self, text: str, *, indent: int = 0) -> None:
        """Show a paragraph, so many columns further in."""
        self._console.print(Padding(Text(printable(text)), (0, 0, 0, indent), expand=False))

    def heading(self, text: str) -> None:
        """Show what comes next."""
        self._console.print()
        self._console.print(Text(printable(text), style="bold"))

    def command(self, text: str) -> None:
        """Show a command as it can be copied, on one line however long it is."""
        self._console.print(Text(f"  {printable(text)}", style="cyan"), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Show rows below the names of their columns; numbers stand to the right, None is empty."""
        table = _table()
        for index, column in enumerate(columns):
            numbers = all(isinstance(row[index], int | float | None) for row in rows)
            table.add_column(column, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
        for row in rows:
            table.add_row(*(Text(_spelled(cell)) for cell in row))
        self._console.print(table)

    def history(self, events: Iterable[mk.Event]) -> None:
        """Show what happened to a model, a row for each event; a narrow terminal cuts who did it."""
        narrow = self._console.width < ROOMY
        table = _table()
        table.add_column("time (UTC)", no_wrap=True)
        table.add_column("who", no_wrap=True, overflow="ellipsis", max_width=16 if narrow else None)
        table.add_column("what", overflow="fold")
        table.add_column("version", no_wrap=True, justify="right")
        table.add_column("why", overflow="fold")
        for event in events:
            cells = (
                f"{event.time:%Y-%m-%d %H:%M:%S}",
                event.actor,
                f"{event.action} {event.subject}".rstrip(),
                event.version,
                event.text,
            )
            table.add_row(*(Text(_spelled(cell)) for cell in cells))
        self._console.print(table)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


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
    return decimal(number)


def print_json(value: object) -> None:
    """Show a value as JSON."""
    click.echo(json.dumps(value, indent=2))


@contextmanager
def bar(what: str, *, in_bytes: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's standard error; nothing elsewhere. Gives what is told (done, total)."""
    counted = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


registry_option = click.option(
    "--registry",
    metavar="URL",
    help="A folder, s3://..., gs://... or another URL.  [default: $MODELKEEP_REGISTRY, else ./.modelkeep]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
