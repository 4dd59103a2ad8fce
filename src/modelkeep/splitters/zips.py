"""Arrays in zip archives: the members of .npz files, and the storages of what ``torch.save`` writes.

Read by ourselves, as ``zipfile`` reads a directory of any length, takes a failing disk for a bad archive, and does not
say where the bytes of a member begin. Members that are compressed, encrypted or otherwise odd hold no arrays for us.
One read of the directory, and one to three small ones for each member of 16 KiB and more.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO

import attrs

from modelkeep.splitters import npy
from modelkeep.splitters.port import SMALL, Span
from modelkeep.streams import read_span

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_FIELD = struct.Struct("<HH")
_COMMENT = 0xFFFF  # bytes that the comment at the end takes at most
_IN_EXTRA = 0xFFFFFFFF  # a number that is too large for its field, and lies in the extra field 1
_MAX_DIRECTORY = 10_000_000  # bytes; some 100,000 members
_ENCRYPTED, _PATCHED, _STRONG, _MASKED = 1 << 0, 1 << 5, 1 << 6, 1 << 13
_ODD = _ENCRYPTED | _PATCHED | _STRONG | _MASKED
_TORCH = b"/data.pkl"
_STORAGE = re.compile(rb"(.*)/data/[0-9]+", re.DOTALL)


@attrs.frozen
class _Member:
    name: bytes
    start: int  # of its local header
    size: int


def begins(head: bytes) -> bool:
    """See `modelkeep.splitters.port`."""
    return head.startswith(b"PK\x03\x04")


def tensors(stream: BinaryIO, size: int) -> list[Span]:
    """See `modelkeep.splitters.port`."""
    members = list(_members(_directory(stream, size)))
    roots = {member.name.removesuffix(_TORCH) for member in members if member.name.endswith(_TORCH)}
    found: list[Span] = []
    at = 0
    for member in sorted(members, key=lambda member: member.start):
        start = _data(stream, member, size) if member.size >= SMALL and member.start >= at else None
        if start is not None:
            at = start + member.size
            storage = _STORAGE.fullmatch(member.name)
            whole = [(start, at, "")] if storage and storage[1] in roots else []
            name = member.name.decode(errors="backslashreplace")
            found += [(first, stop, name) for first, stop, _ in npy.array(stream, start, at) or whole]
    return found


def _directory(stream: BinaryIO, size: int) -> bytes:
    """The central directory, or nothing if there is none, or one that is too large."""
    first = max(0, size - _LOCATOR.size - _END.size - _COMMENT)
    tail = read_span(stream, first, size - first)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        return b""
    *_, length, start, _ = _END.unpack_from(tail, at)
    if at >= _LOCATOR.size and tail.startswith(b"PK\x06\x07", at - _LOCATOR.size):
        _, _, place, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        raw = read_span(stream, place, _END64.size) if place + _END64.size <= size else b""
        if raw.startswith(b"PK\x06\x06") and len(raw) == _END64.size:
            *_, length, start = _END64.unpack(raw)
    return read_span(stream, start, length) if length <= min(_MAX_DIRECTORY, size - start) else b""


def _members(directory: bytes) -> Iterator[_Member]:
    """The members that lie in the archive as they are, up to the first entry that is none."""
    at = 0
    while at + _ENTRY.size <= len(directory):
        magic, _, _, flags, method, _, _, _, stored, plain, *lengths, _, _, _, start = _ENTRY.unpack_from(directory, at)
        name, extra, comment, end = accumulate(lengths, initial=at + _ENTRY.size)
        if magic != b"PK\x01\x02":
            return
        plain, stored, start = _widened([plain, stored, start], directory[extra:comment])
        if method == 0 and not flags & _ODD and plain == stored:
            yield _Member(directory[name:extra], start, plain)
        at = end


def _widened(numbers: list[int], extra: bytes) -> Iterator[int]:
    """Numbers of an entry, those that did not fit taken from its extra fields."""
    wide: Iterator[int] = iter(())
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if kind == 1:
            own = extra[at : at + length]
            wide = iter(struct.unpack(f"<{len(own) // 8}Q", own[: len(own) // 8 * 8]))
        at += length
    return (next(wide, number) if number == _IN_EXTRA else number for number in numbers)


def _data(stream: BinaryIO, member: _Member, size: int) -> int | None:
    """Where the bytes of a member begin, or None if they are not there as they are."""
    here = member.start + _LOCAL.size <= size  # else it may be further than a stream can seek
    raw = read_span(stream, member.start, _LOCAL.size) if here else b""
    if len(raw) < _LOCAL.size:
        return None
    magic, _, flags, method, *_, name, extra = _LOCAL.unpack(raw)
    start: int = member.start + _LOCAL.size + name + extra
    fits = magic == b"PK\x03\x04" and not flags & _ODD and method == 0 and start + member.size <= size
    return start if fits else None
