"""Packs: objects that hold the pieces of files. Written in one pass; read, and every byte checked, piece by piece.

```
16 bytes  b"modelkeep pack 1"
…         stored pieces, each beginning at the next multiple of its alignment, zeros between
…         in the last pack of a save: the manifest, which ends it
```
Raw pieces begin at a multiple of 64, of 4,096 from 64 KiB on, so that they can be mapped; aligning all of them to
4,096 made small models 16 times larger. `modelkeep.packwriter` writes packs and `modelkeep.packfiles` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelkeep.codecs import RAW
from modelkeep.errors import IntegrityError
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, ManifestError
from modelkeep.stores.port import Store
from modelkeep.version import Place

MAGIC = b"modelkeep pack 1"
MAX_PACK = 256 * 1024 * 1024  # bytes; more only where one tensor has more, which is never split
WHOLE = 1024 * 1024  # bytes; a last pack up to this size is read whole, in one round
PAGE = 4096  # bytes
PAGED = 64 * 1024  # bytes; raw pieces of that size and more begin at a page


def alignment(codec: int, length: int) -> int:
    """Of what number of bytes the place of a piece of *length* bytes is a multiple."""
    if codec != RAW:
        return 1
    return PAGE if length >= PAGED else 64


def read_manifest(store: Store, name: str, place: Place) -> tuple[Manifest, bytes | None]:
    """The manifest at *place*, and the whole pack if it is small. One request.

    Raises:
        MissingObjectError: the pack is not there.
        IntegrityError: the bytes are not a manifest; names the object.
    """
    key = pack_key(name, place.pack)
    whole = place.offset + place.length <= WHOLE
    raw = store.get(key) if whole else store.get(key, (place.offset, place.length))
    try:
        manifest = _own_manifest(raw[place.offset : place.offset + place.length] if whole else raw, place)
    except ManifestError as error:
        raise IntegrityError(
            f"the manifest in {key} is damaged: {error}; bring the object back from a backup", key=key
        ) from None
    return manifest, raw if whole else None


def _own_manifest(raw: bytes, place: Place) -> Manifest:
    if len(raw) != place.length:
        raise ManifestError(f"{place.length} bytes belong there and {len(raw)} are there")
    manifest = Manifest.parse(raw)
    if manifest.packs[-1:] != (place.pack,):
        raise ManifestError("it is that of another pack")
    return manifest


def padding_faults(pack: bytes, extents: Iterable[tuple[int, int]] | None) -> Iterator[str]:
    """What is wrong with a pack between its extents, given as (offset, length): all of it must be accounted for.

    None: not all of them are known, so that only its beginning can be judged.
    """
    if pack[: len(MAGIC)] != MAGIC:
        yield "it does not begin as a pack does"
    if extents is None:
        return
    at = len(MAGIC)
    for offset, length in sorted(extents):
        if offset > at and pack[at:offset].strip(b"\0"):
            yield f"bytes {at} to {offset} should be zero"
        at = max(at, offset + length)
    if at != len(pack):
        yield f"{at} bytes belong there and {len(pack)} are there"


def missing_pack(key: str) -> IntegrityError:
    """The error for a pack that a version needs and that is nowhere."""
    return IntegrityError(f"{key} is missing although a version needs it; bring the object back from a backup", key=key)
