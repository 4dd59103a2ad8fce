"""A service in a process of its own: it follows churn@production of the registry that its first argument names.

Asked by a line, it writes the first number of the array that serves, and since when, at the latest, that was known to
be what the alias means. It ends when its input does.
"""

# ruff: noqa: T201  it talks to the test that started it

from __future__ import annotations

import sys
import time

import modelkeep as mk


def main() -> None:
    """Serve until nobody asks."""
    with mk.Registry(sys.argv[1]).live("churn@production", every=0.1) as live:
        for _ in sys.stdin:
            known = time.time() - live.stale_for  # asked for before the model, which is then no older
            with live.use() as model:
                print(int(model[0]), known, flush=True)


if __name__ == "__main__":
    main()
