"""Planted secrets: a list that the rules were tuned on, and one that was written before and is only measured.

Each is made by a seeded generator from its published form, so that nothing here is, or looks like, a live key.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator

import attrs

LOWER, UPPER, DIGITS, HEX = string.ascii_lowercase, string.ascii_uppercase, string.digits, "0123456789abcdef"
MIXED = string.ascii_letters + DIGITS
URLSAFE = MIXED + "-_"
BASE64 = MIXED + "+/"
WORDS = ("harbour", "Maple", "cobalt", "Tundra", "violet", "Otter", "quartz", "Ember")


@attrs.frozen
class Planted:
    """One secret: what must not be seen, a text that holds it, and a parameter that does, where that is usual."""

    kind: str
    secret: str
    text: str
    name: str | None = None
    value: object = None


@attrs.frozen
class Maker:
    """Makes letters by a seed."""

    chance: random.Random

    def of(self, letters: str, length: int) -> str:
        """So many letters; of mixed ones at least one of each sort, as nearly every real token has."""
        while True:
            made = "".join(self.chance.choices(letters, k=length))
            sorts = (LOWER, UPPER, DIGITS)
            if length < 12 or all(set(made) & set(sort) for sort in sorts if set(sort) & set(letters) >= set(sort)):
                return made

    def password(self) -> str:
        """What a person might choose."""
        return f"{self.chance.choice(WORDS)}{self.chance.choice('-_!$%')}{self.chance.randrange(10, 10_000)}"

    def base64(self, size: int) -> str:
        """Random bytes, as text."""
        return base64.b64encode(self.chance.randbytes(size)).decode()

    def jwt(self) -> str:
        """A signed token."""
        parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": self.of(DIGITS, 10), "exp": 1_900_000_000})
        coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join((*coded, self.of(URLSAFE, 43)))

    def pem(self, what: str) -> str:
        """A private key."""
        body = "\n".join(self.of(BASE64, 64) for _ in range(6))
        return f"-----BEGIN {what}-----\n{body}\n-----END {what}-----"


Recipe = Callable[[Maker], Planted]


def token(kind: str, name: str, make: Callable[[Maker], str], text: str = '{name} = "{secret}"') -> Recipe:
    def recipe(maker: Maker) -> Planted:
        secret = make(maker)
        return Planted(kind, secret, text.format(name=name, secret=secret), name, secret)

    return recipe


def inside(kind: str, name: str, make: Callable[[Maker], str], whole: str) -> Recipe:
    """A secret within a longer value, which is the value of the parameter, too."""

    def recipe(maker: Maker) -> Planted:
        secret = make(maker)
        value = whole.format(secret=secret)
        return Planted(kind, secret, f"connecting to {value} failed", name, value)

    return recipe


def _many(recipes: dict[str, tuple[Recipe, ...]], seed: int) -> Iterator[Planted]:
    maker = Maker(random.Random(seed))
    for several in recipes.values():
        yield from (recipe(maker) for recipe in several)


def tuning() -> list[Planted]:
    """60 secrets of 20 kinds; the rules were written with these at hand, and all are found."""
    from redaction.tuning_list import KINDS

    return list(_many(KINDS, 8))


def held_out() -> list[Planted]:
    """Other kinds and other spellings. Written before the rules were tuned; no rule was changed for one of these."""
    from redaction.held_out_list import KINDS

    return list(_many(KINDS, 88))
