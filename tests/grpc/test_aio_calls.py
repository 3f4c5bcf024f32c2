"""What an asyncio client holds in its hands, next to what it holds without tracing."""

from __future__ import annotations

import asyncio
import contextlib
import re

import grpc
import grpc.aio
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation

import tracekit.grpc.aio
import tracekit.testing

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
STREAMS = ("unary_stream", "stream_stream")
EDGES = pytest.mark.parametrize("edge", ["trace_channel", "interceptors"])
BASES = (
    grpc.aio.UnaryUnaryClientInterceptor,
    grpc.aio.UnaryStreamClientInterceptor,
    grpc.aio.StreamUnaryClientInterceptor,
    grpc.aio.StreamStreamClientInterceptor,
)


REFUSED = ([("X-Upper", "1")], [("x-a", "line\nbreak")], [("x-a", 1)])


class _Idle:
    """Does nothing; but with any interceptor ``grpc.aio`` makes calls of other classes."""

    async def intercept_unary_unary(self, continuation, details, request):
        return await continuation(details, request)

    intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = (
        intercept_unary_unary
    )


IDLE = [type("Idle", (_Idle, base), {})() for base in BASES]


class Shop:
    """Handlers of all kinds that do what the first message says."""

    def __init__(self):
        self.metadata = ()

    async def act(self, request, context):
        self.metadata = tuple(
            (key, value)
            for key, value in context.invocation_metadata()
            if key not in ("uber-trace-id", "user-agent")
        )
        if request == b"abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone", (("why", "sold"),))
        await context.send_initial_metadata((("early", "1"),))
        return request

    async def unary_unary(self, request, context):
        return await self.act(request, context)

    async def stream_unary(self, requests, context):
        messages = [request async for request in requests]
        return await self.act(messages[-1], context)

    async def unary_stream(self, request, context):
        yield await self.act(request, context)
        yield b"last"

    async def stream_stream(self, requests, context):
        messages = [request async for request in requests]
        yield await self.act(messages[-1], context)
        yield b"last"


@contextlib.asynccontextmanager
async def channel_to(shop, edge, tracing):
    """Yield a channel by ``edge``; if ``tracing`` is None, the bare one that it is to be like."""
    make = {kind: getattr(grpc, f"{kind}_rpc_method_handler") for kind in KINDS}
    handlers = grpc.method_handlers_generic_handler(
        "shop.Orders", {kind: make[kind](getattr(shop, kind)) for kind in KINDS}
    )
    server = grpc.aio.server(handlers=(handlers,))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    ours = None
    if edge == "interceptors":
        ours = tracekit.grpc.aio.client_interceptors(tracing) if tracing else IDLE
    try:
        async with grpc.aio.insecure_channel(target, interceptors=ours) as channel:
            wrap = tracing is not None and ours is None
            yield tracekit.grpc.aio.trace_channel(channel, tracing) if wrap else channel
    finally:
        await server.stop(None)


def method_of(channel, kind, serializer=None):
    return getattr(channel, kind)(f"/shop.Orders/{kind}", serializer, None)


def request_of(kind, message):
    return iter([message]) if kind.startswith("stream") else message


async def told(awaited):
    """Return what is returned or raised, in a form that can be compared."""
    try:
        return await awaited
    except grpc.aio.AioRpcError as error:
        return type(error).__name__, error.code(), error.details(), tuple(error.trailing_metadata())
    except Exception as error:
        return type(error).__name__, re.sub("0x[0-9a-f]+", "", str(error))


async def answer_of(call, kind):
    return [message async for message in call] if kind in STREAMS else await call


def compare(run, tracing, edge, story):
    """Tell a story of a bare channel and of a traced one; they are alike. Return it and spans."""

    async def tell(tracing):
        shop = Shop()
        async with channel_to(shop, edge, tracing) as channel:
            return await story(channel, shop)

    bare, traced = run(tell(None)), run(tell(tracing))
    assert traced == bare
    return bare, tracing.sink.take_many(len(tracing.sink.spans))


@EDGES
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", [b"ok", b"abort"])
def test_a_call_is_the_bare_object(run, tracing, edge, kind, message):
    """Its class and all it can be asked are the bare call's; a callback hears of its end once."""

    async def story(channel, _):
        ended = asyncio.Event()
        call = method_of(channel, kind)(request_of(kind, message), timeout=5)
        call.add_done_callback(lambda done: ended.set())
        before = type(call), call.done(), call.cancelled()
        if edge == "trace_channel":
            before += (0 < call.time_remaining() <= 5,)
        answer = await told(answer_of(call, kind))
        await asyncio.wait_for(ended.wait(), 5)
        after = [await call.code(), await call.details(), tuple(await call.trailing_metadata())]
        return before, answer, after, call.done(), call.cancelled(), call.cancel()

    seen, (span,) = compare(run, tracing, edge, story)
    assert span.attributes["rpc.response.status_code"] == seen[2][0].name


