"""The many ways in which asyncio gives up a call: as bare, as soon as bare, and one span each side.

Every way is gone with a bare channel and server and with traced ones, in one event loop, so the
test knows when the handler heard of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from typing import NamedTuple

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind

import tracekit.grpc.aio
import tracekit.testing

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
STREAMS = ("unary_stream", "stream_stream")
ALONE_S = 3.0  # how long a handler waits if nobody tells it to stop
PATIENCE_S = 10.0
SOON_S = 0.4


class Shop:
    """Handlers that answer the first message, if they stream, and then wait to be stopped."""

    def __init__(self):
        self.began = asyncio.Event()
        self.stopped = asyncio.Event()
        self.requests_closed = asyncio.Event()
        self.left_alone = False

    async def wait(self):
        self.began.set()
        try:
            await asyncio.sleep(ALONE_S)
            self.left_alone = True
        finally:
            self.stopped_at = time.monotonic()
            self.stopped.set()

    async def unary_unary(self, request, context):
        await self.wait()
        return request

    async def stream_unary(self, requests, context):
        first = await anext(requests)
        await self.wait()
        return first

    async def unary_stream(self, request, context):
        yield request
        await self.wait()

    async def stream_stream(self, requests, context):
        async for request in requests:
            yield request
            await self.wait()

    async def requests(self):
        """Send, as the client, one message and then nothing until it is closed."""
        try:
            yield b"first"
            await asyncio.sleep(ALONE_S)
        finally:
            self.requests_closed.set()


class Gone(NamedTuple):
    """How a client's call went, as far as the program can see."""

    error: str | None
    code: grpc.StatusCode | None
    details: str | None
    cancelled: bool | None = None


class _Idle:
    """Does nothing; but with any interceptor ``grpc.aio`` makes calls of other classes."""

    async def intercept_unary_unary(self, continuation, details, request):
        return await continuation(details, request)

    intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = (
        intercept_unary_unary
    )


IDLE = [
    type("Idle", (_Idle, base), {})()
    for base in (
        grpc.aio.UnaryUnaryClientInterceptor,
        grpc.aio.UnaryStreamClientInterceptor,
        grpc.aio.StreamUnaryClientInterceptor,
        grpc.aio.StreamStreamClientInterceptor,
    )
]


@contextlib.asynccontextmanager
async def channel_to(shop, tracing, edge):
    """Yield a channel to the shop's handlers, by ``edge``; bare if ``tracing`` is None."""
    make = {kind: getattr(grpc, f"{kind}_rpc_method_handler") for kind in KINDS}
    handlers = grpc.method_handlers_generic_handler(
        "shop.Orders", {kind: make[kind](getattr(shop, kind)) for kind in KINDS}
    )
    interceptors = [tracekit.grpc.aio.server_interceptor(tracing)] if tracing else []
    server = grpc.aio.server(handlers=(handlers,), interceptors=interceptors)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    given = None
    if edge == "interceptors":
        given = tracekit.grpc.aio.client_interceptors(tracing) if tracing else IDLE
    channel = grpc.aio.insecure_channel(target, interceptors=given)
    if edge == "trace_channel" and tracing:
        channel = tracekit.grpc.aio.trace_channel(channel, tracing)
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(None)


class Use:
    """One call in use by a program: who waits for what, and how it looks when it has ended."""

    def __init__(self, call, kind, shop):
        self.call = call
        self.streams = kind in STREAMS
        self.shop = shop
        self.got = asyncio.Event()

    async def consume(self):
        """Await the response, or iterate to the end."""
        if not self.streams:
            await self.call
        else:
            async for _ in self.call:
                self.got.set()

    async def begun(self):
        """Wait until the handler waits and its first message has come through.

        A call that is given up while ``grpc.aio`` still prepares it may never have a code.
        """
        await self.shop.began.wait()
        if self.streams:
            await self.got.wait()

    async def result(self, awaited):
        """Tell how waiting for the call ended, and what the call says of itself afterwards."""
        try:
            await awaited
            error = None
        except (grpc.RpcError, asyncio.CancelledError, asyncio.TimeoutError) as raised:
            error = type(raised).__name__
        details = await self.call.details()
        if "Deadline Exceeded" in details:
            details = "Deadline Exceeded"  # the core words it now this way, now that
        return Gone(error, await self.call.code(), details, self.call.cancelled())


async def task_cancel(use, _channel):
    task = asyncio.ensure_future(use.consume())
    await use.begun()
    task.cancel()
    return await use.result(task)


async def call_cancel(use, _channel):
    task = asyncio.ensure_future(use.consume())
    await use.begun()
    use.call.cancel()
    return await use.result(task)


async def wait_for(use, _channel):
    return await use.result(asyncio.wait_for(use.consume(), SOON_S))


async def timeout_block(use, _channel):
    async def consume():
        async with asyncio.timeout(SOON_S):
            await use.consume()

    return await use.result(consume())


