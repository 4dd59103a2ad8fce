"""A conforming fake of the Google Cloud Storage JSON API on a real port: ``python -m servers.gcs --port 0``.

It holds to what the public emulators leave out: generations, and the conditions on them. One process, one event loop,
objects in memory; the answer to a request is worked out without waiting, so each request is atomic.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from aiohttp import web

from servers.gcs_service import DEFAULT_PAGE, Ask, Service

NEVER_TOO_LARGE = 1 << 40  # bytes of a request's body


def application(service: Service) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        ask = Ask(request.method, request.raw_path, headers, await request.read())
        reply = service.answer(ask)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    app = web.Application(client_max_size=NEVER_TOO_LARGE)
    app.router.add_route("*", "/{anything:.*}", answer)
    return app


async def serve(port: int, page_size: int) -> None:
    """Answer until cancelled. aiohttp switches Nagle's algorithm off, so a small reply waits for no 40 ms."""
    runner = web.AppRunner(application(Service(page_size)), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="servers.gcs", description="A fake of the Google Cloud Storage JSON API.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--page-size", type=int, default=DEFAULT_PAGE, help="the most objects in a page of a listing")
    wanted = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(wanted.port, wanted.page_size))


if __name__ == "__main__":
    main()
