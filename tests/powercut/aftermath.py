"""What must hold after a cut: nothing that was acknowledged is lost, the rest is whole or absent, and work goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

import modelkeep as mk
from modelkeep.errors import ModelkeepError, UnknownModelError
from powercut.scenario import REGISTRY, Cut, Facts, lay_out, save
from powercut.survivors import Tree
from test_saves_race import Place
from truth import NAME, Truth

_ONCE = ("delete", "rollback", "unset", "withdraw")  # done already, they are refused


def told(registry: mk.Registry) -> Facts:
    """What a registry says."""
    line = registry.model(NAME)._line
    try:
        line.read()
    except UnknownModelError:
        return Facts(policy=registry.policy.text)
    line.notes.refresh()
    lines, state, said = line.versions.state.lines, line.releases.state, line.notes.state.tags
    versions = {n: registry.model(NAME).version(n) for n in lines}
    words = {n: text for n, version in versions.items() if n not in state.purged and (text := version.description)}
    return Facts(
        saved={n: (params["seed"], params["n"]) for n, known in lines.items() if (params := known.made.params)},
        aliases={alias: version.number for alias, version in registry.model(NAME).aliases.items()},
        deleted=frozenset(state.deleted),
        purged=frozenset(state.purged),
        tags={n: {tag: text or "" for tag, text in said[n].items()} for n in lines if n in said},
        words=words,
        policy=registry.policy.text,
        reviews={n: (one.reviewers, tuple(v.approves for v in one.verdicts)) for n, one in state.reviews.items()},
        refusals=sum(event.action == "refuse" for event in registry.model(NAME).history()),
    )


def _opened(url: str) -> mk.Registry:
    return mk.Registry(url, durable=False, cache=False)  # the disk that is tested is not this one


@attrs.frozen
class Aftermath:
    """Looks at what a cut left in a folder.

    Args:
        cut: where it was.
        folder: an empty one.
    """

    cut: Cut
    folder: Path

    def faults(self, tree: Tree) -> list[str]:
        """All that is wrong; what was found first spoils what comes after, so it ends there."""
        url = str(lay_out(tree, self.folder))
        try:
            for look in (self._gone, self._facts, self._bytes, self._again, self._next, self._quiet):
                if found := list(look(Truth(Place(url), _opened(url)))):
                    return [f"{look.__name__[1:]}: {one}" for one in found]
        except Exception as error:  # noqa: BLE001  told with the state that it was met in
            return [f"{look.__name__[1:]}: {type(error).__name__}: {error}"]
        return []

    def _gone(self, truth: Truth) -> Iterator[str]:
        for key in self.cut.gone:
            if (Path(truth.place.url) / key).exists():
                yield f"{key} was erased, and is there again"

    def _facts(self, truth: Truth) -> Iterator[str]:
        if (facts := self._told(truth)) not in self.cut.may_be:
            yield f"the registry says {facts}, and not {' or '.join(map(str, self.cut.may_be))}"

    def _is_there(self, truth: Truth) -> bool:
        return (Path(truth.place.url) / "modelkeep.json").exists()

    def _told(self, truth: Truth) -> Facts:
        return told(truth.anew().registry) if self._is_there(truth) else Facts()

    def _bytes(self, truth: Truth) -> Iterator[str]:
        if self._is_there(truth):
            yield from truth.faults(self.cut.may_be[0].saved, "")
            yield from truth.damage()

    def _again(self, truth: Truth) -> Iterator[str]:
        """What was under way is done again; where it was done already it may be refused, and changes nothing else."""
        if self.cut.step is None:
            return
        before, after = self.cut.may_be
        was_done = before != after and self._told(truth) == after
        try:
            self.cut.step.act(_opened(truth.place.url))
        except ModelkeepError:
            if not (was_done and self.cut.name in _ONCE):
                raise
        if not was_done and (now := self._told(truth)) != after:
            yield f"after {self.cut.name} once more the registry says {now}, and not {after}"

    def _next(self, truth: Truth) -> Iterator[str]:
        number = len(truth.numbers()) + 1 if self._is_there(truth) else 1
        registry = _opened(truth.place.url)
        save(99).act(registry)
        highest = registry.get(NAME).number
        if highest != number:
            yield f"the next save got number {highest}, and not {number}"

    def _quiet(self, truth: Truth) -> Iterator[str]:
        yield from truth.faults_when_quiet()
        truth = truth.anew()
        yield from truth.faults({}, "")
        beside = {path for path in self.folder.rglob("*") if path.is_file()} - {*(self.folder / REGISTRY).rglob("*")}
        yield from (f"{path} lies beside the registry" for path in sorted(beside))
