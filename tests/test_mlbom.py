"""Bills of materials: the official schema takes every one of them and refuses broken ones; what they say is so."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from injected import injected
from injections import PAYLOADS
from modelkeep.digest import digest
from modelkeep.facts import Facts, Options, serializer_for
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording
from trained.digits import STORY

WEIGHTS = {"w": np.ones(3)}
Bill = dict[str, Any]


def fault(bill: Bill) -> str | None:
    """What the schema of CycloneDX 1.6 says against a bill, with no field that it does not know; None for nothing."""
    schema = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    validator = pytest.importorskip("cyclonedx.validation.json").JsonStrictValidator(schema)
    error = validator.validate_str(json.dumps(bill))
    return None if error is None else str(error)


def saved(**given: Any) -> mk.ModelVersion:
    version: mk.ModelVersion = mk.Registry(MemoryStore()).save(WEIGHTS, "churn", **given)
    return version


def forged(made: dict[str, Any]) -> mk.ModelVersion:
    registry = mk.Registry(MemoryStore())
    serializer = serializer_for(WEIGHTS, None, registry._home.granted)
    return registry._save(WEIGHTS, "churn", Facts(made=made), Options(), serializer)


def properties(of: Bill) -> dict[str, str]:
    return {one["name"].removeprefix("modelkeep:"): one["value"] for one in of.get("properties", [])}


def test_the_bill_of_the_least_that_can_be_saved_is_valid() -> None:
    assert fault(saved().to_cyclonedx()) is None


@pytest.mark.parametrize("number", STORY)
def test_the_bill_of_a_trained_version_is_valid_and_names_what_made_it(
    digits_registry: mk.Registry, number: int
) -> None:
    version = digits_registry.get(f"digits:{number}")
    bill = version.to_cyclonedx()
    assert fault(bill) is None
    model = bill["metadata"]["component"]
    family = "linear" if STORY[number][2] == "train_linear" else "random forest"
    assert (model["name"], model["version"], model["type"]) == ("digits", str(number), "machine-learning-model")
    if family == "random forest":  # a pipeline does not say what is in it
        assert model["modelCard"]["modelParameters"]["architectureFamily"] == family
    assert properties(model)["function"].endswith(STORY[number][2])
    (data,) = [one for one in bill["components"] if one["type"] == "data"]
    assert properties(data)["fingerprint"] == version.data["train"].fingerprint
    assert [one["version"] for one in model.get("pedigree", {}).get("ancestors", [])] == [str(number - 1)][: number - 1]
    purls = {one["purl"] for one in bill["components"] if "purl" in one and one["scope"] == "required"}
    assert any(purl.startswith("pkg:pypi/scikit-learn@") for purl in purls)
    refs = [one["bom-ref"] for one in bill["components"]]
    assert bill["dependencies"] == [{"ref": "model", "dependsOn": refs}]
    assert len(refs) == len(set(refs))


@pytest.mark.parametrize("payload", PAYLOADS[::3])
def test_any_text_in_any_field_leaves_the_bill_valid(payload: str, tmp_path: Path) -> None:
    bill = injected(payload, tmp_path).to_cyclonedx()
    assert fault(bill) is None
    assert bill["metadata"]["component"]["modelCard"]["considerations"]["useCases"] == [payload]


def _without(*path: Any) -> Callable[[Bill], None]:
    def broken(bill: Bill) -> None:
        for step in path[:-1]:
            bill = bill[step]
        del bill[path[-1]]

    return broken


def _with(value: Any, *path: Any) -> Callable[[Bill], None]:
    def broken(bill: Bill) -> None:
        for step in path[:-1]:
            bill = bill[step]
        bill[path[-1]] = value

    return broken


@pytest.mark.parametrize(
    "broken",
    [
        _without("bomFormat"),
        _without("specVersion"),
        _without("metadata", "component", "name"),
        _with("model", "metadata", "component", "type"),
        _with("urn:uuid:1", "serialNumber"),
        _with(0, "version"),
        _with("yesterday", "metadata", "timestamp"),
        _with("abc", "metadata", "component", "hashes", 0, "content"),
        _with("B3", "metadata", "component", "hashes", 0, "alg"),
        _with(0.9, "metadata", "component", "modelCard", "quantitativeAnalysis", "performanceMetrics", 0, "value"),
        _with("none", "components", 0, "data", 0, "type"),
        _with("more", "metadata", "component", "modelCard", "unknown"),
    ],
)
def test_a_broken_bill_is_refused(broken: Callable[[Bill], None]) -> None:
    bill = saved(metrics={"auc": 0.91}, data={"train": np.zeros((5, 2))}).to_cyclonedx()
    assert fault(bill) is None
    broken(bill)
    assert fault(bill) is not None


def test_one_version_has_one_serial_number_and_another_has_another() -> None:
    registry = mk.Registry(MemoryStore())
    first, second = registry.save(WEIGHTS, "churn"), registry.save(WEIGHTS, "churn")
    assert first.to_cyclonedx() == registry.get("churn:1").to_cyclonedx()
    assert first.to_cyclonedx()["serialNumber"] != second.to_cyclonedx()["serialNumber"]


def test_the_number_of_the_bill_grows_with_what_people_say() -> None:
    version = saved()
    before = version.to_cyclonedx()
    version.describe("For churn only")
    after = version.to_cyclonedx()
    assert (after["version"], after["serialNumber"]) == (before["version"] + 1, before["serialNumber"])
    assert after != before


def test_metrics_are_texts_and_what_is_no_number_a_word() -> None:
    version = saved(metrics={"auc": 0.5, "loss": math.nan}, params={"seed": 0, "deep": False}).measure(late=2)
    model = version.to_cyclonedx()["metadata"]["component"]
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "auc", "value": "0.5"},
        {"type": "loss", "value": "NaN"},
        {"type": "late", "value": "2"},
    ]
    assert {"param:seed": "0", "param:deep": "false"}.items() <= properties(model).items()


def test_a_file_has_a_hash_where_it_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    version = mk.Registry(MemoryStore()).save({"w": np.arange(3.0)}, "churn")
    (file,) = version.to_cyclonedx()["metadata"]["component"]["components"]
    exported = (version.export(tmp_path / "out") / file["name"]).read_bytes()
    assert file["hashes"] == [{"alg": "BLAKE3", "content": digest(exported)}]
    large = mk.Registry(MemoryStore()).save({name: np.arange(1e5) for name in "ab"}, "churn")
    (file,) = large.to_cyclonedx()["metadata"]["component"]["components"]
    assert "hashes" not in file
    assert properties(file)["digest"] == large.files[0].digest


def test_where_a_distribution_came_from_is_in_its_address_or_there_is_none() -> None:
    archive = {"kind": "archive", "url": "https://example.org/b-1.whl"}
    repository = {"kind": "vcs", "vcs": "git", "url": "https://example.org/c.git", "commit": "a" * 40}
    sources = {"b": archive, "c": repository, "d": {"kind": "editable"}}
    versions = {"a": "2.4.0+cpu", "b": "1", "c": "1", "d": "1"}
    bill = forged({"environment": {"python": "3.11.7", "distributions": versions, "sources": sources}}).to_cyclonedx()
    assert fault(bill) is None
    assert {one["name"]: one.get("purl") for one in bill["components"]} == {
        "a": "pkg:pypi/a@2.4.0%2Bcpu",
        "b": "pkg:pypi/b@1?download_url=https%3A%2F%2Fexample.org%2Fb-1.whl",
        "c": f"pkg:pypi/c@1?vcs_url=git%2Bhttps%3A%2F%2Fexample.org%2Fc.git%40{'a' * 40}",
        "d": None,
    }


def test_an_address_that_is_none_is_left_out() -> None:
    found = {
        remote: forged({"code": {"remote": remote}}).to_cyclonedx()["metadata"]["component"].get("externalReferences")
        for remote in ("javascript:x", "git@example.org:churn.git", "https://example.org/churn.git")
    }
    assert list(found.values()) == [None, None, [{"type": "vcs", "url": "https://example.org/churn.git"}]]


def test_a_warm_bill_costs_four_requests() -> None:
    store = Recording(MemoryStore())
    version = mk.Registry(store).save(WEIGHTS, "churn")
    version.to_cyclonedx()
    store.forget()
    version.to_cyclonedx()
    assert store.counts() == {"get": 4}
