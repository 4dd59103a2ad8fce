"""Gates: what each finds, what a check tells, and what a promotion does with it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest

from modelkeep import customgates, gates
from modelkeep.digest import digest
from modelkeep.errors import (
    AccessError,
    DeletedError,
    GateError,
    InvalidNameError,
    InvalidValueError,
    StaleError,
    StoreError,
)
from modelkeep.evidence import Check, Finding
from modelkeep.folds.policy import SetPolicy
from modelkeep.modelversion import ModelVersion
from modelkeep.registry import Registry
from modelkeep.signature import Signature
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper
from modelkeep.system import System

TOP = '[models."churn*".aliases.production]\n'
AUC = f'{TOP}gates = [{{ metric = "auc", least = 0.9 }}]\n'
BETTER = f'{TOP}gates = [{{ metric = "auc", margin = 0.01 }}]\n'
QUICK = System(sleep=lambda _: None)


@pytest.fixture
def place() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def registry(place: MemoryStore) -> Registry:
    return Registry(place, trust="cloudpickle")


def save(registry: Registry, **options: Any) -> ModelVersion:
    version: ModelVersion = registry.save({"w": np.zeros(3)}, "churn", **options)
    return version


def doubling(registry: Registry, **options: Any) -> ModelVersion:
    version: ModelVersion = registry.save(lambda x: 2 * x, "churn", serializer="cloudpickle", **options)
    return version


def asked(registry: Registry, gate: str) -> None:
    registry.policy.set(f"{TOP}gates = [{gate}]")


def only(check: Check) -> Finding:
    (finding,) = check.findings
    return finding


def holder(registry: Registry) -> int | None:
    found = registry.model("churn").aliases.get("production")
    return found.number if found else None


def told(registry: Registry) -> list[tuple[str, int | None]]:
    moves = ("promote", "refuse", "rollback")
    return [(event.action, event.version) for event in registry.model("churn").history() if event.action in moves]


def ops(place: Store) -> list[dict[str, Any]]:
    line = Registry(place).model("churn")._read()
    return [op for entry, _, _ in line.releases.replay() for op in entry.ops]


# -- metrics -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "value", "passed"),
    [
        ("least = 0.9", 0.9, True),
        ("least = 0.9", 0.8999999, False),
        ("most = 0.9", 0.9, True),
        ("most = 0.9", 0.91, False),
        ("least = 0.5, most = 0.9", 0.7, True),
        ("least = 0.5, most = 0.9", 0.4, False),
        ("least = 0.5, most = 0.9", 1, False),
        ("least = 0.9", float("nan"), False),
        ("most = 0.9", float("nan"), False),
        ("least = 0.9", float("inf"), True),
        ("most = 0.9", float("inf"), False),
    ],
)
def test_a_threshold_is_met_or_not_and_nan_never_passes(
    registry: Registry, gate: str, value: float, passed: bool
) -> None:
    asked(registry, f'{{ metric = "auc", {gate} }}')
    finding = only(save(registry, metrics={"auc": value}).check("production"))
    assert finding.passed is passed
    assert finding.measured == pytest.approx(value, nan_ok=True)


def test_a_metric_that_is_not_there_fails_and_what_was_measured_later_does_not_count(registry: Registry) -> None:
    asked(registry, '{ metric = "auc", least = 0.9 }')
    version = save(registry, metrics={"loss": 0.1})
    version.measure(auc=0.99)
    finding = only(version.check("production"))
    assert not finding.passed
    assert "has no metric 'auc'" in finding.said


@pytest.mark.parametrize(
    ("margin", "lowest", "held", "found", "passed"),
    [
        (0.1, False, 0.2, 0.3, True),  # as people reckon: 0.3 - 0.2 is a float below 0.1
        (0.1, False, 0.2, 0.29, False),
        (0.1, True, 0.3, 0.2, True),
        (0.1, True, 0.3, 0.4, False),
        (0, False, 0.3, 0.3, True),
        (0, False, 0.3, 0.29, False),
        (0, False, float("nan"), 0.3, False),
        (0, False, 0.3, float("nan"), False),
        (0, False, float("inf"), float("inf"), False),
        (0, False, 1.0, float("inf"), True),
    ],
)
def test_who_takes_the_holders_place_is_better_by_the_margin(
    registry: Registry, margin: float, lowest: bool, held: float, found: float, passed: bool
) -> None:
    save(registry, metrics={"auc": held}).promote("production")
    asked(registry, f'{{ metric = "auc", margin = {margin}, lowest = {str(lowest).lower()} }}')
    check = save(registry, metrics={"auc": found}).check("production")
    assert only(check).passed is passed
    assert check.holder == 1


def test_where_nobody_stands_and_for_the_holder_itself_a_margin_is_met(registry: Registry) -> None:
    registry.policy.set(BETTER)
    version = save(registry, metrics={"auc": 0.1})
    assert only(version.check("production")).said == "auc is 0.1, and nobody stands there"
    assert version.promote("production").check("production").ok


def test_of_a_holder_without_the_metric_nothing_is_better(registry: Registry) -> None:
    save(registry).promote("production")
    registry.policy.set(BETTER)
    finding = only(save(registry, metrics={"auc": 0.9}).check("production"))
    assert not finding.passed
    assert "churn:1, which stands there, has no metric 'auc'" in finding.said


# -- the model, at work ------------------------------------------------------------------------------------------------


def test_a_latency_is_measured_here_by_the_example_and_fails_without_one(registry: Registry) -> None:
    asked(registry, '{ latency = "10 s" }')
    found = only(doubling(registry, example=np.arange(3)).check("production"))
    assert found.passed
    assert isinstance(found.measured, float)
    assert 0 < found.measured < 10_000
    assert not only(doubling(registry).check("production")).passed
    asked(registry, '{ latency = "0 ms" }')
    assert not only(registry.get("churn:1").check("production")).passed


def test_a_size_is_that_of_the_files(registry: Registry) -> None:
    version = save(registry)
    for limit, passed in ((version.size, True), (version.size - 1, False)):
        asked(registry, f'{{ size = "{limit} bytes" }}')
        finding = only(version.check("production"))
        assert (finding.passed, finding.measured) == (passed, version.size)


def test_golden_outputs_are_replayed_and_a_model_that_gives_others_fails(registry: Registry) -> None:
    asked(registry, '"golden"')
    assert only(doubling(registry, golden=np.arange(3)).check("production")).passed
    other = only(doubling(registry, golden=(np.arange(3), np.array([0, 2, 5]))).check("production"))
    assert (other.passed, other.measured) == (False, 1)
    assert "has no golden-inputs" in only(doubling(registry).check("production")).said


def test_a_model_that_may_not_be_loaded_or_fails_at_work_passes_no_gate(place: MemoryStore) -> None:
    registry = Registry(place, trust="cloudpickle")
    asked(registry, '"golden"')
    doubling(registry, golden=np.arange(3))

    def breaks(_: Any) -> Any:
        raise ZeroDivisionError("no")

    registry.save(breaks, "churn", serializer="cloudpickle", golden=(np.arange(3), np.arange(3)))
    strict = Registry(place)
    assert "trust" in only(strict.get("churn:1").check("production")).said
    assert only(strict.get("churn:1").check("production", trust="cloudpickle")).passed
    assert only(registry.get("churn:2").check("production")).said == "ZeroDivisionError: no"
    with pytest.raises(GateError):
        strict.get("churn:1").promote("production")
    strict.get("churn:1").promote("production", trust="cloudpickle")


def columns(**names: Any) -> Signature:
    return Signature.infer({name: np.array([value]) for name, value in names.items()}, np.array([0.5]))


ROW = Signature.infer(np.arange(3))


@pytest.mark.parametrize(
    ("held", "own", "passed"),
    [
        (columns(a=1.0), columns(a=1.0), True),
        (columns(a=1.0, b=1.0), columns(a=1.0), True),
        (columns(a=1.0), columns(a=1.0, b=1.0), False),
        (columns(a=1.0), columns(a="x"), False),
        (columns(a=1.0), Signature(columns(a=1.0).inputs), False),
        (Signature(columns(a=1.0).inputs), columns(a=1.0), True),
        (columns(a=1.0), Signature.infer({"a": np.array([1.0])}, np.array(["x"])), False),
        (Signature.infer({"a": np.array([np.nan])}), Signature.infer({"a": np.array([1.0])}), False),
        (Signature.infer({"a": np.array([1.0])}), Signature.infer({"a": np.array([np.nan])}), True),
    ],
)
def test_callers_of_the_holder_can_call_who_takes_its_place(
    registry: Registry, held: Signature, own: Signature, passed: bool
) -> None:
    save(registry, signature=held).promote("production")
    asked(registry, '"signature"')
    finding = only(save(registry, signature=own).check("production"))
    assert finding.passed is passed, finding.said


def test_a_signature_is_needed_where_it_is_asked_for_and_compared_where_the_holder_has_one(registry: Registry) -> None:
    asked(registry, '"signature"')
    assert not only(save(registry).check("production")).passed
    assert only(save(registry, signature=columns(a=1.0)).check("production")).passed


# -- what was recorded -------------------------------------------------------------------------------------------------


def test_an_environment_can_be_had_again_or_names_what_cannot(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(registry, '"environment"')
    assert "has no environment" in only(save(registry).check("production")).said

    @registry.track("churn")
    def train() -> dict[str, Any]:
        return {"w": np.ones(2)}

    train()
    monkeypatch.setattr(gates, "why_not", lambda one: "it was a folder" if one.name == "numpy" else "")
    finding = only(registry.get("churn").check("production"))
    assert (finding.passed, finding.measured, finding.said) == (False, 1, "numpy: it was a folder")
    monkeypatch.setattr(gates, "why_not", lambda _: "")
    assert only(registry.get("churn").check("production")).passed


def frame(start: int) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(start, start + 50), "y": 0.5})


@pytest.mark.parametrize(
    ("data", "passed", "said"),
    [
        ({"train": frame(0), "test": frame(50)}, True, "no row in common"),
        ({"train": frame(0), "test": frame(49)}, False, "2 % of test in train"),
        ({"train": frame(0)}, False, "not recorded by role"),
        (None, False, "not recorded by role"),
        ({"train": frame(0), "test": frame(50).rename(columns={"x": "z"})}, False, "cannot be told"),
    ],
)
def test_no_row_of_the_training_data_is_among_the_others(
    registry: Registry, data: Any, passed: bool, said: str
) -> None:
    asked(registry, '"no overlap"')
    finding = only(save(registry, data=data).check("production"))
    assert finding.passed is passed
    assert said in finding.said


def test_record_fields_that_a_policy_requires_are_there_or_are_named(registry: Registry) -> None:
    registry.policy.set(f'{TOP}requires = ["dataset", "kept dataset", "description", "golden", "signature"]')
    bare = save(registry).check("production")
    assert [one.asked for one in bare.failed] == [
        f"{field} recorded" for field in ("dataset", "kept dataset", "description", "golden", "signature")
    ]
    known = save(registry, data={"train": frame(0)}, notes="why", signature=columns(a=1.0))
    assert [one.asked for one in known.check("production").failed] == ["kept dataset recorded", "golden recorded"]
    kept = registry.save_dataset(frame(0), "sales", keep=True)
    whole = doubling(registry, data={"train": kept}, golden=np.arange(3), signature=ROW)
    whole.describe("why")
    assert whole.check("production").ok


# -- gates of others ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Entry:
    name: str
    function: Callable[..., Any]
    dist: Any = None

    def load(self) -> Callable[..., Any]:
        return self.function


@pytest.mark.parametrize(
    ("gives", "passed", "measured"),
    [
        (True, True, None),
        (np.bool_(True), True, None),
        ((True, 0.25), True, 0.25),
        ((True, np.float32(0.5)), True, 0.5),
        ((False, "skewed"), False, "'skewed'"),
        (False, False, None),
        (None, False, None),
        (1, False, None),
        (float("nan"), False, None),
        ("yes", False, None),
    ],
)
def test_of_what_a_custom_gate_gives_only_true_passes(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, gives: Any, passed: bool, measured: Any
) -> None:
    seen = []
    entry = Entry("fairness", lambda *given, **options: seen.append((given, options)) or gives)  # type: ignore[func-returns-value]
    monkeypatch.setattr(customgates, "_installed", lambda: (entry,))
    asked(registry, '{ custom = "fairness", least = 0.8 }')
    version = save(registry)
    finding = only(version.check("production"))
    assert (finding.passed, finding.measured) == (passed, measured)
    assert seen == [((version, None), {"least": 0.8})]


def test_a_custom_gate_that_breaks_is_missing_or_is_there_twice_fails_and_says_why(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> bool:
        raise RuntimeError("out of luck")

    asked(registry, '{ custom = "fairness" }')
    version = save(registry)
    assert "no distribution that is installed here brings the gate 'fairness'" in only(version.check("production")).said
    monkeypatch.setattr(customgates, "_installed", lambda: (Entry("fairness", breaks),))
    assert only(version.check("production")).said == "RuntimeError: out of luck"
    twice = tuple(Entry("fairness", breaks, type("D", (), {"name": name})()) for name in ("a", "b"))
    monkeypatch.setattr(customgates, "_installed", lambda: twice)
    assert "a and b both bring the gate 'fairness'" in only(version.check("production")).said


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_a_check_without_rules_is_passed_and_says_that_nothing_was_asked(registry: Registry) -> None:
    check = save(registry).check("production")
    assert check.ok
    assert str(check) == "churn:1 may stand under production: no policy asks anything"
    assert "<table" not in check._repr_html_()


def test_a_check_tells_all_in_words_as_a_dict_and_in_a_notebook(registry: Registry) -> None:
    registry.policy.set(AUC.replace("0.9 }", '0.9 }, { size = "1 MB" }'))
    check = save(registry, metrics={"auc": 0.5}).check("production")
    assert not check
    assert str(check).splitlines() == [
        "churn:1 may not stand under production",
        "- FAILED: auc at least 0.9 (auc is 0.5)",
        "- passed: size at most 1,000,000 bytes (152 bytes)",
    ]
    row = check.to_dict()
    assert (row["ok"], row["policy"], row["holder"], len(row["digest"])) == (False, 1, None, 64)
    seconds = row["findings"][0].pop("seconds")
    assert seconds > 0
    assert row["findings"][0] == {"asked": "auc at least 0.9", "passed": False, "measured": 0.5, "said": "auc is 0.5"}
    shown = check._repr_html_()
    assert "auc at least 0.9" in shown
    assert shown.count("failed") == 1


def test_what_comes_from_outside_is_text_in_a_notebook() -> None:
    check = Check("churn:1", "production", (Finding("<script>", passed=False, said="<b>"),))
    assert "<script>" not in check._repr_html_()
    assert "<b>" not in check._repr_html_()


def test_the_form_in_entries_has_numbers_and_words_alone() -> None:
    found = Finding("auc at least 0.9", False, float("nan"), said="said to people")
    assert found.to_entry() == {"asked": "auc at least 0.9", "passed": False, "measured": "nan"}


def test_a_check_writes_nothing_and_costs_two_gets_and_what_gates_read(place: MemoryStore) -> None:
    registry = Registry(place)
    registry.policy.set(AUC)
    save(registry, metrics={"auc": 0.95})
    store = Recording(place)
    reader = Registry(ReadOnly(store))
    version = reader.get("churn:1")
    version.check("production")
    store.forget()
    assert version.check("production").ok
    assert [(verb, key.split("/")[0]) for verb, key in store.requests] == [("get", "policy"), ("get", "models")]


# -- promotion ---------------------------------------------------------------------------------------------------------


def test_what_passes_is_promoted_and_the_evidence_is_kept_with_it(registry: Registry, place: MemoryStore) -> None:
    registry.policy.set('[models.churn]\nrisk = "high"\n' + AUC.replace("churn*", "churn"))
    save(registry, metrics={"auc": 0.95}).promote("production", reason="better")
    (op,) = ops(place)
    assert op["op"] == "alias"
    assert op["evidence"] == {
        "policy": 1,
        "digest": digest(registry.policy.text.encode()),
        "risk": "high",
        "findings": [{"asked": "auc at least 0.9", "passed": True, "measured": 0.95}],
    }


def test_what_fails_is_refused_and_the_refusal_is_kept_and_moves_nothing(
    registry: Registry, place: MemoryStore
) -> None:
    save(registry).promote("production")
    registry.policy.set(AUC)
    bad = save(registry, metrics={"auc": 0.5})
    with pytest.raises(
        GateError, match=r"churn:2 may not stand under production.*auc at least 0.9 \(auc is 0.5"
    ) as caught:
        bad.promote("production", reason="in a hurry")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.alias, error.failed, error.check) == ("production", ["auc at least 0.9"], caught.value.check)
    assert holder(registry) == holder(Registry(place)) == 1
    assert told(registry) == [("promote", 1), ("refuse", 2)]
    event = registry.model("churn").history()[-1]
    assert (event.subject, event.text) == ("production", "in a hurry")
    assert ops(place)[1]["evidence"]["findings"] == [{"asked": "auc at least 0.9", "passed": False, "measured": 0.5}]
    assert Registry(place).storage.verify().ok


def test_other_models_aliases_and_datasets_are_promoted_as_ever(registry: Registry) -> None:
    registry.policy.set(AUC.replace("churn*", "*"))
    save(registry).promote("staging")
    registry.save_dataset(frame(0), "sales").promote("production")
    registry.policy.set(AUC)
    registry.save({"w": np.zeros(3)}, "risk").promote("production")
    with pytest.raises(GateError):
        registry.get("churn").promote("production")


def test_without_rules_a_promotion_is_one_look_and_one_write_and_of_a_dataset_one_write(place: MemoryStore) -> None:
    store = Recording(place)
    registry = Registry(store)
    version, sales = save(registry), registry.save_dataset(frame(0), "sales")
    version.promote("staging")
    sales.promote("staging")
    store.forget()
    version.promote("production")
    assert [verb for verb, _ in store.requests] == ["get", "create"]
    store.forget()
    sales.promote("production")
    assert store.counts()["create"] == 1
    assert not any(key.startswith("policy") for _, key in store.requests)


def test_with_rules_a_promotion_or_refusal_is_one_write_and_a_rollback_asks_no_gate(place: MemoryStore) -> None:
    store = Recording(place)
    registry = Registry(store)
    registry.policy.set(BETTER)
    one, two, bad = (save(registry, metrics={"auc": auc}) for auc in (0.8, 0.9, 0.1))
    one.promote("production")
    store.forget()
    two.promote("production")
    where = [(verb, key.split("/")[0]) for verb, key in store.requests]
    assert where == [("get", "policy"), ("get", "models"), ("get", "policy"), ("create", "models")]
    store.forget()
    with pytest.raises(GateError):
        bad.promote("production")
    assert store.counts()["create"] == 1
    store.forget()
    assert registry.model("churn").rollback("production") == one  # worse, and that is what it is for
    assert [verb for verb, _ in store.requests] == ["get", "create"]


def test_approvals_cost_no_request_beside_those_of_the_policy_and_the_journal(place: MemoryStore) -> None:
    store = Recording(place)
    registry = Registry(store)
    registry.policy.set(f"{BETTER}approvals = 1\nby_author = true\n")
    version = save(registry, metrics={"auc": 0.8})
    version.review.approve()
    store.forget()
    version.promote("production")
    where = [(verb, key.split("/")[0]) for verb, key in store.requests]
    assert where == [("get", "policy"), ("get", "models"), ("get", "policy"), ("create", "models")]


def test_what_cannot_be_promoted_anyway_is_told_before_any_gate_looks(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("a gate looked")

    version = save(registry)
    registry.policy.set(AUC)
    monkeypatch.setattr(gates, "findings", never)
    with pytest.raises(StaleError):
        version.promote("production", expect=3)
    with pytest.raises(InvalidNameError):
        version.check("a/b")
    version.delete()
    with pytest.raises(DeletedError):
        version.promote("production")


def test_a_policy_that_this_release_cannot_read_lets_nothing_be_promoted(registry: Registry) -> None:
    version = save(registry)
    home = registry._home
    home.policy(home.prepare()).append(lambda _: [SetPolicy("[models.churn]\nquorum = 3")], tx=home.system.new_id())
    for act in (lambda: version.promote("production"), lambda: version.check("production")):
        with pytest.raises(InvalidValueError, match=r"entry 1 of the policy cannot be read.*'quorum'.*upgrade"):
            act()
    assert holder(registry) is None


def test_a_stage_is_reached_by_way_of_the_one_before(registry: Registry) -> None:
    registry.policy.set('[models.churn]\nstages = ["staging", "production"]')
    one, two = save(registry), save(registry)
    with pytest.raises(GateError, match="stood under staging \\(promote it to staging first"):
        one.promote("production")
    one.promote("staging").promote("production")
    two.promote("staging")
    registry.model("churn").rollback("staging")  # what was tried there and taken back is not promoted
    with pytest.raises(GateError):
        two.promote("production")
    two.promote("staging").promote("production")
    one.promote("production")  # it stood in staging, and another came after it


def test_a_storage_that_fails_while_gates_look_is_no_verdict(place: MemoryStore) -> None:
    class Denied(Wrapper):
        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            if key.endswith(".pack"):
                raise AccessError(f"{key}: denied", key=key)
            return super().get(key, span)

    asked(Registry(place), '"signature"')
    save(Registry(place))
    with pytest.raises(StoreError):
        Registry(Denied(place)).get("churn:1").promote("production")
    assert told(Registry(place)) == []
