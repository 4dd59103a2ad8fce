"""What a kept dataset consists of: the data itself by its serializer, or the bytes of files, patterns and URLs."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from modelkeep._trust import Grant, Tier, tier_of
from modelkeep.beside import keepable
from modelkeep.errors import InvalidValueError, SerializerError, shown
from modelkeep.serializers.port import Serializer
from modelkeep.sink import SaveSink

FACTS = "dataset.json"  # the one file of a dataset that is not kept


def place_of(data: object) -> str | None:
    """The path, pattern or URL that *data* is; None for data in memory."""
    return os.fspath(data) if isinstance(data, (str, PurePath)) else None


def fill(sink: SaveSink, data: object, granted: Grant, storage_options: Mapping[str, Any] | None) -> Serializer:
    """Put the bytes of *data* into *sink*, and give the serializer that reads them back.

    Raises:
        SerializerError: no serializer of the data tier keeps it.
        InvalidValueError: nothing is there.
    """
    from modelkeep.serializers import discovery

    place = place_of(data)
    if place is None:
        kept = keepable(data)
        serializer = _for_data(kept, granted)
        serializer.save(kept, sink)
        return serializer
    serializer = discovery.by_name("files")
    if "://" in place:
        _fetch(sink, place, storage_options or {})
    elif any(mark in place for mark in "*?[") and not Path(place).exists():
        _match(sink, place)
    else:
        serializer.save(Path(place).expanduser(), sink)
    return serializer


def _for_data(data: Any, granted: Grant) -> Serializer:
    """The serializer that claims *data*; a tree of arrays for lists and dicts of them."""
    from modelkeep.serializers import discovery

    found = discovery.claimant(data, granted.allows) or discovery.by_name("tree")
    unseen: Any = None
    try:
        tier = tier_of(found.form(unseen, None))
    except Exception:  # noqa: BLE001  whoever looks at the files to tell its form may raise any
        tier = None
    if tier is not Tier.DATA:
        raise SerializerError(
            f"a {type(data).__module__}.{type(data).__qualname__} cannot be kept as data, which loads without trust; "
            "give a frame, an array, a sparse matrix or a path, or leave out keep=True",
            type=type(data).__qualname__,
        )
    return found


def _match(sink: SaveSink, pattern: str) -> None:
    """Take the files that match, by their paths below the folder that all of them are in."""
    found = [Path(one) for one in sorted(glob.glob(os.path.expanduser(pattern), recursive=True))]  # noqa: PTH207, PTH111
    files = [one for one in found if one.is_file()]
    if not files:
        raise InvalidValueError(f"no file matches {pattern!r}", key="data")
    root = Path(os.path.commonpath([one.parent for one in files]))
    for one in files:
        sink.add(one.relative_to(root).as_posix(), one)


def _fetch(sink: SaveSink, url: str, options: Mapping[str, Any]) -> None:
    """Copy what lies behind a URL: an object, all that match, or all below it."""
    import fsspec

    system, path = fsspec.core.url_to_fs(url, **options)
    try:
        found = list(_objects(system, path))
        for name, key in found:
            with system.open(key, "rb") as source, sink.stream(name) as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        raise InvalidValueError(
            f"the URL cannot be read: {type(error).__name__}: {error.strerror}", key="data"
        ) from None
    if not found:
        raise InvalidValueError("nothing lies behind the URL", key="data")


def _objects(system: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each object with its name below the folder that all of them are in."""
    if any(mark in path for mark in "*?["):
        keys = [key for key in sorted(system.glob(path)) if system.isfile(key)]
    elif system.isdir(path):
        keys = sorted(system.find(path))
    else:
        yield path.rpartition("/")[2] or "data", path
        return
    root = os.path.commonpath([key.rpartition("/")[0] for key in keys]) if keys else ""
    for key in keys:
        yield key[len(root) :].lstrip("/"), key


def check_given(data: object, keep: object) -> None:
    """Refuse what cannot be saved at all.

    Raises:
        InvalidValueError: *keep* is neither True nor False, or *data* is a path where nothing lies.
    """
    if not isinstance(keep, bool):
        raise InvalidValueError(f"keep is {shown(keep)}; give True or False", key="keep")
    place = place_of(data)
    if place is not None and "://" not in place and not _is_there(Path(place).expanduser(), place):
        raise InvalidValueError(f"nothing lies at {place!r}; give a path, a pattern that matches, or a URL", key="data")


def _is_there(path: Path, pattern: str) -> bool:
    try:
        return path.exists() or any(glob.iglob(os.path.expanduser(pattern), recursive=True))  # noqa: PTH207, PTH111
    except (OSError, ValueError):  # a name that is too long, or with a null
        return False
