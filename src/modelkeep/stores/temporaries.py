"""Temporary files beside objects: how they are named, and how those of killed writers are found."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from modelkeep.errors import StoreError
from modelkeep.stores.disk import NOT_THERE, Said
from modelkeep.stores.memory import check_prefix
from modelkeep.stores.port import UnfinishedWrite, not_unfinished

# no key has a part that begins with a dot, so listings and readers never meet one
_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{32}")


def new_temporary() -> str:
    """A name for a temporary file that nobody used before."""
    return f".tmp-{uuid.uuid4().hex}"


def temporaries(base: str, prefix: str) -> Iterator[UnfinishedWrite]:
    """The temporary files in the folders below *base* that begin with *prefix*, each under its folder."""
    folder, _, beginning = prefix.rpartition("/")
    return _walk(base, f"{folder}/" if folder else "", beginning)


def temporary_at(base: str, write: UnfinishedWrite) -> str:
    """The path of a temporary file.

    Raises:
        StoreError: *write* names something else.
    """
    folder = write.key
    if not _TEMPORARY.fullmatch(write.name) or not (folder == "" or folder.endswith("/")):
        raise not_unfinished(write)
    try:
        return f"{base}/{check_prefix(folder)}{write.name}"
    except StoreError:
        raise not_unfinished(write) from None


def _walk(base: str, folder: str, beginning: str) -> Iterator[UnfinishedWrite]:
    """Without *beginning* also the files of *folder* itself; with it, theirs may be another prefix."""
    files: list[str] = []
    folders: list[str] = []
    with Said(folder), suppress(*NOT_THERE), os.scandir(f"{base}/{folder}") as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name.startswith(beginning) and not entry.name.startswith("."):
                    folders.append(entry.name)
            elif not beginning and _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                files.append(entry.name)
    for name in files:
        if found := _found(base, folder, name):
            yield found
    for name in folders:
        yield from _walk(base, f"{folder}{name}/", "")


def _found(base: str, folder: str, name: str) -> UnfinishedWrite | None:
    with Said(folder), suppress(*NOT_THERE):  # finished since the folder was read
        facts = os.stat(f"{base}/{folder}{name}", follow_symlinks=False)  # noqa: PTH116  as in the local store
        return UnfinishedWrite(folder, name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))
    return None
