"""What type checkers know of tracked functions; read by mypy alone. A line with an error in it says which."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, assert_type

import modelkeep as mk
from modelkeep.choosing import improves
from modelkeep.runs import Run, current_run
from modelkeep.track import last_run

T = TypeVar("T")
registry = mk.Registry("memory://typing")


@registry.track("churn", metric="auc", keep="best:3", save_if=improves("auc"), reuse=True, bump="minor")
def train(frame: list[int], *, depth: int = 6) -> tuple[list[int], dict[str, float]]:
    """Train."""
    current_run().log(auc=0.9, step=depth)
    return frame, {"auc": 0.9}


assert_type(train([1], depth=3), tuple[list[int], dict[str, float]])
as_value: Callable[[list[int]], tuple[list[int], dict[str, float]]] = train
assert_type(last_run(train), Run)
assert_type(last_run(train).version, mk.ModelVersion)
train("x")  # error: arg-type
train([1], deph=3)  # error: call-arg
train([1], 3)  # error: call-arg
train()  # error: call-arg
registry.track("churn", metrik="auc")  # error: call-arg
registry.track("churn", mode="up")  # error: arg-type
registry.track("churn", bump="huge")  # error: arg-type


@registry.track("churn")
async def later(n: int) -> str:
    """Train later."""
    return "x" * n


async def awaiting() -> None:
    """Wait."""
    assert_type(await later(3), str)
    await later("x")  # error: arg-type


class Trainer:
    """Trains."""

    @registry.track("churn")
    def method(self, a: int) -> str:
        """Train."""
        return "x" * a

    @classmethod
    @registry.track("churn")
    def inner(cls, a: int) -> str:
        """Train."""
        return "x" * a

    @registry.track("churn")
    @classmethod
    def outer(cls, a: int) -> str:
        """Train."""
        return "x" * a

    @staticmethod
    @registry.track("churn")
    def static(a: int) -> str:
        """Train."""
        return "x" * a


assert_type(Trainer().method(1), str)
assert_type(Trainer.inner(1), str)
assert_type(Trainer.outer(1), str)
assert_type(Trainer.static(1), str)
Trainer().method("x")  # error: arg-type
Trainer.inner("x")  # error: arg-type
Trainer.outer("x")  # error: arg-type
Trainer.static("x")  # error: arg-type

with registry.run("churn", params={"depth": 6}) as run:
    assert_type(run, Run)
    run.log(loss=0.5, step=3)
    run.log({"val/loss": 0.5})
    run.log(loss="x")  # error: arg-type
    assert_type(run.save([1]), mk.ModelVersion)
    run.save([1], bump="huge")  # error: typeddict-item or arg-type
    assert_type(float(run.version.history["loss"].last), float)
