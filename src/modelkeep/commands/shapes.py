"""Versions as commands print them in JSON; docs/reference/cli.md has a table of each shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelkeep.demo import Told
    from modelkeep.lineage import Lineage
    from modelkeep.modelversion import ModelVersion


def in_line(version: ModelVersion) -> dict[str, Any]:
    """What the journal tells of a version; no request."""
    return {
        "ref": version.ref,
        "name": version.name,
        "number": version.number,
        "label": version.label,
        "created": version.created,
        "author": version.author,
        "size": version.size,
        "digest": version.digest,
        "serializer": version.serializer,
        "params": version.params,
        "metrics": version.metrics,
    }


def in_full(version: ModelVersion) -> dict[str, Any]:
    """All that is known of a version: its record, and what people said since."""
    record = version.record
    return {
        **in_line(version),
        "aliases": version.aliases,
        "tags": version.tags,
        "measured": version.measured,
        "description": version.description,
        "notes": record.notes,
        "deleted": version.deleted,
        "held": version.held,
        "parents": [{"ref": str(parent), "digest": parent.identity} for parent in record.parents],
        "variants": sorted(version.variants),
        "type": record.type,
        "tier": record.tier,
        "signature": None if record.signature is None else str(record.signature),
        "python": record.python,
        "packages": record.packages,
        "host": record.host,
        "data": [
            {key: one.get(key) for key in ("role", "dataset", "kind", "source", "rows", "fingerprint")}
            for one in record.made.get("data", [])
        ],
        "files": [
            {"path": one.path, "size": one.size, "digest": one.digest, "stored": one.stored, "shared": one.shared}
            for one in version.files
        ],
    }


def traced(lineage: Lineage) -> dict[str, Any]:
    """A lineage: what is known of a node beside its kind and name differs by kind, and so is one value."""
    return {
        "url": lineage.place,
        "start": lineage.start,
        "nodes": [
            {"kind": node.kind, "id": node.id, "label": node.label, "state": node.state, "facts": node.facts}
            for node in lineage.nodes
        ],
        "edges": [
            {"source": edge.source, "target": edge.target, "relation": edge.relation, "note": edge.note}
            for edge in lineage.edges
        ],
    }


def shown_by_demo(told: Told) -> dict[str, Any]:
    """What the demo did."""
    return {
        "url": told.url,
        "versions": [in_line(version) for version in told.saved],
        "moves": [{"action": one.action, "version": one.version, "reason": one.text} for one in told.moves],
        "predicted": {"rows": told.rows, "equal": told.equal},
    }


def placed(alias: str, version: ModelVersion) -> dict[str, Any]:
    """Which version stands under an alias now."""
    return {
        "alias": alias,
        "name": version.name,
        "ref": version.ref,
        "number": version.number,
        "label": version.label,
        "digest": version.digest,
    }
