"""The trained registries as fixtures: made once for each worker; tests read them, and change only copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import modelkeep as mk


def _place(tmp_path_factory: pytest.TempPathFactory, fill: Callable[[mk.Registry], None]) -> Iterator[mk.Registry]:
    folder = tmp_path_factory.mktemp("trained")
    registry = mk.Registry(folder, durable=False)
    fill(registry)
    yield registry
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def digits_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mk.Registry]:
    """The ten versions of `trained.digits`."""
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    from trained import digits

    yield from _place(tmp_path_factory, digits.fill)


@pytest.fixture(scope="session")
def nets_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mk.Registry]:
    """The five versions of `trained.nets`, and what they were made from."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from trained import nets

    yield from _place(tmp_path_factory, nets.fill)


@pytest.fixture
def own_digits(digits_registry: mk.Registry, tmp_path: Path) -> mk.Registry:
    """A copy of the ten versions, to be changed."""
    folder = Path(str(digits_registry.url).removeprefix("file://"))
    return mk.Registry(shutil.copytree(folder, tmp_path / "digits"), durable=False)
