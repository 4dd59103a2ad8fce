"""What type checkers know of models that follow an alias, and of its moves; read by mypy alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

import modelkeep as mk
from modelkeep.live import Live
from modelkeep.looks import Check
from modelkeep.watching import Change

registry = mk.Registry("memory://typing")


class Classifier:
    """A model of a user."""

    def predict_proba(self, rows: list[int]) -> list[float]:
        """Predict."""
        return [1.0 for _ in rows]


def tell(check: Check) -> None:
    """Take what a look found."""
    assert_type(check.changed, bool)


def wrong(check: int) -> None:
    """Take something else."""


live = registry.live("churn@production", as_=Classifier, every=60, on_change=tell)
assert_type(live, Live[Classifier])
assert_type(live.model, Classifier)
assert_type(live.model.predict_proba([1]), list[float])
live.model.fit()  # error: attr-defined
assert_type(live.version, mk.ModelVersion)
assert_type(live.stale_for, float)
assert_type(live.last_error, Exception | None)
assert_type(live.check(), Check)
with live.use() as model:
    assert_type(model, Classifier)
with live as same:
    assert_type(same, Live[Classifier])

assert_type(registry.live("churn@production"), Live[Any])
registry.live("churn@production", every="hour")  # error: call-overload
registry.live("churn@production", "Classifier")  # error: call-overload
registry.live("churn@production", on_change=wrong)  # error: arg-type
registry.live("churn@production", as_=Classifier, verify="later")  # error: call-overload

moves = registry.model("churn").watch("production", every=30, timeout=0)
assert_type(moves, Iterator[Change])
for move in moves:
    assert_type(move.action, str)
    assert_type(move.before, mk.ModelVersion | None)
    assert_type(move.after, mk.ModelVersion | None)
    move.after.promote("staging")  # error: union-attr
registry.model("churn").watch(7)  # error: arg-type
registry.model("churn").watch("production", 30)  # error: misc or call-arg

version = registry.get("churn:2")
rows, y = [[1]], [1]
assert_type(version.promote("production", on=(rows, y)), mk.ModelVersion)
version.check("production", predictions=(y, y, y), metrics={"f": max})
version.check("production", on=rows)  # error: arg-type
version.promote("production", predictions=(y, y))  # error: arg-type
version.check("production", metrics={"f": "accuracy"})  # error: dict-item
