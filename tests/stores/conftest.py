"""What the tests of stores share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers.answering import Answering, answering


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    """A server that says what a test tells it to."""
    with answering() as found:
        yield found
