"""A registry's prefix as opened by this process: its marker, its id, and what is checked before the first write."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import attrs
import orjson

from modelkeep._trust import NOTHING, Grant, Scan
from modelkeep.cache import Cache, CacheFolder
from modelkeep.entry import DamagedError, check_signed, sign
from modelkeep.errors import (
    ClockError,
    FormatError,
    IntegrityError,
    MissingObjectError,
    ObjectExistsError,
    StoreError,
)
from modelkeep.folds import policy as said
from modelkeep.forks import renew_after_fork
from modelkeep.journal import Journal
from modelkeep.layout import MARKER, POLICY, is_probe
from modelkeep.packcache import PackCache
from modelkeep.stores.cached import Cached
from modelkeep.stores.port import Store
from modelkeep.system import System, format_time

FORMAT = 1
WARN_APART = timedelta(minutes=5)
REFUSE_APART = timedelta(days=1)


@attrs.define(eq=False)
class Home:
    """A store that holds, or will hold, a registry.

    Args:
        store: where everything lies.
        system: the clock, ids, pauses and the author.
        cache: where copies of journals and packs are kept on this machine, if anywhere.
        granted: what may run code while it is loaded from here.
        scan: what is asked before anything but data is loaded or adopted, if anything is.
        indexed: where what is computed of the registry is kept on this machine, if anywhere; asked when it is needed.
    """

    store: Store
    system: System
    cache: Cache | None = None
    granted: Grant = NOTHING
    scan: Scan | None = None
    indexed: Callable[[], Cache | None] = lambda: None
    attached: dict[str, Any] = attrs.field(factory=dict, init=False, repr=False)  # what those above keep with it
    lock: Any = attrs.field(factory=threading.RLock, repr=False)
    _folder: CacheFolder | None = attrs.field(default=None, init=False, repr=False)
    _cached: Store | None = attrs.field(default=None, init=False, repr=False)
    _packs: PackCache | None = attrs.field(default=None, init=False, repr=False)
    _policy: Journal[said.Policy] | None = attrs.field(default=None, init=False, repr=False)
    _id: str | None = attrs.field(default=None, init=False)
    _ready: bool = attrs.field(default=False, init=False)
    _clock_checked: bool = attrs.field(default=False, init=False)
    _clock_fault: str | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`."""
        self.lock = threading.RLock()

    def id(self) -> str | None:
        """The registry's id; None if there is no registry here yet. One GET, once.

        Raises:
            FormatError: the format is newer, or the prefix holds something else.
            IntegrityError: the marker is damaged.
        """
        with self.lock:
            if self._id is None:
                try:
                    self._id = self._parse(self.store.get(MARKER))
                except MissingObjectError:
                    self._check_empty()
            return self._id

    def existing(self) -> str:
        """The id of the registry that is here. One GET, once.

        Raises:
            FormatError: there is none yet, or see `id`.
            IntegrityError: the marker is damaged.
        """
        registry = self.id()
        if registry is None:
            raise FormatError(f"{self.store.url} holds no registry yet; save a model first")
        return registry

    def journals(self, registry: str) -> Store:
        """The store as journals are read and written through it; what verifies takes `store` itself."""
        if self.cache is None:
            return self.store
        with self.lock:
            if self._cached is None:
                self._cached = Cached(self.store, self._kept_in(self.cache, registry))
            return self._cached

    def policy(self, registry: str, *, cached: bool = True) -> Journal[said.Policy]:
        """The journal of the policy; reads nothing. Not *cached*, a new one of what the storage itself has now."""
        if not cached:
            return Journal(self.store, POLICY, registry, said.RULES, self.system)
        with self.lock:
            if self._policy is None:
                self._policy = Journal(self.journals(registry), POLICY, registry, said.RULES, self.system)
            return self._policy

    def pack_cache(self, registry: str) -> PackCache | None:
        """What is kept on this machine of the packs; None where nothing is."""
        if self.cache is None:
            return None
        with self.lock:
            if self._packs is None:
                self._packs = PackCache(self._kept_in(self.cache, registry))
            return self._packs

    def index(self, registry: str) -> CacheFolder | None:
        """What is kept on this machine of what was computed of the registry; None where nothing is."""
        cache = self.cache or self.indexed()
        if cache is None:
            return None
        with self.lock:
            return self._kept_in(cache, registry)

    def _kept_in(self, cache: Cache, registry: str) -> CacheFolder:
        if self._folder is None:  # one for journals and packs: a folder that is not to be used is told of once
            self._folder = cache.folder(self.store.url, registry)
        return self._folder

    def prepare(self) -> str:
        """Make sure that this is a registry that can be written to; returns its id. Two requests, once.

        The first write of all creates `modelkeep.json`. The store is tested by creating that object again with
        its own bytes, which must conflict and leaves nothing behind.

        Raises:
            StoreError: the store lets two writers win.
            FormatError: the format is newer, or the prefix holds something else.
            ClockError: an earlier write showed that this machine's clock is more than a day off.
        """
        with self.lock:
            if self._clock_fault:
                raise ClockError(self._clock_fault)
            if not self._ready:
                known = self.id()
                found = known or self._create()
                self._test(found, ours=known is None)
                self._ready = True
            if self._id is None:
                raise FormatError(f"{self.store.url} is no registry")  # cannot be: id() or _create() set it
            return self._id

    def check_clock(self, key: str, *, committed: bool) -> None:
        """Compare this machine's clock with the store's, by the object *key* just written. One listing, once.

        Args:
            key: the object.
            committed: whether it is already part of the registry, so that only later writes can be refused.

        Raises:
            ClockError: they are more than a day apart and nothing was committed.
        """
        with self.lock:
            if self._clock_checked:
                return
            try:
                written = next((item for item in self.store.list(key) if item.key == key), None)
            except StoreError:
                return  # the next write looks again
            if written is None:
                return
            self._clock_checked = True
            here = self.system.now()
            apart = abs(here - written.modified)
            message = (
                f"this machine's clock says {format_time(here)} and the store's {format_time(written.modified)}; "
                "set the clock"
            )
            if apart > REFUSE_APART:
                self._clock_fault = message
                if not committed:
                    self._clock_checked = False
                    self._clock_fault = None
                    raise ClockError(message, here=format_time(here), store=format_time(written.modified))
            if apart > WARN_APART:
                with suppress(Warning):  # where warnings are errors, this one must not undo a save
                    warnings.warn(message, stacklevel=2)

    def _create(self) -> str:
        facts = {"format": FORMAT, "id": self.system.new_id(), "created": self.system.timestamp()}
        with suppress(ObjectExistsError):  # another first writer, or an earlier try of ours: what stands there counts
            self.store.create(MARKER, sign(orjson.dumps(facts)))
        self._id = self._parse(self.store.get(MARKER))
        return self._id

    def _test(self, found: str, *, ours: bool) -> None:
        raw = self.store.get(MARKER)
        try:
            self.store.create(MARKER, raw)
        except ObjectExistsError:
            return
        if ours:
            self._id = None
            with suppress(StoreError):  # a place that is refused should be as it was
                self.store.delete([MARKER])
        raise StoreError(
            f"{self.store.url} let an object be created that exists already ({MARKER}, registry {found}): two writers "
            "could both win a number. Use a store with create-if-absent, or open it with single_writer=True if one "
            "process alone ever writes",
            url=self.store.url,
        )

    def _parse(self, raw: bytes) -> str:
        try:
            facts = orjson.loads(check_signed(raw))
            number, registry = facts["format"], facts["id"]
            if number == FORMAT and not isinstance(registry, str):
                raise TypeError("its id is no text")  # noqa: TRY301  one error for every fault
        except (DamagedError, orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"{MARKER} in {self.store.url} is damaged: {error}; bring it back from a backup", key=MARKER
            ) from None
        if number != FORMAT:
            raise FormatError(
                f"{self.store.url} is a registry of format {number!r}, and this release knows format {FORMAT}; "
                "upgrade modelkeep",
                format=number,
            )
        return str(registry)

    def _check_empty(self) -> None:
        # a doctor that is at work here, or was killed, does not make this somebody else's place
        first = next((item for item in self.store.list("") if not is_probe(item.key)), None)
        if first is not None:
            # between two looks another process may have made it a registry
            try:
                self._id = self._parse(self.store.get(MARKER))
            except MissingObjectError:
                raise FormatError(
                    f"{self.store.url} is not a registry: it has no {MARKER}, but it holds {first.key}; "
                    "choose an empty place or the registry's own",
                    url=self.store.url,
                ) from None
