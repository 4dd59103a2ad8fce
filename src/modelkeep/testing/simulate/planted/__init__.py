"""Faults planted into the library, one at a time: a simulator that does not see them proves nothing.

Each is what a hasty author might write. Run them with ``python -m modelkeep.testing.simulate --planted``.
"""

from __future__ import annotations

from modelkeep.testing.simulate.planted.collection import COLLECTION
from modelkeep.testing.simulate.planted.compaction import COMPACTION
from modelkeep.testing.simulate.planted.gates import GATES
from modelkeep.testing.simulate.planted.journals import JOURNALS
from modelkeep.testing.simulate.planted.planting import Planted
from modelkeep.testing.simulate.planted.runs import RUNS
from modelkeep.testing.simulate.planted.saves import SAVES
from modelkeep.testing.simulate.planted.uses import USES
from modelkeep.testing.simulate.planted.variants import VARIANTS

__all__ = ["PLANTED", "Planted"]

PLANTED = (*JOURNALS, *USES, *SAVES, *COLLECTION, *COMPACTION, *VARIANTS, *RUNS, *GATES)
