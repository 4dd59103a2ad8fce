"""How the environment here differs from the one that made a version: findings by severity, each with what to do.

What was loaded there weighs more than what was merely installed: only that can have made the version.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import Protocol

import attrs

from modelkeep.installed import Distribution
from modelkeep.releasenumbers import local_of, normalized, release_of

# Of these, extensions and pickles of one major release do not fit the next: NumPy 2 moved its C interface.
_ABI = frozenset({"numpy"})
_CALENDAR = 2000  # a release that begins with a year says nothing of what was broken
_BUILDS = ("cpu", "cu", "rocm", "xpu")  # the beginnings of the local parts by which torch names its builds
_SHOWN = 10


class Severity(StrEnum):
    """How grave a difference is, the gravest first."""

    INTERPRETER = "interpreter"
    ABI = "abi"
    MISSING = "missing"
    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"
    EXTRA = "extra"


_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_WARNED = frozenset({Severity.INTERPRETER, Severity.ABI, Severity.MAJOR})


class Side(Protocol):
    """What is compared: an `Environment`."""

    @property
    def python(self) -> str:
        """Its version."""

    @property
    def implementation(self) -> str:
        """Such as ``CPython``."""

    @property
    def abi(self) -> str:
        """What its extension modules are called."""

    @property
    def system(self) -> str:
        """Such as ``Linux``."""

    @property
    def machine(self) -> str:
        """Such as ``x86_64``."""

    @property
    def libc(self) -> str | None:
        """The C library."""

    @property
    def cuda(self) -> str | None:
        """What torch is built for."""

    @property
    def distributions(self) -> Mapping[str, Distribution]:
        """What is installed, by name."""


@attrs.frozen(kw_only=True)
class Finding:
    """One difference; as text it is a sentence.

    Args:
        severity: how grave it is.
        what: ``Python``, ``platform``, or the name of a distribution.
        then: what there was; None if it was not there.
        now: what is here; None if it is not.
        loaded: whether it had been imported there; true of Python and the platform.
        sentence: what differs.
        fix: a command that makes it as it was; None where there is none.
    """

    severity: Severity
    what: str
    then: str | None
    now: str | None
    loaded: bool
    sentence: str
    fix: str | None = None

    def __str__(self) -> str:
        return self.sentence

    @property
    def matters(self) -> bool:
        """Whether a load warns of it: another interpreter, or what was loaded in another ABI or major release."""
        return self.loaded and self.severity in _WARNED


@attrs.frozen
class EnvironmentDiff:
    """How one environment differs from another: its findings, the gravest first. It is true if there are any.

    Example:
        >>> print(EnvironmentDiff(()))
        no difference
    """

    findings: tuple[Finding, ...]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        if not self.findings:
            return "no difference"
        lines = [f"{finding.severity}: {finding}{_remedy(finding)}" for finding in self.findings[:_SHOWN]]
        if len(self.findings) > _SHOWN:
            lines.append(f"and {len(self.findings) - _SHOWN} more")
        return "\n".join(lines)

    @property
    def worst(self) -> Severity | None:
        """The gravest severity; None without a difference."""
        return self.findings[0].severity if self.findings else None

    @property
    def that_matter(self) -> tuple[Finding, ...]:
        """The findings of which a load warns."""
        return tuple(finding for finding in self.findings if finding.matters)

    def of(self, severity: Severity | str) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)


def _remedy(finding: Finding) -> str:
    return f"\n    {finding.fix}" if finding.fix else ""


def difference(then: Side, now: Side, matters: Collection[str] = ()) -> EnvironmentDiff:
    """Compare *now* with *then*; of *matters*, minor releases count as major ones."""
    grave = {normalized(name) for name in matters}
    found = [*_interpreter(then, now), *_platform(then, now), *_cuda(then, now)]
    for name, old in then.distributions.items():
        new = now.distributions.get(name)
        finding = _missing(old, name in grave) if new is None else _changed(old, new, name in grave)
        if finding is not None and not any(one.what == name and one.severity == Severity.ABI for one in found):
            found.append(finding)
    found += [_extra(new) for name, new in now.distributions.items() if name not in then.distributions]
    return EnvironmentDiff(tuple(sorted(found, key=lambda one: (_RANK[one.severity], not one.loaded, one.what))))


def _interpreter(then: Side, now: Side) -> Iterator[Finding]:
    old, new = _minor(then.python), _minor(now.python)
    fix = f"uv venv --python {old}"
    if (then.implementation, old) != (now.implementation, new):
        names = [one.implementation.replace("CPython", "Python") for one in (now, then)]
        sentence = f"{names[0]} is {now.python} here and was {names[1]} {then.python}"
        if names[0] == names[1]:
            sentence = f"Python is {now.python} here and was {then.python}: byte code and pickled functions may not fit"
        yield _of_host(Severity.INTERPRETER, "Python", then.python, now.python, sentence, fix)
    elif then.python != now.python:
        sentence = f"Python is {now.python} here and was {then.python}"
        yield _of_host(Severity.PATCH, "Python", then.python, now.python, sentence, f"uv venv --python {then.python}")
    if then.abi != now.abi and then.abi and now.abi and old == new and then.implementation == now.implementation:
        sentence = f"this Python takes extension modules of {now.abi}, and that one took {then.abi}"
        yield _of_host(Severity.ABI, "Python", then.abi, now.abi, sentence, None)


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def _platform(then: Side, now: Side) -> Iterator[Finding]:
    old, new = (f"{one.system} {one.machine}".strip() for one in (then, now))
    if old and new and old != new:
        sentence = f"the platform is {new} here and was {old}: other builds, and floats may differ in their last digits"
        yield _of_host(Severity.ABI, "platform", old, new, sentence, None)
        return
    old, new = ((one.libc or "").partition(" ")[0] for one in (then, now))
    if old and new and old != new:
        yield _of_host(Severity.ABI, "platform", old, new, f"the C library is {new} here and was {old}", None)


def _cuda(then: Side, now: Side) -> Iterator[Finding]:
    one = then.distributions.get("torch")
    if one is None or "torch" not in now.distributions:
        return
    old, new = then.cuda or _build(one.version), now.cuda or _build(now.distributions["torch"].version)
    if old and new and old != new:
        here, there = (f"CUDA {name}" if name[0].isdigit() else name.replace("none", "the CPU") for name in (new, old))
        sentence = f"torch is built for {here} here and was for {there}"
        yield Finding(
            severity=Severity.ABI,
            what="torch",
            then=old,
            now=new,
            loaded=one.loaded,
            sentence=sentence,
            fix=_pinned(one),
        )


def _build(version: str) -> str:
    local = local_of(version)
    if local.startswith("cu") and local[2:].isdigit():
        return f"{local[2:-1]}.{local[-1]}"
    return "none" if local == "cpu" else local if local.startswith(_BUILDS) else ""


def _of_host(severity: Severity, what: str, then: str, now: str, sentence: str, fix: str | None) -> Finding:
    return Finding(severity=severity, what=what, then=then, now=now, loaded=True, sentence=sentence, fix=fix)


def _missing(old: Distribution, grave: bool) -> Finding:
    how = "loaded" if old.loaded or grave else "installed"
    return Finding(
        severity=Severity.MISSING,
        what=old.name,
        then=old.version,
        now=None,
        loaded=old.loaded or grave,
        sentence=f"{old.name} {old.version} was {how}, and is not here",
        fix=_pinned(old),
    )


def _extra(new: Distribution) -> Finding:
    return Finding(
        severity=Severity.EXTRA,
        what=new.name,
        then=None,
        now=new.version,
        loaded=False,
        sentence=f"{new.name} {new.version} is here, and was not there",
    )


def _changed(old: Distribution, new: Distribution, grave: bool) -> Finding | None:
    severity = _severity(old, new)
    if severity is None:
        return None
    if grave and severity is Severity.MINOR:
        severity = Severity.MAJOR
    return Finding(
        severity=severity,
        what=old.name,
        then=old.version,
        now=new.version,
        loaded=old.loaded or grave,
        sentence=_sentence(severity, old, new),
        fix=_pinned(old),
    )


def _severity(old: Distribution, new: Distribution) -> Severity | None:
    if old.version == new.version:
        return Severity.PATCH if _commit(old) != _commit(new) else None
    then, now = release_of(old.version), release_of(new.version)
    if then is None or now is None:
        return Severity.MAJOR  # no version of PEP 440: nothing says how far apart they are
    width = max(len(then[1]), len(now[1]), 2)
    was, here = ((one[0], *one[1], *[0] * (width - len(one[1]))) for one in (then, now))
    if was[:2] != here[:2]:
        if was[0] == here[0] and min(was[1], here[1]) >= _CALENDAR:
            return Severity.MINOR
        return Severity.ABI if old.name in _ABI else Severity.MAJOR
    if was[2] != here[2]:
        return Severity.MINOR
    equal = was == here and then[2] == now[2] and local_of(old.version) == local_of(new.version)
    return None if equal else Severity.PATCH


def _commit(one: Distribution) -> str | None:
    return one.source.commit if one.source else None


def _sentence(severity: Severity, old: Distribution, new: Distribution) -> str:
    loaded = ", loaded" if old.loaded else ""
    if old.version == new.version:
        return f"{old.name} {old.version} is of commit {_commit(new)} here and was of {_commit(old)}"
    words = f"{old.name} is {new.version} here and was {old.version}{loaded}"
    if severity is Severity.ABI:
        return f"{words}: what was compiled or pickled with the one may not fit the other"
    return words


def _pinned(one: Distribution) -> str | None:
    """A command that installs what there was; None where no index has it."""
    if one.source is None:
        return f"python -m pip install {shlex.quote(f'{one.name}=={one.version}')}"
    if one.source.kind == "vcs" and one.source.url and one.source.commit and one.source.vcs:
        where = f"{one.name} @ {one.source.vcs}+{one.source.url}@{one.source.commit}"
        return f"python -m pip install {shlex.quote(where)}"
    return None
