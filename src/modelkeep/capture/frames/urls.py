"""What lies behind a URL of fsspec: by what the store calls its version, else by its bytes where they are few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from modelkeep.capture.frames.addresses import redacted
from modelkeep.capture.frames.columns import UnknownColumnError
from modelkeep.capture.frames.files import facts_of_path
from modelkeep.capture.frames.unlogged import unlogged
from modelkeep.dataset import DatasetFacts
from modelkeep.digest import digest_of

SMALL = 64 << 20  # bytes that are read without being asked for
_PART = 1 << 22
_MAX_OBJECTS = 100_000
# what stores call one state of an object; the first that is there counts
_NAMES = ("VersionId", "version_id", "generation", "ETag", "etag", "content_md5", "md5Hash", "checksum", "mD5")


def facts_of_url(url: str, options: Mapping[str, Any], *, content: bool) -> DatasetFacts:
    """The facts of an object, or of all objects below a prefix.

    Args:
        url: as fsspec takes it.
        options: of the file system, credentials among them; none is kept.
        content: read the bytes however many, and let no ETag stand for them.

    Raises:
        UnknownColumnError: there is nothing, or more than is read unasked.
        Exception: whatever the file system raises.
    """
    if url.startswith(("file://", "local://")):
        return facts_of_path(unquote(urlsplit(url).path))
    from fsspec.core import url_to_fs

    files, path = url_to_fs(url, **{"use_listings_cache": False, **options})
    with unlogged():
        return _facts(files, path, redacted(url), content=content)


def _facts(files: Any, path: str, shown: str, *, content: bool) -> DatasetFacts:
    known = files.info(path)
    if known.get("type") == "directory":
        return _folder(files, path, shown)
    size = _size(known)
    name = None if content else next((name for name in _NAMES if _text(known.get(name))), None)
    if name is not None:
        value = _text(known[name])
        return DatasetFacts(
            kind="url",
            fingerprint=f"store-1:{digest_of('store-1', _place(shown), name.lower(), value)}",
            size=size,
            source={"url": shown, name: value},
        )
    if not content and (size is None or size > SMALL):
        raise UnknownColumnError(
            "the store names no version of it, and it is too large to be read unasked: content=True"
        )
    kept, count = _read(files, path)
    return DatasetFacts(kind="url", fingerprint=f"file-1:{kept}", size=count, source={"url": shown})


def _place(shown: str) -> str:
    return shown.rpartition("::")[2]


def _text(value: Any) -> str:
    text = str(value).strip('"') if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    return text if 0 < len(text) <= 1000 and text != "null" else ""  # noqa: PLR2004


def _size(known: Mapping[str, Any]) -> int | None:
    size = known.get("size")
    return size if isinstance(size, int) and size >= 0 else None


def _read(files: Any, path: str) -> tuple[str, int]:
    hasher, count = blake3(), 0
    with files.open(path, "rb") as file:
        while part := file.read(_PART):
            hasher.update(part)
            count += len(part)
    return hasher.hexdigest(), count


def _folder(files: Any, path: str, shown: str) -> DatasetFacts:
    found = files.find(path, detail=True)
    if not found:
        raise UnknownColumnError("there is nothing below it")
    if len(found) > _MAX_OBJECTS:
        raise UnknownColumnError(f"has more than {_MAX_OBJECTS} objects")
    base = path.rstrip("/") + "/"
    lines = []
    for key in sorted(found):
        name = next((name for name in _NAMES if _text(found[key].get(name))), None)
        if name is None:
            raise UnknownColumnError("the store names no versions of its objects; give them one by one, or a copy")
        lines += [key.removeprefix(base), str(_size(found[key])), name.lower(), _text(found[key][name])]
    sizes = [_size(one) for one in found.values()]
    quoted = (line.encode("unicode_escape").decode() for line in lines)  # one line each
    return DatasetFacts(
        kind="url",
        fingerprint=f"store-1:{digest_of('store-1', _place(shown), *quoted)}",
        size=None if None in sizes else sum(size for size in sizes if size is not None),
        source={"url": shown, "files": str(len(found))},
    )
