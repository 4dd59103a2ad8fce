"""The requests of the Google Cloud Storage JSON API that the fake answers, as one function without waiting in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

import attrs

from servers.gcs_batch import in_parts, requests_of
from servers.gcs_objects import Blob, Bucket, Conditions, Reply, ServiceError, Span, in_json, invalid, no_bucket
from servers.gcs_reading import download
from servers.gcs_uploads import Session, Sessions, from_multipart, read_json

DEFAULT_PAGE = 1000


@attrs.frozen
class Ask:
    """One request: its target is as it came over the wire, its header names are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def origin(self) -> str:
        return f"http://{self.headers.get('host', 'localhost')}"


@attrs.frozen
class Service:
    """All buckets and upload sessions of one fake; *page_size* is the most that one page of a listing holds."""

    page_size: int = DEFAULT_PAGE
    buckets: dict[str, Bucket] = attrs.field(factory=dict, init=False)
    sessions: Sessions = attrs.field(factory=Sessions, init=False)

    def answer(self, ask: Ask) -> Reply:
        """What Google would say. Nothing waits in here, so a check and the write behind it are one step."""
        try:
            for method, shape, act in ROUTES:
                found = shape.fullmatch(ask.path)
                if found and method == ask.method:
                    return act(self, ask, *map(unquote, found.groups()))
        except ServiceError as error:
            return error.reply()
        return ServiceError(HTTPStatus.NOT_FOUND, "notFound", "Not Found").reply()

    def bucket(self, name: str) -> Bucket:
        if name not in self.buckets:
            raise no_bucket()
        return self.buckets[name]

    def live(self, ask: Ask, bucket: str, name: str) -> Blob:
        """The object that a request is about, if its conditions hold."""
        blob = self.bucket(bucket).find(name, ask.query.get("generation"))
        Conditions.read(ask.query).allow_change(blob)
        return blob


# -- buckets -----------------------------------------------------------------------------------------------------------


def make_bucket(service: Service, ask: Ask) -> Reply:
    name = read_json(ask.body).get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name):
        raise invalid(f"Invalid bucket name: {name!r}")
    if name in service.buckets:
        message = "Your previous request to create the named bucket succeeded and you already own it."
        raise ServiceError(HTTPStatus.CONFLICT, "conflict", message)
    service.buckets[name] = Bucket(name)
    return in_json(service.buckets[name].resource())


def list_buckets(service: Service, _ask: Ask) -> Reply:
    items = [service.buckets[name].resource() for name in sorted(service.buckets)]
    return in_json({"kind": "storage#buckets", "items": items} if items else {"kind": "storage#buckets"})


def show_bucket(service: Service, _ask: Ask, bucket: str) -> Reply:
    return in_json(service.bucket(bucket).resource())


def drop_bucket(service: Service, _ask: Ask, bucket: str) -> Reply:
    if service.bucket(bucket).blobs:
        raise ServiceError(HTTPStatus.CONFLICT, "conflict", "The bucket you tried to delete is not empty.")
    del service.buckets[bucket]
    return Reply(HTTPStatus.NO_CONTENT)


# -- objects -----------------------------------------------------------------------------------------------------------


def list_objects(service: Service, ask: Ask, bucket: str) -> Reply:
    query = ask.query
    after = name_in(query["pageToken"]) if query.get("pageToken") else None
    span = Span(
        query.get("prefix", ""), query.get("delimiter", ""), query.get("startOffset", ""), query.get("endOffset"), after
    )
    wanted = int(query.get("maxResults") or DEFAULT_PAGE)
    page = service.bucket(bucket).page(span, min(wanted or DEFAULT_PAGE, service.page_size))
    said: dict[str, Any] = {
        "nextPageToken": page.token and token_for(page.token),
        "prefixes": page.prefixes,
        "items": [blob.resource() for blob in page.blobs],
    }
    return in_json({"kind": "storage#objects"} | {field: value for field, value in said.items() if value})


def token_for(name: str) -> str:
    """An opaque word for where the next page goes on."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def name_in(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise invalid(f"Invalid page token: {token!r}") from None


def show_or_download(service: Service, ask: Ask, bucket: str, name: str) -> Reply:
    if ask.query.get("alt") == "media":
        return get_media(service, ask, bucket, name)
    blob = service.bucket(bucket).find(name, ask.query.get("generation"))
    if Conditions.read(ask.query).spare_reading(blob):
        return Reply(HTTPStatus.NOT_MODIFIED)
    return in_json(blob.resource())


def get_media(service: Service, ask: Ask, bucket: str, name: str) -> Reply:
    """The bytes; a refusal is plain text here, as Google's is."""
    try:
        blob = service.bucket(bucket).find(name, ask.query.get("generation"))
        if Conditions.read(ask.query).spare_reading(blob):
            return Reply(HTTPStatus.NOT_MODIFIED)
        return download(blob, ask.headers.get("range"))
    except ServiceError as error:
        return Reply(error.status, error.message.encode(), {"Content-Type": "text/html; charset=UTF-8"})


def delete_object(service: Service, ask: Ask, bucket: str, name: str) -> Reply:
    service.live(ask, bucket, name)
    service.bucket(bucket).remove(name)
    return Reply(HTTPStatus.NO_CONTENT)


