"""`RegisteredModel`: one line of versions of a model over time, and the questions that it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from modelkeep._line import Line
from modelkeep._trust import Trust
from modelkeep.failedrun import FailedRun
from modelkeep.listing import Listing
from modelkeep.modelversion import ModelVersion
from modelkeep.namedline import NamedLine
from modelkeep.ref import check_alias

if TYPE_CHECKING:
    from modelkeep.bisection import Bisection
    from modelkeep.questions import Trend
    from modelkeep.ref import ModelRef
    from modelkeep.versiontable import VersionTable
    from modelkeep.watching import Change


class RegisteredModel(NamedLine[ModelVersion]):
    """A named line of versions. Made by `Registry.model`; making it reads nothing.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://registeredmodel")
        >>> for auc in (0.90, 0.93):
        ...     v = registry.save({"w": np.full(3, auc)}, "churn", metrics={"auc": auc}).promote("production")
        >>> churn = registry.model("churn")
        >>> churn.versions(where=lambda v: v.metrics["auc"] > 0.9)
        [churn:2]
        >>> churn.rollback("production", reason="calibration drift")
        ModelVersion churn:1
    """

    def _version(self, line: Line, number: int) -> ModelVersion:
        return ModelVersion(line, number)

    def failed_runs(self) -> Listing[FailedRun]:
        """The runs that failed here and are kept, newest first. Two GETs when warm.

        They are no versions: each has all that a version tells of its making, the error, and no model. They go 30 days
        after they failed, or with `FailedRun.drop`.

        Returns:
            A sequence with `to_pandas()`; the table, and what a notebook shows, cost a request for each of its rows.
        """
        line = self._read()
        return Listing(list(reversed(line.drafts())), lambda name: FailedRun(line, name), FailedRun.to_dict)

    # -- questions -------------------------------------------------------------------------------------------

    def best(
        self,
        metric: str,
        *,
        where: Callable[[ModelVersion], bool] | None = None,
        mode: Literal["max", "min"] = "max",
    ) -> ModelVersion:
        """The version with the best metric of those that are not deleted; of equal ones the newer. Two GETs when warm.

        Args:
            metric: its name, as given at the save; NaN, and what is no number, never wins.
            where: look among those for which this is true; a metric or parameter that is missing counts as false.
            mode: ``max`` or ``min``: which is better; ``min`` for a loss or an error.

        Raises:
            NotFoundError: no version has such a number; names the metrics that there are.
            InvalidValueError: *mode* is neither.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://best")
            >>> for auc in (0.91, 0.93, float("nan")):
            ...     v = registry.save({"w": np.full(3, auc)}, "churn", metrics={"auc": auc})
            >>> registry.model("churn").best("auc")
            ModelVersion churn:2
        """
        from modelkeep.questions import best

        return best(self.versions(where), metric, mode, self.name)

    def trend(self, metric: str, *, measured: bool = False, mode: Literal["max", "min"] = "max") -> Trend:
        """A metric over the versions that are not deleted, and what stood under which alias when.

        Two GETs when warm, and a cold read of `releases`; one GET more for what was measured later.

        Args:
            metric: its name; NaN and infinity are kept.
            measured: look at what `ModelVersion.measure` added later, instead of what was given at the save.
            mode: ``max`` or ``min``: which is better; ``min`` for a loss or an error.

        Raises:
            NotFoundError: no version has such a number; names the metrics that there are.
            InvalidValueError: *mode* is neither.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://trend")
            >>> for auc in (0.91, 0.93, 0.92):
            ...     v = registry.save({"w": np.full(3, auc)}, "churn", metrics={"auc": auc}).promote("production")
            >>> trend = registry.model("churn").trend("auc")
            >>> print(trend)
            auc of churn: highest 0.93 in version 2, newest 0.92 in version 3
            >>> trend.best_so_far, [stay.number for stay in trend.stays], trend.standing()
            ((0.91, 0.93, 0.93), [1, 2, 3], {'production': 3})
        """
        from modelkeep.questions import trend

        return trend(self._read(), metric, mode, measured=measured)

    def bisect(
        self,
        good: int | ModelVersion,
        bad: int | ModelVersion,
        test: Callable[[Any], object],
        *,
        trust: Trust = False,
        load: bool = True,
        check: bool = True,
    ) -> Bisection[ModelVersion]:
        """The first bad version between a good and a bad one, found in log2 loads of those between.

        Versions that are deleted, or that cannot be loaded here, are passed over, and the answer says which; while one
        is loaded, no other is held. *bad* may be the older one: then the way leads back.

        Two GETs when warm, and a load for each call of *test*: of n versions at most ceil(log2(n)) + 2, more only where
        one cannot be loaded.

        Args:
            good: a version that is good, by number or itself.
            bad: one that is not.
            test: gets the loaded model, and gives true if it is good. What it raises comes through, with a note of the
                version.
            trust: as in `ModelVersion.load`.
            load: false gives *test* the version instead, which loads what it needs, as `predict` does with
                preprocessing; then nothing is passed over but what is deleted.
            check: false believes that *good* is good and *bad* is bad, and does not load these.

        Raises:
            InvalidValueError: an end is no version of this model, or is not what it is said to be; *test* gave None.
            UnknownVersionError: there is no such version.
            DeletedError: an end is deleted, and is to be checked.
            TrustError: loading may run code, and no trust was granted.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://bisect")
            >>> for n in range(1, 11):
            ...     v = registry.save({"w": np.full(3, n)}, "churn")
            >>> print(registry.model("churn").bisect(1, 10, lambda model: model["w"].sum() < 20))
            churn:7 is the first bad version, and churn:6 the last good one (5 loads)
        """
        from modelkeep.bisection import bisect

        line = self._read()
        ends = (good, bad)
        return bisect(line, lambda number: ModelVersion(line, number), ends, test, trust=trust, load=load, check=check)

    def compare(
        self, *refs: str | int | ModelRef | ModelVersion, better: Mapping[str, Literal["max", "min"]] | None = None
    ) -> VersionTable:
        """Versions side by side: parameters, metrics, rows of data, size. Two GETs when warm, and one for each version.

        What is otherwise in one than in another, file by file, says `ModelVersion.compare`.

        Args:
            refs: numbers, references or versions, of other models here, too; none: all that are not deleted.
            better: of which metrics the greatest (``max``) or the least (``min``) is best; only these are marked.

        Raises:
            NotFoundError: there is no such version.
            InvalidValueError: there is nothing to compare, or *better* names a metric that none has.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://compare-several")
            >>> for depth, auc in ((3, 0.5), (6, 0.75)):
            ...     _ = registry.save({"w": np.ones(depth)}, "churn", params={"depth": depth}, metrics={"auc": auc})
            >>> print(registry.model("churn").compare(1, 2, better={"auc": "max"}).to_markdown())
            |  | churn:1 | churn:2 |
            | --- | --- | --- |
            | params.depth | 3 | 6 |
            | metrics.auc | 0.5 | **0.75** |
            | size | 152 | 176 |
            <BLANKLINE>
        """
        from modelkeep.comparison import opened
        from modelkeep.versiontable import table_of

        oldest_first = [*self.versions()][::-1] if not refs else []
        return table_of(oldest_first or [opened(self._known(), ModelVersion, ref) for ref in refs], better)

    def watch(self, alias: str, *, every: float = 30.0, timeout: float | None = None) -> Iterator[Change]:
        """The moves of *alias* as they come, from this call on: all that the journal tells, in order.

        One GET a look when warm; a move costs a read of its reason, and one GET if its version is new here. While the
        storage fails, looks come more rarely, and nothing is missed.

        Args:
            alias: such as ``production``; it need not be set yet.
            every: seconds; a look comes after half of it to all of it.
            timeout: seconds after which it ends, with a last look; None: it goes on until the caller ends it.

        Raises:
            UnknownModelError: nothing was ever saved under this name.
            AccessError, IntegrityError, FormatError: while it goes on, what waiting does not mend.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://watch")
            >>> v = registry.save({"w": np.ones(2)}, "churn")
            >>> moves = registry.model("churn").watch("production", timeout=0)
            >>> _ = v.promote("production", reason="first")
            >>> [(move.action, move.before, move.after, move.reason) for move in moves]
            [('promote', None, ModelVersion churn:1, 'first')]
        """
        from modelkeep.pacing import Pace, check_seconds
        from modelkeep.watching import Watch

        line = self._line
        pace = Pace(every, line.home.system)
        longest = None if timeout is None else check_seconds(timeout, "timeout")
        return Watch.begin(line, check_alias(alias)).changes(pace, longest)
