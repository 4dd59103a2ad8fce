"""Where everything lies: the only module that spells keys. The page `reference/format.md` explains them.

Every key is flat and of fixed width, and none is a folder of another: some S3 servers list in another order
or fail on that.
"""

from __future__ import annotations

import re

from modelkeep.errors import InvalidNameError
from modelkeep.ref import check_dataset_name, decode_name, encode_name

MARKER = "modelkeep.json"
CATALOG = "catalog/"
DATASETS = "datasets/"  # where lines of datasets lie, and what their names within the library begin with
SHELVES = ("models/", DATASETS)
CATALOGS = (
    CATALOG,
    "catalog-datasets/",
)  # of each shelf; the second no folder of the first, where a model has that key
POLICY = "policy/"
PROBES = "doctor/"
FAN_OUT = 100  # entries in a tile, and tiles in a tile of the second level


_OURS = re.compile(  # what lies in the folder of a line
    r"(versions|releases|notes)/([0-9]{20}\.json|t[12]/[0-9]{20}\.zst)|origin\.json"
    r"|data/[0-9a-f]{32}-[0-9]{1,6}\.pack|texts/[0-9a-f]{32}"
)


# -- names of lines ----------------------------------------------------------------------------------------------


def dataset_line(name: str) -> str:
    """The name within the library of the line of a dataset; no model can bear it.

    Raises:
        InvalidNameError: no dataset can bear *name*.

    Example:
        >>> dataset_line("sales")
        'datasets/sales'
    """
    return f"{DATASETS}{check_dataset_name(name)}"


def is_dataset(name: str) -> bool:
    """Whether the line *name* is that of a dataset."""
    return isinstance(name, str) and name.startswith(DATASETS)


def own_name(name: str) -> str:
    """The name that the user gave to a line.

    Example:
        >>> own_name("datasets/sales"), own_name("churn")
        ('sales', 'churn')
    """
    return name[len(DATASETS) :] if is_dataset(name) else name


def word_for(name: str) -> str:
    """What a line is, in messages: ``model`` or ``dataset``."""
    return "dataset" if is_dataset(name) else "model"


def check_line(name: str) -> str:
    """Return *name* if it is that of a line: what a model can bear, or ``datasets/`` and what a dataset can.

    Raises:
        InvalidNameError: it is not.
    """
    encode_name(name) if not is_dataset(name) else check_dataset_name(own_name(name))
    return name


def line_of(key: str) -> str:
    """The line in whose folder *key* lies.

    Raises:
        InvalidNameError: it lies in none. Of ``datasets/`` only what this library writes counts: what else lies there
            may be anybody's, who had that folder before datasets were versioned.

    Example:
        >>> line_of("models/churn/data/5f0c-1.pack"), line_of("datasets/sales/versions/00000000000000000001.json")
        ('churn', 'datasets/sales')
    """
    shelf, _, rest = key.partition("/")
    folder, _, inner = rest.partition("/")
    if f"{shelf}/" == DATASETS and _OURS.fullmatch(inner):
        return f"{DATASETS}{decode_name(folder)}"
    if f"{shelf}/" == SHELVES[0]:
        return decode_name(folder)
    raise InvalidNameError(f"{key} lies in no line", name=key)


def announced_line(key: str) -> str:
    """The line that a marker announces.

    Raises:
        InvalidNameError: it is no marker.

    Example:
        >>> [announced_line(catalog_key(name)) for name in ("churn", "datasets/sales")]
        ['churn', 'datasets/sales']
    """
    catalog, _, folder = key.partition("/")
    if f"{catalog}/" in CATALOGS:
        return f"{'' if catalog == CATALOG[:-1] else DATASETS}{decode_name(folder)}"
    raise InvalidNameError(f"{key} is no marker", name=key)


# -- keys of lines -----------------------------------------------------------------------------------------------


def catalog_key(name: str) -> str:
    """The marker that announces a line, for listing only.

    Example:
        >>> catalog_key("Churn"), catalog_key("datasets/sales")
        ('catalog/%43hurn', 'catalog-datasets/sales')
    """
    return f"{CATALOGS[is_dataset(name)]}{encode_name(own_name(name))}"


def model_prefix(name: str) -> str:
    """What all keys of a line begin with.

    Example:
        >>> model_prefix("churn"), model_prefix("datasets/sales")
        ('models/churn/', 'datasets/sales/')
    """
    return f"{SHELVES[is_dataset(name)]}{encode_name(own_name(name))}/"


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
