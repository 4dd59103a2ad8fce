"""A disk in memory that knows of each file and folder what is synced, and what a power cut may take.

It is a model, read as strictly as POSIX can be read, of no one file system:

- `fsync` of a file keeps its bytes and nothing else: not its name, and not the folder that it lies in.
- `fsync` of a folder keeps its entries as they are at that moment, and nothing of what these name: neither the bytes of
  a file nor the entries of a folder below.
- All else is lost or kept independently: each entry of each folder for itself, each write to a file for itself.
- A rename is two entries. Either survives without the other, so that a file may be found under both names or under
  none. A name that the rename took over is the old file or the new one and never missing: rename(2) says that it refers
  to one or the other throughout. Of a cut POSIX says nothing, so nothing else is taken for granted.
- An entry that changed more than once since its folder was synced is in any of the states that it was in.

What it does not model: sectors that were synced and are torn or lost, a drive that lies about its cache, wrong bytes,
damage to the file system itself. Times of files are kept with them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs

ROOT = 1


@attrs.frozen
class Entered:
    """Entries of folders changed: (folder, name, what it names now or None); *born* is new, and a folder or not."""

    verb: str
    changes: tuple[tuple[int, str, int | None], ...]
    born: tuple[int, bool] | None = None

    def __str__(self) -> str:
        return f"{self.verb} {' '.join(name for _, name, _ in self.changes)}"


@attrs.frozen
class Written:
    """Bytes were written to a file."""

    node: int
    offset: int
    content: bytes = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"write {len(self.content)} bytes at {self.offset} of file {self.node}"


@attrs.frozen
class Resized:
    """A file was cut off, or made longer by zeros."""

    node: int
    size: int

    def __str__(self) -> str:
        return f"truncate file {self.node} to {self.size}"


@attrs.frozen
class Synced:
    """A file or a folder was synced."""

    node: int

    def __str__(self) -> str:
        return f"fsync {self.node}"


@attrs.frozen
class Marked:
    """The process said where it is; nothing happens to the disk."""

    text: str

    def __str__(self) -> str:
        return f"mark {self.text}"


Call = Entered | Written | Resized | Synced | Marked
Change = Written | Resized


@attrs.define(eq=False)
class File:
    """The bytes of a file: as processes see them, as of its last sync, and what happened between."""

    seen: bytearray = attrs.Factory(bytearray)
    synced: bytes = b""
    pending: list[Change] = attrs.Factory(list)
    links: int = 0
    modified: int = attrs.Factory(time.time_ns)


@attrs.define(eq=False)
class Folder:
    """The entries of a folder: as processes see them, as of its last sync, and all that each name stood for since."""

    seen: dict[str, int] = attrs.Factory(dict)
    synced: dict[str, int] = attrs.Factory(dict)
    pending: dict[str, list[int | None]] = attrs.Factory(dict)
    modified: int = attrs.Factory(time.time_ns)


@attrs.define(eq=False)
class Disk:
    """All files and folders, and every call that changed or synced one.

    Args:
        deaf: kinds of nodes ("file", "folder") whose syncs do nothing, to see whether the loss is noticed.
    """

    deaf: frozenset[str] = frozenset()
    nodes: dict[int, File | Folder] = attrs.Factory(lambda: {ROOT: Folder()})
    calls: list[Call] = attrs.Factory(list)

    def do(self, call: Call) -> None:
        """Let a call take effect, and keep it."""
        self.calls.append(call)
        if isinstance(call, Entered):
            self._enter(call)
        elif isinstance(call, Synced):
            self._sync(self.nodes[call.node])
        elif not isinstance(call, Marked):
            file = self.file(call.node)
            change(file.seen, call)
            file.pending.append(call)
            file.modified = time.time_ns()

    def file(self, number: int) -> File:
        found = self.nodes[number]
        assert isinstance(found, File)
        return found

    def folder(self, number: int) -> Folder:
        found = self.nodes[number]
        assert isinstance(found, Folder)
        return found

    def new_number(self) -> int:
        return len(self.nodes) + ROOT

    def _enter(self, call: Entered) -> None:
        if call.born is not None:
            number, is_folder = call.born
            self.nodes[number] = Folder() if is_folder else File()
        for number, name, target in call.changes:
            folder = self.folder(number)
            self._count(folder.seen.pop(name, None), -1)
            if target is not None:
                folder.seen[name] = target
                self._count(target, 1)
            folder.pending.setdefault(name, []).append(target)
            folder.modified = time.time_ns()

    def _count(self, number: int | None, by: int) -> None:
        if number is not None and isinstance(node := self.nodes[number], File):
            node.links += by

    def _sync(self, node: File | Folder) -> None:
        if ("file" if isinstance(node, File) else "folder") in self.deaf:
            return
        node.pending.clear()
        if isinstance(node, File):
            node.synced = bytes(node.seen)
        else:
            node.synced = dict(node.seen)


def change(content: bytearray, call: Change) -> None:
    """Let a change of a file take effect on its bytes."""
    if isinstance(call, Resized):
        del content[call.size :]
        content.extend(bytes(call.size - len(content)))
        return
    content.extend(bytes(max(0, call.offset - len(content))))
    content[call.offset : call.offset + len(call.content)] = call.content


def replayed(calls: Sequence[Call], deaf: frozenset[str] = frozenset()) -> Disk:
    """The disk after *calls*."""
    disk = Disk(deaf)
    for call in calls:
        disk.do(call)
    return disk
