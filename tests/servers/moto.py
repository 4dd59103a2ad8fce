"""moto's server, with what it lacks of Amazon's S3: ``python -m servers.moto -p PORT``.

moto looks whether an object is there and then writes it, in one of many threads: of 2,000 keys that three clients
raced for, 26 had two winners. Amazon's S3 decides in one step, and so does this.

moto says of every multipart upload that it was begun in 2010, and of a part of one that is gone "internal error".
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from moto import server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3 import models, responses
from moto.s3.exceptions import NoSuchUpload


class OneByOne(DomainDispatcherApplication):  # type: ignore[misc]  # it ships no types
    """Answers requests with a condition one at a time."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._deciding = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" not in environ:
            return self._answered(environ, start_response)
        with self._deciding:
            return list(self._answered(environ, start_response))

    def _answered(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        answer: Iterable[bytes] = super().__call__(environ, start_response)
        return answer


class Uploads(models.MultipartDict):  # type: ignore[misc]  # it ships no types
    """The multipart uploads of a bucket."""

    def __setitem__(self, name: str, upload: Any) -> None:
        upload.begun = datetime.now(UTC)
        super().__setitem__(name, upload)

    def __missing__(self, name: str) -> None:
        raise NoSuchUpload(upload_id=name)


class Response(responses.S3Response):  # type: ignore[misc]  # it ships no types
    """Says of each upload when it was begun."""

    def serialized(self, answer: Any) -> Any:
        if isinstance(answer.result, dict) and "Uploads" in answer.result:
            known = self.backend.list_multipart_uploads(self.bucket_name)
            for said in answer.result["Uploads"]:
                said["Initiated"] = known[said["UploadId"]].begun
        return super().serialized(answer)


if __name__ == "__main__":
    models.MultipartDict = Uploads
    responses.S3Response = Response
    server.DomainDispatcherApplication = OneByOne
    server.main()
