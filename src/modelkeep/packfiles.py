"""Reading packs: the files of a version, mapped where they can be, else read into their final memory.

Every byte is checked on the way, unless the caller is lazy about maps. A map is private (copy on write): what its user
changes nobody else sees, and no file changes.
"""

from __future__ import annotations

import io
import pickle
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from modelkeep.chains import RUN, Chains, Kept, runs
from modelkeep.codecs import RAW
from modelkeep.digest import Buffer, flat
from modelkeep.errors import IntegrityError, InvalidValueError, MissingObjectError, ModelkeepError, shown
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, Piece
from modelkeep.packs import PAGED
from modelkeep.pieces import PIECE
from modelkeep.stores.port import Store, mapped
from modelkeep.streams import Sought
from modelkeep.targets import check_free, check_way, make_folder
from modelkeep.threads import Threads, cores

Span = tuple[int, int]  # where a run of bytes of a file begins, and where it ends
Again = Callable[[MissingObjectError], "PackFiles"]

_SHARED = 8 * RUN  # bytes of small neighbours that share one piece of memory at most
_FIRST_AHEAD = 64 * 1024  # bytes
_AT_ONCE = 1024 * 1024  # bytes; below, on a disk, no thread is worth its start
_FAR_READS = 8  # runs at once from a far store, each in requests of 8 MiB
_ALIGNED = 64  # bytes; tensors begin in memory as they do in the file, modulo this


@attrs.frozen
class _File:
    """The pieces of a file, and where in it each ends."""

    pieces: tuple[Piece, ...]
    ends: list[int]

    @classmethod
    def of(cls, pieces: tuple[Piece, ...]) -> _File:
        return cls(pieces, list(accumulate(piece.length for piece in pieces)))

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    def within(self, start: int, stop: int) -> list[tuple[int, Piece]]:
        """The pieces that have bytes of a span, each with where in the file it begins."""
        first, last = bisect_right(self.ends, start), bisect_right(self.ends, stop - 1)
        return [(self.ends[index] - self.pieces[index].length, self.pieces[index]) for index in range(first, last + 1)]


