"""Which names say that a value is a secret, and which values can be one.

``password``, ``client_secret`` and ``apiKey`` do; ``max_tokens``, ``tokenizer``, ``pad_token`` and ``password_file`` do
not: the word must be the noun of the name, and of weak words (token, key, auth) the value must look chosen at random.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# Any value but an empty one or a placeholder is one.
_STRONG = {
    *("password", "passwords", "passwd", "passphrase", "passcode", "pwd", "secret", "secrets", "credential"),
    *("credentials", "creds", "passwort", "apikey", "userpwd", "pgpassword"),
}
_PAIRS = {
    *(("api", "key"), ("access", "key"), ("secret", "key"), ("private", "key"), ("signing", "key"), ("account", "key")),
    *(("encryption", "key"), ("shared", "key"), ("master", "key"), ("ssh", "key"), ("storage", "key"), ("hmac", "key")),
    *(("subscription", "key"), ("deploy", "key"), ("fernet", "key"), ("function", "key"), ("host", "key")),
    *(("db", "pass"), ("user", "pass"), ("smtp", "pass"), ("mail", "pass"), ("ftp", "pass"), ("admin", "pass")),
    *(("root", "pass"), ("pass", "word"), ("pass", "phrase"), ("auth", "string"), ("api", "keys")),
}
# Of these a value must look random: a pad token is no secret.
_WEAK = {"token", "auth", "authorization", "bearer", "jwt", "pat", "cookie", "sas", "signature", "sig"}
_TRAILING = {"value", "str", "string", "text", "raw", "plain", "b", "base", "hex", "default"}  # password_value, key_b64
_PLACEHOLDER = re.compile(
    r"(?i)\s*(?:|none|null|nil|true|false|undefined|\*+|x{3,}|\.{3,}|…|-+|\[redacted[^\]]{0,60}\]?|redacted|<[^<>]{0,80}>"
    r"|\$\{?\{?[^{}]{0,80}\}{0,2}|\{\{?[^{}]{0,80}\}{1,2}|%\(?[\w]{0,80}\)?s?|your[_ -].{0,80}|env:.{0,80})\s*"
)
_BRACKETED = re.compile(r"[<\[|{(].{0,80}[>\]|})]")
_LONGEST_NAME = 200  # characters
_RANDOM_FROM, _SHORT_FROM, _LOOKED = 16, 8, 64  # characters
_SPACE = re.compile(r"\s")
_BITS = 2.8  # per character: English words of this length have less, 16 random hexadecimal digits have more


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in small letters; digits end a word.

    Example:
        >>> words_of("dbPassword"), words_of("AWS_SECRET_ACCESS_KEY2")
        (('db', 'password'), ('aws', 'secret', 'access', 'key'))
    """
    return tuple(word.lower() for word in _WORD.findall(name[-_LONGEST_NAME:]))


@lru_cache(maxsize=4096)
def strength(name: str) -> str:
    """``strong`` if any value under this name is a secret, ``weak`` if a random one is, else an empty text.

    Example:
        >>> strength("db_password"), strength("hub_token"), strength("max_tokens"), strength("secret_sauce")
        ('strong', 'weak', '', '')
    """
    words = words_of(name)
    while words and words[-1] in _TRAILING and words[-2:] not in _PAIRS:
        words = words[:-1]
    if not words:
        return ""
    if words[-1] in _STRONG or words[-2:] in _PAIRS:
        return "strong"
    return "weak" if words[-1] in _WEAK else ""


def can_be_secret(text: str, kind: str) -> bool:
    """Whether *text* can be the secret that a name of that `strength` promises.

    Example:
        >>> can_be_secret("hunter2", "strong"), can_be_secret("${DB_PASSWORD}", "strong")
        (True, False)
        >>> can_be_secret("<pad>", "weak"), can_be_secret("0a1b2c3d4e5f6a7b", "weak")
        (False, True)
    """
    if not kind or _PLACEHOLDER.fullmatch(text[:200]):
        return False
    return True if kind == "strong" else looks_random(text)


def looks_random(text: str) -> bool:
    """Whether *text* is one word of 8 characters or more that is no word of a language."""
    start = text[:_LOOKED]
    if len(start) < _SHORT_FROM or _SPACE.search(start) or _BRACKETED.fullmatch(text[:200]):
        return False
    digits = sum(map(str.isdigit, start))
    if len(start) < _RANDOM_FROM:
        return 1 < digits < len(start)
    return digits > 0 and bits_per_character(start) > _BITS


def bits_per_character(text: str) -> float:
    """The entropy of the letters of *text* (Shannon 1948).

    Example:
        >>> bits_per_character("aabb")
        1.0
    """
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())
