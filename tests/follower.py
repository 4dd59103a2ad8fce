"""A service in a process of its own: it follows an alias and writes a line for each version that serves.

Its first argument is the registry, the second its storage options as JSON. It ends when its input does.
"""

# ruff: noqa: T201  it talks to the test that started it

from __future__ import annotations

import json
import sys

import modelkeep as mk
from followed import ASK
from modelkeep.looks import Check


def main() -> None:
    """Serve until nobody listens."""
    url, options = sys.argv[1], json.loads(sys.argv[2])
    registry = mk.Registry(url, storage_options=options or None, trust="cloudpickle")

    def told(check: Check) -> None:
        print("error" if check.error else "serves", check.version.number, flush=True)

    with registry.live("churn@production", every=0.05, on_change=told) as live:
        for _ in sys.stdin:
            print("answers", *live.predict(ASK), flush=True)


if __name__ == "__main__":
    main()
