"""Loops that make their tasks in another way: in a context of their own, or running at once."""

from __future__ import annotations

import asyncio
import contextvars
import sys

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind

import tracekit.grpc.aio

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
CODE = "rpc.response.status_code"
COUNTS = ("rpc.request.message_count", "rpc.response.message_count")


class InContext:
    """Makes tasks in a copy of the context in which ``capture`` was called last."""

    def __init__(self):
        self.capture()

    def capture(self):
        self._context = contextvars.copy_context()

    def __call__(self, loop, coroutine, **_):
        return self._context.copy().run(asyncio.Task, coroutine, loop=loop)


class AsUsual:
    def capture(self):
        pass

    def __call__(self, loop, coroutine, **named):
        return asyncio.Task(coroutine, loop=loop, **named)


class Eager(AsUsual):
    """Makes tasks that run, until they have to wait, before anybody holds them."""

    def __call__(self, loop, coroutine, **named):
        return asyncio.eager_task_factory(loop, coroutine, **named)


FACTORIES = [AsUsual, InContext] + ([Eager] if sys.version_info >= (3, 12) else [])


async def unary(request, context):
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    return request


async def stream(request, context):
    yield await unary(request, context)
    yield b"last"


async def of_unary(requests, context):
    return await unary([request async for request in requests][-1], context)


async def of_stream(requests, context):
    async for request in requests:
        yield await unary(request, context)


HANDLERS = dict(zip(KINDS, (unary, stream, of_unary, of_stream), strict=True))


def serialize(message, factory):
    """Convert; in the middle of one call the loop may begin to make all tasks in its context."""
    if message == "capture":
        factory.capture()
    if message == "unreadable":
        raise ValueError(message)
    return {"nothing": None, "number": 7}.get(message, message.encode())


async def answer(method, kind, message):
    """Return what a call of ``kind`` answers, in a form that can be compared."""
    try:
        call = method(iter([message]) if kind.startswith("stream") else message)
        if kind.endswith("stream"):
            return [response async for response in call]
        return await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()
    except Exception as error:
        return type(error).__name__


async def program(factory, kind, edge, tracing):
    """Make calls of one kind, one after the other and then at once; return their answers."""
    asyncio.get_running_loop().set_task_factory(factory)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    handlers = grpc.method_handlers_generic_handler("shop.Orders", {kind: make(HANDLERS[kind])})
    ours = [tracekit.grpc.aio.server_interceptor(tracing)] if tracing else []
    server = grpc.aio.server(handlers=(handlers,), interceptors=ours)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    with_ours = tracing is not None and edge == "interceptors"
    given = tracekit.grpc.aio.client_interceptors(tracing) if with_ours else None
    async with grpc.aio.insecure_channel(target, interceptors=given) as bare:
        wraps = tracing is not None and not with_ours
        channel = tracekit.grpc.aio.trace_channel(bare, tracing) if wraps else bare
        convert = (lambda message: serialize(message, factory)), bytes.decode
        method = getattr(channel, kind)(f"/shop.Orders/{kind}", *convert)
        messages = ("capture", "first", "abort", "second")
        if kind.startswith("unary"):  # the first of them goes out as an empty message
            messages += ("unreadable", "nothing", "number")
        answers = [await answer(method, kind, message) for message in messages]
        at_once = (answer(method, kind, str(number)) for number in range(5))
        answers += await asyncio.gather(*at_once)
    await server.stop(5)
    return answers


@pytest.mark.parametrize("edge", ["trace_channel", "interceptors"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factory", FACTORIES)
def test_a_task_factory_changes_no_call(tracing, factory, kind, edge):
    """Answers are the bare ones, and each call has a span of its own, with its code and counts."""
    bare = asyncio.run(program(factory(), kind, edge, None))
    traced = asyncio.run(program(factory(), kind, edge, tracing))
    assert traced == bare
    unsent = 1 if kind.startswith("unary") else 0
    assert tracing.stats().open == 0
    spans = tracing.sink.take_many(2 * len(bare) - unsent)
    by_side = {side: [s for s in spans if s.kind is side] for side in SpanKind}
    assert len(by_side[SpanKind.CLIENT]) == len(bare)
    assert len(by_side[SpanKind.SERVER]) == len(bare) - unsent
    ends = sorted(str(s.attributes.get(CODE)) for s in by_side[SpanKind.CLIENT])
    assert ends == sorted(["NOT_FOUND"] + ["None"] * unsent + ["OK"] * (len(bare) - 1 - unsent))
    if edge == "trace_channel":
        responses = 2 if kind == "unary_stream" else 1
        assert sorted(
            tuple(s.attributes[count] for count in COUNTS)
            for s in by_side[SpanKind.CLIENT]
            if s.attributes.get(CODE) == "OK"
        ) == [(0, responses)] * unsent + [(1, responses)] * (len(bare) - 1 - 2 * unsent)


class Full(AsUsual):
    """Has no room for the task in which a stream waits for its status."""

    def __call__(self, loop, coroutine, **named):
        if coroutine.__qualname__.endswith("_handle_status_once_received"):
            coroutine.close()
            raise RuntimeError("too many tasks")
        return super().__call__(loop, coroutine, **named)


@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
def test_a_refused_stream_has_its_error(tracing, kind):
    """The program is told when it reads, and the span ends with that, while the call is held."""

    async def read(channel):
        request = () if kind.startswith("stream") else (b"ok",)
        call = getattr(channel, kind)(f"/shop.Orders/{kind}")(*request, timeout=5)
        with pytest.raises(RuntimeError, match="too many tasks"):
            await call.read()
        return call, tracing.stats().open

    async def main():
        asyncio.get_running_loop().set_task_factory(Full())
        async with grpc.aio.insecure_channel("127.0.0.1:1") as bare:
            call, still_open = await read(tracekit.grpc.aio.trace_channel(bare, tracing))
            del call
        return still_open

    assert asyncio.run(main()) == 0
    (event,) = tracing.sink.take().events
    assert event.attributes["exception.type"] == "RuntimeError"
