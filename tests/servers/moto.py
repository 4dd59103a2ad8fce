"""moto's server, with its conditional writes one after another: ``python -m servers.moto -p PORT``.

moto looks whether an object is there and then writes it, in one of many threads: of 2,000 keys that three clients
raced for, 26 had two winners. Amazon's S3 decides in one step, and so does this.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from moto import server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication


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


if __name__ == "__main__":
    server.DomainDispatcherApplication = OneByOne
    server.main()
