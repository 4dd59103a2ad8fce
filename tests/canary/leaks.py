"""Where planted secrets are looked for: bytes as they lie, and as they unpack, in every spelling a leak may take."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from blake3 import blake3

from modelkeep import zstd
from redaction.planted import Planted

FRAME = b"\x28\xb5\x2f\xfd"  # what a frame of Zstandard begins with (RFC 8878, 3.1.1)
_MOST = 1 << 28  # bytes that a frame may unpack to
_SHARE = 8  # letters of a secret in a row that give it away; the halves of the longer ones


def spellings(secret: str) -> Iterator[bytes]:
    """The secret, parts of it, and what it is called in base64, hexadecimal, JSON, URLs and digests."""
    half = max(_SHARE, len(secret) // 2)
    for start in {0, max(0, len(secret) - half), max(0, len(secret) - half) // 2}:
        yield secret[start : start + half].encode()
    raw = secret.encode()
    for shift in range(3):  # base64 of a text that has the secret somewhere: three ways to stand in groups of three
        inner = base64.b64encode(b"\0" * shift + raw)[4:-4]
        if len(inner) >= _SHARE:
            yield inner
    yield from (raw.hex().encode(), quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode())
    yield from (kind(raw).hexdigest().encode() for kind in (hashlib.md5, hashlib.sha1, hashlib.sha256, blake3))
    yield secret.encode("utf-16-le")


def unpacked(data: bytes) -> Iterator[bytes]:
    """The bytes, and those of each frame that begins anywhere in them."""
    yield data
    at = data.find(FRAME)
    while at >= 0:
        yield _whole_frame(data[at:])
        at = data.find(FRAME, at + 1)


def _whole_frame(data: bytes) -> bytes:
    parts: list[bytes] = []
    try:
        for part in zstd.decompressed(data, _MOST, step=1 << 20):
            parts.append(part)  # noqa: PERF402  what came before an error counts
    except zstd.Error:  # other bytes behind it, or no frame at all
        pass
    return b"".join(parts)


def leaked(planted: Iterable[Planted], *places: bytes) -> list[str]:
    """The kinds of the secrets that can be read in one of the places, with what came before each."""
    found = []
    texts = [text for place in places for text in unpacked(place)]
    for one in planted:
        for word in set(spellings(one.secret)):
            at, text = next(((at, text) for text in texts if (at := text.find(word)) >= 0), (-1, b""))
            if at >= 0:
                found.append(f"{one.kind}, as {word[:20]!r}… after {text[max(0, at - 60) : at]!r}")
                break
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder; its name counts as well."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() + b"\n" + path.name.encode()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
