"""What each journal does when one operation follows the other: pure, small, and written apart from the shipped folds.

A step takes a state and gives the next one, the same one if nothing changes, or None if what the caller was told cannot
be told in this state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from modelkeep.errors import (
    ClosedError,
    ConflictError,
    DeletedError,
    InUseError,
    ModelkeepError,
    StaleError,
    TakenError,
    UnknownAliasError,
    UnknownLabelError,
    UnknownModelError,
    UnknownVariantError,
    UnknownVersionError,
)
from modelkeep.testing.simulate.history import UNSAID, Call

Step = Callable[[Any], Any]


# -- versions ----------------------------------------------------------------------------------------------------


class Versions(NamedTuple):
    """What was saved, by number; (label, number) of all labels; whether it takes saves; what was added as variants.

    And whether it ever took saves: the first may have been a run that failed.
    """

    payloads: tuple[Any, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()
    is_open: bool = False
    variants: tuple[tuple[int, str, Any], ...] = ()
    began: bool = False

    def variant(self, number: int, form: str) -> Any:
        """What was added to a version as a variant of a kind; None if nothing was."""
        return next((payload for *of, payload in self.variants if of == [number, form]), None)


def _label(state: Versions, asked: dict[str, Any]) -> str | None:
    """The label that is asked for; a bump counts from the highest ever used."""
    if "bump" not in asked:
        return asked.get("label")
    if not state.labels:
        return "1.0.0"
    major, minor, _ = max(tuple(map(int, text.split("."))) for text, _ in state.labels)
    return f"{major}.{minor + 1}.0"


def _save(call: Call, state: Versions) -> Versions | None:
    number, label = len(state.payloads) + 1, _label(state, call.asked)
    if state.began and not state.is_open:
        return None
    if (label is not None and label in dict(state.labels)) or call.answer not in (UNSAID, (number, label)):
        return None
    labels = state.labels if label is None else (*state.labels, (label, number))
    return state._replace(payloads=(*state.payloads, call.asked["payload"]), labels=labels, is_open=True, began=True)


def _keep_run(state: Versions) -> Versions | None:
    """A run that failed changes nothing that is told of versions, but opens a model that never was."""
    if state.is_open:
        return state
    return None if state.began else state._replace(is_open=True, began=True)


def _set_label(call: Call, state: Versions) -> Versions | None:
    number, label = call.asked["number"], _label(state, call.asked)
    known = dict(state.labels)
    free = label is not None and label not in known and number not in known.values()
    if not free or number > len(state.payloads) or call.answer not in (UNSAID, label):
        return None
    return state._replace(labels=(*state.labels, (str(label), number)))


def _add_variant(call: Call, state: Versions) -> Versions | None:
    number, form = call.asked["number"], call.asked["form"]
    if not state.is_open or number > len(state.payloads) or state.variant(number, form) is not None:
        return None
    return state._replace(variants=(*state.variants, (number, form, call.asked["payload"])))


def _kinds(number: int, kinds: tuple[str, ...], state: Versions) -> Versions | None:
    return state if kinds == tuple(sorted(form for of, form, _ in state.variants if of == number)) else None


def _turned(to: bool, state: Versions) -> Versions | None:
    return None if state.is_open == to else state._replace(is_open=to, began=state.began or to)


def _exists(number: int, state: Versions) -> Versions | None:
    return state if number <= len(state.payloads) else None


def _named(label: str, number: int | None, state: Versions) -> Versions | None:
    return state if dict(state.labels).get(label) == number else None


def _bears(number: int, label: str, state: Versions) -> Versions | None:
    return state if (label, number) in state.labels else None


def _loaded(number: int | None, payload: Any, state: Versions) -> Versions | None:
    found = state.payloads
    return state if (payload in found if number is None else found[number - 1 : number] == (payload,)) else None


def _all(listed: tuple[tuple[int, str | None], ...], state: Versions) -> Versions | None:
    labels = {number: label for label, number in state.labels}
    there = tuple((number, labels.get(number)) for number in range(1, len(state.payloads) + 1))
    return state if there == listed else None


def _is(seen: bool, test: Callable[[Versions], bool], state: Versions) -> Versions | None:
    return state if test(state) is seen else None


def _holds_variant(asked: dict[str, Any], payload: Any) -> Step:
    return partial(_is, True, lambda state: state.variant(asked["number"], asked["form"]) == payload)


_VERSIONS: dict[str, Callable[[Call], Step]] = {
    "save": lambda call: partial(_save, call),
    "label": lambda call: partial(_set_label, call),
    "add variant": lambda call: partial(_add_variant, call),
    "variants": lambda call: partial(_kinds, call.asked["number"], call.answer),
    "load variant": lambda call: _holds_variant(call.asked, call.answer),
    "find variant": lambda call: _holds_variant(call.asked, call.answer),
    "fail run": lambda _: _keep_run,
    "close": lambda _: partial(_turned, False),
    "open": lambda _: partial(_turned, True),
    "find": lambda call: partial(_exists, call.asked["number"]),
    "latest": lambda call: partial(_exists, call.answer),
    "by label": lambda call: partial(_named, call.asked["label"], call.answer),
    "load": lambda call: partial(_loaded, call.asked["number"], call.answer),
    "load alias": lambda call: partial(_loaded, None, call.answer),
    "versions": lambda call: partial(_exists, max(call.answer, default=0)),
    "aliases": lambda call: partial(_exists, max(call.answer.values(), default=0)),
    "all versions": lambda call: partial(_all, call.answer),
    "is open": lambda call: partial(_is, call.answer, lambda state: state.is_open),
}


def _versions_refusal(call: Call, error: ModelkeepError) -> Step | None:  # noqa: PLR0911  one for each error
    match error:
        case ClosedError():
            return partial(_is, True, lambda state: not state.is_open and (state.began or call.kind not in _OPENS))
        case TakenError(facts={"variant": _}):
            return partial(_is, True, lambda state: state.variant(error.number, error.variant) is not None)
        case UnknownVariantError():
            return _holds_variant(call.asked, None)
        case TakenError(facts={"number": number}):
            return partial(_named, error.label, number)
        case TakenError():
            return partial(_bears, call.asked["number"], error.label)
        case UnknownLabelError():
            return partial(_named, error.label, None)
        case UnknownModelError():
            return partial(_is, False, lambda state: state.began)
        case UnknownVersionError(facts={"number": number}):
            return partial(_is, True, lambda state: len(state.payloads) < number)
        case ConflictError() if call.kind == "open":
            return partial(_is, True, lambda state: state.is_open)
    return None


def versions_step(call: Call) -> Step | None:
    """What a call says of `versions`; None if nothing."""
    if call.error is not None:
        return _versions_refusal(call, call.error)
    if call.happened is None or call.answer is UNSAID:
        return _VERSIONS[call.kind](call) if call.kind in _MAKES else None
    made = _VERSIONS.get(call.kind)
    return made(call) if made else None


# -- releases ----------------------------------------------------------------------------------------------------


class Releases(NamedTuple):
    """(alias, versions, the holder last) of all aliases that are set; the versions deleted, purged, held."""

    stacks: tuple[tuple[str, tuple[int, ...]], ...] = ()
    deleted: frozenset[int] = frozenset()
    purged: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()

    def stack(self, alias: str) -> tuple[int, ...]:
        """The versions under *alias*."""
        return next((stack for known, stack in self.stacks if known == alias), ())

    def holder(self, alias: str) -> int | None:
        """The version that stands under *alias*."""
        return next((stack[-1] for known, stack in self.stacks if known == alias), None)

    def aliases_of(self, number: int) -> tuple[str, ...]:
        """The aliases that a version stands under."""
        return tuple(alias for alias, stack in self.stacks if stack[-1] == number)

    def put(self, alias: str, stack: tuple[int, ...]) -> Releases:
        """The same with another stack under *alias*; with an empty one it is not set."""
        others = [row for row in self.stacks if row[0] != alias]
        return self._replace(stacks=tuple(sorted([*others, (alias, stack)] if stack else others)))


def _promote(call: Call, state: Releases) -> Releases | None:
    number, alias = call.asked["number"], call.asked["alias"]
    holder = state.holder(alias)
    if number in state.deleted or holder != call.asked.get("expect", holder):
        return None
    return state if holder == number else state.put(alias, (*state.stack(alias), number))


def _below(state: Releases, alias: str) -> tuple[int, ...]:
    """The stack after a rollback: deleted versions are passed over."""
    stack = state.stack(alias)[:-1]
    while stack and stack[-1] in state.deleted:
        stack = stack[:-1]
    return stack


def _rollback(call: Call, state: Releases) -> Releases | None:
    alias = call.asked["alias"]
    holder, below = state.holder(alias), _below(state, alias)
    if not below or holder != call.asked.get("expect", holder) or call.answer not in (UNSAID, below[-1]):
        return None
    return state.put(alias, below)


def _unset(call: Call, state: Releases) -> Releases | None:
    alias = call.asked["alias"]
    return state.put(alias, ()) if state.stack(alias) else None


def _delete(number: int, state: Releases) -> Releases | None:
    if number in state.deleted or state.aliases_of(number):
        return None
    return state._replace(deleted=state.deleted | {number})


def _restore(number: int, state: Releases) -> Releases | None:
    if number not in state.deleted or number in state.purged:
        return None
    return state._replace(deleted=state.deleted - {number})


def _hold(number: int, state: Releases) -> Releases | None:
    if number in state.held or number in state.purged:
        return None
    return state._replace(held=state.held | {number})


def _unhold(number: int, state: Releases) -> Releases | None:
    return state._replace(held=state.held - {number}) if number in state.held else None


def _purged(state: Releases, number: int) -> Releases:
    return state._replace(deleted=state.deleted | {number}, purged=state.purged | {number})


def _erase(number: int, state: Releases) -> Releases | None:
    if number in state.purged:
        return state  # another did it; this one clears away
    return None if number in state.held or state.aliases_of(number) else _purged(state, number)


def purge(number: int, state: Releases) -> Releases | None:
    """A rule lets a version go: never one that is held, or that a rollback may come back to."""
    stacked = any(number in stack for _, stack in state.stacks)
    return None if number in state.purged | state.held or stacked else _purged(state, number)


def _holds(alias: str, numbers: frozenset[int], others: frozenset[int], state: Releases) -> Releases | None:
    """One of *numbers* stands there; without any one that is not among *others*."""
    holder = state.holder(alias)
    fits = holder in numbers if numbers else holder is not None and holder not in others
    return state if fits else None


def _seen(test: Callable[[Releases], bool], state: Releases) -> Releases | None:
    return state if test(state) else None


def _alive(alive: Iterable[int], gone: Iterable[int], state: Releases) -> Releases | None:
    """Of some versions it was told that they are not deleted, and of others that they are."""
    return state if state.deleted.isdisjoint(alive) and state.deleted.issuperset(gone) else None


_USES: dict[str, Callable[[Call], Step]] = {
    "promote": lambda call: partial(_promote, call),
    "rollback": lambda call: partial(_rollback, call),
    "unset": lambda call: partial(_unset, call),
    "delete": lambda call: partial(_delete, call.asked["number"]),
    "restore": lambda call: partial(_restore, call.asked["number"]),
    "hold": lambda call: partial(_hold, call.asked["number"]),
    "unhold": lambda call: partial(_unhold, call.asked["number"]),
    "erase": lambda call: partial(_erase, call.asked["number"]),
}


_MAKES = frozenset({"save", "label", "close", "open", "add variant", "fail run"})
_OPENS = frozenset({"save", "fail run"})
WRITES = _MAKES.union(_USES)  # operations that change what the journals of a model say


def _releases_refusal(call: Call, error: ModelkeepError, there: int) -> Step | None:  # noqa: PLR0911  as above
    number, told = call.asked.get("number", 0), error.facts
    match error:
        case StaleError():
            return partial(_seen, lambda state: state.holder(error.alias) == error.found)
        case UnknownAliasError():
            return partial(_seen, lambda state: state.holder(error.alias) is None)
        case DeletedError() if "draft" not in told:
            ever = call.kind in ("restore", "hold", "load", "load alias", "load variant")
            return partial(_seen, lambda state: error.number in (state.purged if ever else state.deleted))
        case InUseError():
            return partial(_seen, lambda state: state.aliases_of(number) == tuple(error.aliases))
        case UnknownVersionError() if "alias" in told:
            return partial(_seen, lambda state: bool(state.stack(error.alias)) and not _below(state, error.alias))
        case UnknownVersionError() if call.kind == "latest" and "number" not in told:
            return partial(_alive, (), range(1, there + 1))
        case ConflictError() if "is held" in str(error):
            return partial(_seen, lambda state: number in state.held)
        case ConflictError() if call.kind == "restore":
            return partial(_seen, lambda state: number not in state.deleted)
        case ConflictError() if call.kind == "unhold":
            return partial(_seen, lambda state: number not in state.held)
    return None


def releases_step(call: Call, there: int, numbers: dict[Any, int]) -> Step | None:
    """What a call says of `releases`; None if nothing.

    Args:
        call: the operation.
        there: versions up to this number were there before it began.
        numbers: the version that each payload is of, as users were told.
    """
    if call.error is not None:
        return _releases_refusal(call, call.error, there)
    if call.kind in _USES:
        return _USES[call.kind](call)
    if call.answer is UNSAID:
        return None
    sight = _SIGHTS.get(call.kind)
    return sight(call, there, numbers) if sight else None


def _sees_alias(call: Call, there: int, numbers: dict[Any, int]) -> Step:
    del there
    known = numbers.get(call.answer)
    named = frozenset() if known is None else frozenset({known})
    return partial(_holds, call.asked["alias"], named, frozenset(numbers.values()))


def _sees(test: Callable[[Releases, dict[str, Any], Any], bool]) -> Callable[..., Step]:
    """A read that *test* judges by the state, what was asked and what was answered."""
    return lambda call, *_: partial(_seen, lambda state: test(state, call.asked, call.answer))


_SIGHTS: dict[str, Callable[[Call, int, dict[Any, int]], Step]] = {
    "load alias": _sees_alias,
    "latest": lambda call, there, _: partial(_alive, (call.answer,), range(call.answer + 1, there + 1)),
    "add variant": lambda call, *_: partial(_alive, (call.asked["number"],), ()),
    "by label": lambda call, *_: partial(_alive, (call.answer,), ()),
    "versions": lambda call, there, _: partial(_alive, call.answer, set(range(1, there + 1)).difference(call.answer)),
    "aliases": _sees(lambda state, _, answer: {alias: stack[-1] for alias, stack in state.stacks} == answer),
    "is held": _sees(lambda state, asked, answer: (asked["number"] in state.held) is answer),
    "is deleted": _sees(lambda state, asked, answer: (asked["number"] in state.deleted) is answer),
    "aliases of": _sees(lambda state, asked, answer: state.aliases_of(asked["number"]) == answer),
}


# -- notes and policy: each field by itself, the last text or number that was written ---------------------------


def _write(value: Any, state: Any) -> Any:
    return state if state == value else value


def _read(value: Any, state: Any) -> Any:
    return state if state == value else None


def field_step(call: Call) -> Step | None:
    """What a call says of one field; a refusal says nothing. Nothing written is an empty text."""
    if call.error is not None:
        return None
    if call.kind.startswith("set "):
        return partial(_write, call.asked["value"])
    return None if call.answer is UNSAID else partial(_read, call.answer)
