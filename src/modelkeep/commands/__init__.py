"""The commands, a module for each topic.

A module loads `click` and what prints; what it works with, when a command runs: all of them are loaded for ``--help``.
"""

from __future__ import annotations

try:
    import click  # noqa: F401  only whether it is there
except ModuleNotFoundError as error:
    if error.name != "click":
        raise
    import sys

    # the console script imports this package, so only an exit can say this without a traceback
    print('the command modelkeep needs click: pip install "modelkeep[cli]"', file=sys.stderr)  # noqa: T201
    raise SystemExit(2) from None
