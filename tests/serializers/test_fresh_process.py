from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep._trust import Tier, tier_of
from modelkeep.serializers.discovery import by_name
from modelkeep.testing.serializers import save_in_memory
from serializers.families import FAMILIES, Family

TESTS = Path(__file__).parent.parent


def made(family: Family) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a framework says while it trains is not what is tested here
        model = family.make()
        return model, np.asarray(family.predict(model))


def in_a_fresh_process(name: str, folder: Path, grant: str | None) -> subprocess.CompletedProcess[str]:
    given: list[str | Path] = [name, folder / "registry", folder / "out.npy", *([grant] if grant else [])]
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "serializers.families", *given],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # keras on numpy 2
@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_predicts_in_a_fresh_process_what_it_did_here(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    model, expected = made(family)
    mk.Registry(tmp_path / "registry", durable=False).save(model, "model")
    run = in_a_fresh_process(name, tmp_path, family.grant)
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "out.npy")
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=0, atol=family.tolerance)
    check_tier(family, mk.Registry(tmp_path / "registry"), model)


def check_tier(family: Family, registry: mk.Registry, model: Any) -> None:
    serializer = by_name(registry.get("model").serializer)
    tier = tier_of(serializer.form(save_in_memory(serializer, model), family.into() if family.into else None))
    assert tier == family.tier
    assert family.grant is None or tier is not Tier.DATA
    if family.grant is not None:
        with pytest.raises(mk.TrustError):
            registry.load("model")
