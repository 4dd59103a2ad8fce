"""Which bytes of a file are arrays, told by what the file holds and never by its name: one module for each format.

Only headers are read. Whatever cannot be read as a format is bytes like any others: nothing here is an error, since a
file that is cut at other places is still the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import attrs

from modelkeep.splitters import npy, safetensors, zips
from modelkeep.splitters.port import SMALL, Span
from modelkeep.streams import read_span

__all__ = ["SMALL", "Extent", "extents"]

_HEAD = 9  # bytes that tell the format
_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], list[Span]]], ...] = (
    (npy.begins, npy.tensors),
    (zips.begins, zips.tensors),
    (safetensors.begins, safetensors.tensors),
)


@attrs.frozen
class Extent:
    """A run of bytes of a file.

    Args:
        start: its first byte.
        stop: the byte behind its last.
        tensor: whether it is one tensor, of any library; else it is what lies between them.
        name: what the file calls the tensor; nothing where it has no names, and for the rest.
    """

    start: int
    stop: int
    tensor: bool
    name: str = ""


def extents(stream: BinaryIO, size: int) -> list[Extent]:
    """Cut a file at the bounds of its tensors; what is returned covers all of it, in order.

    Args:
        stream: the file, seekable; left anywhere.
        size: of the file, in bytes.

    Raises:
        OSError: the stream could not be read. No bytes that it gives are an error.

    Example:
        >>> import io
        >>> extents(io.BytesIO(b"a line of text"), 14)
        [Extent(start=0, stop=14, tensor=False, name='')]
    """
    head = read_span(stream, 0, _HEAD)
    tensors = next((tensors for begins, tensors in _FORMATS if begins(head)), None)
    found: list[Extent] = []
    at = 0
    for start, stop, name in sorted(tensors(stream, size)) if tensors else []:
        if at <= start <= stop - SMALL and stop <= size:  # what overlaps another is no tensor
            found += [*_rest(at, start), Extent(start, stop, tensor=True, name=name)]
            at = stop
    return [*found, *_rest(at, size)]


def _rest(start: int, stop: int) -> Iterator[Extent]:
    if start < stop:
        yield Extent(start, stop, tensor=False)
