"""Secrets stay out: what looks like one is replaced in texts, and refused in parameters.

No rule knows every secret: `docs/explain/secrets.md` has what these miss. So they are the second line; the first is
that nothing is captured that was not named: no environment, no arguments of the command line, no diff unless asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from modelkeep.errors import SecretError
from modelkeep.secretnames import can_be_secret, strength, words_of
from modelkeep.secretshapes import Found, shapes_in

MAX_TEXT = 1 << 20  # characters that are looked at; a longer text is cut there
_OVERLAP = 20_000  # characters, more than any secret that a rule knows
_MAX_DEPTH = 60  # deeper than a parameter may be nested

_NAME = r"(?P<name>[A-Za-z_][\w.-]{1,100}+)"
_ANNOTATED = r"\s?:\s?[A-Za-z_][\w.\[\]|, ]{0,60}?\s?=(?!=)\s?"
_QUOTED = (
    r"[bBrRuUfF]{0,2}(?:\"(?P<double>[^\"\\\n]{0,512}+(?:\\.[^\"\\\n]{0,512}+){0,50})\""
    r"|'(?P<single>[^'\\\n]{0,512}+(?:\\.[^'\\\n]{0,512}+){0,50})'|\\{1,3}[\"'](?P<escaped>[^\"'\\\n]{1,512}+)\\{1,3}[\"'])"
)
_BARE = r"(?P<bare>[^\s\"'<>]{1,512}+)"
_NAMED = re.compile(
    rf"{_NAME}(?P<quote>\\{{0,3}}[\"'])?\]?(?P<gap>{_ANNOTATED}|\s{{0,3}}(?:=>|:=|[:=](?!=))[ \t]{{0,3}}"
    rf"|(?(quote)\s{{0,2}},\s{{0,3}}|(?!)))(?:[\[({{]?{_QUOTED}|{_BARE})"
)
_ELEMENT = re.compile(rf"<{_NAME}>(?P<bare>[^<>\n]{{1,512}}+)</")
_OPTION = re.compile(rf"--{_NAME}[ =](?P<bare>[^\s\"'-][^\s\"']{{0,511}}+)")
_CALLED = re.compile(r"[A-Za-z_][\w.]{0,200}+[\[({]")
_IDENTIFIER = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]\w{0,100}+){0,20}")
_BEGINNING = re.compile(r"[ \t+-]{0,200}(?:export |set |- )?[\"']?")  # of a line in a file of settings, or of its diff
_SMALL = re.compile(r"[0-9.]{1,3}(?![0-9A-Za-z])")  # a number that is no password: _LEAST_PASSWORD = 8
_TYPES = {"str", "bytes", "int", "bool", "Any", "None", "SecretStr", "Optional", "object", "string"}
_ENDS = re.compile(r"[,;&)}\]]")
_HINTS = re.compile(
    r"(?i)pass|pwd|secret|cred|token|key|auth|bearer|jwt|pat\b|cookie|sas|sig"
)  # one of these is in every name that `strength` knows
_PASSWORDS = {"password", "passwd", "passphrase", "passcode", "pwd"}
_HOLDERS = {"SecretStr", "SecretBytes", "Secret"}  # classes of pydantic and others that say what they hold


def redacted(text: str) -> str:
    """*text* with everything that looks like a secret replaced by ``[redacted: kind]``; never an error.

    Args:
        text: any. Beyond `MAX_TEXT` characters it is cut, and says so: what was not looked at is not kept.

    Example:
        >>> redacted("postgresql://ada:maple-7@db/sales and DB_PASSWORD=maple-7")
        'postgresql://ada:[redacted: password in a URL]@db/sales and DB_PASSWORD=[redacted: DB_PASSWORD]'
    """
    looked, rest = text[:MAX_TEXT], len(text) - MAX_TEXT
    parts, end = [], 0
    for start, stop, kind in _merged(looked):
        parts += [looked[end:start], f"[redacted: {kind}]"]
        end = stop
    parts.append(looked[end:])
    if rest > 0:
        parts.append(f"\n[cut: {rest} more characters]")
    return "".join(parts)


def _merged(text: str) -> list[Found]:
    """What was found, without overlaps, in order."""
    merged: list[Found] = []
    for found in sorted([*shapes_in(text), *_named(text)], key=lambda one: (one[0], -one[1])):
        if merged and found[0] < merged[-1][1]:
            start, stop, kind = merged[-1]
            merged[-1] = (start, max(stop, found[1]), kind)
        else:
            merged.append(found)
    return merged


def _named(text: str) -> Iterator[Found]:
    """Values that the name before them says are secrets."""
    if not _HINTS.search(text):
        return
    for pattern in (_NAMED, _ELEMENT, _OPTION):
        at = 0
        while found := pattern.search(text, at):
            kind = strength(found["name"])
            span = _value_of(found, kind) if kind else None
            if span:
                yield *span, found["name"][:60]
            at = span[1] if span else found.end("name")  # a value may be a name itself: "a: password='…'"


def _value_of(found: re.Match[str], kind: str) -> tuple[int, int] | None:
    groups = found.groupdict()
    for name in ("double", "single", "escaped"):
        if groups.get(name):
            listed = _is_pair(found) and strength(groups[name])  # names in a row: ("password", "passphrase")
            return found.span(name) if not listed and can_be_secret(groups[name], kind) else None
    bare = groups["bare"]
    if not bare or (found.re is _NAMED and _is_code(found, bare)):
        return None
    start, stop = found.span("bare")
    if found.re is _NAMED and not _is_whole_line(found):
        cut = _ENDS.search(bare)
        stop = start + cut.start() if cut else stop
    return (start, stop) if stop > start and can_be_secret(found.string[start:stop], kind) else None


def _is_code(found: re.Match[str], bare: str) -> bool:
    """Whether a value without quotes is a name, a type or a call, as in ``password=args.password``."""
    if (
        _is_pair(found)
        or bare[0] in "([{"
        or _SMALL.match(bare)
        or _CALLED.match(bare)
        or bare.strip(",;:)]}") in _TYPES
    ):
        return True
    word = _ENDS.split(bare)[0]
    return _IDENTIFIER.fullmatch(word) is not None and not _is_whole_line(found)


def _is_pair(found: re.Match[str]) -> bool:
    """Whether it is a comma that stands between name and value, as in ``getenv("DB_PASSWORD", "…")``."""
    return "," in found.groupdict().get("gap", "")[:4]


def _is_whole_line(found: re.Match[str]) -> bool:
    """Whether it is a line of settings: ``export DB_PASSWORD=…`` or ``password: …``, and nothing else beside it."""
    text = found.string
    line = text.rfind("\n", max(0, found.start() - 200), found.start()) + 1
    begins = _BEGINNING.fullmatch(text, line, found.start()) is not None
    spelled = found["gap"] == "=" or found["gap"].startswith(":")
    return begins and spelled and (found.end() == len(text) or text[found.end()] in "\r\n")


def looks_secret(name: str, value: object) -> str | None:
    """Why a parameter looks like a secret, or None if it does not.

    Args:
        name: of the parameter: its last part, not the path to it.
        value: text and bytes are looked at; of other values the name alone can tell.

    Example:
        >>> looks_secret("db_password", "maple-7")
        'its name says so'
        >>> print(looks_secret("max_tokens", 512), looks_secret("pad_token", "<pad>"), looks_secret("password", None))
        None None None
    """
    if isinstance(value, int):
        secret = value > 999 and words_of(name)[-1:] in {(word,) for word in _PASSWORDS}  # noqa: PLR2004  four digits
        return "its name says so" if secret else None
    if type(value).__name__ in _HOLDERS:
        return f"it is a {type(value).__name__}"
    if isinstance(value, (list, tuple)):
        pair = len(value) == 2 and all(isinstance(one, (str, bytes)) for one in value)  # noqa: PLR2004  name, password
        return "it is a login" if pair and words_of(name)[-1:] in {("auth",), ("login",), ("credentials",)} else None
    text = _as_text(value)
    if not text:
        return None
    for start in range(0, len(text), MAX_TEXT - _OVERLAP):
        if found := _merged(text[start : start + MAX_TEXT]):
            kind = found[0][2]
            return f"it looks like this: {kind}"
    return "its name says so" if can_be_secret(text, strength(name)) else None


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    if isinstance(value, os.PathLike):
        try:
            path = os.fspath(value)
        except Exception:  # noqa: BLE001  the class is not ours
            return ""
        return path.decode("latin-1") if isinstance(path, bytes) else path
    return ""


def check_params(
    params: Mapping[str, Any], allow_secret_like: Collection[str] = frozenset(), *, what: str = "params"
) -> None:
    """Refuse parameters that look like secrets, however deep they lie in dicts and lists.

    Args:
        params: parameters by name.
        allow_secret_like: names (``"tokenizer"``) or paths (``"optimizer.token"``, ``"steps[0]"``) that are none; what
            lies below them is not looked at either.
        what: what to call the parameters in the error.

    Raises:
        SecretError: one does. The message has its path and the way out, never its value.

    Example:
        >>> check_params({"depth": 6, "hub": {"token": None}})
        >>> check_params({"hub": {"password": "maple-7"}}, allow_secret_like={"hub.password"})
    """
    seen: set[int] = set()
    waiting: list[tuple[str, str, Any, int]] = [("", "", params, 0)]
    while waiting:
        path, name, value, depth = waiting.pop()
        if path in allow_secret_like or name in allow_secret_like:
            continue
        if reason := looks_secret(name, value):
            raise _refused(path, name, reason, what)
        if isinstance(value, (Mapping, list, tuple, set, frozenset)) and depth < _MAX_DEPTH and id(value) not in seen:
            seen.add(id(value))
            waiting += reversed([(*step, depth + 1) for step in _inside(path, name, value, what)])


def _inside(path: str, name: str, value: Any, what: str) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(value, Mapping):
        yield from ((f"{path}[{i}]", name, part) for i, part in enumerate(value))
        return
    for key, part in value.items():
        text = key if isinstance(key, str) else ""
        if reason := looks_secret("", text):
            raise _refused(f"{path}.[a key]".lstrip("."), "", reason, what)
        yield f"{path}.{text}".lstrip("."), text, part


def _refused(path: str, name: str, reason: str, what: str) -> SecretError:
    shown = path[:200]  # keys that look like secrets are refused before, without a name
    way = f"if it is none, say so with allow_secret_like={{{(name or path)[:200]!r}}}"
    return SecretError(
        f"{what}.{shown} looks like a secret ({reason}), and a version stays and is read by many; leave it "
        f"out, or pass where to find it in place of the secret; {way}",
        key=f"{what}.{shown}",
        reason=reason,
    )


_SCHEME = re.compile(r"(?i)(?P<scheme>[a-z][a-z0-9+.-]{0,30}+)://(?P<rest>.*)", re.DOTALL)
_SSH = {"ssh", "git+ssh", "ssh+git"}
_SCP = re.compile(r"(?:(?P<user>[^\s@:/]{1,100}+)@)?(?P<host>[A-Za-z0-9_.\[\]-]{2,255}+):(?P<path>[^\\].*)")
_HOST = re.compile(r"(?:[^\s:@?#/\[\]]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_MAX_REMOTE = 2000  # characters


def remote_without_credentials(url: str) -> str:
    """Where a repository lies, without user, password, query or fragment; of a local path the last name alone.

    Example:
        >>> remote_without_credentials("https://ada:maple-7@git.example.org/ada/churn.git?private_token=x")
        'https://git.example.org/ada/churn.git'
        >>> remote_without_credentials("/home/ada/churn.git")
        'a local path: churn.git'
    """
    text = "".join(url.split())[:_MAX_REMOTE]
    if "::" in text.partition("/")[0]:
        return "unknown: a remote of another program than Git"
    if (found := _SCHEME.fullmatch(text)) and found["scheme"].lower() != "file":
        return redacted(f"{found['scheme'].lower()}://{_place(found['scheme'].lower(), found['rest'])}")
    if not found and (found := _SCP.fullmatch(text)):
        user = "git@" if found["user"] == "git" else ""
        return redacted(f"{user}{found['host']}:{_bare(found['path'])}")
    name = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return f"a local path: {redacted(name)}" if name else ""


def _place(scheme: str, rest: str) -> str:
    login, host, path = parted(rest)
    user = "git@" if scheme in _SSH and login.partition(":")[0] == "git" else ""
    return f"{user}{host}{path}"


def parted(rest: str) -> tuple[str, str, str]:
    """Login, host with port, and path of what follows ``://``, without query and fragment; a guess where a login ends.

    Who did not quote a password left ``/``, ``?`` or ``#`` in it: so what stands before an ``@`` is a login, unless it
    is a host with a path.

    Example:
        >>> parted("ada:ma/ple@example.org:80/a?x=1"), parted("example.org/a@b")
        (('', 'example.org:80', '/a'), ('', 'example.org', '/a@b'))
    """
    host, slash, path = rest.partition("/")
    if "@" not in host and "@" in path and not is_host(host):
        known = _bare(rest) if "@" in _bare(rest) else rest  # the last "@" may be one of the query
        host, slash, path = known.rpartition("@")[2].partition("/")
    login, _, host = host.rpartition("@")
    host, slash, path = _bare(f"{host}{slash}{path}").partition("/")
    return login, host, f"{slash}{path}"


def is_host(text: str) -> bool:
    """Whether it can be a host, with or without a port, and no login."""
    return _HOST.fullmatch(text) is not None


def _bare(path: str) -> str:
    return re.split(r"[?#]", path, maxsplit=1)[0]
