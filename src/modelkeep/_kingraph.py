"""From journals, and what manifests say, to nodes and edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from modelkeep._line import Line
from modelkeep.folds import releases, versions
from modelkeep.kinship import Kinship, Used
from modelkeep.layout import is_dataset, own_name
from modelkeep.lineage import Lineage
from modelkeep.lineagenodes import (
    ALIAS,
    BY_CODE,
    BY_RUN,
    CODE,
    DATASET,
    DELETED,
    ELSEWHERE,
    PARENT,
    PURGED,
    RUN,
    STANDS_AT,
    TRAINED_ON,
    UNREADABLE,
    VARIANT,
    VARIANT_OF,
    VERSION,
    Edge,
    Node,
)
from modelkeep.version import Parent

_SHORT = 8  # digits of a digest that a label shows


@attrs.frozen
class Model:
    """A line as far as it was read, and what its versions say by number, or why one cannot be read."""

    line: Line
    said: Mapping[int, Kinship | str]


def drawn(models: Mapping[str, Model], place: str) -> Lineage:
    """The lineage of *models*, those of datasets among them, in the registry at *place*."""
    graph = _Graph()
    for name, model in sorted(models.items()):
        with model.line.versions.lock:  # no other thread folds on meanwhile
            graph.add_line(name, model)
    for name, model in sorted(models.items()):
        for number, said in model.said.items():
            if isinstance(said, Kinship):
                graph.add_kin(f"{name}:{number}", said)
    return Lineage.of(graph.nodes.values(), graph.edges, place)


class _Graph:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self._by_fingerprint: dict[str, list[str]] = {}

    def add(self, kind: str, one: str, label: str, **facts: Any) -> str:
        """Note a node, unless it is there; gives its id."""
        if one not in self.nodes:
            self.nodes[one] = Node(kind, one, label, {key: value for key, value in facts.items() if value})
        return one

    def join(self, source: str, target: str, relation: str, note: str = "") -> None:
        """Note that *target* came of *source*."""
        self.edges.append(Edge(source, target, relation, note))

    # -- what journals say -----------------------------------------------------------------------------------

    def add_line(self, name: str, model: Model) -> None:
        """The versions, variants and aliases of a model or dataset."""
        own, what = (f"data:{own_name(name)}", DATASET) if is_dataset(name) else (name, VERSION)
        state, used = model.line.versions.state, model.line.releases.state
        for number, known in state.lines.items():
            version = f"{own}:{number}"
            facts = {"state": _state(number, used, model.said), "reason": _reason(model.said.get(number))}
            self._add_version(what, version, known, {"name": own_name(name), **facts})
            for kind, variant in known.variants.items():
                made = {"digest": variant.made.identity, "created": variant.time, "author": variant.actor}
                one = self.add(
                    VARIANT, f"{version}/{kind}", f"{number}/{kind}", name=own_name(name), number=number, **made
                )
                self.join(version, one, VARIANT_OF)
        for alias, stack in tuple(used.stacks.items()):
            holder = stack[-1]
            facts = {"name": own_name(name), "alias": alias, "since": holder.time, "author": holder.actor}
            self.join(f"{own}:{holder.number}", self.add(ALIAS, f"{own}@{alias}", f"{own}@{alias}", **facts), STANDS_AT)

    def _add_version(self, what: str, one: str, known: versions.Line, facts: dict[str, Any]) -> None:
        made = known.made
        facts |= {"number": made.number, "semantic_version": known.label, "digest": made.identity}
        facts |= {"created": known.time, "author": known.actor}
        fingerprint = (made.params or {}).get("fingerprint") if what == DATASET else None
        if isinstance(fingerprint, str):
            self._by_fingerprint.setdefault(fingerprint, []).append(one)
            facts["fingerprint"] = fingerprint
        self.add(what, one, one.removeprefix("data:") if what == DATASET else one, **facts)

    # -- what manifests say ----------------------------------------------------------------------------------

    def add_kin(self, version: str, said: Kinship) -> None:
        """What a version was made from."""
        for parent in said.parents:
            self.join(self._parent(parent), version, PARENT)
        for used in said.data:
            for one in dict.fromkeys(self._data(used)):
                self.join(one, version, TRAINED_ON, _role(used.role))
        if said.commit:
            code = self.add(CODE, f"commit:{said.commit}", said.commit[:_SHORT], commit=said.commit, remote=said.remote)
            self.join(code, version, BY_CODE, "with uncommitted changes" if said.dirty else "")
        if said.code:
            label = f"{(said.function or 'function').rpartition(':')[2]} {said.code[:_SHORT]}"
            facts = {"function": said.function, "file": said.file, "digest": said.code}
            self.join(self.add(CODE, f"function:{said.code}", label, **facts), version, BY_CODE)
        if said.run:
            run = self.add(RUN, f"run:{said.run}", f"run {said.run[:_SHORT]}", run=said.run, began=said.began)
            self.join(run, version, BY_RUN)

    def _parent(self, parent: Parent) -> str:
        return self._there(VERSION, str(parent), parent.identity, name=parent.name, number=parent.number)

    def _there(self, kind: str, one: str, identity: str, **facts: Any) -> str:
        """The version of that identity here; else a node that says that it lies elsewhere."""
        found = self.nodes.get(one)
        if found is not None and found.facts.get("digest") == identity:
            return one
        away, label = f"{one}#{identity[:_SHORT]}", one.removeprefix("data:") if kind == DATASET else one
        return self.add(kind, away, label, digest=identity, state=ELSEWHERE, **facts)

    def _data(self, used: Used) -> Iterator[str]:
        """The saved versions that it is, or is equal to; without any what is known of it alone."""
        equal = self._by_fingerprint.get(used.fingerprint or "", [])
        yield from equal
        if used.dataset and used.identity:
            found = self.nodes.get(f"data:{used.dataset}")
            is_here = found is not None and found.facts.get("digest") == used.identity
            if is_here or not equal:
                name, _, number = used.dataset.rpartition(":")
                facts = {"name": name, "number": int(number) if number.isdecimal() else None}
                yield self._there(DATASET, f"data:{used.dataset}", used.identity, fingerprint=used.fingerprint, **facts)
        elif used.fingerprint and not equal:
            scheme, _, digits = used.fingerprint.partition(":")
            label = f"{scheme}:{digits[:_SHORT]}"
            yield self.add(DATASET, used.fingerprint, label, fingerprint=used.fingerprint)


def _state(number: int, used: releases.Releases, said: Mapping[int, Kinship | str]) -> str | None:
    if number in used.purged:
        return PURGED
    if isinstance(said.get(number), str):
        return UNREADABLE
    return DELETED if number in used.deleted else None


def _reason(said: Kinship | str | None) -> str | None:
    return said if isinstance(said, str) else None


def _role(role: str) -> str:
    """What data was for, where it was not to train on."""
    return "" if not role or role.casefold().partition("_")[0] in ("train", "training", "fit") else f"as {role}"
