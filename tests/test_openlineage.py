"""Events of OpenLineage 2-0-2: read by the classes that its project generates from its schemas, and the same again."""

from __future__ import annotations

import copy
import importlib
import pkgutil
import types
import uuid
from collections.abc import Callable
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
import numpy as np
import pytest

import modelkeep as mk
from modelkeep._about import __version__
from modelkeep.lineage import Lineage
from modelkeep.lineagenodes import Edge, Node
from modelkeep.openlineage import run_id

generated = pytest.importorskip("openlineage.client.generated", reason="needs openlineage-python")
base = importlib.import_module("openlineage.client.generated.base")
serde = importlib.import_module("openlineage.client.serde")
OURS = "urn:modelkeep:facets:1:"


def _facet_classes() -> dict[str, type]:
    """The official facets by the address of their schemas."""
    found = {}
    for one in pkgutil.iter_modules(generated.__path__):
        for kind in vars(importlib.import_module(f"{generated.__name__}.{one.name}")).values():
            if isinstance(kind, type) and issubclass(kind, base.BaseFacet):
                found[kind._get_schema()] = kind  # type: ignore[attr-defined]  # the library says nothing of its types
    return found


FACETS = _facet_classes()
NAMES = {  # under which name each official facet stands; the schemas say so, the classes do not
    "parent": "ParentRunFacet",
    "jobType": "JobTypeJobFacet",
    "sourceCodeLocation": "SourceCodeLocationJobFacet",
    "version": "DatasetVersionDatasetFacet",
    "dataSource": "DatasourceDatasetFacet",
}


def built(kind: Any, value: Any) -> Any:
    """*value* as an object of an official class: no key too many or too few, of its type, each validator asked."""
    choices = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) in (Union, types.UnionType):
        return built(choices[0], value)
    if get_origin(kind) is list:
        return [built(choices[0], one) for one in _of(list, value)]
    if get_origin(kind) is dict:
        return {name: facet(choices[1], name, one) for name, one in _of(dict, value).items()}
    if issubclass(kind, Enum):
        return kind(value)
    if not attrs.has(kind):
        return _of(kind, value)
    hints, fields = get_type_hints(kind), {one.name: one for one in attrs.fields(kind)}
    if strange := set(_of(dict, value)) - set(fields):
        raise ValueError(f"{kind.__name__} has no {strange}")
    given = {fields[name].alias: built(hints[name], one) for name, one in value.items() if fields[name].init}
    made = kind(**given)
    for name, field in fields.items():
        if not field.init and getattr(made, name) != value.get(name):
            raise ValueError(f"{name} is {value.get(name)}, not {getattr(made, name)}")
    return made


def facet(kind: type, name: str, value: Any) -> Any:
    """A facet by its schema, which must be one for this place; one of ours begins with our name."""
    schema = _of(dict, value)["_schemaURL"]
    if not schema.startswith(OURS):
        found = built(FACETS[schema], value)
        if not isinstance(found, kind) or NAMES[name] != type(found).__name__:
            raise ValueError(f"{name} is a {type(found).__name__}")
        return found
    if not name.startswith("modelkeep_") or not _of(str, value["_producer"]):
        raise ValueError(f"{name} is no facet of ours")
    return value


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def without_empty(value: Any) -> Any:
    """The same without what is empty, which the library writes and we do not."""
    if isinstance(value, dict):
        return {name: kept for name, one in value.items() if (kept := without_empty(one)) not in ({}, [], None)}
    return [without_empty(one) for one in value] if isinstance(value, list) else value


def check(event: dict[str, Any]) -> None:
    made = built(base.RunEvent, event)
    assert without_empty(serde.Serde.to_dict(made)) == without_empty(event)


@pytest.fixture
def lineage() -> Lineage:
    """A version of everything: parents here and elsewhere, datasets saved and bare, code, function, run."""
    march, february = "2026-03-01T12:00:00.000000Z", "2026-02-01T12:00:00.000000Z"
    author, frame, array = "ada@example.org", f"frame-1:{'5' * 64}", f"array-1:{'6' * 64}"

    def node(kind: str, one: str, **facts: object) -> Node:
        return Node(kind, one, one, facts)

    nodes = [
        node("version", "churn:2", name="churn", number=2, digest="2" * 64, created=march, author=author),
        node("version", "churn:1", name="churn", number=1, digest="1" * 64, created=february, state="purged"),
        node("version", "base:4#44444444", name="base", number=4, digest="4" * 64, state="elsewhere"),
        node("dataset", "data:sales:3", name="sales", number=3, digest="3" * 64, fingerprint=frame, created=february),
        node("dataset", array, fingerprint=array),
        node("code", f"commit:{'0f' * 20}", commit="0f" * 20, remote="git@example.org:acme/churn.git"),
        node("code", "function:77", function="churn.train:fit", file="churn/train.py", digest="7" * 64),
        node("run", f"run:{'8' * 32}", run="8" * 32, began="2026-03-01T11:00:00.000000Z"),
    ]
    edges = [Edge(node.id, "churn:2", "") for node in nodes[1:]]
    return Lineage.of(nodes, edges, "s3://acme/registry")


def test_events_are_what_the_official_classes_read_and_write(lineage: Lineage) -> None:
    events = lineage.to_openlineage()
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    for event in events:
        check(event)


