"""``python -m modelkeep``: the same command as ``modelkeep``; alone it shows its help."""

from __future__ import annotations

from modelkeep.cli import main

if __name__ == "__main__":
    main()
