from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
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


def in_a_fresh_process(folder: Path, names: Sequence[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "serializers.families", folder, *names],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def by_framework() -> dict[str, list[str]]:
    """The families by the first word of their names: one process for each framework, for it takes seconds to load."""
    found: dict[str, list[str]] = {}
    for name in FAMILIES:
        found.setdefault(name.split()[0].rstrip(","), []).append(name)
    return found


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # keras on numpy 2
@pytest.mark.parametrize("names", by_framework().values(), ids=by_framework())
def test_models_predict_in_a_fresh_process_what_they_did_here(names: list[str], tmp_path: Path) -> None:
    registry, all_made = mk.Registry(tmp_path / "registry", durable=False), []
    for number, name in enumerate(names):
        all_made.append(made(FAMILIES[name]))
        registry.save(all_made[-1][0], f"model {number}")
    run = in_a_fresh_process(tmp_path, names)
    assert run.returncode == 0, run.stderr
    for number, (name, (model, expected)) in enumerate(zip(names, all_made, strict=True)):
        found = np.load(tmp_path / f"{number}.npy")
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), name
        np.testing.assert_allclose(found, expected, rtol=0, atol=FAMILIES[name].tolerance, err_msg=name)
        check_tier(FAMILIES[name], mk.Registry(tmp_path / "registry"), f"model {number}", model)


def check_tier(family: Family, registry: mk.Registry, ref: str, model: Any) -> None:
    serializer = by_name(registry.get(ref).serializer)
    tier = tier_of(serializer.form(save_in_memory(serializer, model), family.into() if family.into else None))
    assert tier == family.tier
    assert family.grant is None or tier is not Tier.DATA
    if family.grant is not None:
        with pytest.raises(mk.TrustError):
            registry.load(ref)
