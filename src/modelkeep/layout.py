"""Where everything lies: the only module that spells keys. The page `reference/format.md` explains them.

Every key is flat and of fixed width, and none is a folder of another: some S3 servers list in another order
or fail on that.
"""

from __future__ import annotations

import re

from modelkeep.ref import encode_name

MARKER = "modelkeep.json"
CATALOG = "catalog/"
POLICY = "policy/"
PROBES = "doctor/"
FAN_OUT = 100  # entries in a tile, and tiles in a tile of the second level


def catalog_key(name: str) -> str:
    """The marker that announces a model, for listing only.

    Example:
        >>> catalog_key("Churn")
        'catalog/%43hurn'
    """
    return f"{CATALOG}{encode_name(name)}"


def model_prefix(name: str) -> str:
    """What all keys of a model begin with.

    Example:
        >>> model_prefix("churn")
        'models/churn/'
    """
    return f"models/{encode_name(name)}/"


def journal_prefix(name: str, journal: str) -> str:
    """What all keys of one journal of a model begin with; the key order is the entry order.

    Example:
        >>> entry_key(journal_prefix("churn", "versions"), 7)
        'models/churn/versions/00000000000000000007.json'
    """
    return f"{model_prefix(name)}{journal}/"


def entry_key(prefix: str, number: int) -> str:
    """Entry *number* (from 1 on) of the journal under *prefix*."""
    return f"{prefix}{number:020d}.json"


def tile_key(prefix: str, level: int, index: int) -> str:
    """Tile *index* (from 0 on): level 1 packs 100 entries, level 2 packs 100 tiles.

    Example:
        >>> tile_key(journal_prefix("churn", "versions"), 1, 0)
        'models/churn/versions/t1/00000000000000000000.zst'
    """
    return f"{prefix}t{level}/{index:020d}.zst"


def tiles_prefix(prefix: str) -> str:
    """What the keys of all tiles of a journal begin with."""
    return f"{prefix}t"


def number_of(key: str) -> int | None:
    """The number in the last part of an entry's or a tile's key; None for another key.

    Example:
        >>> number_of("models/churn/versions/00000000000000000007.json"), number_of("modelkeep.json")
        (7, None)
    """
    stem, _, suffix = key.rpartition("/")[2].partition(".")
    return int(stem) if len(stem) == 20 and stem.isascii() and stem.isdigit() and suffix in ("json", "zst") else None  # noqa: PLR2004


def origin_key(name: str) -> str:
    """What says where a model that was pushed here was born.

    Example:
        >>> origin_key("churn")
        'models/churn/origin.json'
    """
    return f"{model_prefix(name)}origin.json"


def pack_key(name: str, pack: str) -> str:
    """The object that holds pack *pack* (``<transaction>-<n>``).

    Example:
        >>> pack_key("churn", "5f0c-1")
        'models/churn/data/5f0c-1.pack'
    """
    return f"{data_prefix(name)}{pack}.pack"


def data_prefix(name: str) -> str:
    """What the keys of all packs of a model begin with."""
    return f"{model_prefix(name)}data/"


def texts_prefix(name: str) -> str:
    """What the keys of all texts of a model begin with."""
    return f"{model_prefix(name)}texts/"


def text_key(name: str, transaction: str) -> str:
    """The erasable text that the entry of *transaction* refers to by digest.

    Example:
        >>> text_key("churn", "5f0c")
        'models/churn/texts/5f0c'
    """
    return f"{texts_prefix(name)}{transaction}"


def probe_key(doctor: str, name: str) -> str:
    """An object by which one doctor (a fresh id) tries a store; it goes when the doctor goes.

    Example:
        >>> probe_key("5f0c" * 8, "pack")
        'doctor/5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c-pack'
    """
    return f"{PROBES}{doctor}-{name}"


def is_probe(key: str) -> bool:
    """Whether a doctor wrote *key*; what else lies in a folder of that name is somebody's own.

    Example:
        >>> is_probe(probe_key("5f0c" * 8, "pack")), is_probe("doctor/strange.txt")
        (True, False)
    """
    return re.fullmatch(rf"{PROBES}[0-9a-f]{{32}}-[a-z0-9-]+", key) is not None
