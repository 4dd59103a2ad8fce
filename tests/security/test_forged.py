"""Numbers that native code takes for places in memory: a model that points outside is refused before anyone asks it."""

from __future__ import annotations

import pytest

from modelkeep.errors import TrustError
from modelkeep.pickles import loads
from security.forging import FORGED, written

pytest.importorskip("sklearn")


@pytest.mark.parametrize("what", FORGED)
@pytest.mark.filterwarnings("ignore")
def test_a_model_that_points_outside_of_its_arrays_is_refused(what: str) -> None:
    with pytest.raises(TrustError) as refused:
        loads(written(what))
    assert refused.value.rule == "broken"
    assert "what it builds is broken" in str(refused.value)