@EDGES
@pytest.mark.parametrize("kind", KINDS)
def test_initial_metadata_can_come_first(run, tracing, edge, kind):
    """So can the connection: before any message was read, as bare."""

    async def story(channel, _):
        call = method_of(channel, kind)(request_of(kind, b"ok"), timeout=5)
        await call.wait_for_connection()
        initial = [pair for pair in await call.initial_metadata() if pair[0] == "early"]
        return initial, await answer_of(call, kind)

    seen, spans = compare(run, tracing, edge, story)
    assert seen[0] == [("early", "1")]
    assert len(spans) == 1


@EDGES
@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
def test_a_call_can_be_written_and_read(run, tracing, edge, kind):
    """The writer's way: ``write``, ``done_writing``, ``read`` to the end."""

    async def story(channel, _):
        call = method_of(channel, kind)(timeout=5)
        for message in (b"one", b"two"):
            await call.write(message)
        await call.done_writing()
        if kind == "stream_unary":
            return await call
        messages = [await call.read() for _ in range(2)]
        # With an interceptor, reading on is an error in old versions of gRPC.
        with contextlib.suppress(StopAsyncIteration):
            assert await call.read() is grpc.aio.EOF
        return messages

    _, (span,) = compare(run, tracing, edge, story)
    assert span.attributes["rpc.response.status_code"] == "OK"
    if edge == "trace_channel":
        assert span.attributes["rpc.request.message_count"] == 2


@EDGES
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "metadata",
    [
        [("x-a", "1"), ("x-a", "2"), ("x-raw-bin", b"\x00\xfe")],
        (("x-a", "1"),),
        grpc.aio.Metadata(("x-a", "1"), ("x-a", "2")),
        *REFUSED,
    ],
    ids=["list", "tuple", "Metadata", "upper", "newline", "number"],
)
def test_metadata_arrives_or_fails_as_bare(run, tracing, edge, kind, metadata):
    """What gRPC takes arrives whole, the caller's object stays; what it refuses it refuses."""
    held = list(metadata)
    timeout = 0.2 if metadata in REFUSED else 5  # of which old versions tell no stream

    async def story(channel, shop):
        try:
            call = method_of(channel, kind)(
                request_of(kind, b"ok"), metadata=metadata, timeout=timeout
            )
            answer = await told(answer_of(call, kind))
        except Exception as error:
            answer = type(error).__name__
        return answer, shop.metadata

    _, spans = compare(run, tracing, edge, story)
    assert list(metadata) == held
    assert len(spans) <= 1


@EDGES
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_request_fails_as_bare(run, tracing, edge, kind):
    """The error is the program's own; on the span it is, if that has seen the messages."""

    def refuse(message):
        raise ValueError(message)

    async def story(channel, _):
        try:
            call = method_of(channel, kind, refuse)(request_of(kind, b"ok"), timeout=0.5)
            return await told(answer_of(call, kind))
        except Exception as error:
            return type(error).__name__, str(error)

    _, (span,) = compare(run, tracing, edge, story)
    if edge == "trace_channel":
        assert [event.name for event in span.events] == ["exception"]


class Stop(BaseException):
    """What gRPC lets pass where it would log an exception of a converter's."""


def stop(message):
    raise Stop


@EDGES
@pytest.mark.parametrize("kind", ["unary_unary", "stream_unary"])
@pytest.mark.parametrize("fault", ["callback", "deserializer"])
def test_a_response_that_is_never_converted(run, tracing, edge, kind, fault):
    """The program's own fault comes between the status and the response: the span has ended."""

    def broken(done):
        raise LookupError("the program's")

    async def story(channel, _):
        deserialize = stop if fault == "deserializer" else None
        method = getattr(channel, kind)(f"/shop.Orders/{kind}", None, deserialize)
        call = method(request_of(kind, b"ok"), timeout=5)
        if fault == "callback":
            call.add_done_callback(broken)
        try:
            answer = await told(call)
        except Stop:
            answer = "stopped"
        return answer, await call.code()

    seen, (span,) = compare(run, tracing, edge, story)
    assert seen[0] != b"ok"
    assert span.attributes["rpc.response.status_code"] == "OK"


