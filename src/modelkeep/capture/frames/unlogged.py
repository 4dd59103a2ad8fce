"""Requests of which nothing is logged: file systems log whole URLs at DEBUG, which may hold a password."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LIBRARIES = ("fsspec", "s3fs", "gcsfs", "adlfs", "botocore", "aiobotocore", "aiohttp", "urllib3", "requests")
# fsspec's own thread works in the context of who called it, so that other threads go on logging
_here: ContextVar[bool] = ContextVar("modelkeep_unlogged", default=False)


def _passes(_: logging.LogRecord) -> bool:
    return not _here.get()


@contextmanager
def unlogged() -> Iterator[None]:
    """What the libraries of file systems log in the block, in this thread and for it in fsspec's, goes nowhere.

    Example:
        >>> with unlogged():
        ...     logging.getLogger("fsspec").error("http://ada:maple-7@example.org")
    """
    for name in (*_LIBRARIES, *logging.Logger.manager.loggerDict):
        if name.partition(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(_passes)  # once: the same is not added twice
    before = _here.set(True)
    try:
        yield
    finally:
        _here.reset(before)
