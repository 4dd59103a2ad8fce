"""The gates of a policy: what each measures of a version, here and now."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import attrs

from modelkeep._trust import Trust
from modelkeep.customgates import custom_gate
from modelkeep.dataseeing import overlap
from modelkeep.dataset import DatasetFacts
from modelkeep.errors import (
    InvalidError,
    ModelkeepError,
    NotFoundError,
    SerializerError,
    SignatureError,
    TrustError,
)
from modelkeep.evidence import Difference, Finding, Measured
from modelkeep.fitting import misfits
from modelkeep.gatepolicy import Asked, Custom, Gate, Latency, Margin, Plain, Size, Threshold
from modelkeep.golden import GOLDEN_INPUTS, GOLDEN_OUTPUTS
from modelkeep.holdout import Holdout
from modelkeep.restoring import why_not
from modelkeep.usable import EXAMPLE, UsableVersion

if TYPE_CHECKING:
    from modelkeep.judging import Judgement

_WARM, _TIMED = 3, 20  # calls: the first ones load and compile
_NAMED = 3  # of what is wrong; the message would else list every distribution
_VERDICTS = (InvalidError, NotFoundError, SerializerError, SignatureError, TrustError)

Found = tuple[bool, Measured, str]  # whether it passed, what was measured, and in words


@attrs.frozen(slots=False, eq=False)
class Scene:
    """What gates look at.

    Args:
        version: the one that is to be promoted.
        holder: the one that stands there now, if one does.
        trust: what may run code while the version is loaded.
        holdout: rows on which both are compared, if there are any.
    """

    version: UsableVersion
    holder: UsableVersion | None
    trust: Trust = False
    holdout: Holdout = attrs.field(factory=Holdout)

    @cached_property
    def judgement(self) -> Judgement | None:
        """The holder and the version on the holdout, once for all gates; None without one, or without a holder."""
        return None if self.holder is None else self.holdout.judge(self.holder, self.version, self.trust)


def findings(asked: Asked, scene: Scene) -> Iterator[Finding]:
    """What is found of the record fields and gates that a policy asks for, one after the other.

    Raises:
        StoreError: the storage failed, so nothing can be said.
        IntegrityError: a stored byte is wrong.
    """
    for field in asked.requires:
        yield _told(f"{field} recorded", partial(_FIELDS[field], scene.version))
    for gate in asked.gates:
        yield _told(str(gate), partial(_measure, gate, scene))


def _told(asked: str, look: Callable[[], Found | Finding]) -> Finding:
    """What *look* finds; if it cannot be told, the gate did not pass. A failure of the storage is no verdict."""
    begun = time.perf_counter()
    try:
        found = look()
        if isinstance(found, Finding):
            return found
        passed, measured, said = found
    except _VERDICTS as error:
        passed, measured, said = False, None, str(error)
    except ModelkeepError:
        raise
    except Exception as error:  # noqa: BLE001  models and gates are others' code, and may fail in any way
        passed, measured, said = False, None, f"{type(error).__name__}: {error}"
    return Finding(asked, passed, measured, said=said, seconds=time.perf_counter() - begun)


def _measure(gate: Gate, scene: Scene) -> Found | Finding:
    match gate:
        case Threshold():
            return _threshold(gate, scene)
        case Margin():
            return _margin(gate, scene)
        case Latency():
            return _latency(gate, scene)
        case Size():
            return scene.version.size <= gate.most, scene.version.size, f"{scene.version.size:,} bytes"
        case Plain():
            return _PLAIN[gate.word](scene)
        case Custom():
            return custom_gate(gate.name, scene.version, scene.holder, gate.options)


# -- metrics -----------------------------------------------------------------------------------------------------------


def _metric(version: UsableVersion, name: str) -> float | None:
    """The metric as it was given at the save: what `measure` adds later, others than the author may write."""
    found = version.metrics.get(name)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _threshold(gate: Threshold, scene: Scene) -> Found:
    found = _metric(scene.version, gate.metric)
    if found is None:
        return False, None, f"{scene.version.ref} has no metric {gate.metric!r}; save it with metrics="
    low = gate.least is None or found >= gate.least  # of NaN both are false
    high = gate.most is None or found <= gate.most
    return low and high, found, f"{gate.metric} is {found:g}"


def _margin(gate: Margin, scene: Scene) -> Found | Finding:
    """Of predictions, if there are any, by what surely holds; else of recorded metrics."""
    if scene.holder is None or scene.holder == scene.version:
        return (True, None, "nobody else stands there") if gate.paired else _recorded(gate, scene)
    judgement = scene.judgement
    known = [] if judgement is None else [test.metric for test in judgement.metrics]
    if judgement is not None and gate.metric in known:
        return _paired(gate, judgement, scene.holder)
    if not gate.paired:
        return _recorded(gate, scene)
    if judgement is None:
        return False, None, "what both predict was not given; give on=(X, y), or predictions=(y, before, after)"
    return False, None, f"predictions tell {', '.join(known)}; give metrics={{{gate.metric!r}: …}}, of (y, predicted)"


def _paired(gate: Margin, judgement: Judgement, holder: UsableVersion) -> Finding:
    """It is so if the whole interval is. Resamples without a value might be on the wrong side, and count as such."""
    test = judgement[gate.metric]
    how = f"paired bootstrap of {judgement.resamples} resamples, seed {judgement.seed}"
    found = Difference(
        difference=test.difference, low=test.low, high=test.high, level=test.level, rows=judgement.rows, how=how
    )
    better = -test.high if gate.lowest else test.low  # of NaN no comparison is true
    tail = judgement.resamples * (1 - test.level) / 2
    passed = not math.isnan(test.difference) and better >= gate.margin and test.undefined <= tail
    said = f"{gate.metric} is {test.after:g}, and that of {holder.ref} {test.before:g}; difference {found}"
    if test.undefined:
        said += f"; {test.undefined} of {judgement.resamples} resamples have no value"
    return Finding(str(gate), passed, test.after, said=said, paired=found)


def _recorded(gate: Margin, scene: Scene) -> Found:
    found = _metric(scene.version, gate.metric)
    if found is None or math.isnan(found):
        return False, found, f"{scene.version.ref} has no metric {gate.metric!r} that is a number"
    if scene.holder is None:
        return True, found, f"{gate.metric} is {found:g}, and nobody stands there"
    if scene.holder == scene.version:
        return True, found, "it stands there"
    held = _metric(scene.holder, gate.metric)
    if held is None or math.isnan(held):
        return False, found, f"{scene.holder.ref}, which stands there, has no metric {gate.metric!r} that is a number"
    better = _apart(held, found) if gate.lowest else _apart(found, held)
    said = f"{gate.metric} is {found:g}, and that of {scene.holder.ref} {held:g}"
    return better >= Decimal(repr(gate.margin)), found, said


def _apart(first: float, second: float) -> float | Decimal:
    """By how much *first* is more, as people reckon: of 0.3 and 0.2 that is 0.1, and no float below it."""
    if math.isfinite(first) and math.isfinite(second):
        return Decimal(repr(first)) - Decimal(repr(second))
    return first - second


# -- the model, at work here -------------------------------------------------------------------------------------------


def _latency(gate: Latency, scene: Scene) -> Found:
    version = scene.version
    part = next((version.parts[name] for name in (EXAMPLE, GOLDEN_INPUTS) if name in version.parts), None)
    if part is None:
        return False, None, f"{version.ref} has no example to predict; save it with example=inputs"
    inputs = part.load(trust=scene.trust)
    for _ in range(_WARM):
        version.predict(inputs, trust=scene.trust)
    taken = statistics.median(_timed(lambda: version.predict(inputs, trust=scene.trust)) for _ in range(_TIMED))
    return timedelta(seconds=taken) <= gate.most, 1000 * taken, f"{1000 * taken:.3g} ms here"


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _golden(scene: Scene) -> Found:
    found = scene.version.verify_golden(trust=scene.trust)
    return found.ok, found.differing, str(found)


def _signature(scene: Scene) -> Found:
    """Whether callers of the holder can call this one: what they give it takes, and what it gives they take."""
    own = scene.version.signature
    if own is None:
        return False, None, f"{scene.version.ref} has no signature; save it with signature= or example="
    held = None if scene.holder is None else scene.holder.signature
    if held is None:
        return True, None, "nothing stands there that has one"
    faults = [f"inputs: {fault}" for fault in misfits(held.inputs, own.inputs)]
    if held.outputs is not None:
        if own.outputs is None:
            faults.append("outputs: not said")
        else:
            faults += [f"outputs: {fault}" for fault in misfits(own.outputs, held.outputs)]
    return not faults, len(faults), "; ".join(faults[:_NAMED]) or "as that of the holder, or wider"


# -- what was recorded -------------------------------------------------------------------------------------------------


def _environment(scene: Scene) -> Found:
    made = scene.version.environment
    if made is None:
        return False, None, f"{scene.version.ref} has no environment; train it with registry.track or registry.run"
    reasons = [f"{one.name}: {why}" for one in made.made.distributions.values() if (why := why_not(one))]
    return not reasons, len(reasons), "; ".join(reasons[:_NAMED]) or "all of it can be installed again"


def _no_overlap(scene: Scene) -> Found:
    """No row of the training data among the other data, by what was recorded of both."""
    listed = {str(one.get("role", place)): one for place, one in enumerate(_data(scene.version))}
    train, others = listed.pop("train", None), listed
    if train is None or not others:
        return False, None, "training and other data were not recorded by role; save with data={'train': …, 'test': …}"
    shares = {role: _share(train, one) for role, one in others.items()}
    unknown = [role for role, share in shares.items() if share is None]
    if unknown:
        return False, None, f"whether rows of {', '.join(unknown)} are in train cannot be told of what was recorded"
    worst = max(float(share or 0) for share in shares.values())
    common = [f"{100 * share:.2g} % of {role} in train" for role, share in shares.items() if share]
    return not worst, worst, ", ".join(common) or "no row in common, as far as samples of them tell"


def _share(train: dict[str, Any], other: dict[str, Any]) -> float | None:
    """The share of rows of *other* that are in *train*; None if what was recorded does not tell."""
    first, second = (DatasetFacts.from_json(one).sketch for one in (train, other))
    if first is None or second is None or first.columns != second.columns:
        return None
    found = overlap(train, other)
    return 0.0 if found is None else float(found["share"])


def _data(version: UsableVersion) -> list[dict[str, Any]]:
    return list(version.record.made.get("data", []))


def _has_dataset(version: UsableVersion, *, kept: bool = False) -> Found:
    listed = _data(version)
    known = [one for one in listed if "dataset" in one or (not kept and one.get("fingerprint"))]
    return bool(listed) and len(known) == len(listed), len(known), f"{len(known)} of {len(listed)} datasets"


def _has_parts(version: UsableVersion) -> Found:
    return GOLDEN_OUTPUTS in version.record.parts, None, ""


_FIELDS: dict[str, Callable[[UsableVersion], Found]] = {
    "dataset": _has_dataset,
    "kept dataset": lambda version: _has_dataset(version, kept=True),
    "description": lambda version: (bool(version.notes.strip() or (version.description or "").strip()), None, ""),
    "golden": _has_parts,
    "signature": lambda version: (version.signature is not None, None, ""),
}
_PLAIN: dict[str, Callable[[Scene], Found]] = {
    "golden": _golden,
    "signature": _signature,
    "environment": _environment,
    "no overlap": _no_overlap,
}
