"""What may lie on the disk after a cut: every state where they are few, else the telling ones and some by chance."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import TypeVar

import attrs

from powercut.disk import ROOT, Disk, File, Written, change

EVERY = 64  # up to so many states of a cut are all looked at
BY_CHANCE = 8  # more, of those that have more
_SECTORS = (512, 4096)  # bytes; what is written at once, on old disks and on new ones

Tree = Mapping[str, bytes | None]  # None: a folder
T = TypeVar("T", bytes, int | None)
_Where = int | tuple[int, str]  # the bytes of a file; an entry of a folder


@attrs.frozen
class Open:
    """What a cut leaves open: of each thing, all that may be found. First that it is as synced, last as it was seen."""

    choices: dict[_Where, list[bytes | int | None]]

    def count(self) -> int:
        """How many states there are, as far as this model tells them apart."""
        return math.prod(len(set(found)) for found in self.choices.values())

    def picks(self, chance: random.Random) -> Iterator[dict[_Where, bytes | int | None]]:
        """Every choice if they are few; else nothing, all, each alone, each missing, and some by chance."""
        where = list(self.choices)
        if self.count() <= EVERY:
            yield from (
                dict(zip(where, found, strict=True)) for found in product(*map(dict.fromkeys, self.choices.values()))
            )
            return
        nothing = {one: found[0] for one, found in self.choices.items()}
        everything = {one: found[-1] for one, found in self.choices.items()}
        yield from (nothing, everything)
        for one, found in self.choices.items():
            yield from ({**nothing, one: part} for part in found[1:])
            yield from ({**everything, one: part} for part in found[:-1])
        for _ in range(BY_CHANCE):
            yield {one: chance.choice(found) for one, found in self.choices.items()}


def left_open(disk: Disk) -> Open:
    """What is not synced, of all that can be found at all."""
    choices: dict[_Where, list[bytes | int | None]] = {}
    todo = [ROOT]
    met = {ROOT}
    while todo:
        number = todo.pop()
        node = disk.nodes[number]
        if isinstance(node, File):
            choices[number] = _between(node.synced, _contents(node) if node.pending else [], bytes(node.seen))
            continue
        for name, since in node.pending.items():
            choices[number, name] = _between(node.synced.get(name), since, since[-1])
        found = {*node.synced.values(), *node.seen.values(), *(one for row in node.pending.values() for one in row)}
        new = [one for one in found if one is not None and one not in met]
        met.update(new)
        todo += new
    return Open({one: found for one, found in choices.items() if len(set(found)) > 1})


def _between(synced: T, middle: Iterable[T], seen: T) -> list[bytes | int | None]:
    """Each once, and what was synced first, what was seen last; these are equal where something came and went."""
    return [synced, *(one for one in dict.fromkeys(middle) if one not in (synced, seen)), seen]


def _contents(file: File) -> Iterator[bytes]:
    """What may be in a file that is not synced, between nothing of what is new and all of it."""
    seen, before = bytes(file.seen), len(file.synced)
    ends = {before + (len(seen) - before) // 2, *(max(before, (len(seen) - 1) // s * s) for s in _SECTORS)}
    yield bytes(len(seen))
    for end in sorted(ends):
        yield from (seen[:end], seen[:end] + bytes(len(seen) - end))  # cut off, and long enough but empty from there on
    if len(file.pending) > 1:
        yield from (_without(file, lost) for lost in range(len(file.pending)))


def _without(file: File, lost: int) -> bytes:
    """The bytes of a file if one write alone did not reach the disk, and its length did."""
    content = bytearray(file.synced)
    for n, call in enumerate(file.pending):
        if n != lost:
            change(content, call)
        elif isinstance(call, Written):
            content.extend(bytes(max(0, call.offset + len(call.content) - len(content))))
    return bytes(content)


def tree(disk: Disk, pick: Mapping[_Where, bytes | int | None]) -> dict[str, bytes | None]:
    """All files and folders that are found if what is open turned out as *pick* says."""
    found: dict[str, bytes | None] = {}
    todo = [(ROOT, "")]
    while todo:
        number, path = todo.pop()
        for name in {**disk.folder(number).synced, **disk.folder(number).pending}:
            at = pick.get((number, name), disk.folder(number).synced.get(name))
            if at is None:
                continue
            assert isinstance(at, int)
            node = disk.nodes[at]
            if isinstance(node, File):
                content = pick.get(at, node.synced)
                assert isinstance(content, bytes)
                found[f"{path}{name}"] = content
            else:
                found[f"{path}{name}"] = None
                todo.append((at, f"{path}{name}/"))
    return found
