"""A timeline as SVG: when versions were saved, and which one stood under each alias."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

import attrs

from modelkeep.markup import Child, tag
from modelkeep.views.shapes import clipped, picture, when

MAX_STEPS = 40  # the newest; 26 pixels each is what a number of four digits takes
MAX_LANES = 6
_LEFT, _PITCH, _LANE, _TOP = 110, 26, 30, 22  # pixels
_LABEL = 14  # characters that fit to the left of a lane


@attrs.frozen
class Step:
    """A save, or a move of an alias.

    Args:
        time: as the entry has it.
        number: the version; None where an alias was taken away.
        alias: empty for a save.
        how: ``save``, ``promote``, ``rollback`` or ``unset``.
        actor: who did it.
    """

    time: str
    number: int | None
    alias: str = ""
    how: str = "save"
    actor: str = ""


def timeline(saves: Sequence[Step], moves: Sequence[Step]) -> Child:
    """A lane of saves, and below it one for each alias with the version that stood there. Steps are evenly spaced.

    Args:
        saves: in the order of numbers.
        moves: of all aliases, in order.

    Returns:
        None without a save.
    """
    steps = sorted([*saves, *moves], key=lambda step: step.time)  # stable: within a journal the order is certain
    if not saves:
        return None
    first = max(0, len(steps) - MAX_STEPS)
    shown = steps[first:]
    lanes = list(dict.fromkeys(move.alias for move in reversed(moves)))[:MAX_LANES]
    before = {step.alias: step for step in steps[:first] if step.alias}
    width, height = _LEFT + _PITCH * len(shown) + 20, _TOP + _LANE * (1 + len(lanes)) + 8
    drawn = [_lane("saves", 0, shown, None, width)]
    drawn += [_lane(alias, place, shown, before.get(alias), width) for place, alias in enumerate(lanes, 1)]
    days = _days(shown, height)
    label = f"{len(saves)} saves and {len(moves)} moves of aliases, in order of time"
    return tag("div", picture(width, height, label, drawn, days), class_="wide")


def _x(place: int) -> int:
    return _LEFT + _PITCH * place + _PITCH // 2


def _lane(name: str, row: int, shown: Sequence[Step], before: Step | None, width: int) -> Element:
    """A name, and a mark for each step of that lane; of an alias also a line for as long as it was set."""
    alias = "" if row == 0 else name
    y = _TOP + _LANE * row
    marks = [(place, step) for place, step in enumerate(shown) if step.alias == alias]
    label = tag("text", clipped(name, _LABEL), tag("title", name), x=0, y=y + 4, class_="soft")
    runs = _runs(marks, before, y, width) if alias else None
    return tag("g", label, runs, [_mark(place, step, y) for place, step in marks])


def _runs(marks: Sequence[tuple[int, Step]], before: Step | None, y: int, width: int) -> Iterator[Element]:
    """A line from each move of an alias to the next, or to the end."""
    known = [(_LEFT, before)] if before is not None else []
    known += [(_x(place), step) for place, step in marks]
    ends = [x for x, _ in known[1:]] + [width]
    for (x, step), end in zip(known, ends, strict=True):
        if step.number is not None:
            yield tag("line", x1=x, x2=end, y1=y, y2=y, class_="run")


def _mark(place: int, step: Step, y: int) -> list[Child]:
    by = f" by {step.actor}" if step.actor else ""
    said = tag("title", f"{when(step.time)}: {step.how} {step.alias} {step.number or ''}{by}")
    kind = "hollow" if step.how in ("rollback", "unset") else "mark"
    number = tag("text", step.number, x=_x(place), y=y - 8, text_anchor="middle")
    return [tag("circle", said, cx=_x(place), cy=y, r=4, class_=kind), number]


def _days(shown: Sequence[Step], height: int) -> list[Child]:
    """The first and the last day."""
    first, last = when(shown[0].time)[:10], when(shown[-1].time)[:10]
    ends = [(first, _x(0), "start")] + ([(last, _x(len(shown) - 1), "end")] if len(shown) > 6 else [])  # noqa: PLR2004  dates of 80 pixels
    return [tag("text", day, x=x - 12, y=height - 2, text_anchor=where, class_="soft") for day, x, where in ends]
