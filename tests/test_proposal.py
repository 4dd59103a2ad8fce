"""Which part of its label a version proposes to raise, and the reasons that it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import DeletedError, InvalidValueError, UnknownVersionError
from modelkeep.schema import Columns, Values
from modelkeep.signature import Signature
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording

AGE, RATE = Values("int64"), Values("float64", nullable=True)
OUT = Values("float64")


@pytest.fixture
def store() -> Recording:
    return Recording(MemoryStore())


@pytest.fixture
def registry(store: Recording) -> mk.Registry:
    return mk.Registry(store)


def weights(seed: float = 0) -> dict[str, Any]:
    return {"w": np.full(3, seed)}


def signature(outputs: Any = OUT, **columns: Any) -> Signature:
    return Signature(Columns(columns), outputs)


# -- what asks for which part --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "part", "reason"),
    [
        ({}, {}, None, "nothing that a label tells of changed since churn:1"),
        ({"metrics": {"auc": 0.8}}, {"metrics": {"auc": 0.9}}, None, "nothing"),
        ({"notes": "a"}, {"notes": "b", "tags": {"team": "growth"}}, None, "nothing"),
        ({"params": {"depth": 3}}, {"params": {"depth": 6}}, "patch", "parameters changed: depth from 3 to 6"),
        ({"params": {"lr": 0.1}}, {"params": {"rate": 0.1}}, "patch", "lr from 0.1 to not given, rate from not given"),
        ({"params": {"seed": 1}}, {"params": {"seed": 1.0}}, "patch", "seed from 1 to 1.0"),
        (
            {"data": {"train": np.zeros((5, 2))}},
            {"data": {"train": np.ones((5, 2))}},
            "minor",
            "the data 'train' is other data than that of churn:1",
        ),
        (
            {"data": {"train": np.zeros((5, 2))}},
            {"data": {"train": np.zeros((7, 2))}},
            "minor",
            "(5 rows before, 7 now)",
        ),
        (
            {"data": {"train": np.zeros((5, 2))}},
            {"data": {"train": np.zeros((5, 3))}},
            "minor",
            "the features of the data 'train' changed: float64 of shape (3,) now, float64 of shape (2,) before",
        ),
        ({}, {"data": {"train": np.zeros(5)}}, "minor", "the data 'train' is new"),
        ({"data": {"train": np.zeros(5)}}, {}, "minor", "the data 'train' of churn:1 is not there any more"),
        (
            {"data": {"train": Path("not-there")}},
            {"data": {"train": Path("not-there")}},
            "minor",
            "whether the data 'train' is that of churn:1 cannot be told",
        ),
        ({}, {"signature": signature(age=AGE)}, "minor", "there is a signature now"),
        ({"signature": signature(age=AGE)}, {}, "minor", "there is no signature any more"),
        (
            {"preprocess": {"mean": np.zeros(2)}},
            {"preprocess": {"mean": np.ones(2)}},
            "minor",
            "the preprocessing is another than that of churn:1",
        ),
    ],
)
def test_equal_weights_propose_by_what_is_beside_them(
    registry: mk.Registry, before: dict[str, Any], after: dict[str, Any], part: str | None, reason: str
) -> None:
    registry.save(weights(), "churn", **before)
    proposal = registry.save(weights(), "churn", **after).propose_bump()
    assert proposal.part == part
    assert len(proposal.reasons) == 1
    assert reason in proposal.reasons[0]


@pytest.mark.parametrize(
    ("old", "new", "part", "reason"),
    [
        # what it takes: all that fitted must fit
        (signature(age=AGE), signature(age=AGE, rate=RATE), "major", "column 'rate' is missing"),
        (signature(age=AGE, rate=RATE), signature(age=AGE), "minor", "still fits"),
        (
            signature(age=Values("float64")),
            signature(age=AGE),
            "major",
            "column 'age': float64 came, and int64 is wanted",
        ),
        (signature(age=Values("int32")), signature(age=AGE), "minor", "still fits"),
        (signature(age=RATE), signature(age=Values("float64")), "major", "values are missing, and none may be"),
        (signature(age=Values("float64")), signature(age=RATE), "minor", "still fits"),
        # what it gives: all that it gives now must be what was given
        (signature(age=AGE), signature(Values("string"), age=AGE), "major", "string came, and float64 is wanted"),
        (signature(age=AGE), signature(RATE, age=AGE), "major", "outputs are not as those of churn:1"),
        (signature(RATE, age=AGE), signature(OUT, age=AGE), "minor", "still fits"),
        (signature(Columns({"p": OUT}), age=AGE), signature(Columns({"p": OUT, "q": OUT}), age=AGE), "minor", "still"),
        (signature(Columns({"p": OUT, "q": OUT}), age=AGE), signature(Columns({"p": OUT}), age=AGE), "major", "'q'"),
        (signature(None, age=AGE), signature(OUT, age=AGE), "minor", "still fits"),
    ],
)
def test_a_signature_that_callers_do_not_fit_is_a_major_change_and_any_other_a_minor(
    registry: mk.Registry, old: Signature, new: Signature, part: str, reason: str
) -> None:
    registry.save(weights(), "churn", signature=old)
    proposal = registry.save(weights(), "churn", signature=new).propose_bump()
    assert proposal.part == part
    assert len(proposal.reasons) == 1
    assert reason in proposal.reasons[0]


def test_weights_alone_are_a_patch(registry: mk.Registry) -> None:
    same: dict[str, Any] = {"data": {"train": np.zeros(5)}, "signature": signature(age=AGE), "params": {"depth": 3}}
    registry.save(weights(1), "churn", **same)
    proposal = registry.save(weights(2), "churn", **same).propose_bump()
    assert (proposal.part, proposal.reasons) == ("patch", ("the weights are other weights than those of churn:1",))


def test_another_kind_of_object_is_a_major_change(registry: mk.Registry) -> None:
    registry.save(weights(), "churn")
    proposal = mk.Registry(registry._store, trust=True).save(len, "churn", serializer="cloudpickle").propose_bump()
    assert proposal.part == "major"
    assert proposal.reasons[0] == "load gives what 'cloudpickle' reads, and gave what 'tree' reads"


def test_the_curves_of_a_run_and_its_time_are_no_change(registry: mk.Registry) -> None:
    for _ in range(2):
        with registry.run("churn") as run:
            run.log(loss=0.5)
            version = run.save(weights())
    assert version.content != registry.get("churn:1").content
    assert version.propose_bump().part is None


def test_columns_that_came_went_or_changed_are_named(registry: mk.Registry) -> None:
    pandas = pytest.importorskip("pandas")
    old = pandas.DataFrame({"age": [1, 2], "rate": [0.5, 0.6], "x$<b>": [1, 2]})
    new = pandas.DataFrame({"age": [1.5, 2.5], "rate": [0.5, 0.6], "size": [1, 2]})
    registry.save(weights(), "churn", data={"train": old})
    proposal = registry.save(weights(), "churn", data={"train": new}).propose_bump()
    assert proposal.reasons == (
        "the features of the data 'train' changed: 'size' is new, 'x$<b>' is gone, 'age' is float64, and was int64",
    )
    assert "&lt;b&gt;" in proposal._repr_html_()


def test_all_reasons_are_told_the_gravest_first(registry: mk.Registry) -> None:
    registry.save(weights(1), "churn", signature=signature(age=AGE), params={"depth": 3})
    version = registry.save(
        weights(2), "churn", signature=signature(rate=RATE), params={"depth": 6}, data={"train": np.zeros(5)}
    )
    proposal = version.propose_bump()
    assert proposal.part == "major"
    assert [reason.split(":")[0] for reason in proposal.reasons] == [
        "inputs that fit churn",
        "the data 'train' is new",
        "the weights are other weights than those of churn",
        "parameters changed",
    ]
    assert str(proposal).startswith("major: inputs that fit churn:1 do not fit: column 'rate' is missing")


# -- what it is compared with --------------------------------------------------------------------------------------


def test_it_is_compared_with_the_parent_and_without_one_with_the_version_before(registry: mk.Registry) -> None:
    for seed in (1, 2, 3):
        registry.save(weights(seed), "churn")
    assert registry.get("churn:3").propose_bump().against == "churn:2"
    child = registry.save(weights(1), "churn", parent=registry.get("churn:1"))
    assert child.propose_bump().against == "churn:1"
    assert child.propose_bump().part is None
    assert child.propose_bump(against=2).part == "patch"
    assert child.propose_bump(against=registry.get("churn:3")).against == "churn:3"


def test_a_parent_in_another_model_says_nothing_of_this_ones_labels(registry: mk.Registry) -> None:
    base = registry.save(weights(1), "encoder")
    for seed in (2, 3):
        registry.save(weights(seed), "churn")
    child = registry.save(weights(3), "churn", parent=base)
    assert child.propose_bump().against == "churn:2"
    assert child.propose_bump(against=base).against == "encoder:1"


def test_versions_that_are_deleted_are_passed_over(registry: mk.Registry) -> None:
    for seed in (1, 2, 3):
        registry.save(weights(seed), "churn", parent=None)
    registry.get("churn:2").delete()
    assert registry.get("churn:3").propose_bump().against == "churn:1"
    child = registry.save(weights(4), "churn", parent=registry.get("churn:1"))
    registry.get("churn:1").delete()
    assert child.propose_bump().against == "churn:3"


def test_the_first_version_has_nothing_to_be_compared_with(registry: mk.Registry) -> None:
    proposal = registry.save(weights(), "churn").propose_bump()
    assert (proposal.against, proposal.part, proposal.label) == (None, "major", "1.0.0")
    assert proposal.reasons == ("no version of churn is there before it",)


def test_what_is_no_version_to_compare_with_is_an_error(registry: mk.Registry) -> None:
    registry.save(weights(1), "churn", parent=None)
    version = registry.save(weights(2), "churn", parent=None)
    with pytest.raises(UnknownVersionError, match="no version 9"):
        version.propose_bump(against=9)
    wrong: Any = "churn:1"
    with pytest.raises(InvalidValueError, match="against is 'churn:1'; give a number or a version"):
        version.propose_bump(against=wrong)
    registry.get("churn:1").erase("request 17")
    with pytest.raises(DeletedError, match="churn:1 was purged"):
        version.propose_bump(against=1)


# -- the label -----------------------------------------------------------------------------------------------------


def test_the_label_is_the_one_that_the_bump_gives(registry: mk.Registry) -> None:
    registry.save(weights(1), "churn", label="1.2.3")
    version = registry.save(weights(2), "churn")
    proposal = version.propose_bump()
    assert (proposal.part, proposal.label) == ("patch", "1.2.4")
    assert version.label is None
    assert proposal.part is not None
    assert version.set_label(bump=proposal.part).label == "1.2.4"
    assert version.propose_bump().label is None  # it has one, and labels stay
    assert version.propose_bump().part == "patch"


def test_no_change_proposes_no_label(registry: mk.Registry) -> None:
    registry.save(weights(), "churn", label="1.0.0")
    proposal = registry.save(weights(), "churn").propose_bump()
    assert (proposal.part, proposal.label) == (None, None)
    assert str(proposal) == "no bump: nothing that a label tells of changed since churn:1"
    assert proposal.to_dict() == {
        "version": "churn:2",
        "against": "churn:1",
        "part": None,
        "reasons": ["nothing that a label tells of changed since churn:1"],
        "label": None,
    }


def test_a_proposal_costs_four_requests_when_warm(registry: mk.Registry, store: Recording) -> None:
    for seed in range(10):
        registry.save(weights(seed), "churn", data={"train": np.full(3, seed)}, preprocess={"m": np.zeros(2)})
    cold = mk.Registry(store).get("churn:10")
    store.forget()
    cold.propose_bump()
    assert len(store.requests) == 4, store.requests


# -- a history that was really trained -----------------------------------------------------------------------------


def test_each_version_of_the_trained_digits_proposes_what_its_story_says(digits_registry: mk.Registry) -> None:
    from trained import digits

    wanted = {number: "minor" if told.startswith("data") else "patch" for number, (told, _, _) in digits.STORY.items()}
    wanted[1] = "major"  # the first
    model = digits_registry.model(digits.NAME)
    proposals = {number: model.version(number).propose_bump() for number in digits.STORY}
    assert {number: proposal.part for number, proposal in proposals.items()} == wanted
    assert "'ink' is new" in proposals[4].reasons[0]
    assert "(500 rows before, 1000 now)" in proposals[3].reasons[0]
    assert any("C from 0.001 to 0.1" in reason for reason in proposals[2].reasons)
    assert proposals[10].reasons == (
        "the weights are other weights than those of digits:9",
        "parameters changed: seed from 0 to 1",
    )


def test_each_fine_tune_of_the_trained_nets_is_a_patch(nets_registry: mk.Registry) -> None:
    from trained import nets

    model = nets_registry.model(nets.NAME)
    assert [model.version(number).propose_bump().part for number in (2, 3, 4, 5)] == ["patch"] * 4