@pytest.mark.parametrize("kind", KINDS)
def test_refused_metadata_is_on_the_span(run, tracing, kind):
    """Of a stream that is written and read as well, where gRPC's own task fails with it."""

    async def story(channel, _):
        request = () if kind.startswith("stream") else (b"ok",)
        call = method_of(channel, kind)(*request, metadata=[("x-a", 1)], timeout=5)
        return await told(call.read() if kind in STREAMS else call)

    _, (span,) = compare(run, tracing, "trace_channel", story)
    assert [event.attributes["exception.type"] for event in span.events] == ["TypeError"]


@EDGES
@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_span_stays_current(run, tracing, edge, kind):
    """Before, between and after messages; only the request iterator runs under the call's span."""
    seen = []

    async def requests():
        seen.append(trace.get_current_span().get_span_context().span_id)
        yield b"ok"

    async def scenario():
        async with channel_to(Shop(), edge, tracing) as channel:
            with tracing.tracer("shop").start_as_current_span("caller") as caller:
                request = requests() if kind.startswith("stream") else b"ok"
                call = method_of(channel, kind)(request)
                assert trace.get_current_span() is caller
                if kind in STREAMS:
                    async for _ in call:
                        assert trace.get_current_span() is caller
                else:
                    await call
                assert trace.get_current_span() is caller
                await call.code()

    run(scenario())
    spans = {span.name: span for span in tracing.sink.take_many(2)}
    call, caller = spans[f"shop.Orders/{kind}"], spans["caller"]
    assert call.parent.span_id == caller.context.span_id
    if kind.startswith("stream"):
        assert seen == [call.context.span_id]


@EDGES
@pytest.mark.parametrize("kind", KINDS)
def test_suppressed_calls_are_left_alone(run, tracing, edge, kind):
    """Under OpenTelemetry's suppression there is no span and no header."""

    async def scenario():
        shop = Shop()
        async with channel_to(shop, edge, tracing) as channel:
            with suppress_instrumentation():
                await answer_of(method_of(channel, kind)(request_of(kind, b"ok")), kind)
        return shop.metadata

    assert run(scenario()) == ()
    assert tracing.stats().started == 0


@EDGES
@pytest.mark.parametrize("kind", KINDS)
def test_many_calls_at_once_keep_apart(run, tracing, edge, kind):
    """Each call of a ``gather`` is a child of the span in which it was made."""

    async def one(channel, number):
        with tracing.tracer("shop").start_as_current_span(f"caller {number}") as caller:
            await answer_of(method_of(channel, kind)(request_of(kind, b"ok")), kind)
            return caller.get_span_context()

    async def scenario():
        async with channel_to(Shop(), edge, tracing) as channel:
            return await asyncio.gather(*(one(channel, number) for number in range(8)))

    callers = run(scenario())
    calls = [s for s in tracing.sink.take_many(16) if not s.name.startswith("caller")]
    assert {(s.parent.span_id, s.context.trace_id) for s in calls} == {
        (caller.span_id, caller.trace_id) for caller in callers
    }


class Plain:
    """Can be awaited, by an iterator that is no generator."""

    def __init__(self, coroutine):
        self.steps = coroutine.__await__()

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.steps)


class Around(grpc.aio.UnaryUnaryClientInterceptor):
    """Calls another interceptor with a continuation of its own, which is no coroutine function."""

    def __init__(self, inner):
        self.inner = inner

    async def intercept_unary_unary(self, continuation, details, request):
        def later(details, request):
            return Plain(continuation(details, request))

        return await self.inner.intercept_unary_unary(later, details, request)


def test_a_continuation_may_be_any_awaitable(run, tracing):
    """What ``await`` takes we take."""

    async def tell(inner):
        handler = grpc.unary_unary_rpc_method_handler(Shop().unary_unary)
        handlers = grpc.method_handlers_generic_handler("shop.Orders", {"unary_unary": handler})
        server = grpc.aio.server(handlers=(handlers,))
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        async with grpc.aio.insecure_channel(target, interceptors=[Around(inner)]) as channel:
            answer = await told(method_of(channel, "unary_unary")(b"ok", timeout=5))
        await server.stop(None)
        return answer

    assert run(tell(IDLE[0])) == b"ok"
    assert run(tell(tracekit.grpc.aio.client_interceptors(tracing)[0])) == b"ok"
    assert tracing.sink.take().attributes["rpc.response.status_code"] == "OK"
