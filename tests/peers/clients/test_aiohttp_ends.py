"""How a request of aiohttp's may end: what the program gets is as bare, and its span says so."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web

import tracekit.aiohttp

AIOHTTP = "aiohttp.client_exceptions."
LONG = aiohttp.ClientTimeout(total=60)
SHORT = aiohttp.ClientTimeout(total=0.3)


async def endless(request):
    """Send pieces until the client has gone."""
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(OSError):
        while True:
            await response.write(b"x" * 1000)
            await asyncio.sleep(0.01)
    return response


async def cut(request):
    response = web.StreamResponse()
    response.content_length = 100
    await response.prepare(request)
    await response.write(b"x")
    request.transport.close()
    return response


async def silent(request):
    request.transport.close()
    return web.Response()


async def fails(request):
    return web.Response(status=500, text="no")


async def waits(request):
    await asyncio.sleep(60)


async def chat(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.close(code=4000)
    return socket


def asking(ask, tracing=None, configs=()):
    """Run ``ask(session, url)`` against a server; returns what it gave, or what it raised."""

    async def serve():
        app = web.Application()
        for handler in (endless, cut, silent, fails, waits, chat):
            app.router.add_get(f"/{handler.__name__}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            async with aiohttp.ClientSession(timeout=LONG, trace_configs=[*configs]) as session:
                try:
                    return await ask(session, url)
                except BaseException as error:
                    return type(error)
        finally:
            await runner.cleanup()

    undo = tracekit.aiohttp.instrument(tracing=tracing) if tracing else None
    try:
        return asyncio.run(serve())
    finally:
        if undo is not None:
            undo()


async def left_within(session, url):
    async with session.get(url + "/endless") as response:
        return len(await response.content.read(10))


async def closed(session, url):
    response = await session.get(url + "/endless")
    response.close()


async def released(session, url):
    response = await session.get(url + "/endless")
    response.release()


async def failed_beside_it(session, url):
    async with session.get(url + "/endless"):
        raise KeyError("the program's own")


async def left_while_it_handles_a_timeout(session, url):
    try:
        return await asyncio.wait_for(asyncio.Event().wait(), 0)
    except asyncio.TimeoutError:
        return await left_within(session, url)


async def read(session, url, path, **options):
    async with session.get(url + path, **options) as response:
        return len(await response.read())


async def timed_out_while_it_read(session, url):
    return await read(session, url, "/endless", timeout=SHORT)


async def timed_out_before(session, url):
    return await read(session, url, "/waits", timeout=SHORT)


async def cancelled_while_it_read(session, url):
    task = asyncio.create_task(read(session, url, "/endless"))
    await asyncio.sleep(0.3)
    task.cancel()
    return await task


async def cut_off(session, url):
    return await read(session, url, "/cut")


async def dropped(session, url):
    return await read(session, url, "/silent")


async def refused_by_its_status(session, url):
    return await read(session, url, "/fails", raise_for_status=True)


async def talked(session, url):
    async with session.ws_connect(url + "/chat") as socket:
        return (await socket.receive()).data, socket.close_code


async def no_websocket(session, url):
    await session.ws_connect(url + "/fails")


ENDS = [
    (left_within, 200, None),
    (closed, 200, None),
    (released, 200, None),
    (failed_beside_it, 200, None),
    (left_while_it_handles_a_timeout, 200, None),
    (timed_out_while_it_read, 200, "TimeoutError"),
    (timed_out_before, None, "TimeoutError"),
    (cancelled_while_it_read, 200, "asyncio.exceptions.CancelledError"),
    (cut_off, 200, AIOHTTP + "ClientPayloadError"),
    (dropped, None, AIOHTTP + "ServerDisconnectedError"),
    (refused_by_its_status, 500, AIOHTTP + "ClientResponseError"),
    (talked, 101, None),
    (no_websocket, 500, "500"),
]


@pytest.mark.parametrize(("ask", "status", "failed"), ENDS)
def test_a_span_says_how_its_request_ended(tracing, ask, status, failed):
    """To close early is no error; to be stopped, cut off or refused is one, with the status."""
    assert asking(ask, tracing) == asking(ask)
    (span,) = tracing.sink.spans
    assert span.attributes.get("http.response.status_code") == status
    found = span.attributes.get("error.type")
    assert (found and found.replace("asyncio.exceptions.Timeout", "Timeout")) == failed
    assert tracing.stats().open == 0


@pytest.mark.parametrize("signal", ["start", "end", "exception"])
@pytest.mark.parametrize("first", [True, False])
def test_others_signals_may_fail(tracing, signal, first):
    """Before ours or after; the program gets their error, and no span stays open."""

    async def fail(*_):
        raise KeyError(signal)

    theirs = aiohttp.TraceConfig()
    getattr(theirs, f"on_request_{signal}").append(fail)
    ours = tracekit.aiohttp.trace_config(tracing=tracing)
    ask = timed_out_before if signal == "exception" else refused_by_its_status
    if signal == "end":
        ask = no_websocket
    configs = [ours, theirs] if first else [theirs, ours]
    assert asking(ask, configs=configs) is KeyError
    assert asking(ask, configs=[theirs]) is KeyError
    assert tracing.stats().open == 0
    assert len(tracing.sink.spans) == (0 if signal == "start" and not first else 1)
