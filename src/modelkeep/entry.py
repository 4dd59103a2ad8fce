r"""One entry of a journal: a line of JSON and a line with its own BLAKE3.

```
{"n":7,"prev":"…","tx":"…","time":"2026-03-01T12:00:00.000000Z","actor":"ada@acme","seen":{…},"ops":[…]}\n
<64 hexadecimal digits: the BLAKE3 of the line above, its newline included>\n
```
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import orjson
from blake3 import blake3

from modelkeep.digest import digest, is_digest

Head = tuple[int, str]  # number and digest of a journal's last entry

_TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII)
_TX = re.compile(r"[0-9a-f]{32}")


class DamagedError(ValueError):
    """The bytes are not those of an entry, or not those that were written."""


@attrs.frozen
class Entry:
    """What one entry says.

    Args:
        number: its place in the journal, from 1 on.
        prev: the digest of the entry before; of entry 1, the genesis of the journal.
        tx: the transaction, 32 hexadecimal digits, unique.
        time: when its writer wrote it, by the writer's clock.
        actor: who wrote it.
        seen: the heads of the sister journals that its writer had seen.
        ops: what it does.
        digest: the BLAKE3 of all its bytes, which the next entry carries as *prev*.
    """

    number: int
    prev: str
    tx: str
    time: str
    actor: str
    seen: dict[str, Any]
    ops: list[dict[str, Any]]
    digest: str


def genesis(registry: str, prefix: str) -> str:
    """What entry 1 carries as *prev*, so that no journal can be passed off as another's."""
    return digest(f"modelkeep journal 1\n{registry}\n{prefix}\n".encode())


def sign(line: bytes) -> bytes:
    r"""End a line of JSON with the line of its digest.

    Example:
        >>> sign(b"{}").count(b"\n")
        2
    """
    whole = line + b"\n"
    return whole + blake3(whole).hexdigest().encode() + b"\n"


def check_signed(raw: bytes) -> bytes:
    """The line of JSON in *raw*, without its newline.

    Raises:
        DamagedError: the digest line does not fit.
    """
    return _split(raw)[0]


def _split(raw: bytes) -> tuple[bytes, str]:
    """The line of JSON in *raw*, and the digest of all of it; each byte is hashed once."""
    line, end, rest = raw.partition(b"\n")
    hasher = blake3(line + end)
    if not end or rest != hasher.hexdigest().encode() + b"\n":
        raise DamagedError("its digest line does not fit its bytes")
    return line, hasher.update(rest).hexdigest()


def encode(
    number: int,
    prev: str,
    tx: str,
    time: str,
    actor: str,
    seen: Mapping[str, Head],
    ops: Sequence[Mapping[str, Any]],
) -> bytes:
    """The bytes of an entry."""
    facts = {
        "n": number,
        "prev": prev,
        "tx": tx,
        "time": time,
        "actor": actor,
        "seen": {name: list(head) for name, head in seen.items() if head[0]},
        "ops": ops,
    }
    return sign(orjson.dumps(facts))


def parse(raw: bytes, number: int) -> Entry:
    """Read an entry that should bear *number*.

    Raises:
        DamagedError: it is not an entry of this number; says why.
    """
    try:
        line, own = _split(raw)
        facts = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DamagedError(f"it is no JSON: {error}") from None
    if not _is_entry(facts, number):
        raise DamagedError(f"it does not have the fields of entry {number}")
    return Entry(number, facts["prev"], facts["tx"], facts["time"], facts["actor"], facts["seen"], facts["ops"], own)


def is_time(text: str) -> bool:
    """Whether *text* is a time as entries write it: UTC, with six digits of a second."""
    if _TIME.fullmatch(text) is None or text.startswith("0000"):
        return False
    if text[8:10] > "28":
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return False
    return True


def is_id(text: str) -> bool:
    """Whether *text* is an id as transactions have: 32 hexadecimal digits."""
    return _TX.fullmatch(text) is not None


def _is_op(op: Any) -> bool:
    return type(op["op"]) is str


def _is_entry(facts: Any, number: int) -> bool:
    # orjson gives exact types; a cold open of 100,000 versions comes through here 100,000 times
    try:
        return (
            facts["n"] == number
            and type(facts["n"]) is int
            and is_digest(facts["prev"])
            and is_id(facts["tx"])
            and is_time(facts["time"])
            and type(facts["actor"]) is str
            and type(facts["seen"]) is dict
            and type(facts["ops"]) is list
            and all(map(_is_op, facts["ops"]))
        )
    except (TypeError, KeyError):
        return False
