"""A disk on which names that differ by case alone are the same, as on most Macs and on Windows: nothing collides there.

The disk is that of `tests/test_power_cut.py`, told to fold case. It keeps the spelling that a name was made with. It
folds as Python does, and it does not bring accents to one form, as some disks do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import modelkeep as mk
from powercut.mount import mounted, why_not

NAMES = ["a", "A", "Ä", "ä", "Churn", "churn", "CHURN", "ß", "SS", "churn model"]  # "ß" folds to "ss"

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "never")


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path, blind=True) as mount:
        yield mount.root


def test_the_disk_is_blind_to_case_and_keeps_the_spelling(blind: Path) -> None:
    (blind / "Name").write_text("one")
    assert (blind / "nAME").read_text() == "one"
    with pytest.raises(FileExistsError):
        (blind / "NAME").open("x")
    assert [path.name for path in blind.iterdir()] == ["Name"]


def test_models_and_aliases_whose_names_differ_by_case_alone_are_kept_apart(blind: Path) -> None:
    registry = mk.Registry(blind / "registry", cache=False)
    for at, name in enumerate(NAMES):
        for n in range(2):
            registry.save({"w": np.array([at, n])}, name, params={"name": name}).promote("production")
        registry.get(f"{name}:1").promote("Production")
    registry = mk.Registry(blind / "registry", cache=False)
    assert sorted(model.name for model in registry.models()) == sorted(NAMES)
    for at, name in enumerate(NAMES):
        assert registry.load(f"{name}@production")["w"].tolist() == [at, 1]
        assert registry.load(f"{name}@Production")["w"].tolist() == [at, 0]
        assert registry.get(name).params == {"name": name}
        assert registry.get(name).number == 2


def test_upkeep_on_such_a_disk_removes_what_it_should_and_leaves_the_rest(blind: Path) -> None:
    registry = mk.Registry(blind / "registry", cache=False)
    for name in ("churn", "Churn"):
        for n in range(4):
            registry.save({"w": np.arange(20_000) + n, "name": name}, name)
    registry.policy.set('[retention.models."churn"]\nlast = 2')
    registry.storage.compact()
    done = registry.storage.collect(grace=timedelta(0))
    assert [(one.name, one.number) for one in done.purged] == [("churn", 1), ("churn", 2)]
    for name, number, n in [("churn", 3, 2), ("churn", 4, 3), *(("Churn", n + 1, n) for n in range(4))]:
        loaded = registry.load(f"{name}:{number}")
        assert loaded["name"] == name
        assert np.array_equal(loaded["w"], np.arange(20_000) + n)
    assert registry.storage.verify().findings == ()


def test_no_two_keys_of_a_registry_differ_by_case_alone(blind: Path) -> None:
    registry = mk.Registry(blind / "registry", cache=False)
    for name in NAMES:
        registry.save({"w": np.zeros(3)}, name)
    keys = [path.relative_to(blind).as_posix() for path in blind.rglob("*")]
    assert keys
    assert [key for key, count in Counter(key.casefold() for key in keys).items() if count > 1] == []
    assert [key for key in keys if key != key.lower()] == [], "not all is in lower case"
