"""`Storage`: the bytes of a registry: what they take, whether they are as they were written, and which may go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import attrs

from modelkeep import _verify
from modelkeep._collect import GRACE, collect
from modelkeep._compact import Compaction, FormCost, ModelCompaction, compact
from modelkeep._erase import Erasure
from modelkeep._home import Home
from modelkeep._lost import Loss
from modelkeep._removed import Collection, Dropped, Purged, Removal
from modelkeep._repair import Repair
from modelkeep._report import Report
from modelkeep.errors import InvalidValueError, shown
from modelkeep.layout import number_of
from modelkeep.progress import Progress
from modelkeep.usage import Usage, measure

__all__ = [  # what it gives out, too
    "Collection",
    "Compaction",
    "Dropped",
    "Erasure",
    "FormCost",
    "Loss",
    "ModelCompaction",
    "Purged",
    "Removal",
    "Repair",
    "Report",
    "Storage",
]


@attrs.frozen
class Storage:
    """The bytes of a registry. Made by `Registry.storage`."""

    _home: Home

    def verify(
        self, name: str | None = None, *, quick: bool = False, repair: bool = False, progress: Progress = None
    ) -> Report:
        """Read everything and check every byte: journals, chains, tiles, packs, padding, texts. Say what is lost.

        Costs a few listings for each model, and a read of every object; entries are read some five times, since each
        check folds them by itself. A pack is held in memory as a whole. Each piece is checked as it is stored; what
        comes of a chain of differences is what `ModelVersion.verify` checks, too.

        Args:
            name: the model; None: all of them, the policy, and what lies there besides.
            quick: check the structure only: journals, chains, tiles, markers, manifests, and that every pack that a
                version needs is there and as long as it should be. Reads no other byte of packs, and no text. Costs
                one listing and a read of the journals for each model, and one request for each version.
            repair: write tiles and markers of the catalogue anew that are missing or wrong, and drop copies on this
                machine that are. What cannot be computed from sound objects is left as it is: entries, packs, texts,
                `modelkeep.json`. Needs the right to write.
            progress: a function of (done, total), in bytes of packs; None, True and False as for `Registry.save`.

        Returns:
            What was found, which versions are lost and which whole, and what was repaired. Without *repair* nothing is
            changed.

        Raises:
            FormatError: there is no registry, or one of a newer format.
            UnknownModelError: nothing lies under *name*.
            AccessError: *repair* without the right to write; nothing was changed.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://verify")
            >>> _ = registry.save({"w": np.zeros(3)}, "churn")
            >>> report = registry.storage.verify()
            >>> report.ok, report.whole, report.lost
            (True, 1, ())
        """
        return _verify.verify(self._home, name, quick=quick, repair=repair, progress=progress)

    def usage(self) -> Usage:
        """Add up the bytes of all models, datasets and versions. Costs two listings, and a read of their journals.

        No manifest and no pack is read. What is being saved meanwhile may count as left over.

        Raises:
            IntegrityError: a journal is damaged; names the object.
            FormatError: the place is no registry, or one of a newer format.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://usage")
            >>> for seed in (1, 2):
            ...     _ = registry.save({"w": np.full(1000, seed)}, "churn")
            >>> (churn,) = registry.storage.usage().models
            >>> churn.name, churn.logical, [version.logical for version in churn.versions]
            ('churn', 16256, [8128, 8128])
        """
        return measure(self._home)

    def compact(
        self, name: str | None = None, *, rollbacks: int | None = None, newest: int = 0, progress: Progress = None
    ) -> Compaction:
        """Store old versions smaller: tensors packed, and by what they differ from a version beside them.

        A version keeps its number and digest, and loads as before; what was mapped is read and unpacked. Versions on an
        alias stack stay raw, so that what is promoted and what a rollback comes back to are maps. May be stopped at any
        moment, and run again: it goes on where it stopped. Runs beside savers, readers and other compactors.

        Costs a request or more for each version and each raw tensor, a read of all that is packed, and a write of what
        comes of it; what lay there is deleted soon after. The disk needs room for some versions more, or for 64 MiB of
        small ones.

        Args:
            name: the model; None: all of them.
            rollbacks: how many versions below the holder of each alias stay raw; None: all.
            newest: how many of the newest versions stay raw whether they were promoted or not.
            progress: a function of (done, total), in bytes of one model after the other; None, True and False as for
                `Registry.save`.

        Returns:
            What was moved, what was saved, and what it costs to load each form.

        Raises:
            FormatError: the place is no registry.
            UnknownModelError: nothing was ever saved under *name*.
            InvalidValueError: a number is none.
            IntegrityError: the journal of *name* is damaged; names the object.
            StoreError: the store refused; what was done stands.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://compact")
            >>> for seed in range(3):
            ...     weights = np.random.default_rng(seed).standard_normal((500, 500))
            ...     v = registry.save({"w": weights}, "churn")
            >>> done = registry.storage.compact("churn")
            >>> done.models[0].moved, done.after < done.before
            ((1, 2, 3), True)
        """
        return compact(self._home, name, rollbacks=rollbacks, newest=newest, progress=progress)

    def collect(
        self,
        name: str | None = None,
        *,
        dry_run: bool = False,
        grace: timedelta = GRACE,
        progress: Callable[[int, int], None] | None = None,
    ) -> Collection:
        r"""Remove what nobody needs: versions that the policy lets go, failed runs that expired, and leftovers.

        Versions that are held or on an alias stack, and the newest one, are never let go; without a policy none is. Any
        number of collectors may be at work, beside savers and readers, and one that was killed leaves nothing that
        the next does not finish.

        Costs a listing, a read of the journals, and for each model with something to remove one write to each of two
        journals, and the deletes.

        Args:
            name: the model; None: all of them.
            dry_run: only say what would go, and why.
            grace: how old an upload that no version names, or a write that was not finished, must be by the store's
                clock. It may be short: a save that finds its upload gone sends it again. What is being written is
                left for 10 minutes at least.
            progress: a function of (done, total), in packs that are deleted.

        Returns:
            What went, what was left, and why.

        Raises:
            FormatError: the place is no registry.
            UnknownModelError: nothing was ever saved or uploaded under *name*.
            ClockError: a rule goes by age, and this machine's clock is more than an hour off the store's.
            InvalidValueError: the policy cannot be read, or *grace* is no span of time.
            AccessError: a right is missing; what was done stands.
            StoreError: the store refused; what was done stands.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://collect")
            >>> for seed in range(3):
            ...     _ = registry.save({"w": np.full(1000, seed)}, "churn")
            >>> registry.policy.set("[retention]\nlast = 2")
            >>> [(one.number, one.reason) for one in registry.storage.collect(dry_run=True).purged]
            [(1, 'not among the newest 2...')]
        """
        return collect(self._home, name, dry_run=dry_run, grace=grace, progress=progress)

    def seal(self, key: str) -> None:
        """Accept the loss of a damaged journal entry, so that its model can be read and written again.

        What the entry did is gone for good; a number that it gave is not given again.

        Args:
            key: the entry, as the `IntegrityError` or `verify` named it.

        Raises:
            InvalidValueError: *key* is no entry of a journal.
            ConflictError: the entry is sound.
        """
        if not isinstance(key, str):
            raise InvalidValueError(f"{shown(key)} is no key of an entry; `modelkeep verify` names them", key=key)
        number = number_of(key)
        prefix = key.rpartition("/")[0] + "/"
        registry = self._home.prepare()
        for journal in _verify.all_journals(self._home, registry):
            if journal.prefix == prefix and number is not None:
                journal.seal(number)
                return
        raise InvalidValueError(f"{shown(key)} is no entry of a journal; `modelkeep verify` names them", key=key)
