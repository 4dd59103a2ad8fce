"""`Comparison`: what is otherwise in a version than in another, part by part, and whether it predicts better."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from modelkeep import _resolve
from modelkeep._line import Line
from modelkeep._trust import Trust
from modelkeep.codechange import code_change
from modelkeep.comparedparts import ComparedParts
from modelkeep.comparisonparts import Change, LoadTimes, changes, file_changes, metric_changes
from modelkeep.curves import HISTORY
from modelkeep.datachange import data_changes
from modelkeep.environment import Distribution, Environment, EnvironmentDiff
from modelkeep.errors import IntegrityError, InvalidRefError, SerializerError, TrustError
from modelkeep.holdout import Holdout
from modelkeep.ref import ModelRef
from modelkeep.releasenumbers import normalized
from modelkeep.tensorchange import TensorChanges, tensor_changes
from modelkeep.usable import UsableVersion
from modelkeep.version import StoredFile

if TYPE_CHECKING:
    from modelkeep.why import Why

V = TypeVar("V", bound=UsableVersion)

_LOADS = 3


@attrs.frozen(kw_only=True)
class Comparison(ComparedParts):
    """What is otherwise in one version than in another: the parts, and what one does with them.

    It is true if anything is otherwise. Made by `ModelVersion.compare`.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://comparison")
        >>> old = registry.save({"w": np.zeros(2)}, "churn", params={"depth": 3}, metrics={"auc": 0.5})
        >>> new = registry.save({"w": np.ones(2)}, "churn", params={"depth": 6}, metrics={"auc": 0.75})
        >>> found = new.compare("churn:1")
        >>> print(found)
        churn:1 -> churn:2: params 1, metrics 1, files 1, tensors 1
        >>> found.metrics[0].difference
        0.25
    """

    def __str__(self) -> str:
        from modelkeep.comparisonview import summary

        return summary(self)

    def why(self) -> Why:
        """What changed, ranked by how far it could explain a difference in the metrics. A ranking, not a cause.

        The weights are fixed, and published on the page on comparison.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://why")
            >>> old = registry.save({"w": np.zeros(2)}, "churn", params={"depth": 3, "seed": 0})
            >>> new = registry.save({"w": np.ones(2)}, "churn", params={"depth": 6, "seed": 1})
            >>> print(new.compare(old).why())
            A ranking of what could explain a difference, not a cause.
            1. the parameter depth, from 3 to 6 (0.52)
            2. the parameter seed, from 0 to 1 (0.10)
        """
        from modelkeep.why import why

        return why(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: a key for each part."""
        lists = {name: [one.to_dict() for one in getattr(self, name)] for name in _LISTED}
        findings = [
            {key: value for key, value in attrs.asdict(one).items() if key in _FOUND} for one in self.environment
        ]
        return {
            "before": self.before,
            "after": self.after,
            **lists,
            "code": self.code.to_dict(),
            "environment": [{**one, "severity": str(one["severity"])} for one in findings],
            "tensors": None if self.tensors is None else self.tensors.to_dict(),
            "sizes": list(self.sizes),
            "judgement": None if self.judgement is None else self.judgement.to_dict(),
            "loads": None if self.loads is None else attrs.asdict(self.loads),
        }

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each thing that differs: part, name, change, before, after, difference.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas as pd

        from modelkeep.comparisonview import ROW, rows

        frame = pd.DataFrame(rows(self), columns=list(ROW), dtype=object)  # each value of its own type
        return frame.astype({"difference": float})

    def to_markdown(self) -> str:
        """Tables of what differs, to be pasted; whatever a name holds is shown as text."""
        from modelkeep.comparisonview import markdown

        return markdown(self)

    def _repr_html_(self) -> str:
        from modelkeep.comparisonview import html

        return html(self)


_LISTED = ("params", "metrics", "data", "files", "form", "seeds")
_FOUND = ("severity", "what", "then", "now", "loaded")


@attrs.frozen(kw_only=True)
class Asked:
    """What a comparison looks at beside what was recorded; see `modelkeep.ModelVersion.compare`."""

    holdout: Holdout = attrs.field(factory=Holdout)
    tensors: bool = True
    measure_load: bool = False
    trust: Trust = False


