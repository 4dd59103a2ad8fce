"""Versions as events of runs, in the words of OpenLineage 2-0-2 (https://openlineage.io/spec/2-0-2/OpenLineage.json).

A model is a job, what made a version is a run of it, and datasets, parents and the version itself are datasets. Only
what a lineage knows is told: neither the text of code nor the names of columns, which it does not keep.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelkeep._about import __version__
from modelkeep.lineagenodes import CODE, DATASET, DELETED, HERE, RUN, VERSION, Edge, Node

_SPEC = "https://openlineage.io/spec"
_PRODUCER = f"urn:modelkeep:{__version__}"
_ELSEWHERE = "urn:modelkeep:elsewhere"
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "urn:modelkeep:runs")
_URL = re.compile(r"(https?|ssh|git)://[^\s]+")
_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+):([^/\s][^\s]*)")  # as Git takes it: host:path
Facets = dict[str, dict[str, Any]]


def events(nodes: Sequence[Node], edges: Sequence[Edge], place: str) -> list[dict[str, Any]]:
    """A START and a COMPLETE for each version that is there; see `Lineage.to_openlineage`."""
    by_id = {node.id: node for node in nodes}
    above: dict[str, list[Node]] = {}
    for edge in edges:
        above.setdefault(edge.target, []).append(by_id[edge.source])
    made = [node for node in nodes if node.kind == VERSION and node.state in (HERE, DELETED)]
    made.sort(key=lambda node: (str(node.facts["created"]), node.id))
    return [event for node in made for event in _events(node, list(_unique(above.get(node.id, []))), place)]


def _unique(nodes: Sequence[Node]) -> Iterator[Node]:
    seen = set()
    for node in nodes:
        if node.id not in seen:
            seen.add(node.id)
            yield node


def _events(version: Node, sources: Sequence[Node], place: str) -> Iterator[dict[str, Any]]:
    run = next((node for node in sources if node.kind == RUN), None)
    created = str(version.facts["created"])
    whole: dict[str, Any] = {
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run_id(str(version.facts["digest"])), "facets": _of_run(run, version, place)},
        "job": {"namespace": place, "name": str(version.facts["name"]), "facets": _of_job(sources)},
        "inputs": [_dataset(node, place) for node in sources if node.kind in (DATASET, VERSION)],
    }
    began = str(run.facts.get("began", created)) if run else created
    yield {"eventType": "START", "eventTime": min(began, created), **whole}
    yield {"eventType": "COMPLETE", "eventTime": created, **whole, "outputs": [_dataset(version, place)]}


def run_id(identity: str) -> str:
    """The UUID of what made the version of that digest: always the same.

    Example:
        >>> run_id("0" * 64) == run_id("0" * 64)
        True
    """
    return str(uuid.uuid5(_NAMES, identity))


# -- facets ----------------------------------------------------------------------------------------------------


def _facet(schema: str, **facts: Any) -> dict[str, Any]:
    return {"_producer": _PRODUCER, "_schemaURL": f"{_SPEC}/facets/{schema}", **facts}


def _own(name: str, **facts: Any) -> dict[str, Any]:
    """A facet that OpenLineage has no word for."""
    return {"_producer": _PRODUCER, "_schemaURL": f"urn:modelkeep:facets:1:{name}", **facts}


def _of_run(run: Node | None, version: Node, place: str) -> Facets:
    """The run as modelkeep knows it may have made several versions: it is the parent of each of these."""
    if run is None:
        return {}
    job = {"namespace": place, "name": str(version.facts["name"])}
    parent = {"runId": str(uuid.UUID(str(run.facts["run"])))}
    return {"parent": _facet("1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet", run=parent, job=job)}


def _of_job(sources: Sequence[Node]) -> Facets:
    facets: Facets = {
        "jobType": _facet(
            "2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
            processingType="BATCH",
            integration="MODELKEEP",
            jobType="TRAINING",
        )
    }
    code = [node.facts for node in sources if node.kind == CODE]
    commit = next((facts for facts in code if "commit" in facts), None)
    function = next((facts for facts in code if "digest" in facts), None)
    if commit and (url := _url(commit.get("remote"))):
        known = {"repoUrl": url, "path": (function or {}).get("file"), "version": commit["commit"]}
        facets["sourceCodeLocation"] = _facet(
            "1-1-0/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet",
            type="git",
            url=url,
            **{name: value for name, value in known.items() if value},
        )
    if function:
        facets["modelkeep_function"] = _own("FunctionJobFacet", **_known(function, "function", "file", "digest"))
    return facets


def _url(remote: object) -> str | None:
    """The address of a repository, if it has one that others can use.

    Example:
        >>> _url("git@example.org:acme/churn.git"), _url("/home/ada/churn")
        ('ssh://example.org/acme/churn.git', None)
    """
    text = remote if isinstance(remote, str) else ""
    if _URL.fullmatch(text):
        return text
    found = _SCP.fullmatch(text)
    return f"ssh://{found[1]}/{found[2]}" if found else None


def _dataset(node: Node, place: str) -> dict[str, Any]:
    """A dataset, or a version of a model, as a dataset of OpenLineage."""
    facts, saved = node.facts, "number" in node.facts
    namespace = place if node.state != "elsewhere" else _ELSEWHERE
    name = str(facts["name"]) if "name" in facts else node.id
    known = _known(facts, "digest", "fingerprint", "semantic_version", "created", "author", "state")
    facets: Facets = {"modelkeep_version": _own("VersionDatasetFacet", **known)}
    if saved:
        schema = "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
        facets["version"] = _facet(schema, datasetVersion=str(facts["number"]))
    if namespace == place:
        schema = "1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet"
        facets["dataSource"] = _facet(schema, name=place, uri=place)
    return {
        "namespace": namespace,
        "name": f"datasets/{name}" if saved and node.kind == DATASET else name,
        "facets": facets,
    }


def _known(facts: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names if facts.get(name)}