def patch_object(service: Service, ask: Ask, bucket: str, name: str) -> Reply:
    blob = service.live(ask, bucket, name)
    return in_json(service.bucket(bucket).change(blob, read_json(ask.body)).resource())


def copied(service: Service, ask: Ask, source: tuple[str, str], target: tuple[str, str]) -> Blob:
    blob = service.bucket(source[0]).find(source[1], ask.query.get("sourceGeneration"))
    Conditions.read(ask.query, "ifSource").allow_change(blob)
    chosen = dict(blob.chosen) | read_json(ask.body)
    return service.bucket(target[0]).write(target[1], blob.data, chosen, Conditions.read(ask.query))


def copy_object(service: Service, ask: Ask, bucket: str, name: str, to_bucket: str, to_name: str) -> Reply:
    return in_json(copied(service, ask, (bucket, name), (to_bucket, to_name)).resource())


def rewrite_object(service: Service, ask: Ask, bucket: str, name: str, to_bucket: str, to_name: str) -> Reply:
    blob = copied(service, ask, (bucket, name), (to_bucket, to_name))
    size = str(len(blob.data))
    told = {"kind": "storage#rewriteResponse", "totalBytesRewritten": size, "objectSize": size, "done": True}
    return in_json({**told, "resource": blob.resource()})


def move_object(service: Service, ask: Ask, bucket: str, name: str, to_name: str) -> Reply:
    blob = copied(service, ask, (bucket, name), (bucket, to_name))
    if name != to_name:
        service.bucket(bucket).remove(name)
    return in_json(blob.resource())


def compose_objects(service: Service, ask: Ask, bucket: str, name: str) -> Reply:
    wanted = read_json(ask.body)
    sources = wanted.get("sourceObjects", [])
    if not 1 <= len(sources) <= 32:
        raise invalid(f"The number of source components is {len(sources)}, not between 1 and 32.")
    data = b"".join(service.bucket(bucket).find(source["name"]).data for source in sources)
    chosen = wanted.get("destination", {})
    return in_json(service.bucket(bucket).write(name, data, chosen, Conditions.read(ask.query)).resource())


# -- uploads -----------------------------------------------------------------------------------------------------------


def upload(service: Service, ask: Ask, bucket_name: str) -> Reply:
    query, content_type = ask.query, ask.headers.get("content-type")
    if "upload_id" in query:
        return continue_upload(service, ask, bucket_name)
    bucket, conditions = service.bucket(bucket_name), Conditions.read(query)
    match query.get("uploadType"):
        case "media":
            chosen: dict[str, Any] = {"contentType": content_type}
            data = ask.body
        case "multipart":
            chosen, data = from_multipart(content_type or "", ask.body)
        case "resumable":
            chosen = {"contentType": ask.headers.get("x-upload-content-type"), **read_json(ask.body)}
            session = Session(bucket, query.get("name") or chosen.get("name", ""), chosen, conditions)
            return service.sessions.start(session, ask.origin + ask.path, query)
        case other:
            raise invalid(f"Invalid upload type: {other!r}")
    return in_json(bucket.write(query.get("name") or chosen.get("name", ""), data, chosen, conditions).resource())


def continue_upload(service: Service, ask: Ask, _bucket: str) -> Reply:
    return service.sessions.find(ask.query["upload_id"]).take(ask.headers.get("content-range"), ask.body)


def cancel_upload(service: Service, ask: Ask, _bucket: str) -> Reply:
    return service.sessions.cancel(ask.query.get("upload_id", ""))


def batch(service: Service, ask: Ask) -> Reply:
    """Many requests in one body, answered in their order; one that is refused refuses no other."""
    answers = []
    for content_id, (method, target, headers, body) in requests_of(ask.headers.get("content-type", ""), ask.body):
        answers.append((content_id, service.answer(Ask(method, target, dict(ask.headers) | headers, body))))
    return in_parts(answers)


ROOT, BUCKET, OBJECT = r"/storage/v1/b", r"/storage/v1/b/([^/]+)", r"/storage/v1/b/([^/]+)/o/(.+?)"
UPLOAD = r"(?:/resumable)?/upload/storage/v1/b/([^/]+)/o"
Act = Callable[..., Reply]
ROUTES: list[tuple[str, re.Pattern[str], Act]] = [
    (method, re.compile(shape), act)
    for method, shape, act in (
        ("GET", ROOT, list_buckets),
        ("POST", ROOT, make_bucket),
        ("GET", BUCKET, show_bucket),
        ("DELETE", BUCKET, drop_bucket),
        ("GET", BUCKET + "/o", list_objects),
        ("POST", OBJECT + r"/rewriteTo/b/([^/]+)/o/(.+)", rewrite_object),
        ("POST", OBJECT + r"/copyTo/b/([^/]+)/o/(.+)", copy_object),
        ("POST", OBJECT + r"/moveTo/o/(.+)", move_object),
        ("POST", OBJECT + r"/compose", compose_objects),
        ("GET", OBJECT, show_or_download),
        ("GET", "/download" + OBJECT, get_media),
        ("DELETE", OBJECT, delete_object),
        ("PATCH", OBJECT, patch_object),
        ("POST", UPLOAD, upload),
        ("PUT", UPLOAD, continue_upload),
        ("DELETE", UPLOAD, cancel_upload),
        ("POST", r"/batch(?:/storage/v1)?", batch),
    )
]
