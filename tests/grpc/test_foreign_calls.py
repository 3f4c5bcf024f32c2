"""What interceptors of others answer with, in place of gRPC's own call: its span is true."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import types
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind

import tracekit.grpc
import tracekit.grpc.aio
from tracekit.grpc._aio_client import AioClientCall
from tracekit.grpc._plan import Plan

PAUSE_S = 0.08


def slow_stream(request, context):
    yield b"one"
    time.sleep(PAUSE_S)
    if request == b"fail":
        context.abort(grpc.StatusCode.NOT_FOUND, "no more")
    yield b"two"


def slow_unary(request, context):
    time.sleep(PAUSE_S)
    if request == b"fail":
        context.abort(grpc.StatusCode.ALREADY_EXISTS, "there is one")
    return request


@pytest.fixture
def target(stack):
    """Return the target of a server that nobody traces."""
    handlers = grpc.method_handlers_generic_handler(
        "shop.Orders",
        {
            "Watch": grpc.unary_stream_rpc_method_handler(slow_stream),
            "Get": grpc.unary_unary_rpc_method_handler(slow_unary),
        },
    )
    server = grpc.server(ThreadPoolExecutor(8), (handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    return f"127.0.0.1:{port}"


@pytest.fixture
def pool(stack):
    return stack.enter_context(ThreadPoolExecutor(4))


def traced(target, interceptor, tracing, stack, *, ours="channel"):
    """Return a traced channel above an interceptor of somebody else."""
    bare = stack.enter_context(grpc.insecure_channel(target))
    if ours == "channel":
        return tracekit.grpc.trace_channel(grpc.intercept_channel(bare, interceptor), tracing)
    return grpc.intercept_channel(bare, *tracekit.grpc.client_interceptors(tracing), interceptor)


class Streams(grpc.UnaryStreamClientInterceptor):
    """Answers a stream with whatever ``make`` makes of gRPC's own call."""

    def __init__(self, make):
        self.make = make

    def intercept_unary_stream(self, continuation, details, request):
        return self.make(continuation(details, request))


class Futures(grpc.UnaryUnaryClientInterceptor):
    """Answers with whatever ``make`` makes of how the call is made."""

    def __init__(self, make):
        self.make = make

    def intercept_unary_unary(self, continuation, details, request):
        return self.make(lambda: continuation(details, request))


def generator(call):
    yield from call


class Iterating:
    """An iterator of one's own around a call; nothing else of a call."""

    def __init__(self, call):
        self.inside = call

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.inside)


class Hidden:
    """The same, and the call is nowhere to be seen."""

    __slots__ = ("step",)

    def __init__(self, call):
        self.step = call.__next__

    def __iter__(self):
        return self

    def __next__(self):
        return self.step()

    def __len__(self):
        raise TypeError("nobody knows")


class Reiterable:
    def __init__(self, call):
        self.make = lambda: generator(call)

    def __iter__(self):
        return self.make()


class Delegating:
    """Passes everything through to the call."""

    def __init__(self, call):
        self.wrapped = call

    def __getattr__(self, name):
        return getattr(self.wrapped, name)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.wrapped)


STREAMS = [generator, Iterating, Hidden, Reiterable, Delegating]


