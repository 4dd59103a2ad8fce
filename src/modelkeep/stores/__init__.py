"""Stores: where objects lie. `open_store` picks one by URL; each adapter is a module, imported on use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from modelkeep.errors import InvalidValueError

if TYPE_CHECKING:
    from modelkeep.stores.memory import MemoryStore
    from modelkeep.stores.port import Store

_memories: dict[str, MemoryStore] = {}
_memories_lock = threading.Lock()


def open_store(url: str | Path, *, durable: bool = True) -> Store:
    """Open the store at *url*: a folder, ``file://…`` or ``memory://name`` (shared by name in this process).

    Args:
        url: the place; nothing is written, and a folder need not exist.
        durable: local disk only: wait for the disk (fsync) before a write counts as done.

    Raises:
        InvalidValueError: no store of this release serves the URL's scheme, or it names no folder here.

    Example:
        >>> open_store("memory://doc").url
        'memory://doc'
    """
    text = str(url)
    if not text:
        raise InvalidValueError("no place was given; write a folder, file://… or memory://name", url=text)
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme == "memory":
        from modelkeep.stores.memory import MemoryStore

        with _memories_lock:
            return _memories.setdefault(text, MemoryStore(text))
    if scheme in ("", "file"):
        from modelkeep.stores.local import LocalStore

        return LocalStore(_folder(text) if scheme else Path(text).expanduser(), durable=durable)
    raise InvalidValueError(
        f"no store serves {scheme}://; this release keeps registries on a local disk (a folder or file://…) "
        "and in memory (memory://name)",
        url=f"{scheme}://",
    )


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path or "?" in url or "#" in url:
        # file://models would otherwise mean the folder that this process happens to stand in
        raise InvalidValueError(
            f"{url!r} names no folder on this machine; write file:///path/to/folder, ? as %3F and # as %23",
            url=url,
        )
    return Path(unquote(parts.path))