class _Maps:
    """A map of each pack, made once, and which pieces of it were handed out.

    Two tensors may have bytes in common, or one be asked for twice: what is changed in one must not change in the
    other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._packs: dict[int, memoryview | None] = {}
        self._given: set[tuple[int, int]] = set()

    def get(self, pack: int, make: Callable[[], memoryview | None]) -> memoryview | None:
        with self._lock:
            if pack not in self._packs:
                self._packs[pack] = make()
            return self._packs[pack]

    def take(self, places: Iterable[tuple[int, int]]) -> bool:
        """Whether none of these pieces was handed out before; now they are."""
        wanted = set(places)
        with self._lock:
            free = self._given.isdisjoint(wanted)
            if free:
                self._given |= wanted
            return free


@attrs.frozen
class PackFiles:
    """The files of a version, every piece checked on the way in. See `modelkeep.serializers.port.Files`.

    Args:
        store: where they lie.
        name: the model.
        manifest: what they are.
        last: the whole last pack, if it was small and read with the manifest.
        kept: what this machine keeps of the packs, if it keeps any.
        lazy: leave what is mapped unchecked.
        trusted: the caller lets pickles run code.
    """

    store: Store
    name: str
    manifest: Manifest
    last: bytes | None = None
    kept: Kept | None = None
    lazy: bool = False
    trusted: bool = False
    _opened: dict[str, _File] = attrs.field(factory=dict, init=False, repr=False, eq=False)
    _chains: Chains = attrs.field(
        default=attrs.Factory(
            lambda self: Chains(self.store, self.name, self.manifest.packs, self.last, self.kept), takes_self=True
        ),
        init=False,
        repr=False,
        eq=False,
    )
    _maps: _Maps = attrs.field(factory=_Maps, init=False, repr=False, eq=False)

    def within(self, folder: str) -> PackFiles:
        """The files of a folder alone, by their paths below it; what is read of them is theirs alone."""
        return attrs.evolve(self, manifest=self.manifest.within(folder))

    def without(self, folders: Collection[str]) -> PackFiles:
        """The files that do not lie in one of *folders*."""
        return attrs.evolve(self, manifest=self.manifest.without(folders)) if folders else self

    # -- the files -------------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """See `Files.names`."""
        return tuple(path for path, _ in self.manifest.files)

    def size(self, path: str) -> int:
        """See `Files.size`."""
        return self._file(path).size

    def read(self, path: str) -> bytearray:
        """See `Files.read`."""
        file = self._file(path)
        whole = bytearray(file.size)
        self._run_all(list(self._reads(file, 0, memoryview(whole))))
        return whole

    def views(self, path: str, spans: Sequence[Span]) -> list[memoryview]:
        """See `Files.views`."""
        file = self._file(path)
        views: list[memoryview] = [memoryview(b"")] * len(spans)
        jobs: list[_Job] = []
        left: list[int] = []
        for index, (start, stop) in enumerate(spans):
            if not 0 <= start <= stop <= file.size:
                raise InvalidValueError(
                    f"{path!r} has {file.size} bytes, and not those from {start} to {stop}", path=path
                )
            found = self._map(file, start, stop, jobs)
            if found is not None:
                views[index] = found
            elif start < stop:
                left.append(index)
        for group in _groups(spans, left):
            begin = spans[group[0]][0]
            memory = _aligned(begin, spans[group[-1]][1] - begin)
            jobs += self._reads(file, begin, memory)
            for index in group:
                start, stop = spans[index]
                views[index] = memory[start - begin : stop - begin]
        self._run_all(jobs)
        return views

    def maps(self, path: str, spans: Iterable[Span]) -> bool:
        """Whether `views` would map all of *spans*."""
        file = self._file(path)
        runs = [_whole(file.within(start, stop)) if stop - start >= PAGED else None for start, stop in spans]
        return all(run is not None and self._mapped(run.pack) is not None for run in runs)

    def open(self, path: str, *, again: Again | None = None) -> BinaryIO:
        """See `Files.open`.

        *again* gives the files anew after an object was missing: the version may have been moved meanwhile.
        """
        return io.BufferedReader(_PieceStream(self, path, again), buffer_size=1 << 16)

    def extract(self, folder: Path) -> None:
        """See `Files.extract`. All files or none.

        Raises:
            InvalidValueError: a file is there already; also where the disk does not tell two paths apart.
        """
        made: list[Path] = []
        try:
            for path, pieces in self.manifest.files:
                check_way(folder, folder / path)
                self._extract(folder / path, pieces)
                made.append(folder / path)
        except BaseException:
            for target in made:
                target.unlink(missing_ok=True)
            raise

    def unpickle(self, path: str, buffers: Sequence[Buffer] = ()) -> Any:
        """See `Files.unpickle`."""
        if self.trusted:
            return pickle.loads(self.read(path), buffers=buffers)  # noqa: S301  the caller lets it run code
        from modelkeep.pickles import loads

        return loads(self.read(path), buffers=buffers)

    def check(self) -> int:
        """Read every byte of the version from its store and check it; gives how many bytes are stored.

        Raises:
            IntegrityError: a byte is not as it was written; names the object.
        """
        fresh = Chains(self.store, self.name, self.manifest.packs)
        of_files = dict.fromkeys(piece for _, pieces in self.manifest.files for piece in pieces)
        ordered = sorted(of_files, key=lambda piece: (piece.pack, piece.offset))

        def checked(run: list[Piece]) -> None:
            fresh.read(run, thorough=True)

        self._run_all([_Job(run, partial(checked, run)) for run in runs(ordered)])
        return sum(piece.stored for piece in set(self.manifest.pieces()))

    def pieces(self, run: Sequence[Piece]) -> list[Buffer]:
        """The bytes of neighbouring pieces, checked; see `Chains.read`."""
        return self._chains.read(run)

    # -- within ----------------------------------------------------------------------------------------------

    def _file(self, path: str) -> _File:
        if not self._opened:  # made before it is seen: other threads look here too
            self._opened.update({known: _File.of(pieces) for known, pieces in self.manifest.files})
        if not isinstance(path, str) or path not in self._opened:
            raise InvalidValueError(
                f"the version has no file {shown(path)}; it has {', '.join(self.names())}", path=path
            )
        return self._opened[path]

    def _is_far(self) -> bool:
        return bool(getattr(self.store, "remote", False))

    def _mapped(self, pack: int) -> memoryview | None:
        return self._maps.get(pack, lambda: mapped(self.store, pack_key(self.name, self.manifest.packs[pack])))

    def _map(self, file: _File, start: int, stop: int, jobs: list[_Job]) -> memoryview | None:
        """A span as a part of a map of its pack, checked by *jobs*; None where it cannot be."""
        within = file.within(start, stop) if stop - start >= PAGED else []
        whole = _whole(within)
        if whole is None or (pack := self._mapped(whole.pack)) is None:
            return None
        first, last = within[0][1], within[-1][1]
        if pack.nbytes < last.offset + last.stored:  # a touch beyond the end would kill the process
            raise self._chains.damaged(last, f"the pack ends at byte {pack.nbytes}")
        if not self._maps.take((piece.pack, piece.offset) for _, piece in within):
            return None
        if not self.lazy:
            jobs += [_Job([piece], partial(self._chains.check, [piece], pack[piece.offset :])) for _, piece in within]
        begin = first.offset + start - within[0][0]
        return pack[begin : begin + stop - start]

    def _reads(self, file: _File, start: int, target: memoryview) -> Iterator[_Job]:
        """What is to be done to fill *target* with the bytes of a file from *start* on."""
        within = file.within(start, start + target.nbytes) if target.nbytes else []
        begins = iter(begin for begin, _ in within)
        far = self._is_far() or self.kept is not None
        for run in runs([piece for _, piece in within], over_gaps=far):
            places = [next(begins) - start for _ in run]
            inside = places[0] >= 0 and places[-1] + run[-1].length <= target.nbytes
            if inside and _is_flat(run) and not self._chains.is_at_hand(run[0]):
                work = partial(self._fill, run, target[places[0] : places[-1] + run[-1].length])
            else:
                work = partial(self._place, run, places, target)
            yield _Job(run, work)

    def _fill(self, run: Sequence[Piece], target: memoryview) -> None:
        """Read pieces whose stored bytes are those of the file straight to where they belong."""
        key, offset = self._chains.key(run[0]), run[0].offset
        if self.kept is not None and self.kept.read_into(key, offset, target):
            with suppress(IntegrityError):
                self._chains.check(run, target)
                return
        self._chains.check(run, target[: self.store.get_into(key, offset, target)])
        if self.kept is not None:
            self.kept.write(key, offset, target)

    def _place(self, run: Sequence[Piece], places: Sequence[int], target: memoryview) -> None:
        """Read pieces and copy what of them belongs into *target*; each begins there at its place."""
        for plain, at in zip(self.pieces(run), places, strict=True):
            part = flat(plain)[max(0, -at) : target.nbytes - at]
            target[max(0, at) : max(0, at) + part.nbytes] = part

    def _run_all(self, jobs: Sequence[_Job]) -> None:
        """Do all of *jobs*, side by side where that is worth it; the first error ends the others."""
        far = self._is_far()
        if len(jobs) < 2 or (not far and sum(job.size for job in jobs) < _AT_ONCE):  # noqa: PLR2004  a pair
            for job in jobs:
                job.work()
            return
        with Threads(_FAR_READS if far else cores()) as threads:
            for done in [threads.start(job.work) for job in jobs]:
                done.result()

    def _extract(self, target: Path, pieces: Iterable[Piece]) -> None:
        make_folder(target.parent)
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                for run in runs(pieces):
                    for plain in self.pieces(run):
                        file.write(plain)
            check_free(target)
            part.replace(target)
        except BaseException as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            if isinstance(error, OSError) and not isinstance(error, ModelkeepError):  # a name too long, a full disk
                raise InvalidValueError(f"{target} cannot be a file: {error.strerror}", path=str(target)) from error
            raise


@attrs.frozen
class _Job:
    """Pieces to be read or checked, and what does it."""

    run: Sequence[Piece]
    work: Callable[[], object]

    @property
    def size(self) -> int:
        return sum(piece.length for piece in self.run)


def _whole(within: Sequence[tuple[int, Piece]]) -> Piece | None:
    """The first of pieces that lie raw, in order and without a gap in one pack; None if they do not."""
    run = [piece for _, piece in within]
    return run[0] if run and _is_flat(run) and run[0].pack == run[-1].pack else None


def _is_flat(run: Sequence[Piece]) -> bool:
    """Whether the stored bytes are those of the file, one piece right behind the other."""
    ends = [(piece.pack, piece.offset + piece.length) for piece in run]
    return all(piece.codec == RAW for piece in run) and ends[:-1] == [(piece.pack, piece.offset) for piece in run[1:]]


def _groups(spans: Sequence[Span], left: Iterable[int]) -> Iterator[list[int]]:
    """Spans that lie one behind the other, together, unless they are large; given by their indexes."""
    group: list[int] = []
    for index in left:
        if group:
            start, stop = spans[index]
            behind = start == spans[group[-1]][1]
            if not behind or stop - start >= PIECE or stop - spans[group[0]][0] > _SHARED:
                yield group
                group = []
        group.append(index)
    if group:
        yield group


def _aligned(start: int, size: int) -> memoryview:
    """Memory for *size* bytes that lie in a file from *start* on, aligned as they are there."""
    import numpy as np

    memory = np.empty(size + _ALIGNED, np.uint8)
    shift = (start - memory.ctypes.data) % _ALIGNED
    return memory[shift : shift + size].data


class _PieceStream(Sought):
    """A file as a stream; who reads on and on is read ahead for, up to 8 MiB."""

    def __init__(self, files: PackFiles, path: str, again: Again | None) -> None:
        self._files = files
        self._path = path
        self._file = files._file(path)  # noqa: SLF001  the other half of the same thing
        super().__init__(self._file.size)
        self._again = again
        self._held: tuple[int, list[Buffer]] = (0, [])  # the index of the first piece held, and the bytes of each
        self._ahead = 0  # bytes

    def readinto(self, target: Buffer) -> int:  # type: ignore[override]
        index = bisect_right(self._file.ends, self.at)
        if index == len(self._file.pieces):
            return 0
        first, held = self._held
        if not first <= index < first + len(held):
            self._hold(index)
            first, held = self._held
        start = self.at - (self._file.ends[index] - self._file.pieces[index].length)
        view = flat(target)
        part = flat(held[index - first])[start : start + view.nbytes]
        view[: part.nbytes] = part
        self.at += part.nbytes
        return part.nbytes

    def _hold(self, index: int) -> None:
        first, held = self._held
        goes_on = bool(held) and index == first + len(held)
        self._ahead = min(max(2 * self._ahead, _FIRST_AHEAD), PIECE) if goes_on else 0
        begin = self._file.ends[index] - self._file.pieces[index].length
        last = max(index + 1, bisect_right(self._file.ends, begin + self._ahead))
        try:
            self._held = (index, self._read(index, last))
        except MissingObjectError as error:
            if self._again is None:
                raise
            self._files = self._again(error)
            self._file = self._files._file(self._path)  # noqa: SLF001  see above
            self._held = (index, self._read(index, last))

    def _read(self, index: int, last: int) -> list[Buffer]:
        return self._files.pieces(next(runs(self._file.pieces[index:last])))