@pytest.mark.parametrize("ours", ["channel", "interceptor"])
@pytest.mark.parametrize("make", STREAMS)
def test_an_interceptors_stream_has_a_span(target, tracing, stack, make, ours):
    """It is read as it is bare, and the span lasts as long as the reading, with its code."""
    method = traced(target, Streams(make), tracing, stack, ours=ours).unary_stream(
        "/shop.Orders/Watch"
    )
    assert list(method(b"")) == [b"one", b"two"]
    with pytest.raises(grpc.RpcError) as raised:
        list(method(b"fail"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    good, bad = tracing.sink.take_many(2)
    for span, code in (good, "OK"), (bad, "NOT_FOUND"):
        assert span.attributes["rpc.response.status_code"] == code
        assert span.end_time - span.start_time > PAUSE_S * 0.9e9


@pytest.mark.parametrize("make", STREAMS)
def test_an_interceptors_stream_is_itself(target, tracing, stack, make):
    """``isinstance`` and attributes say what they say bare, and to drop it half-read ends it."""
    method = traced(target, Streams(make), tracing, stack).unary_stream("/shop.Orders/Watch")
    stream = method(b"")
    bare = make(grpc.insecure_channel(target).unary_stream("/shop.Orders/Watch")(b""))
    assert isinstance(stream, type(bare))
    assert {name for name in dir(bare) if not name.startswith("_")} <= set(dir(stream))
    iter(stream)
    assert next(iter(stream)) == b"one"
    del stream
    gc.collect()
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "CANCELLED"


def test_an_unread_generator_ends_its_span(target, tracing, stack):
    """Dropped unread it is cancelled, as gRPC's own call is."""
    traced(target, Streams(generator), tracing, stack).unary_stream("/shop.Orders/Watch")(b"")
    gc.collect()
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "CANCELLED"


def test_a_list_of_messages_is_an_answer(target, tracing, stack):
    """An interceptor's list in place of a stream is read as it is; nothing more is to come."""
    method = traced(target, Streams(lambda call: [b"cached"]), tracing, stack).unary_stream(
        "/shop.Orders/Watch"
    )
    assert method(b"") == [b"cached"]
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "OK"


class FutureOfOnesOwn(grpc.Future):
    """gRPC's interface for futures, and nothing of a call."""

    def __init__(self, future):
        self.future = future

    def cancel(self):
        return self.future.cancel()

    def cancelled(self):
        return self.future.cancelled()

    def running(self):
        return self.future.running()

    def done(self):
        return self.future.done()

    def result(self, timeout=None):
        return self.future.result(timeout)

    def exception(self, timeout=None):
        return self.future.exception(timeout)

    def traceback(self, timeout=None):
        return None

    def add_done_callback(self, fn):
        self.future.add_done_callback(lambda _: fn(self))


@pytest.mark.parametrize("wrap", [lambda future: future, FutureOfOnesOwn], ids=["plain", "grpc"])
@pytest.mark.parametrize("ours", ["channel", "interceptor"])
def test_a_foreign_future_has_a_span(target, tracing, stack, pool, wrap, ours):
    """Hedging and caching answer with these; result, error and cancel end it, and are on it."""
    interceptor = Futures(lambda call: wrap(pool.submit(lambda: call().result())))
    method = traced(target, interceptor, tracing, stack, ours=ours).unary_unary("/shop.Orders/Get")
    assert method.future(b"x").result(3) == b"x"
    with pytest.raises(grpc.RpcError):
        method.future(b"fail").result(3)
    never = Future()
    interceptor.make = lambda call: wrap(never)
    method.future(b"")
    assert never.cancel()
    never.set_running_or_notify_cancel()
    codes = [s.attributes["rpc.response.status_code"] for s in tracing.sink.take_many(3)]
    assert codes == ["OK", "ALREADY_EXISTS", "CANCELLED"]


def test_a_future_may_fail_with_anything(target, tracing, stack):
    """An exception that is not gRPC's is on the span; there is no code to be known."""
    failed = Future()
    failed.set_exception(LookupError("no replica"))
    interceptor = Futures(lambda call: failed)
    method = traced(target, interceptor, tracing, stack).unary_unary("/shop.Orders/Get")
    with pytest.raises(LookupError):
        method.future(b"").result(1)
    span = tracing.sink.take()
    assert span.attributes["error.type"] == "LookupError"
    assert "rpc.response.status_code" not in span.attributes


@pytest.mark.parametrize("answer", [b"raw", None, object(), {"a": "dict"}])
def test_an_answer_that_is_no_future_goes_on(target, tracing, stack, answer):
    """Whatever it is, the caller is given it."""
    interceptor = Futures(lambda call: answer)
    method = traced(target, interceptor, tracing, stack).unary_unary("/shop.Orders/Get")
    assert method.future(b"") is answer
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "OK"


def test_a_dropped_wrapped_call_is_cancelled(target, tracing, stack):
    """To follow a call does not keep it alive: whoever drops it cancels it."""
    method = traced(target, Streams(Delegating), tracing, stack).unary_stream("/shop.Orders/Watch")
    call = method(b"")
    assert next(call) == b"one"
    del call
    span = tracing.sink.take()
    assert span.attributes["rpc.response.status_code"] == "CANCELLED"
    assert span.end_time - span.start_time < PAUSE_S * 1e9


def test_each_call_of_a_failover_is_itself(target, tracing, stack):
    """The second call, over another traced channel, has a span and a header of its own."""
    seen = []

    def record(request, context):
        seen.append(dict(context.invocation_metadata()).get("uber-trace-id"))
        return request

    handlers = grpc.method_handlers_generic_handler(
        "shop.Orders", {"Get": grpc.unary_unary_rpc_method_handler(record)}
    )
    server = grpc.server(ThreadPoolExecutor(2), (handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    spare = tracekit.grpc.trace_channel(
        stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")), tracing
    ).unary_unary("/shop.Orders/Get")

    class Failover(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            first = continuation(details, request)
            if first.code() is grpc.StatusCode.OK:
                return first
            return spare.with_call(request, metadata=self.again(details))[1]

    for again in (lambda details: None, lambda details: details.metadata):
        Failover.again = staticmethod(again)
        method = traced(target, Failover(), tracing, stack).unary_unary("/shop.Orders/Get")
        method.future(b"fail")
        second, first = tracing.sink.take_many(2)
        assert second.parent.span_id == first.context.span_id
        assert f"{second.context.span_id:x}" in seen.pop()


def test_a_request_iterator_calls_its_method(target, tracing, stack):
    """A request iterator makes calls of its own, of any method: each has a span and a header."""
    headers = []

    def join(requests, context):
        headers.append("uber-trace-id" in dict(context.invocation_metadata()))
        return b"+".join(requests)

    handlers = grpc.method_handlers_generic_handler(
        "shop.Orders", {"Join": grpc.stream_unary_rpc_method_handler(join)}
    )
    server = grpc.server(ThreadPoolExecutor(4), (handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    one, two = (
        tracekit.grpc.trace_channel(
            stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")), tracing
        ).stream_unary("/shop.Orders/Join")
        for _ in range(2)
    )

    def requests():
        yield b"a"
        yield two(iter([b"b", b"c"]))

    assert one(requests()) == b"a+b+c"
    assert headers == [True, True]
    inner, outer = tracing.sink.take_many(2)
    assert inner.parent.span_id == outer.context.span_id


# --- on asyncio ---


async def aio_stream(request, context):
    yield b"one"
    await asyncio.sleep(PAUSE_S)
    if request == b"fail":
        await context.abort(grpc.StatusCode.NOT_FOUND, "no more")
    yield b"two"


async def around(call):
    async for message in call:
        yield message


class AioIterating:
    def __init__(self, call):
        self.source = call.__aiter__()

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.source.__anext__()


class AioStreams(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, make):
        self.make = make

    async def intercept_unary_stream(self, continuation, details, request):
        return self.make(await continuation(details, request))


@pytest.mark.parametrize("ours", ["channel", "interceptor"])
@pytest.mark.parametrize("theirs", [AioStreams(around), AioStreams(AioIterating)])
def test_a_stream_of_ones_own_on_asyncio(target, tracing, run, theirs, ours):
    """The same on asyncio: whatever an interceptor makes of the responses."""

    async def read(request):
        interceptors = [theirs]
        if ours == "interceptor":
            interceptors = [*tracekit.grpc.aio.client_interceptors(tracing), theirs]
        async with grpc.aio.insecure_channel(target, interceptors=interceptors) as bare:
            channel = bare
            if ours == "channel":
                channel = tracekit.grpc.aio.trace_channel(bare, tracing)
            return [m async for m in channel.unary_stream("/shop.Orders/Watch")(request)]

    assert run(read(b"")) == [b"one", b"two"]
    with pytest.raises(grpc.RpcError):
        run(read(b"fail"))
    good, bad = tracing.sink.take_many(2)
    for span, code in (good, "OK"), (bad, "NOT_FOUND"):
        assert span.kind is SpanKind.CLIENT
        assert span.attributes["rpc.response.status_code"] == code
        assert span.end_time - span.start_time > PAUSE_S * 0.9e9


class AioAnswers(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, make):
        self.make = make

    async def intercept_unary_unary(self, continuation, details, request):
        return await self.make(continuation, details, request)


@pytest.mark.parametrize("ours", ["channel", "interceptor"])
def test_aio_takes_a_message_for_a_call(target, tracing, run, ours):
    """An interceptor that has the answer is heard, and the call succeeded."""

    async def cached(continuation, details, request):
        return b"cached"

    async def call():
        interceptors = [AioAnswers(cached)]
        if ours == "interceptor":
            interceptors = [*tracekit.grpc.aio.client_interceptors(tracing), *interceptors]
        async with grpc.aio.insecure_channel(target, interceptors=interceptors) as bare:
            channel = bare
            if ours == "channel":
                channel = tracekit.grpc.aio.trace_channel(bare, tracing)
            return await channel.unary_unary("/shop.Orders/Get")(b"")

    assert run(call()) == b"cached"
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "OK"


def test_another_channels_call_on_asyncio(target, tracing, run):
    """A failover's call lasts as long as its own channel takes."""

    async def call():
        async with grpc.aio.insecure_channel(target) as spare:

            async def failover(continuation, details, request):
                return spare.unary_unary("/shop.Orders/Get")(request)

            interceptors = [AioAnswers(failover)]
            async with grpc.aio.insecure_channel("127.0.0.1:1", interceptors=interceptors) as bare:
                channel = tracekit.grpc.aio.trace_channel(bare, tracing)
                return await channel.unary_unary("/shop.Orders/Get")(b"spare")

    assert run(call()) == b"spare"
    span = tracing.sink.take()
    assert span.attributes["rpc.response.status_code"] == "OK"
    assert span.end_time - span.start_time > PAUSE_S * 0.9e9


def test_completing_a_future_raises_nothing(target, tracing, stack):
    """A future that misbehaves afterwards costs its span what it would have told."""

    class Odd:
        def __init__(self):
            self.callbacks = []

        def add_done_callback(self, fn):
            self.callbacks.append(fn)

        def done(self):
            return "perhaps"

        def exception(self):
            raise RuntimeError("not today")

        code = property(lambda self: 1 / 0)
        result = 7

    odd = Odd()
    method = traced(target, Futures(lambda call: odd), tracing, stack).unary_unary(
        "/shop.Orders/Get"
    )
    assert method.future(b"") is odd
    finished = threading.Thread(target=lambda: [fn(odd) for fn in odd.callbacks])
    finished.start()
    finished.join(5)
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "OK"


class Core:
    """gRPC's core of a call, whose first word is not its last."""

    def __init__(self):
        self.callbacks = []
        self._initial_metadata = ()

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def says(self, code, details):
        self._status = grpc.aio.AioRpcError(code, (), (), details)
        self._status.code = lambda: code.value[0]
        for callback in self.callbacks:
            callback()


@pytest.mark.parametrize("later_s", [0, 0.05])
def test_a_failed_write_has_the_later_status(tracing, run, later_s):
    """GRPC says INTERNAL first, now and then, and the deadline's code a while later."""
    plan = Plan(SpanKind.CLIENT, tracing)

    async def story():
        core, rpc = Core(), AioClientCall(plan, plan.method("/shop.Orders/Join"), None)
        assert rpc.begin(None)
        rpc._follow(types.SimpleNamespace(_cython_call=core))
        core.says(grpc.StatusCode.INTERNAL, "Internal error from Core")
        await asyncio.sleep(later_s)
        core.says(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    run(story())
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("closes", [False, True], ids=["the loop runs on", "the loop is closed"])
def test_an_unexplained_write_is_internal(tracing, closes):
    """The span of a failed write ends as well, at the latest with the loop."""
    plan = Plan(SpanKind.CLIENT, tracing)

    async def story():
        core, rpc = Core(), AioClientCall(plan, plan.method("/shop.Orders/Join"), None)
        assert rpc.begin(None)
        rpc._follow(types.SimpleNamespace(_cython_call=core))
        core.says(grpc.StatusCode.INTERNAL, "Internal error from Core")
        end = time.monotonic() + 10
        while tracing.stats().open and not closes and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    asyncio.run(story())
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "INTERNAL"
