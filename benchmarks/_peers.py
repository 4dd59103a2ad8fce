"""Peers that more than one benchmark compares with."""

from __future__ import annotations

import os
from pathlib import Path

from _models import under


class Xet:
    """Files deduplicated by hf_xet, in a folder instead of at a server."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("HF_XET_LOG_DEST", f"{folder.parent}/xet-log/")  # or it logs in the home folder
        import hf_xet

        self._folder = folder
        folder.mkdir()
        self._skip = hf_xet.SKIP_SHA256
        self._session = hf_xet.XetSession()

    def save(self, file: Path) -> None:
        """Upload one file; what the folder holds already is not stored again."""
        with self._session.new_upload_commit(endpoint=f"local://{self._folder}") as commit:
            commit.start_upload_file(str(file), sha256=self._skip)

    def stored(self) -> int:
        """The bytes of its xorbs and shards."""
        return sum(under(self._folder / "xet" / "xorbs" / kind) for kind in ("xorbs", "shards"))


def xet(folder: Path) -> Xet | None:
    """Xet, or None if it is not installed."""
    try:
        return Xet(folder)
    except ImportError as error:
        print(f"without Xet: {error}")
        return None
