"""`Settlement`: what became of a write whose answer was lost; and the tokens that ask for it."""

from __future__ import annotations

import re
from contextlib import suppress

import attrs

from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep.errors import AccessError, InvalidValueError, shown
from modelkeep.layout import DATASETS, POLICY, SHELVES, data_prefix, own_name, word_for
from modelkeep.ref import decode_name
from modelkeep.version import transaction_of

_TOKEN = re.compile(
    rf"(?:({'|'.join(SHELVES)})([^/]+)/(versions|releases|notes)|{POLICY[:-1]})/([0-9]{{1,16}})/([0-9a-f]{{32}})"
)


@attrs.frozen
class Settlement:
    """What became of a write whose answer was lost.

    Args:
        committed: True: it stands. False: it does not and never will. None: without the right to write nobody can
            know.
        ref: the version or variant that it created, or the failed run that it kept, if it did.
    """

    committed: bool | None
    ref: str | None = None


@attrs.frozen
class Token:
    """What the token of an `UnsettledError` says.

    Args:
        name: the line, that of a dataset with its shelf; None: the policy of the registry.
        journal: which journal of the model; empty for the policy.
        number: the entry that was to be written.
        transaction: the write.
    """

    name: str | None
    journal: str
    number: int
    transaction: str


def read_token(token: str) -> Token:
    """Read the token of an `UnsettledError`.

    Raises:
        InvalidValueError: it is none.
        InvalidNameError: it names a model as none can be named.

    Example:
        >>> read_token(f"models/churn/versions/7/{'0' * 32}").name
        'churn'
    """
    found = _TOKEN.fullmatch(token) if isinstance(token, str) else None
    if not found:
        raise InvalidValueError(f"{shown(token)} is no token; give the token of an UnsettledError", token=token)
    shelf, encoded, journal, number, transaction = found.groups()
    name = (DATASETS if shelf == DATASETS else "") + decode_name(encoded) if encoded else None
    return Token(name, journal or "", int(number), transaction)


def settle_model(line: Line, asked: Token) -> Settlement:
    """Settle a write to a journal of a model; see `Registry.settle`."""
    _check_known(line)
    with suppress(AccessError):  # what stands already can be seen without the right to write
        line.home.prepare()
    committed = line.journals[asked.journal].settle(asked.number, asked.transaction)
    if not committed or asked.journal != "versions":
        return Settlement(committed)
    return Settlement(committed, _made_by(line, asked.transaction))


def _made_by(line: Line, transaction: str) -> str | None:
    """The version, variant or draft that a transaction created, if it created one."""
    for known in list(line.versions.state.lines.values()):  # other threads may read on meanwhile
        ref = f"{line.name}:{known.made.number}"
        if transaction_of(known.made.at.pack) == transaction:
            return ref
        for kind, variant in known.variants.items():
            if transaction_of(variant.made.at.pack) == transaction:
                return f"{ref}/{kind}"
    drafts = list(line.versions.state.drafts.items())
    return next(
        (f"{line.name}~{name}" for name, one in drafts if transaction_of(one.made.at.pack) == transaction), None
    )


def _check_known(line: Line) -> None:
    """Refuse a token of a model that nobody ever began: settling it would make one."""
    line.versions.refresh()
    store = line.home.store
    # any upload will do: a collection that is the first to write here takes those of others, and has none of its own
    if line.versions.head or any(store.list(data_prefix(line.name))):
        return
    line.versions.refresh()  # a collection may have taken them since then; it says so first
    if not line.versions.head:
        raise InvalidValueError(
            f"{store.url} knows no {word_for(line.name)} {own_name(line.name)!r} and no upload of one; "
            "give the token of an UnsettledError of this registry",
            name=line.name,
        )


def settle_policy(home: Home, asked: Token) -> Settlement:
    """Settle a write to the policy; see `Registry.settle`."""
    registry = home.id()
    if registry is None:
        raise InvalidValueError(
            f"{home.store.url} holds no registry yet; give the token of an UnsettledError of this registry"
        )
    with suppress(AccessError):  # what stands already can be seen without the right to write
        home.prepare()
    return Settlement(home.policy(registry).settle(asked.number, asked.transaction))
