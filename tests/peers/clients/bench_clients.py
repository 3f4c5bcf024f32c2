"""What tracing adds to a request of httpx and of aiohttp, beside contrib's packages.

    make bench-services

httpx asks a pool that answers at once, aiohttp a server on loopback.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp
import httpcore
import httpx
from aiohttp import web
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

import tracekit.aiohttp
import tracekit.httpx

sys.path.insert(0, str(Path(__file__).parents[1]))
from paired import BARE, CONTRIB, OURS, compare, tell
from pipelines import Pipelines

URL = "http://stock:80/apples?page=2"
COUNT = 200


class Pool:
    """Answers at once, in either flavour."""

    def handle_request(self, request):
        return httpcore.Response(200, content=b"ok")

    async def handle_async_request(self, request):
        return httpcore.Response(200, content=b"ok")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


def clients(kind, transport_kind, pipelines):
    """Return a client of httpx for each side."""
    made = {}
    for side in (BARE, OURS, CONTRIB):
        transport = transport_kind()
        transport._pool = Pool()
        made[side] = kind(transport=transport)
    tracekit.httpx.instrument(made[OURS], tracing=pipelines.ours)
    HTTPXClientInstrumentor.instrument_client(made[CONTRIB], tracer_provider=pipelines.theirs)
    return made


def blocking(client):
    async def ask(count):
        for _ in range(count):
            client.get(URL)

    return ask


def awaiting(client):
    async def ask(count):
        for _ in range(count):
            await client.get(URL)

    return ask


def of_session(session, url):
    async def ask(count):
        for _ in range(count):
            async with session.get(url) as response:
                await response.read()

    return ask


async def of_httpx(which, pipelines):
    made = clients(httpx.Client, httpx.HTTPTransport, pipelines)
    sides = {side: blocking(client) for side, client in made.items()}
    return await compare(f"httpx, {which}", 0.45, sides, pipelines.flush, count=COUNT)


async def of_httpx_async(which, pipelines):
    made = clients(httpx.AsyncClient, httpx.AsyncHTTPTransport, pipelines)
    sides = {side: awaiting(client) for side, client in made.items()}
    return await compare(f"httpx on asyncio, {which}", 0.45, sides, pipelines.flush, count=COUNT)


async def of_aiohttp(which, pipelines):
    async def answer(request):
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
    configs = {
        BARE: [],
        OURS: [tracekit.aiohttp.trace_config(tracing=pipelines.ours)],
        CONTRIB: [create_trace_config(tracer_provider=pipelines.theirs)],
    }
    sessions = {side: aiohttp.ClientSession(trace_configs=each) for side, each in configs.items()}
    sides = {side: of_session(session, url) for side, session in sessions.items()}
    title = f"aiohttp's client, {which}"
    row = await compare(title, 0.45, sides, pipelines.flush, count=COUNT)
    for session in sessions.values():
        await session.close()
    await runner.cleanup()
    return row


def main():
    rows = []
    for measure in (of_httpx, of_httpx_async, of_aiohttp):
        for which in ("sampled", "not sampled"):
            pipelines = Pipelines(sampled=which == "sampled")
            rows.append(asyncio.run(measure(which, pipelines)))
    tell("clients", rows)


if __name__ == "__main__":
    main()
