r"""What secrets look like by themselves, as their makers publish it, and a rule for those that nobody published.

Sources, beside each maker's own pages:

- GitHub: <https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/>
- AWS: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html> (unique identifiers)
- GitLab: <https://docs.gitlab.com/security/tokens/#token-prefixes>
- JWT: RFC 7519; PEM: RFC 7468; basic and bearer: RFC 7617, RFC 6750; user information in URLs: RFC 3986, 3.2.1
- all others were compared with the rules of gitleaks (MIT), <https://github.com/gitleaks/gitleaks>

Every repetition has an upper bound and most are possessive (``{20,255}+``), so that no text, whoever wrote it, makes a
rule go back and forth. Groups are never possessive: before Python 3.11.5 such a rule may fail to match
(<https://github.com/python/cpython/issues/106052>). Lower bounds are below what makers say where they warn that lengths
change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LEFT, _RIGHT = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_TOKENS: tuple[tuple[str, str], ...] = (
    ("AWS key id", r"(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}"),
    ("GitHub token", r"gh[a-z]_[A-Za-z0-9]{20,255}+|github_pat_[A-Za-z0-9_]{20,255}+"),
    ("GitLab token", r"gl[a-z]{1,6}+-[A-Za-z0-9_.=-]{16,300}+|GR1348941[\w-]{16,64}+"),
    ("Slack token", r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,500}+|xapp-[A-Za-z0-9-]{10,500}+"),
    ("Slack hook", r"hooks\.slack(?:-gov)?\.com/[A-Za-z]{1,20}+/[A-Za-z0-9/_-]{16,200}+"),
    ("Stripe key", r"[rsp]k_(?:live|test|prod)_[A-Za-z0-9]{10,255}+|whsec_[A-Za-z0-9+/=]{20,255}+"),
    ("Anthropic key", r"sk-ant-[A-Za-z0-9_-]{20,255}+"),
    ("OpenAI key", r"sk-(?:[a-z]{2,10}-(?:v\d-)?)?(?=[A-Za-z_-]{0,100}[0-9])[A-Za-z0-9_-]{20,255}+"),
    ("Hugging Face token", r"hf_[A-Za-z0-9]{30,255}+|api_org_[A-Za-z0-9]{30,255}+"),
    ("Google key", r"AIza[A-Za-z0-9_-]{30,64}+|GOCSPX-[A-Za-z0-9_-]{20,64}+|ya29\.[A-Za-z0-9._-]{20,2048}+"),
    ("Azure secret", r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{30,40}+"),
    ("npm token", r"npm_[A-Za-z0-9]{30,255}+"),
    ("PyPI token", r"pypi-[A-Za-z0-9_-]{50,1000}+"),
    ("JWT", r"ey[A-Za-z0-9_-]{8,4096}+\.ey[A-Za-z0-9_-]{8,8192}+(?:\.[A-Za-z0-9_-]{0,4096}+)?"),
    ("Databricks token", r"dapi[0-9a-f]{30,64}+(?:-[0-9])?"),
    ("DigitalOcean token", r"do[a-z]_v1_[0-9a-f]{40,128}+"),
    ("SendGrid key", r"SG\.[A-Za-z0-9_-]{16,64}+\.[A-Za-z0-9_-]{16,128}+"),
    ("Vault token", r"hv[sbr]\.[A-Za-z0-9_-]{20,400}+"),
    ("Terraform token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{40,128}+"),
    ("Grafana token", r"gl(?:sa|c)_[A-Za-z0-9+/=_]{30,400}+"),
    ("Docker token", r"dckr_[a-z]{1,10}_[A-Za-z0-9_-]{20,128}+"),
    ("Replicate token", r"r8_[A-Za-z0-9]{30,64}+"),
    ("Groq key", r"gsk_[A-Za-z0-9]{30,128}+"),
)
_PLAIN = re.compile(f"{_LEFT}(?:{'|'.join(f'(?P<k{i}>{rule})' for i, (_, rule) in enumerate(_TOKENS))}){_RIGHT}")

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"(?:[A-Za-z0-9+/=:,.\s-]|\\[nrt]){0,16384}")
_URL = re.compile(
    r"(?<=[A-Za-z0-9])://(?P<login>[^\s/@:'\"<>]{0,255}+)"
    r"(?::(?![0-9]{1,5}(?:[/?#\s]|$))(?P<pass>[^\s@'\"<>]{1,255}+(?:@[^\s@/'\"<>]{0,255}+(?=@)){0,4}))?@"
)
_LONG_LOGIN = 8  # characters; a login without a password is a token then, as in https://TOKEN@github.com
_HEADER = re.compile(r"(?i)\b(?P<head>basic|bearer)(?P<gap>\s{1,3})(?P<secret>[A-Za-z0-9._~+/=-]{8,4096}+)")
_SIGNED = re.compile(
    r"(?i)(?P<head>[?&;](?:sig|signature|[a-z0-9-]{0,20}-(?:signature|credential|security-token|securitytoken)|code|key)"
    r"=)(?P<secret>[^\s&'\"<>]{8,2048}+)"
)
_WORD = re.compile(r"[A-Za-z0-9+/_-]{24,1024}+={0,2}")
_MIXED = 0.4  # of the neighbours in random letters and digits 0.62 are of different sorts; in CamelCase 0.2 to 0.3
_LEAST, _UNBROKEN = 20, 14  # letters and digits of a random word, and of them in a row
_JOINT = re.compile(r"[_/+-]")
_DIGESTS = re.compile(r"(?i)(?:sha\d{1,3}|md5|blake\w{1,3})[-_:=]")


Found = tuple[int, int, str]  # from, to, kind


def shapes_in(text: str) -> Iterator[Found]:
    """Where something lies in *text* that is a secret by its look, from left to right per rule; they may overlap.

    Example:
        >>> list(shapes_in("redis://:hunter2@cache:6379"))
        [(9, 16, 'password in a URL')]
    """
    for rule in (_keys, _urls, _headers, _signatures):
        yield from rule(text)
    rest, end = [], 0
    for start, stop, kind in _tokens(text):
        yield start, stop, kind
        rest += [text[end:start], " " * (stop - start)]  # it has a name; what stands beside it in a path may stay
        end = stop
    yield from _random("".join([*rest, text[end:]]))


def _keys(text: str) -> Iterator[Found]:
    at = 0
    while (begin := _KEY_BEGINS.search(text, at)) and (body := _KEY_BODY.match(text, begin.end())):
        if body.end() > begin.end():
            yield begin.end(), body.end(), "private key"
        at = body.end()


def _urls(text: str) -> Iterator[Found]:
    for found in _URL.finditer(text):
        if found["pass"] is not None:
            yield *found.span("pass"), "password in a URL"
        elif len(found["login"]) >= _LONG_LOGIN and text.endswith(("http", "https"), 0, found.start()):
            yield *found.span("login"), "login in a URL"


def _tokens(text: str) -> Iterator[Found]:
    for found in _PLAIN.finditer(text):
        yield *found.span(), _TOKENS[int(str(found.lastgroup)[1:])][0]


def _headers(text: str) -> Iterator[Found]:
    for found in _HEADER.finditer(text):
        secret = found["secret"]
        if not secret.isalpha() or not (secret.islower() or secret.istitle() or secret.isupper()):
            yield *found.span("secret"), "authorization"


def _signatures(text: str) -> Iterator[Found]:
    for found in _SIGNED.finditer(text):
        yield *found.span("secret"), "signature in a URL"


def _random(text: str) -> Iterator[Found]:
    for found in _WORD.finditer(text):
        if is_mixed(found[0]) and not _DIGESTS.search(text, max(0, found.start() - 9), found.start() + 9):
            yield *found.span(), "random text"


def is_mixed(word: str) -> bool:
    """Whether capital letters, small ones and digits follow on each other as they do by chance.

    Example:
        >>> is_mixed("q8ZkP2v0RtY7sLw3Xn5BdM1c"), is_mixed("RobertaForSequenceClassification2")
        (True, False)
    """
    if len(_sorts(word)) < _LEAST:
        return False
    longest = _sorts(max(_JOINT.split(word), key=len))  # names are made of short words: Mean_Acc1298_Mem40
    if len(longest) < _UNBROKEN or len(set(longest)) < 3:  # noqa: PLR2004  digits, capitals, small letters
        return False
    return sum(map(str.__ne__, longest, longest[1:])) / len(longest) >= _MIXED


def _sorts(word: str) -> str:
    return "".join("d" if c.isdigit() else "u" if c.isupper() else "l" for c in word if c.isalnum())
