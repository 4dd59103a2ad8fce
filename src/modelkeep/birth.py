"""Where a line was born: in this registry, or in the one that the `origin.json` of a pushed line names.

Entry 1 of a journal is bound to the registry in which it was written. A line that was pushed keeps its bytes, and so
that binding. `origin.json` is written last of all: until it is there, every journal of the line is refused.
"""

from __future__ import annotations

import attrs
import orjson

from modelkeep.entry import DamagedError, check_signed, genesis, sign
from modelkeep.errors import IntegrityError, MissingObjectError
from modelkeep.layout import journal_prefix, origin_key
from modelkeep.stores.port import Store


@attrs.define(eq=False)
class Birth:
    """Which registry the first entries of a line are bound to; shared by its journals.

    Args:
        store: where the line lies.
        name: the model.
        registry: the id of the registry that lies there.
    """

    store: Store
    name: str
    registry: str
    _elsewhere: str | None = attrs.field(default=None, init=False)
    _here: bool = attrs.field(default=False, init=False)

    @property
    def key(self) -> str:
        """Where the line's `origin.json` lies, if it has one."""
        return origin_key(self.name)

    def elsewhere(self) -> str | None:
        """The registry that `origin.json` names; None without one. One GET until one was found.

        Raises:
            IntegrityError: it is damaged.
        """
        if self._elsewhere is None:
            try:
                raw = self.store.get(self.key)
            except MissingObjectError:
                return None  # not kept: a push that is under way writes it yet
            self._elsewhere = parse_origin(raw, self.key)
        return self._elsewhere

    def place(self) -> str:
        """The registry in which the line was born. At most one GET."""
        if self._here:
            return self.registry
        return self.elsewhere() or self.registry

    def note_sound(self) -> None:
        """Entry 1 of `versions` was read and is sound, so what is known by now is all there is to know."""
        self._here = self._elsewhere is None

    def genesis_elsewhere(self, prefix: str) -> str | None:
        """The genesis of a journal by `origin.json`; asked for where an entry 1 does not follow that of here."""
        found = self.elsewhere()
        return genesis(found, prefix) if found else None

    def first_genesis(self, prefix: str) -> str:
        """What a writer of entry 1 gives as *prev*: all journals of a line are born in the same place."""
        # origin.json is written after entry 1 of versions: where that is missing there is none to look for
        is_first = prefix == journal_prefix(self.name, "versions")
        return genesis(self.registry if is_first else self.place(), prefix)


def encode_origin(registry: str) -> bytes:
    r"""The bytes of an `origin.json`: a signed line.

    Example:
        >>> encode_origin("5f0c").partition(b"\n")[0]
        b'{"registry":"5f0c"}'
    """
    return sign(orjson.dumps({"registry": registry}))


def parse_origin(raw: bytes, key: str) -> str:
    """The registry that an `origin.json` names.

    Raises:
        IntegrityError: it is damaged; names *key*.
    """
    try:
        registry = orjson.loads(check_signed(raw))["registry"]
        if type(registry) is not str:
            raise TypeError("its registry is no text")  # noqa: TRY301
    except (DamagedError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{key} is damaged: {error}; bring it back from a backup, or delete it and push the model again", key=key
        ) from None
    return registry