async def deadline(use, _channel):
    return await use.result(use.consume())


async def channel_close(use, channel):
    task = asyncio.ensure_future(use.consume())
    await use.begun()
    await channel.close()
    return await use.result(task)


async def leave_loop(use, _channel):
    async for message in use.call:
        assert message == b"first"
        break
    await use.shop.began.wait()  # else the handler never comes to where it tells that it stopped
    return Gone(None, None, None, use.call.cancelled())


async def close_elsewhere(use, _channel):
    responses = use.call.__aiter__()
    await responses.__anext__()
    await asyncio.ensure_future(responses.aclose())
    await use.shop.began.wait()
    return Gone(None, None, None, use.call.cancelled())


async def drop(use, _channel):
    assert await use.call.read() == b"first"
    await use.shop.began.wait()
    return Gone(None, None, None, use.call.cancelled())


WAYS = {
    task_cancel: KINDS,
    call_cancel: KINDS,
    wait_for: KINDS,
    deadline: KINDS,
    channel_close: KINDS,
    leave_loop: STREAMS,
    close_elsewhere: STREAMS,
    drop: STREAMS,
}
# Newer versions of gRPC never cancel what was dropped, old ones not all that a channel had open.
MAYBE_UNHEARD = {leave_loop, close_elsewhere, drop, channel_close}
if sys.version_info >= (3, 11):
    WAYS[timeout_block] = KINDS


async def go(way, kind, tracing, edge, patience_s):
    """Go one way; return what is to be as bare, and how long the handler took to hear of it."""
    shop = Shop()
    async with channel_to(shop, tracing, edge) as channel:
        request = shop.requests() if kind.startswith("stream") else b"first"
        method = getattr(channel, kind)(f"/shop.Orders/{kind}")
        use = Use(method(request, timeout=SOON_S if way is deadline else None), kind, shop)
        seen = await asyncio.wait_for(way(use, channel), PATIENCE_S)
        given_up = time.monotonic()
        del use, request
        while not shop.stopped.is_set() and time.monotonic() < given_up + patience_s:
            if way in MAYBE_UNHEARD:
                gc.collect()  # a bare call, too, lies in a circle with its tasks
            await asyncio.sleep(0.01)
        heard_s = max(shop.stopped_at - given_up, 0) if shop.stopped.is_set() else None
        if way not in MAYBE_UNHEARD and kind.startswith("stream"):
            with contextlib.suppress(asyncio.TimeoutError):  # its end is a task of its own
                await asyncio.wait_for(shop.requests_closed.wait(), 1.0)
        closed = way in MAYBE_UNHEARD or shop.requests_closed.is_set()
    return (kind, seen, shop.left_alone, closed), heard_s


async def go_all(way, tracing, edge, patience_s):
    kinds = zip(WAYS[way], patience_s, strict=True)
    return await asyncio.gather(*(go(way, kind, tracing, edge, s) for kind, s in kinds))


@pytest.fixture
def tracing():
    tracing = tracekit.testing.tracing()
    yield tracing
    tracing.shutdown()


@pytest.mark.parametrize("edge", ["trace_channel", "interceptors"])
@pytest.mark.parametrize("way", WAYS)
def test_a_cancelled_call_ends_as_bare(run, tracing, caplog, way, edge):
    """The client sees the same, the handler stops as soon, spans tell it, nothing is logged."""
    for _ in range(5):  # only the best counts: the machine may be busy with something else
        caplog.clear()
        patience_s = [SOON_S if way in MAYBE_UNHEARD else PATIENCE_S] * len(WAYS[way])
        bare = run(go_all(way, None, edge, patience_s))
        expected_log = {record.getMessage() for record in caplog.records}
        caplog.clear()
        patience_s = [SOON_S if heard_s is None else PATIENCE_S for _, heard_s in bare]
        traced = run(go_all(way, tracing, edge, patience_s))
        assert [sight for sight, _ in traced] == [sight for sight, _ in bare]
        assert {record.getMessage() for record in caplog.records} <= expected_log
        ends = {
            (span.name, span.kind, span.attributes["rpc.response.status_code"])
            for span in tracing.sink.take_many(2 * len(bare))
        }
        code = "DEADLINE_EXCEEDED" if way is deadline else "CANCELLED"
        assert ends == {
            (f"shop.Orders/{kind}", side, "OK" if left_alone else code)
            for (kind, _, left_alone, *_), _ in bare
            for side in (SpanKind.CLIENT, SpanKind.SERVER)
        }
        assert tracing.sink.open == tracing.stats().open == 0
        assert not tracing.sink.spans
        heard = [(b, t) for (_, b), (_, t) in zip(bare, traced, strict=True) if b is not None]
        assert all(traced_s is not None for _, traced_s in heard)
        if all(traced_s < 3 * bare_s + 0.2 for bare_s, traced_s in heard):
            return
    pytest.fail(f"later than bare: {heard}")
