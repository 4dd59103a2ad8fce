from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable

import pytest

from modelkeep import errors
from modelkeep.errors import ModelkeepError

CLASSES: list[type[ModelkeepError]] = [
    found
    for found in vars(errors).values()
    if inspect.isclass(found) and issubclass(found, ModelkeepError) and found is not ModelkeepError
]
EVERY: list[type[ModelkeepError]] = [ModelkeepError, *CLASSES]
TREE = re.compile(r"^(?P<indent>[│ ]*)[├└]── (?P<names>\w+Error(?: \((?P<other>\w+)\))?(?: · \w+Error)*)", re.MULTILINE)


def drawn_tree() -> dict[str, tuple[str, str | None]]:
    """The tree in the module's docstring: class to its parent and the built-in class beside it."""
    drawn: dict[str, tuple[str, str | None]] = {}
    above = ["ModelkeepError"]
    for line in TREE.finditer(errors.__doc__ or ""):
        depth = len(line["indent"]) // 4
        names = re.findall(r"\w+Error", line["names"].split(" (")[0])
        for name in names:
            drawn[name] = (above[depth], line["other"])
        above[depth + 1 :] = [names[-1]]
    return drawn


def test_the_tree_that_is_drawn_is_the_tree_of_classes() -> None:
    real = {}
    for kind in CLASSES:
        ours, *others = kind.__bases__
        real[kind.__name__] = (ours.__name__, others[0].__name__ if others else None)
    assert drawn_tree() == real


def test_every_kind_is_a_word_of_its_own() -> None:
    kinds = [kind.kind for kind in EVERY]
    assert len(set(kinds)) == len(kinds)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind) for kind in kinds)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "travel",
    [copy.copy, copy.deepcopy, *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(6))],
    ids=["copy", "deepcopy", *(f"pickle-{p}" for p in range(6))],
)
def test_every_error_survives_its_travels_with_its_facts(
    kind: type[ModelkeepError], travel: Callable[[ModelkeepError], ModelkeepError]
) -> None:
    facts: dict[str, object] = {"key": "models/churn", "expected": 6, "found": None, "names": ["a", "b"]}
    error = kind("production moved; reload and try again", **facts)
    arrived = travel(error)
    assert type(arrived) is kind
    assert str(arrived) == "production moved; reload and try again"
    assert arrived.args == error.args
    assert arrived.facts == facts
    assert (arrived.key, arrived.expected, arrived.found, arrived.names) == (
        "models/churn",
        6,
        None,
        ["a", "b"],
    )


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_caught_as_its_parents(kind: type[ModelkeepError]) -> None:
    for parent in kind.__mro__[1:-1]:
        if issubclass(parent, Exception):
            with pytest.raises(parent):
                raise kind("message")


def test_a_fact_that_was_not_given_is_an_attribute_error_that_tells_what_there_is() -> None:
    error = errors.StaleError("moved", alias="production")
    with pytest.raises(AttributeError, match=r"StaleError has no fact 'number'; it has \['alias', 'facts'\]"):
        _ = error.number
    assert not hasattr(error, "number")


def test_a_message_may_hold_anything() -> None:
    for message in ("", "100% {braces} \\ 'quotes' \"double\"", "été\n"):
        assert str(errors.AccessError(message)) == message
        assert str(errors.UnknownModelError(message)) == message
