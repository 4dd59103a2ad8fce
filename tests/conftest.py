from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("modelkeep.testing")

collect_ignore = ["plugin"]  # a distribution of its own, installed and run by `test_plugin.py`
pytest_plugins = ["servers.fixtures", "servers.sites", "trained.fixtures", "browser"]

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "untimed")


def pytest_collection_finish() -> None:
    """What the frameworks made when they were imported stays: no collection of garbage need look through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache is on, as for users, and none of it lies in the home folder of who runs the tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELKEEP_CACHE", str(folder))
        yield folder
