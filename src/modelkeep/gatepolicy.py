"""What a policy asks of a promotion: gates, record fields, stages and reviewers. Pure: text in, values out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

import attrs

from modelkeep.digest import digest
from modelkeep.errors import InvalidError
from modelkeep.layout import is_dataset
from modelkeep.policytext import TOP, Said, read
from modelkeep.ref import check_alias

FIELDS = ("dataset", "kept dataset", "description", "golden", "signature")
PLAIN = ("golden", "signature", "environment", "no overlap")
MOST = 100  # gates of an alias, reviewers, stages: what was found is kept in the entry of each promotion
_MAX_WORD = 200  # characters of a name of a metric or a reviewer
_RISK = re.compile(r"[a-z][a-z0-9 -]{0,39}")
_QUICK = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) (ms|s)")
_SIZE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) (bytes|KB|MB|GB)")
_UNITS = {"bytes": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_GATES = (
    'a list such as ["golden", { metric = "auc", least = 0.9 }], of the words '
    f"{', '.join(PLAIN)} and of tables with metric, latency, size or custom"
)


@attrs.frozen
class Threshold:
    """The metric was at least, or at most, so much at the save."""

    metric: str
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        low = "" if self.least is None else f" at least {self.least:g}"
        high = "" if self.most is None else f" at most {self.most:g}"
        return f"{self.metric}{low}{' and' if low and high else ''}{high}"


@attrs.frozen
class Margin:
    """The metric is better than that of the present holder by at least *margin*.

    With predictions of both that is so only where their paired interval says it; *paired* asks for these.
    """

    metric: str
    margin: float
    lowest: bool = False
    paired: bool = False

    def __str__(self) -> str:
        said = f"{self.metric} {'below' if self.lowest else 'above'} the holder's by at least {self.margin:g}"
        return f"{said}, on the same rows" if self.paired else said


@attrs.frozen
class Latency:
    """Predicting the example takes at most so long here: the median of twenty calls, after three that do not count."""

    most: timedelta

    def __str__(self) -> str:
        return f"latency at most {self.most / timedelta(milliseconds=1):g} ms"


@attrs.frozen
class Size:
    """The files take at most so many bytes, uncompressed."""

    most: int

    def __str__(self) -> str:
        return f"size at most {self.most:,} bytes"


@attrs.frozen
class Plain:
    """A gate that takes nothing: one of `PLAIN`."""

    word: str

    def __str__(self) -> str:
        return self.word


@attrs.frozen
class Custom:
    """A function of an installed distribution, by the name of its entry point, with what it is given."""

    name: str
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}({given})"


Gate = Threshold | Margin | Latency | Size | Plain | Custom


@attrs.frozen(kw_only=True)
class Asked:
    """What a policy asks of a promotion of one model to one alias.

    Args:
        alias: the alias.
        gates: what is measured, in the order of the text.
        requires: record fields that must be there, of `FIELDS`.
        reviewers: who may approve; empty: anybody.
        approvals: how many of them must.
        by_author: whether the approval of who saved the version counts, too.
        after: the stage before: the version must stand there, or have stood there and not been rolled back.
        risk: a word for people, kept with each promotion.
        entry: the number of the policy's entry.
        digest: of the policy's text.
    """

    alias: str
    gates: tuple[Gate, ...] = ()
    requires: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    approvals: int = 0
    by_author: bool = False
    after: str | None = None
    risk: str | None = None
    entry: int = 0
    digest: str = ""


@attrs.frozen
class _Model:
    pattern: str
    risk: str | None
    stages: tuple[str, ...]
    aliases: Mapping[str, Asked]

    def of(self, alias: str) -> Asked | None:
        found = self.aliases.get(alias)
        place = self.stages.index(alias) if alias in self.stages else 0
        if found is None and not place:
            return None
        after = self.stages[place - 1] if place else None
        return attrs.evolve(found or Asked(alias=alias), after=after, risk=self.risk)

    @property
    def named(self) -> tuple[str, ...]:
        """The aliases that the rules name, in the order of the stages, then of the text."""
        return tuple(dict.fromkeys((*self.stages, *self.aliases)))


@attrs.frozen
class Gates:
    """What a policy asks of promotions, model by model.

    Args:
        models: each pattern with its rules, in the order of the text.
        entry: the number of the policy's entry.
        digest: of its text.
    """

    models: tuple[_Model, ...] = ()
    entry: int = 0
    digest: str = ""

    def of(self, name: str, alias: str) -> Asked | None:
        """What is asked of a promotion of the model *name* to *alias*; None: nothing.

        The first pattern that fits counts. Datasets are promoted as they are.
        """
        found = self._rules(name)
        asked = found.of(alias) if found else None
        return None if asked is None else attrs.evolve(asked, entry=self.entry, digest=self.digest)

    def all_of(self, name: str) -> tuple[Asked, ...]:
        """What is asked of promotions of the model *name*, alias by alias, in the order of the stages and the text."""
        found = self._rules(name)
        asked = [self.of(name, alias) for alias in found.named] if found else []
        return tuple(one for one in asked if one is not None)

    def _rules(self, name: str) -> _Model | None:
        return None if is_dataset(name) else next((one for one in self.models if fnmatchcase(name, one.pattern)), None)


def parse(text: str, *, entry: int = 0) -> Gates:
    r"""Read what the TOML of a policy asks of promotions.

    Args:
        text: see `reference/policy.md`.
        entry: the number of the policy's entry that holds it.

    Raises:
        InvalidValueError: it cannot be read, or says something unknown; quotes it, with line and column.

    Example:
        >>> gates = parse('[models."churn*".aliases.production]\ngates = ["golden", { metric = "auc", least = 0.9 }]')
        >>> [str(gate) for gate in gates.of("churn-eu", "production").gates]
        ['golden', 'auc at least 0.9']
    """
    models = read(text).table(TOP).get("models")
    found = () if models is None else tuple(_model(own) for own in models.table().values())
    return Gates(found, entry, digest(text.encode()))


def _model(said: Said) -> _Model:
    pattern = said.pattern()
    table = said.table(("risk", "stages", "aliases"))
    if is_dataset(pattern):
        raise said.refused(f"[{said.spelled}] is about datasets; these are promoted as they are", key=pattern)
    aliases = table["aliases"].table() if "aliases" in table else {}
    return _Model(
        pattern,
        _risk(table["risk"]) if "risk" in table else None,
        _stages(table["stages"]) if "stages" in table else (),
        {_alias(own, alias): _asked(own, alias) for alias, own in aliases.items()},
    )


def _risk(said: Said) -> str:
    if not isinstance(said.value, str) or not _RISK.fullmatch(said.value):
        raise said.wrong('a word such as "high", of at most 40 small letters, digits, blanks and hyphens')
    return said.value


def _alias(said: Said, name: str) -> str:
    try:
        return check_alias(name)
    except InvalidError as error:
        raise said.refused(str(error), key=name) from None


def _stages(said: Said) -> tuple[str, ...]:
    names = _distinct(said, 'aliases in their order, such as ["staging", "production"]', _MAX_WORD)
    for item, name in zip(said.listed(""), names, strict=True):
        _alias(item, name)
    return names


def _distinct(said: Said, wanted: str, longest: int) -> tuple[str, ...]:
    """Short texts, none of them twice."""
    found = tuple(item.words() for item in said.listed(wanted))
    if not 0 < len(found) <= MOST or len(set(found)) < len(found) or max(map(len, found)) > longest:
        raise said.wrong(f"{wanted}, from 1 to {MOST}, none twice, each of at most {longest} characters")
    return found


def _asked(said: Said, alias: str) -> Asked:
    table = said.table(tuple(_READ))
    found = Asked(alias=alias, **{key: _READ[key](own) for key, own in table.items()})
    most = len(found.reviewers)
    if most and not found.approvals:
        return attrs.evolve(found, approvals=1)
    if most and found.approvals > most:
        raise table["approvals"].wrong(f"at most {most}, for there are so many reviewers")
    return found


def _requires(said: Said) -> tuple[str, ...]:
    known = ", ".join(FIELDS)
    names = _distinct(said, f"a list of {known}", _MAX_WORD)
    for item, name in zip(said.listed(""), names, strict=True):
        if name not in FIELDS:
            raise item.wrong(f"one of {known}")
    return names


def _gates(said: Said) -> tuple[Gate, ...]:
    listed = said.listed(_GATES)
    if len(listed) > MOST:
        raise said.refused(f"{said.spelled} has {len(listed)} gates, and {MOST} are allowed", key=said.spelled)
    return tuple(_gate(item) for item in listed)


def _gate(said: Said) -> Gate:
    if said.value in PLAIN:
        return Plain(said.value)
    kinds = [kind for kind in _KINDS if isinstance(said.value, dict) and kind in said.value]
    if len(kinds) != 1:
        raise said.wrong(_GATES)
    return _KINDS[kinds[0]](said)


def _name(said: Said) -> str:
    found = said.words()
    if len(found) > _MAX_WORD:
        raise said.wrong(f"a name of at most {_MAX_WORD} characters")
    return found


def _metric(said: Said) -> Gate:
    table = said.table(("metric", "least", "most", "margin", "lowest", "paired"))
    name = _name(table["metric"])
    bounds = {key: table[key].number() for key in ("least", "most") if key in table}
    if bounds and not table.keys() & {"margin", "lowest", "paired"}:
        if bounds.get("least", 0) > bounds.get("most", float("inf")) and len(bounds) > 1:
            raise said.wrong("a least that is not above the most")
        return Threshold(name, **bounds)
    if bounds or "margin" not in table:
        raise said.wrong("least, most or both; or margin, with lowest = true where lower is better")
    lowest, paired = (key in table and table[key].truth() for key in ("lowest", "paired"))
    return Margin(name, table["margin"].number(least=0), lowest, paired)


def _latency(said: Said) -> Gate:
    most = said.table(("latency",))["latency"]
    found = _QUICK.fullmatch(most.value) if isinstance(most.value, str) else None
    if not found:
        raise most.wrong('a number of ms or s, such as "20 ms"')
    return Latency(timedelta(**{"milliseconds" if found[2] == "ms" else "seconds": float(found[1])}))


def _size(said: Said) -> Gate:
    most = said.table(("size",))["size"]
    found = _SIZE.fullmatch(most.value) if isinstance(most.value, str) else None
    if not found:
        raise most.wrong('a number of bytes, KB, MB or GB, such as "50 MB"')
    return Size(round(float(found[1]) * _UNITS[found[2]]))


def _custom(said: Said) -> Gate:
    options = {key: own.value for key, own in said.table().items() if key != "custom"}
    return Custom(_name(said.key("custom")), options)


_KINDS: dict[str, Callable[[Said], Gate]] = {"metric": _metric, "latency": _latency, "size": _size, "custom": _custom}
_READ: dict[str, Callable[[Said], Any]] = {
    "gates": _gates,
    "requires": _requires,
    "reviewers": lambda said: _distinct(said, 'a list of names, such as ["ada", "ben"]', _MAX_WORD),
    "approvals": lambda said: said.count(MOST),
    "by_author": Said.truth,
}
