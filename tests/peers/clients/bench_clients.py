"""What tracing adds to a request of httpx and of aiohttp, beside contrib's packages.

    .build/peers/clients/bin/python tests/peers/clients/bench_clients.py [REQUESTS]

httpx asks a pool that answers at once, aiohttp a server on loopback. Each side in a process of
its own, in turns; the best of several runs, less the bare program.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import aiohttp
import httpcore
import httpx
from aiohttp import web
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import tracekit
import tracekit.aiohttp
import tracekit.httpx
from tracekit.testing import MemoryTransport
from tracekit.transport import SendResult

SIDES = ("bare", "tracekit", "contrib")
KINDS = ("httpx", "httpx-async", "aiohttp")
RUNS = 3


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


class Nowhere(MemoryTransport, SpanExporter):
    """Takes what either pipeline gives it."""

    def send(self, payload, deadline_s):
        return SendResult.sent()

    def export(self, spans):
        return SpanExportResult.SUCCESS


def traced(side):
    if side == "tracekit":
        tracekit.init(
            "bench", environ={}, sampler_type="const", sampler_param=1, transport=Nowhere()
        )
        tracekit.httpx.instrument()
        tracekit.aiohttp.instrument()
    elif side == "contrib":
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Nowhere()))
        trace.set_tracer_provider(provider)
        HTTPXClientInstrumentor().instrument()
        AioHttpClientInstrumentor().instrument()


def of_httpx(count):
    transport = httpx.HTTPTransport()
    transport._pool = Pool()
    with httpx.Client(transport=transport) as client:
        return timed_each(lambda: client.get("http://stock:80/apples?page=2"), count)


def timed_each(call, count):
    for _ in range(200):
        call()
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


async def timed_awaiting(call, count):
    for _ in range(200):
        await call()
    began = time.perf_counter()
    for _ in range(count):
        await call()
    return (time.perf_counter() - began) / count


async def of_httpx_async(count):
    transport = httpx.AsyncHTTPTransport()
    transport._pool = Pool()
    async with httpx.AsyncClient(transport=transport) as client:
        return await timed_awaiting(lambda: client.get("http://stock:80/apples?page=2"), count)


async def of_aiohttp(count):
    async def answer(request):
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]

    async with aiohttp.ClientSession() as session:

        async def ask():
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                await response.read()

        taken = await timed_awaiting(ask, count)
    await runner.cleanup()
    return taken


def run(kind, count):
    if kind == "httpx":
        return of_httpx(count)
    return asyncio.run((of_httpx_async if kind == "httpx-async" else of_aiohttp)(count))


def main():
    if len(sys.argv) == 4:
        kind, side, count = sys.argv[1:]
        traced(side)
        print(run(kind, int(count)) * 1e6, flush=True)
        return
    count = sys.argv[1] if len(sys.argv) > 1 else "3000"
    for kind in KINDS:
        best = dict.fromkeys(SIDES, float("inf"))
        for _ in range(RUNS):
            for side in SIDES:
                ran = subprocess.run(
                    [sys.executable, __file__, kind, side, count],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                best[side] = min(best[side], float(ran.stdout.split()[-1]))
        ours, theirs = (best[side] - best["bare"] for side in SIDES[1:])
        print(f"{kind}: µs added: tracekit {ours:.1f}, contrib {theirs:.1f}; {ours / theirs:.2f} x")


if __name__ == "__main__":
    main()
