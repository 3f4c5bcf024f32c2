"""How a request to aiohttp's server may end: what the client gets is as bare, the span says so."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web

import tracekit.aiohttp

LONG = aiohttp.ClientTimeout(total=60)
serving = []
"""The tasks of the connections that have asked."""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_bytes(b"x" * 20_000_000)
    return path


async def whole(request):
    serving.append(request.task)
    return web.FileResponse(request.app["file"])


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 1000)
        await asyncio.sleep(0.01)


async def begun_by_the_server(request):
    response = web.StreamResponse(status=202)
    response.content_length = 0
    return response


async def pieces(request):
    async def made():
        yield b"a"
        if request.path == "/pieces_fail":
            raise KeyError("gone")
        yield b"b"

    return web.Response(body=made())


async def none(request):
    return None


async def refused(request):
    raise web.HTTPForbidden(text="no")


async def late(request):
    await asyncio.wait_for(asyncio.Event().wait(), 0)


async def socket_fails(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    raise KeyError("gone")


async def signed(request, response):
    if request.path == "/unsigned":
        raise KeyError("no key")
    response.headers["X-Signed"] = "yes"


def app_of(file, *middlewares):
    inner = web.Application()
    inner.router.add_get("/orders/{order}", refused)
    app = web.Application(middlewares=middlewares)
    app["file"] = file
    for handler in (whole, endless, begun_by_the_server, pieces, none, refused, late, socket_fails):
        app.router.add_get(f"/{handler.__name__}", handler)
    app.router.add_get("/pieces_fail", pieces)
    app.router.add_post("/unsigned", pieces)
    app.add_subapp("/shop", inner)
    app.on_response_prepare.append(signed)
    return app


def asking(file, ask, *middlewares):
    """Run ``ask(session, url)``; returns what it gave, or what it raised."""

    async def serve():
        runner = web.AppRunner(app_of(file, *middlewares), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            async with aiohttp.ClientSession(url, timeout=LONG) as session:
                return await ask(session)
        finally:
            await runner.cleanup()
            serving.clear()

    return asyncio.run(serve())


def reading(path, method="GET", **headers):
    """Return what reads an answer whole."""

    async def ask(session):
        try:
            async with session.request(method, path, headers=headers) as response:
                length = len(await response.read())
                return response.status, response.headers.get("X-Signed"), length
        except aiohttp.ClientError as error:
            return type(error)

    return ask


async def leave_the_stream(session):
    async with session.get("/endless") as response:
        return len(await response.content.read(10))


async def cancel_the_file(session):
    async with session.get("/whole") as response:
        serving[-1].cancel()
        with contextlib.suppress(aiohttp.ClientPayloadError):
            while await response.content.read(100_000):
                pass
        return response.status


async def leave_the_file(session):
    async with session.get("/whole") as response:
        return len(await response.content.read(10))


async def fail_in_a_socket(session):
    async with session.ws_connect("/socket_fails") as socket:
        return (await socket.receive()).type


ENDS = {
    "file": (reading("/whole"), 200, None),
    "range": (reading("/whole", Range="bytes=0-9"), 206, None),
    "unchanged": (
        reading("/whole", **{"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
        304,
        None,
    ),
    "file left": (leave_the_file, 200, None),
    "file cancelled": (cancel_the_file, 200, "CancelledError"),
    "stream left": (leave_the_stream, 200, None),
    "not begun": (reading("/begun_by_the_server"), 202, None),
    "pieces": (reading("/pieces"), 200, None),
    "pieces fail": (reading("/pieces_fail"), 200, "KeyError"),
    "none": (reading("/none"), 500, "500"),
    "refused": (reading("/refused"), 403, None),
    "late": (reading("/late"), 504, "TimeoutError"),
    "signal fails": (reading("/unsigned", "POST"), 200, "KeyError"),
    "socket fails": (fail_in_a_socket, 101, "KeyError"),
    "nested": (reading("/shop/orders/7"), 403, None),
}


@pytest.mark.filterwarnings("ignore:It is recommended")
@pytest.mark.parametrize("end", ENDS)
def test_a_span_says_how_its_answer_ended(tracing, file, end):
    """A client that leaves is no error; a file is in its span until its last byte is sent."""
    ask, status, failed = ENDS[end]
    bare = asking(file, ask)
    assert asking(file, ask, tracekit.aiohttp.middleware(tracing)) == bare
    (span,) = tracing.sink.spans
    found = span.attributes.get("error.type", "").rpartition(".")[2]
    assert (span.attributes.get("http.response.status_code"), found or None) == (status, failed)
    assert span.attributes.get("response.aborted", False) == end.endswith("left")
    assert tracing.stats().open == 0
    if end == "nested":
        assert span.name == "GET /shop/orders/{order}"