def opened(line: Line, make: Callable[[Line, int], V], other: object) -> V:
    """The version that *other* means: one, a number of the model of *line*, or a reference to any model here.

    Raises:
        InvalidRefError: it is no reference, or that of a variant.
        NotFoundError: there is no such version.
    """
    if isinstance(other, UsableVersion):
        return other  # type: ignore[return-value]  # there is one such class that users hold
    if type(other) is int:
        line.read()
        return make(line, other)
    parsed = other if isinstance(other, ModelRef) else ModelRef.parse(other)  # type: ignore[arg-type]  # it refuses
    if parsed.variant is not None:
        raise InvalidRefError(f"{parsed} is a variant; versions are compared with versions", text=str(parsed))
    if parsed.name != line.name:
        line = Line.open(line.home, parsed.name, line.home.existing())
    found = _resolve.find(line, parsed)
    if found.number not in line.versions.state.lines:
        line.read()
    return make(line, found.number)


def compare(before: UsableVersion, after: UsableVersion, asked: Asked) -> Comparison:
    """What is otherwise in *after*; see `modelkeep.ModelVersion.compare`."""
    judgement = asked.holdout.judge(before, after, asked.trust)  # first: what does not fit is told before much is read
    return Comparison(
        before=before.ref,
        after=after.ref,
        params=changes(before.params, after.params),
        metrics=metric_changes(before.metrics, after.metrics),
        data=data_changes(before, after),
        code=code_change(before.code, after.code),
        environment=_environment(before, after),
        files=file_changes(_kept_files(before), _kept_files(after)),
        tensors=_tensors(before, after) if asked.tensors else None,
        form=changes(_form(before), _form(after)),
        seeds=tuple(_seeds(before, after)),
        sizes=(before.size, after.size),
        frameworks=frozenset(normalized(name) for one in (before, after) for name in one.record.packages),
        judgement=judgement,
        loads=_loads(before, after, asked.trust) if asked.measure_load else None,
    )


def _kept_files(version: UsableVersion) -> tuple[StoredFile, ...]:
    """The files but for those of curves, which hold the time of each point and so differ between equal runs."""
    parts = version.record.parts
    return tuple(file for file in version.files if HISTORY not in parts or file.path.partition("/")[0] != HISTORY)


def _form(version: UsableVersion) -> dict[str, Any]:
    signature = version.signature
    said = {} if signature is None else {"signature": str(signature)}
    return {"class": version.record.type, "serializer": version.serializer, **said}


def _tensors(before: UsableVersion, after: UsableVersion) -> TensorChanges:
    try:
        return tensor_changes(before, after)
    except (SerializerError, TrustError) as error:  # what wrote them is not here, or not granted
        return TensorChanges(note=str(error))


def _environment(before: UsableVersion, after: UsableVersion) -> EnvironmentDiff:
    made = [version.environment for version in (before, after)]
    sides = [one.made for one in made if one is not None]
    if len(sides) < len(made):  # what a save alone tells of both
        sides = [_recorded(version) for version in (before, after)]
    return sides[0].compare(sides[1], matters={*before.record.packages, *after.record.packages})


def _recorded(version: UsableVersion) -> Environment:
    record = version.record
    try:
        found = [Distribution(normalized(name), text, loaded=True) for name, text in record.packages.items()]
        return Environment(python=record.python, distributions={one.name: one for one in found})
    except (ValueError, TypeError) as error:
        raise IntegrityError(
            f"what {version.ref} says of its packages is of another form ({error}); whoever wrote it was no modelkeep",
            ref=version.ref,
        ) from error


def _seeds(before: UsableVersion, after: UsableVersion) -> Iterator[Change]:
    sessions = [version.session for version in (before, after)]
    seeds = [session.seeds for session in sessions if session is not None and session.seeds is not None]
    if len(seeds) < len(sessions):
        return
    found = changes(seeds[0].initial, seeds[1].initial)
    yield from found
    told = {change.name for change in found}
    yield from (one for one in changes(seeds[0].states, seeds[1].states) if one.name not in told)


def _loads(before: UsableVersion, after: UsableVersion, trust: Trust) -> LoadTimes:
    from modelkeep.system import System

    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(1 + _LOADS):
        for version, taken in zip((before, after), times, strict=True):
            start = time.perf_counter()
            version.load(trust=trust)
            taken.append(time.perf_counter() - start)
    old, new = (statistics.median(taken[1:]) for taken in times)
    return LoadTimes(before=old, after=new, loads=_LOADS, host=System().host())
