"""What was read of far packs, on this machine: one sparse file for each, with the bytes where they lie in the pack.

Nothing here is ever believed. Whoever reads a span digests its pieces on each use, as if the store had sent them; a
hole reads as zeros and is refused like any wrong byte, then fetched and written anew. So there is no list of what is
there, and no lock: processes that read the same pack write the same bytes at the same places, and of a write that broke
off what was written counts. Each call opens and closes its file, so threads and forked children share nothing.
"""

from __future__ import annotations

import errno
import io
import os
import time
from contextlib import suppress

from modelkeep.cache import CacheFolder
from modelkeep.digest import Buffer, digest_of
from modelkeep.streams import fill

_LOOK_EVERY = 64 << 20  # bytes written, by all processes together, for each look at the size of it all
_FRESH = 300  # seconds; who read a pack says so once in that time, since each word is a write


class PackCache:
    """What is kept of the packs of one registry.

    Args:
        folder: where it lies.

    Example:
        >>> from modelkeep.cache import Cache
        >>> kept = PackCache(Cache(getfixture("tmp_path")).folder("s3://acme/registry", "5f0c"))
        >>> kept.write("models/churn/data/5f0c-1.pack", 4096, b"weights")
        >>> target = bytearray(7)
        >>> kept.read_into("models/churn/data/5f0c-1.pack", 4096, memoryview(target)), bytes(target)
        (True, b'weights')
        >>> kept.read_into("models/churn/data/5f0c-1.pack", 4097, memoryview(target))
        False
    """

    def __init__(self, folder: CacheFolder) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"PackCache({self._folder!r})"

    def read_into(self, key: str, offset: int, target: memoryview) -> bool:
        """Fill *target* with what is kept of the pack *key* from *offset* on; False if it is not all there.

        True is no promise: a part may be a hole, which reads as zeros, or be wrong. The caller digests what it got, and
        has *target* filled by the store if that is not what it should be. After False *target* may hold anything.
        """
        file = self._folder.open_pack(key)
        if file is None:
            return False
        try:
            with file:
                facts = os.fstat(file.fileno())
                if offset + target.nbytes > facts.st_size or _is_hole(file, offset, target.nbytes):
                    return False
                _say_used(str(file.name), facts)
                return fill(file, offset, target) == target.nbytes  # else it was cut off meanwhile
        except OSError:
            return False

    def write(self, key: str, offset: int, data: Buffer) -> None:
        """Keep *data*, which begins at *offset* of the pack *key*, if the disk takes it.

        It is not kept where it takes more than half the limit, or where little of the disk would be left free.
        """
        view = memoryview(data).cast("B")
        size = view.nbytes
        file = self._folder.open_pack(key, writing=size) if size else None
        if file is None:
            return
        try:
            with file:
                file.seek(offset)
                while view:  # a disk that is nearly full takes a part
                    view = view[file.write(view) :]
        except OSError:
            self.drop(key)  # a disk or a quota that is full to the last byte has no room for copies
        cache = self._folder.cache
        if cache.is_due(digest_of(key, str(offset)), size, every=_LOOK_EVERY):
            cache.make_room()

    def drop(self, key: str) -> None:
        """Keep nothing of the pack *key* any more."""
        self._folder.drop_pack(key)


def _is_hole(file: io.FileIO, offset: int, size: int) -> bool:
    """Whether the disk knows that nothing was ever written there; saves reading and digesting zeros.

    Disks that compress take written zeros for a hole: such a piece is fetched each time.
    """
    seek_data = getattr(os, "SEEK_DATA", None)
    if seek_data is None:
        return False
    try:
        return os.lseek(file.fileno(), offset, seek_data) >= offset + size
    except OSError as error:
        return error.errno == errno.ENXIO  # nothing from there to the end; with another error it does not know


def _say_used(path: str, facts: os.stat_result) -> None:
    """Let the packs that nobody reads be the oldest, and so the first to go."""
    if not 0 <= time.time() - facts.st_mtime < _FRESH:
        with suppress(OSError):  # gone meanwhile, or a disk for reading only
            os.utime(path)
