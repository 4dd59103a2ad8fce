from __future__ import annotations

import os

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("modelkeep.testing")

pytest_plugins = ["servers.fixtures", "servers.sites"]

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
