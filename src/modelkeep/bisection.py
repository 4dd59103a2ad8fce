"""Which version of a model was the first bad one, found in as few loads as halving takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

import attrs

from modelkeep._line import Line
from modelkeep._trust import Trust
from modelkeep.arguments import OneVersion
from modelkeep.errors import InvalidValueError, StoreError, TrustError, shown
from modelkeep.usable import UsableVersion

V = TypeVar("V", bound=UsableVersion)


@attrs.frozen
class Verdict:
    """What the test said of one version."""

    number: int
    good: bool


@attrs.frozen
class Skipped:
    """A version that could not be tested, and why."""

    number: int
    why: str


@attrs.frozen
class Bisection(Generic[V]):
    """Where a model went bad; from `RegisteredModel.bisect`.

    Args:
        last_good: the last version on the way from good to bad that is known to be good.
        first_bad: the first after it that is known to be bad.
        suspects: the numbers of those that may be the first bad one: *first_bad*, and before it any that lie between
            and could not be tested.
        tested: what the test said, in the order of its calls.
        skipped: versions on the way that were deleted or could not be loaded.
        loads: how many versions were loaded, or tried to.
    """

    last_good: V
    first_bad: V
    suspects: tuple[int, ...]
    tested: tuple[Verdict, ...] = attrs.field(repr=False)
    skipped: tuple[Skipped, ...] = attrs.field(repr=False)
    loads: int = attrs.field(repr=False)

    @property
    def certain(self) -> bool:
        """Whether *first_bad* is the first bad version, since none between was skipped."""
        return len(self.suspects) == 1

    def __str__(self) -> str:
        first = f"{self.first_bad.ref} is the first bad version"
        if not self.certain:
            first = f"the first bad version is one of {', '.join(map(str, self.suspects))} of {self.first_bad.name}"
        return f"{first}, and {self.last_good.ref} the last good one ({self.loads} loads)"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; versions as references."""
        return {
            "last_good": self.last_good.ref,
            "first_bad": self.first_bad.ref,
            "certain": self.certain,
            "suspects": list(self.suspects),
            "tested": [attrs.asdict(one) for one in self.tested],
            "skipped": [attrs.asdict(one) for one in self.skipped],
            "loads": self.loads,
        }

    def _repr_html_(self) -> str:
        from modelkeep.markup import table, tag, view

        rows = [(f"{self.first_bad.name}:{one.number}", "good" if one.good else "bad") for one in self.tested]
        rows += [(f"{self.first_bad.name}:{one.number}", f"skipped: {one.why}") for one in self.skipped]
        return view(tag("p", str(self)), table(["version", "found"], rows))


def bisect(
    line: Line,
    make: Callable[[int], V],
    ends: tuple[int | OneVersion, int | OneVersion],
    test: Callable[[Any], object],
    *,
    trust: Trust,
    load: bool,
    check: bool,
) -> Bisection[V]:
    """See `RegisteredModel.bisect`. The line was read; *make* gives the version of a number without a request."""
    good, bad = _end(line, ends[0], "good"), _end(line, ends[1], "bad")
    if good == bad:
        raise InvalidValueError(f"good and bad are both {line.name}:{good}; give two versions", key="bad")
    search = _Search(line, make, test, trust, load)
    if check:
        search.check(good, "good")
        search.check(bad, "bad")
    way = sorted(n for n in line.versions.state.lines if min(good, bad) <= n <= max(good, bad))
    way = way if good < bad else way[::-1]
    last_good, first_bad = search.narrow(way)
    suspects = way[way.index(last_good) + 1 : way.index(first_bad) + 1]
    return Bisection(
        make(last_good),
        make(first_bad),
        tuple(suspects),
        tuple(search.tested),
        tuple(sorted(search.skipped, key=lambda one: one.number)),
        search.loads,
    )


def _end(line: Line, given: int | OneVersion, key: str) -> int:
    number = given.number if isinstance(given, OneVersion) else given
    if type(number) is not int or (isinstance(given, OneVersion) and given.name != line.name):
        raise InvalidValueError(
            f"{key}={shown(given):.200} is no version of {line.name!r}; give a number or a version of it", key=key
        )
    line.line(number)
    return number


# where to look between good and bad, as shares of what is left: in the middle first, and after each version that could
# not be loaded far from it, since such versions lie side by side
_LOOKS = (1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8)


@attrs.define
class _Search(Generic[V]):
    line: Line
    make: Callable[[int], V]
    test: Callable[[Any], object]
    trust: Trust
    load: bool
    tested: list[Verdict] = attrs.Factory(list)
    skipped: list[Skipped] = attrs.Factory(list)
    loads: int = 0

    def check(self, number: int, said: Literal["good", "bad"]) -> None:
        """Raise where an end is not what it is said to be, or cannot be tested."""
        self.line.check_alive(number)
        if self._ask(number, self._loaded(number)) != (said == "good"):
            raise InvalidValueError(
                f"{self.line.name}:{number} was given as {said}, and the test says it is not; mend the test, give "
                "another version, or check=False",
                key=said,
            )

    def narrow(self, way: Sequence[int]) -> tuple[int, int]:
        """The last good and the first bad version that can be told on a way that leads from good to bad."""
        gone = self.line.releases.state.deleted
        self.skipped += [Skipped(number, "it is deleted") for number in way[1:-1] if number in gone]
        between = [number for number in way[1:-1] if number not in gone]
        good, bad, misses = way[0], way[-1], 0
        while between:
            place = int(len(between) * _LOOKS[misses % len(_LOOKS)])
            number = between.pop(place)
            found = self._tried(number)
            if found is None:
                misses += 1
                continue
            misses = 0
            if found:
                good, between = number, between[place:]
            else:
                bad, between = number, between[:place]
        return good, bad

    def _tried(self, number: int) -> bool | None:
        try:
            given = self._loaded(number)
        except (TrustError, StoreError):  # these concern more than one version
            raise
        except Exception as error:  # noqa: BLE001  a framework may raise anything at what an older one wrote
            self.skipped.append(Skipped(number, f"it could not be loaded: {type(error).__name__}: {error}"[:300]))
            return None
        return self._ask(number, given)

    def _loaded(self, number: int) -> Any:
        version = self.make(number)
        if not self.load:
            return version
        self.loads += 1
        return version.load(trust=self.trust)

    def _ask(self, number: int, given: Any) -> bool:
        try:
            found = self.test(given)
            good = bool(found)
        except Exception as error:
            error.add_note(f"raised by the test of {self.line.name}:{number}")
            raise
        if found is None:
            raise InvalidValueError(
                f"the test gave None for {self.line.name}:{number}; return true if it is good, else false", key="test"
            )
        self.tested.append(Verdict(number, good))
        return good