def test_an_event_says_what_made_the_version_and_from_what(lineage: Lineage) -> None:
    start, complete = lineage.to_openlineage()
    assert (start["eventTime"], complete["eventTime"]) == ("2026-03-01T11:00:00.000000Z", "2026-03-01T12:00:00.000000Z")
    assert "outputs" not in start
    assert complete["producer"] == f"urn:modelkeep:{__version__}"
    assert (complete["job"]["namespace"], complete["job"]["name"]) == ("s3://acme/registry", "churn")
    location = complete["job"]["facets"]["sourceCodeLocation"]
    assert (location["url"], location["path"], location["version"]) == (
        *("ssh://example.org/acme/churn.git", "churn/train.py"), "0f" * 20
    )  # fmt: skip
    assert complete["job"]["facets"]["modelkeep_function"]["function"] == "churn.train:fit"
    assert complete["run"]["facets"]["parent"]["run"] == {"runId": str(uuid.UUID("8" * 32))}
    inputs = {
        (one["namespace"], one["name"], one["facets"].get("version", {}).get("datasetVersion"))
        for one in complete["inputs"]
    }
    assert inputs == {
        ("s3://acme/registry", "churn", "1"),
        ("urn:modelkeep:elsewhere", "base", "4"),
        ("s3://acme/registry", "datasets/sales", "3"),
        ("s3://acme/registry", f"array-1:{'6' * 64}", None),
    }
    (output,) = complete["outputs"]
    assert (output["name"], output["facets"]["version"]["datasetVersion"]) == ("churn", "2")
    assert output["facets"]["modelkeep_version"]["digest"] == "2" * 64
    assert output["facets"]["dataSource"]["uri"] == "s3://acme/registry"


def test_the_id_of_a_run_is_a_uuid_that_the_version_alone_decides(lineage: Lineage) -> None:
    first, second = lineage.to_openlineage(), lineage.to_openlineage()
    assert first == second
    assert {event["run"]["runId"] for event in first} == {run_id("2" * 64)}
    assert uuid.UUID(run_id("2" * 64)).version == 5
    assert run_id("1" * 64) != run_id("2" * 64)


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://example.org/acme/churn", "https://example.org/acme/churn"),
        ("example.org:acme/churn", "ssh://example.org/acme/churn"),
        ("/home/ada/churn", None),
        ("javascript:alert(1)", "ssh://javascript/alert(1)"),
        (None, None),
    ],
)
def test_code_is_located_only_where_others_can_find_it(lineage: Lineage, remote: str | None, url: str | None) -> None:
    nodes = [
        attrs.evolve(n, facts={"commit": "0f" * 20, "remote": remote}) if "commit" in n.facts else n
        for n in lineage.nodes
    ]
    event = Lineage.of(nodes, lineage.edges, lineage.place).to_openlineage()[0]
    check(event)
    assert event["job"]["facets"].get("sourceCodeLocation", {}).get("url") == url


def _at(*path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def act(event: dict[str, Any]) -> None:
        inner: Any = event
        for key in path[:-1]:
            inner = inner[0] if key == "*" else inner[key]
        if to is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = to

    return act


BROKEN = {
    "a run id that is no UUID": _at("run", "runId", to="churn:2"),
    "no run": _at("run", to=None),
    "no name of the job": _at("job", "name", to=None),
    "an unknown type of event": _at("eventType", to="DONE"),
    "a time without a time": _at("eventTime", to="2026-03-01"),
    "no time": _at("eventTime", to=None),
    "another schema": _at("schemaURL", to="https://openlineage.io/spec/1-0-0/OpenLineage.json"),
    "a word that is none": _at("outcome", to="good"),
    "a version that is a number": _at("outputs", "*", "facets", "version", "datasetVersion", to=2),
    "a facet without its schema": _at("outputs", "*", "facets", "version", "_schemaURL", to=None),
    "a facet of a job at a dataset": _at("outputs", "*", "facets", "jobType", to={"_schemaURL": "x"}),
    "a location without an address": _at("job", "facets", "sourceCodeLocation", "url", to=None),
    "inputs that are no list": _at("inputs", to={}),
    "a dataset without a namespace": _at("inputs", "*", "namespace", to=None),
    "a facet of ours under another's name": _at("job", "facets", "function", to={"_schemaURL": OURS, "_producer": "x"}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_event_is_refused(lineage: Lineage, what: str) -> None:
    event = copy.deepcopy(lineage.to_openlineage()[1])
    check(event)
    BROKEN[what](event)
    with pytest.raises((ValueError, TypeError, KeyError, AssertionError)):
        check(event)


def test_the_ten_versions_are_twenty_events_in_the_order_in_which_they_were_made(digits_registry: mk.Registry) -> None:
    events = digits_registry.lineage().to_openlineage()
    for event in events:
        check(event)
    made = [event["outputs"][0]["facets"]["version"]["datasetVersion"] for event in events if "outputs" in event]
    assert made == [str(n) for n in range(1, 11)]
    eighth = events[15]
    assert {(one["name"], one["facets"]["version"]["datasetVersion"]) for one in eighth["inputs"]} == {
        *(("datasets/digits-rows", "4"), ("digits", "7"))
    }


def test_a_version_of_which_nothing_but_its_bytes_is_known_is_an_event_too() -> None:
    registry = mk.Registry("memory://bare-events")
    registry.save({"w": np.ones(3)}, "churn")
    registry.get("churn").delete()
    for event in registry.lineage().to_openlineage():
        check(event)
        assert event["inputs"] == []
