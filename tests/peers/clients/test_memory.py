"""What a finished exchange held is freed as without tracing."""

from __future__ import annotations

import asyncio
import gc
import weakref

import aiohttp
import httpx
import pytest
from aiohttp import web
from collector import no_collector

import tracekit.aiohttp
import tracekit.httpx


class Held:
    """Part of a request, or of what answers it, that can be watched."""


def freed(run):
    """Return what of ``run``'s watched object is left at once, without the collector."""
    gc.collect()
    with no_collector():
        watch = run()
        return watch() is None


def with_httpx():
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="ok"))
    with httpx.Client(transport=transport) as client:
        held = Held()
        watch = weakref.ref(held)
        client.get("http://stock/", extensions={"held": held})
        del held
        return watch


def with_async_httpx():
    async def ask():
        transport = httpx.MockTransport(lambda _: httpx.Response(200, text="ok"))
        async with httpx.AsyncClient(transport=transport) as client:
            held = Held()
            watch = weakref.ref(held)
            await client.get("http://stock/", extensions={"held": held})
            del held
            return watch

    return asyncio.run(ask())


def with_aiohttp(*middlewares):
    watches = []

    async def handler(request):
        request["held"] = held = Held()
        watches.append(weakref.ref(held))
        return web.Response(text="ok")

    async def ask():
        app = web.Application(middlewares=middlewares)
        app.router.add_get("/", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                await response.read()
        await runner.cleanup()

    asyncio.run(ask())
    return watches[0]


@pytest.mark.filterwarnings("ignore:It is recommended")
def test_an_exchange_is_freed_as_bare(tracing):
    """The request, what the program hung on it, its response."""
    bare = freed(with_httpx), freed(with_async_httpx), freed(with_aiohttp)
    undo = tracekit.httpx.instrument(tracing=tracing)
    undo_aiohttp = tracekit.aiohttp.instrument(tracing=tracing)
    try:
        traced = (
            freed(with_httpx),
            freed(with_async_httpx),
            freed(lambda: with_aiohttp(tracekit.aiohttp.middleware(tracing))),
        )
    finally:
        undo()
        undo_aiohttp()
    assert traced == bare
    assert len(tracing.sink.spans) == 4
