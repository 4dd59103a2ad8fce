"""What a proxy says in place of what came: refusals in each service's shape, requests without their conditions."""

from __future__ import annotations

import hashlib
import hmac
import json
import re

import attrs

from servers.faults_wire import Reply, Request, with_body
from servers.running import SECRET

HEADERS = ("if-none-match", "if-match")
PARAMETERS = re.compile(r"(?<=[?&])if(?:Source)?(?:Meta)?[gG]eneration(?:Not)?Match=[^&]*(?:&|$)")
REFUSALS = {  # status line; S3's code and message; Google's reason and message
    503: (
        "503 Service Unavailable",
        ("SlowDown", "Please reduce your request rate."),
        ("backendError", "We encountered an internal error. Please try again."),
    ),
    403: (
        "403 Forbidden",
        ("AccessDenied", "Access Denied"),
        ("forbidden", "Anonymous caller does not have storage.objects.get access (or it may not exist)."),
    ),
}


def refusal(request: Request, status: int) -> Reply:
    """The answer *status* as the service says it that *request* was meant for."""
    line, (code, text), (reason, message) = REFUSALS[status]
    if request.is_gcs:
        first = {"message": message, "domain": "global", "reason": reason}
        body = json.dumps({"error": {"code": status, "message": message, "errors": [first]}})
        kind = "application/json; charset=UTF-8"
    else:
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{text}</Message></Error>'
        kind = "application/xml"
    whole = with_body(Reply(f"HTTP/1.1 {line}", (("Content-Type", kind),)), body.encode())
    return attrs.evolve(whole, body=b"") if request.method == "HEAD" else whole


def has_condition(request: Request) -> bool:
    return any(request.header(name) for name in HEADERS) or PARAMETERS.search(request.target) is not None


def without_condition(request: Request) -> Request:
    """The same request as a client sends it that knows no conditions, signed anew."""
    method, target, version = request.first.split(" ")
    bare = PARAMETERS.sub("", target).rstrip("?&")
    return signed(attrs.evolve(request.without(*HEADERS), first=f"{method} {bare} {version}"))


# -- signing: AWS Signature Version 4, for a body that the x-amz-content-sha256 header speaks for ----------------------


def signed(request: Request) -> Request:
    """The request with a signature that fits the headers that it has; as it is where it has none."""
    said = request.header("authorization") or ""
    found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=\w+", said)
    if found is None:
        return request
    names = [name for name in found[2].split(";") if name not in HEADERS]
    scope = found[1].split("/", 1)[1]
    text = "\n".join(["AWS4-HMAC-SHA256", request.header("x-amz-date") or "", scope, canonical(request, names)])
    key = f"AWS4{SECRET}".encode()
    for step in (*scope.split("/"), text):
        key = hmac.digest(key, step.encode(), "sha256")
    value = f"AWS4-HMAC-SHA256 Credential={found[1]}, SignedHeaders={';'.join(names)}, Signature={key.hex()}"
    return request.replacing("Authorization", value)


def canonical(request: Request, names: list[str]) -> str:
    """The digest of what the signature speaks for."""
    path, _, query = request.target.partition("?")
    terms = sorted(part if "=" in part else f"{part}=" for part in query.split("&") if part)
    headers = [f"{name}:{' '.join((request.header(name) or '').split())}" for name in names]
    payload = request.header("x-amz-content-sha256") or ""
    text = "\n".join([request.method, path, "&".join(terms), *headers, "", ";".join(names), payload])
    return hashlib.sha256(text.encode()).hexdigest()
