"""Bills of materials: a version as a CycloneDX ML-BOM 1.6, with its model card, data and distributions.

https://cyclonedx.org/docs/1.6/json/ has the form. Only what is certain is said in its words, so that no reader trusts
more than there is; what it has no words for are properties, whose names begin with ``modelkeep:``. The hash of the
model is its identity, the BLAKE3 that format 1 defines; that of a file is there where it is the BLAKE3 of its bytes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from modelkeep._about import __version__
from modelkeep.dataset import DatasetFacts
from modelkeep.installed import Distribution
from modelkeep.system import format_time
from modelkeep.telling import Told, in_words, library_of, written_by
from modelkeep.usable import UsableVersion
from modelkeep.version import StoredFile

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_MODEL = "model"
_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~/-]+")  # of a repository; what else there may be is left out
_FAMILIES = {
    "Forest": "random forest",
    "Boosting": "gradient boosting",
    "XGB": "gradient boosting",
    "LGBM": "gradient boosting",
    "CatBoost": "gradient boosting",
    "LogisticRegression": "linear",
    "LinearRegression": "linear",
    "Ridge": "linear",
    "Lasso": "linear",
    "DecisionTree": "decision tree",
    "KNeighbors": "nearest neighbours",
}


def bill_of(version: UsableVersion) -> dict[str, Any]:
    """The bill of materials of a version; see `ModelVersion.to_cyclonedx`."""
    told = Told.of(version)
    data, packages = list(_data(told)), list(_packages(told))
    model = _model(told)
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'modelkeep:{version.digest}')}",
        "version": version._line.notes.head + 1,  # noqa: SLF001  what people say is all that changes: it only grows
        "metadata": {
            "timestamp": format_time(version.created),
            "tools": {"components": [{"type": "application", "name": "modelkeep", "version": __version__}]},
            "authors": [{"name": version.author}],
            "component": model,
        },
        "components": [*data, *packages],
        "dependencies": [{"ref": _MODEL, "dependsOn": [one["bom-ref"] for one in (*data, *packages)]}],
    }


def _model(told: Told) -> dict[str, Any]:
    license_ = told.tags.get("license")
    parents = [_ancestor(f"parent:{n}", one.name, one.number) for n, one in enumerate(told.version.parents)]
    commit = told.version.code.commit if told.version.code else None
    pedigree = _known({"ancestors": parents, "commits": [{"uid": commit}] if commit else []})
    return _known({
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": told.version.name,
        "version": told.version.label or str(told.version.number),
        "description": told.version.notes,
        "hashes": [{"alg": "BLAKE3", "content": told.version.digest}],
        "licenses": [{"license": {"name": license_}}] if license_ else [],
        "pedigree": pedigree,
        "externalReferences": _references(told),
        "modelCard": _card(told),
        "components": [_file(told, file) for file in told.version.files],
        "properties": _properties(_facts(told)),
    })  # fmt: skip


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what is empty or None."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}


def _properties(named: Mapping[str, object]) -> list[dict[str, str]]:
    words = {name: in_words(value) for name, value in named.items() if value is not None}
    return [{"name": f"modelkeep:{name}", "value": text} for name, text in words.items() if text]


def _facts(told: Told) -> dict[str, object]:
    """What CycloneDX has no words for."""
    record, code = told.version.record, told.version.code
    environment = told.version.environment
    return {
        "ref": told.version.ref,
        "identity": told.version.digest,
        "content": told.version.content,
        "library": library_of(told.version),
        "serializer": f"{record.serializer} {record.serializer_format}",
        "tier": record.tier,
        "python": environment.made.python if environment else record.python,
        "function": code.function.name if code and code.function else None,
        "function-digest": code.function.digest if code and code.function else None,
        "uncommitted-changes": code.dirty if code else None,
        **{f"param:{name}": value for name, value in told.version.params.items()},
        **{f"tag:{name}": text for name, text in told.tags.items()},
    }


def _ancestor(ref: str, name: str, number: int) -> dict[str, Any]:
    return {"type": "machine-learning-model", "bom-ref": ref, "name": name, "version": str(number)}


def _references(told: Told) -> list[dict[str, str]]:
    remote = told.version.code.remote if told.version.code else None
    return [{"type": "vcs", "url": remote}] if remote and _ADDRESS.fullmatch(remote) else []


# -- the model card ----------------------------------------------------------------------------------------------------


def _card(told: Told) -> dict[str, Any]:
    signature = told.version.signature
    kind = told.version.record.type
    parameters = _known({
        "task": told.task,
        "architectureFamily": next((family for part, family in _FAMILIES.items() if part in kind), None),
        "modelArchitecture": kind,
        "datasets": [{"ref": f"data:{role}"} for role in told.version.data],
        "inputs": [{"format": line} for line in str(signature).splitlines()] if signature else [],
        "outputs": [{"format": str(signature.outputs)}] if signature and signature.outputs else [],
    })  # fmt: skip
    metrics = [{"type": name, "value": in_words(value)} for name, value in told.metrics.items()]
    description = told.description
    return _known({
        "modelParameters": parameters,
        "quantitativeAnalysis": _known({"performanceMetrics": metrics}),
        "considerations": _known({"useCases": [description] if description else []}),
    })  # fmt: skip


# -- what it was made from ---------------------------------------------------------------------------------------------


def _file(told: Told, file: StoredFile) -> dict[str, Any]:
    """A file; its digest is the BLAKE3 of its bytes only where it has one piece."""
    pieces = dict(told.version._opened[0].manifest.files)[file.path]  # noqa: SLF001  the pieces are nobody else's affair
    whole = len(pieces) == 1
    written, tier = written_by(told.version, file.path)
    return _known({
        "type": "file",
        "bom-ref": f"file:{file.path}",
        "name": file.path,
        "hashes": [{"alg": "BLAKE3", "content": file.digest}] if whole else [],
        "properties": _properties({"digest": file.digest, "bytes": file.size, "format": written, "tier": tier}),
    })  # fmt: skip


def _data(told: Told) -> Iterator[dict[str, Any]]:
    sources = told.sources
    for role, facts in told.version.data.items():
        properties = _properties({
            "fingerprint": facts.fingerprint, "kind": facts.kind, "rows": facts.rows, "columns": facts.columns,
            "bytes": facts.size, **{f"source:{name}": text for name, text in facts.source.items()},
        })  # fmt: skip
        yield {
            "type": "data",
            "bom-ref": f"data:{role}",
            "name": role,
            "data": [{"type": "dataset", "name": sources[role] or role, **_contents(facts)}],
            "properties": properties,
        }


def _contents(facts: DatasetFacts) -> dict[str, Any]:
    types = {f"column:{name}": facts.types.get(name, "unknown") for name in facts.column_names()}
    return {"contents": {"properties": _properties(types)}} if types else {}


def _packages(told: Told) -> Iterator[dict[str, Any]]:
    """The distributions of the environment; where none was recorded, what the serializer names."""
    environment = told.version.environment
    if environment is None:
        for name, release in told.version.record.packages.items():
            yield {"type": "library", "bom-ref": f"package:{name}", "name": name, "version": release}
        return
    for one in environment.made.distributions.values():
        yield _known({
            "type": "library",
            "bom-ref": f"package:{one.name}",
            "name": one.name,
            "version": one.version,
            "scope": "required" if one.loaded else "optional",
            "purl": _purl(one),
        })  # fmt: skip


def _purl(one: Distribution) -> str | None:
    """Where the distribution comes from; None for what came from a folder, which no package index has.

    Example:
        >>> _purl(Distribution("torch", "2.4.0+cpu"))
        'pkg:pypi/torch@2.4.0%2Bcpu'
    """
    plain = f"pkg:pypi/{one.name}@{quote(one.version, safe='')}"
    source = one.source
    if source is None:
        return plain
    if source.url is None or source.kind not in ("vcs", "archive"):
        return None
    if source.kind == "vcs":
        return f"{plain}?vcs_url={quote(f'{source.vcs}+{source.url}@{source.commit}', safe='')}"
    return f"{plain}?download_url={quote(source.url, safe='')}"
