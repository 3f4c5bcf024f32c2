"""What a blocking client holds in its hands, next to what it holds without tracing."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.experimental
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from waiting import eventually

import tracekit.grpc
import tracekit.testing

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
UNARY = ("unary_unary", "stream_unary")
STREAMS = ("unary_stream", "stream_stream")
EDGES = pytest.mark.parametrize("edge", ["trace_channel", "interceptors"])
SINGLE_THREADED = ((grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),)


class Idle(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Does nothing; but with any interceptor gRPC hands out other objects."""

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details, request)

    intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = (
        intercept_unary_unary
    )


class Shop:
    """Handlers of all kinds that do what the first message says."""

    def __init__(self):
        self.metadata = ()
        self.go_on = threading.Event()

    def act(self, request, context):
        self.metadata = tuple(
            (key, value)
            for key, value in context.invocation_metadata()
            if key not in ("uber-trace-id", "user-agent")
        )
        if request == b"abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        if request == b"cancel":
            context.cancel()
        if request == b"wait":
            self.go_on.wait(5)
        return request

    def unary_unary(self, request, context):
        return self.act(request, context)

    def stream_unary(self, requests, context):
        return [self.act(request, context) for request in requests][-1]

    def unary_stream(self, request, context):
        yield b"first"
        yield self.act(request, context)

    def stream_stream(self, requests, context):
        for request in requests:
            yield b"first"
            yield self.act(request, context)


@pytest.fixture(scope="module")
def shop():
    """Return a bare server for the whole file."""
    shop = Shop()
    make = {kind: getattr(grpc, f"{kind}_rpc_method_handler") for kind in KINDS}
    handlers = grpc.method_handlers_generic_handler(
        "shop.Orders", {kind: make[kind](getattr(shop, kind)) for kind in KINDS}
    )
    server = grpc.server(ThreadPoolExecutor(16), (handlers,))
    shop.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield shop
    server.stop(0).wait(5)


@contextlib.contextmanager
def channel_to(shop, edge, tracing, options=None):
    """Yield a channel by ``edge``; if ``tracing`` is None, the bare one that it is to be like."""
    with grpc.insecure_channel(shop.target, options) as channel:
        if edge == "interceptors":
            ours = tracekit.grpc.client_interceptors(tracing) if tracing else [Idle()]
            yield grpc.intercept_channel(channel, *ours)
        else:
            yield tracekit.grpc.trace_channel(channel, tracing) if tracing else channel


def method_of(channel, kind, serializer=None):
    return getattr(channel, kind)(f"/shop.Orders/{kind}", serializer, None)


def request_of(kind, message):
    return iter([message]) if kind.startswith("stream") else message


def told(what, *args, **kwargs):
    """Return what a function returns or raises, in a form that can be compared."""
    try:
        found = what(*args, **kwargs)
    except Exception as raised:
        found = raised
    if isinstance(found, grpc.RpcError):
        return type(found).__name__, found.code(), found.details()
    return f"{type(found).__name__}: {found}" if isinstance(found, Exception) else found


def settle(tracing):
    """Wait until no span is open: a stream's ends a little after its last message was read."""
    eventually(lambda: not tracing.sink.open)
    return tracing.sink.take_many(len(tracing.sink.spans))


def code(tracing):
    """Take the one client span and return its code."""
    (span,) = tracing.sink.take_many(1)
    return span.attributes["rpc.response.status_code"]


def future_story(shop, channel, kind, message):
    """Do everything with a future that one can do, and return all that was seen."""
    shop.go_on.clear()
    called = []
    future = method_of(channel, kind).future(request_of(kind, message), timeout=5)
    future.add_done_callback(lambda done: called.append(("first", done is future, done.done())))
    future.add_done_callback(lambda done: called.append(("second", done.done())))
    before = []
    if message == b"wait":
        before = [
            told(wait, timeout=0.02) for wait in (future.result, future.exception, future.traceback)
        ]
        before += [future.done(), future.running(), future.cancelled()]
        shop.go_on.set()
    seen = [told(future.result), told(future.exception), told(future.traceback) is None]
    eventually(lambda: len(called) == 2)
    if message != b"wait":  # gRPC calls one that comes as the call ends at once, before the others
        called.sort()
    return type(future), before, seen, called, future.done(), future.running(), future.cancelled()


@EDGES
@pytest.mark.parametrize("kind", UNARY)
@pytest.mark.parametrize(
    ("message", "final"),
    [(b"ok", "OK"), (b"wait", "OK"), (b"abort", "NOT_FOUND"), (b"cancel", "CANCELLED")],
)
def test_a_future_tells_what_it_tells_bare(shop, tracing, edge, kind, message, final):
    """Result, exception, traceback, timeouts, order of callbacks: class and all."""
    with channel_to(shop, edge, None) as channel:
        bare = future_story(shop, channel, kind, message)
    with channel_to(shop, edge, tracing) as channel:
        traced = future_story(shop, channel, kind, message)
        assert traced == bare
        assert code(tracing) == final


@EDGES
@pytest.mark.parametrize("kind", UNARY)
def test_a_cancelled_future_is_one_all_over(shop, tracing, edge, kind):
    """``result``, ``exception`` and ``traceback`` raise; the span ends in its done callback."""

    def story(channel):
        shop.go_on.clear()
        future = method_of(channel, kind).future(request_of(kind, b"wait"))
        cancelled = future.cancel()
        shop.go_on.set()
        asked = [told(ask) for ask in (future.result, future.exception, future.traceback)]
        return cancelled, future.cancelled(), future.done(), asked

    with channel_to(shop, edge, None) as channel:
        bare = story(channel)
    with channel_to(shop, edge, tracing) as channel:
        assert story(channel) == bare
        assert code(tracing) == "CANCELLED"


METHODS = (
    "add_callback",
    "add_done_callback",
    "cancel",
    "cancelled",
    "code",
    "debug_error_string",
    "details",
    "initial_metadata",
    "is_active",
    "time_remaining",
    "trailing_metadata",
)


@EDGES
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("options", [None, SINGLE_THREADED], ids=["", "single-threaded"])
@pytest.mark.parametrize("message", [b"wait", b"abort", b"cancel"])
def test_a_stream_is_the_bare_call_object(shop, tracing, edge, kind, options, message):
    """Its class, methods and what they say during and after the call are those of gRPC."""

    def story(channel):
        shop.go_on.clear()
        call = method_of(channel, kind)(request_of(kind, message), timeout=5)
        has = [name for name in METHODS if hasattr(call, name)]
        first = next(call)
        during = [0 < call.time_remaining() <= 5, call.initial_metadata()]
        if message == b"wait":
            during.append(call.is_active())
            shop.go_on.set()
        rest = told(lambda: list(call))
        after = [call.is_active(), told(call.code), call.trailing_metadata()]
        return type(call), has, first, during, rest, after

    with channel_to(shop, edge, None, options) as channel:
        bare = story(channel)
    with channel_to(shop, edge, tracing, options) as channel:
        assert story(channel) == bare
        assert code(tracing) == bare[-1][1].name


@EDGES
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("options", [None, SINGLE_THREADED], ids=["", "single-threaded"])
@pytest.mark.parametrize("leave", ["cancel", "break", "close the channel"])
def test_a_half_read_stream_is_cancelled(shop, tracing, edge, kind, options, leave):
    """However it is left, its span ends CANCELLED, once."""
    shop.go_on.clear()
    with channel_to(shop, edge, tracing, options) as channel:
        call = method_of(channel, kind)(request_of(kind, b"wait"))
        assert next(call) == b"first"
        if leave == "cancel":
            call.cancel()
            del call  # without its thread a call hears of its end only when it is read or dropped
        elif leave == "break":
            del call
        else:
            channel.close()
            with contextlib.suppress(grpc.RpcError):
                list(call)
        ended = code(tracing)
    shop.go_on.set()
    assert ended == "CANCELLED"


@EDGES
@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_span_stays_current(shop, tracing, edge, kind):
    """Before, between and after messages; only the request iterator runs under the call's span."""
    seen = []

    def requests():
        seen.append(trace.get_current_span().get_span_context().span_id)
        with tracing.tracer("shop").start_as_current_span("packing"):
            yield b"ok"

    with (
        channel_to(shop, edge, tracing) as channel,
        tracing.tracer("shop").start_as_current_span("caller") as caller,
    ):
        request = requests() if kind.startswith("stream") else b"ok"
        answer = method_of(channel, kind)(request)
        assert trace.get_current_span() is caller
        if kind in STREAMS:
            for _ in answer:
                assert trace.get_current_span() is caller
        assert trace.get_current_span() is caller
    spans = {s.name: s for s in tracing.sink.take_many(3 if kind.startswith("stream") else 2)}
    call = spans[f"shop.Orders/{kind}"]
    assert call.parent.span_id == caller.get_span_context().span_id
    if kind.startswith("stream"):
        assert seen == [call.context.span_id]
        assert spans["packing"].parent.span_id == call.context.span_id


@EDGES
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "metadata",
    [
        [("x-a", "1"), ("x-a", "2"), ("x-raw-bin", b"\x00\xfe"), ("x-text-bin", b"plain")],
        ((b"x-bytes", "1"), ("x-b", b"bytes")),
        [("X-Upper", "1")],
        [("x-a", "line\nbreak")],
        [("x-a", "1", "2")],
        [("x-a", 1)],
        "nonsense",
        17,
    ],
    ids=["good", "bytes", "upper", "newline", "triple", "number", "text", "not-iterable"],
)
def test_odd_metadata_fares_as_bare(shop, tracing, edge, kind, metadata):
    """What gRPC takes arrives whole; what it refuses is refused in its own words."""

    def story(channel):
        shop.metadata = ()

        def call():
            answer = method_of(channel, kind)(request_of(kind, b"ok"), metadata=metadata)
            return list(answer) if kind in STREAMS else answer

        answer = told(call)
        if isinstance(answer, str):  # old versions quote all metadata, and ours is among it
            answer = answer.partition("metadata was invalid")[0]
            if "string formatting" in answer:  # or stumble over that
                answer = "ValueError: "
        return answer, shop.metadata

    with channel_to(shop, edge, None) as channel:
        bare = story(channel)
    with channel_to(shop, edge, tracing) as channel:
        assert story(channel) == bare
        spans = settle(tracing)
    assert len(spans) <= 1


@EDGES
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_request_fails_as_bare(shop, tracing, edge, kind):
    """The code is gRPC's, the exception is on the client's span, and that ends."""

    def refuse(message):
        raise ValueError(message)

    def story(channel):
        def call():
            answer = method_of(channel, kind, refuse)(request_of(kind, b"ok"), timeout=5)
            return list(answer) if kind in STREAMS else answer

        return told(call)

    with channel_to(shop, edge, None) as channel:
        bare = story(channel)
    with channel_to(shop, edge, tracing) as channel:
        assert story(channel) == bare
        (span,) = tracing.sink.take_many(1)
    assert span.attributes["rpc.response.status_code"] == bare[1].name


@EDGES
@pytest.mark.parametrize("kind", KINDS)
def test_suppressed_calls_are_left_alone(shop, tracing, edge, kind):
    """Under OpenTelemetry's suppression there is no span and no header."""
    with channel_to(shop, edge, tracing) as channel, suppress_instrumentation():
        answer = method_of(channel, kind)(request_of(kind, b"ok"))
        assert (list(answer)[-1] if kind in STREAMS else answer) == b"ok"
    assert shop.metadata == ()
    assert tracing.stats().started == 0


class Recorded(grpc.Channel):
    """A channel that only notes what it is asked."""

    def __init__(self):
        self.made, self.calls = [], []

    def _make(self, *args, **kwargs):
        self.made.append((args[0], *args[3:], kwargs))
        channel = self

        class Method:
            def __call__(self, *args, **kwargs):
                channel.calls.append((args, kwargs))
                return self

            def with_call(self, *args, **kwargs):
                return self(*args, **kwargs), self

            future = __call__

            def done(self):
                return True

            def add_callback(self, callback):
                return False

            def result(self):
                return b""

            exception = initial_metadata = trailing_metadata = lambda self: None

        return Method()

    unary_unary = unary_stream = stream_unary = stream_stream = _make

    def subscribe(self, callback, try_to_connect=False):
        self.calls.append((callback, try_to_connect))

    def unsubscribe(self, callback):
        self.calls.append(callback)

    def close(self):
        self.calls.append("close")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_goes_on_as_it_came(tracing, kind):
    """Credentials, ``wait_for_ready`` and ``compression``, by place or by name, for each verb."""
    recorded = Recorded()
    channel = tracekit.grpc.trace_channel(recorded, tracing)
    method = getattr(channel, kind)("/s.S/m", None, None, _registered_method=True)
    verbs = ["__call__", *(["with_call", "future"] if kind in UNARY else [])]
    for verb in verbs:
        getattr(method, verb)(b"", 3, None, "credentials", True, "gzip")
        getattr(method, verb)(b"", compression="gzip", wait_for_ready=True, timeout=3)
    for (_, *by_place), by_name in recorded.calls:
        metadata = by_place.pop(1) if by_place else by_name.pop("metadata")
        assert dict(metadata)["uber-trace-id"]
        assert (by_place, by_name) in (
            ([3, "credentials", True, "gzip"], {}),
            ([], {"timeout": 3, "compression": "gzip", "wait_for_ready": True}),
        )
    assert {str(made) for made in recorded.made} == {str(("/s.S/m", {"_registered_method": True}))}
    tracing.sink.take_many(2 * len(verbs))


def test_the_rest_of_a_channel_is_bare(tracing):
    """Subscriptions, closing and private parts reach the channel that was wrapped."""
    recorded = Recorded()
    channel = tracekit.grpc.trace_channel(recorded, tracing)
    channel.subscribe(print, try_to_connect=True)
    channel.unsubscribe(print)
    with channel as entered:
        assert entered is channel
    channel.close()
    assert recorded.calls == [(print, True), print, "close"]
    assert channel.made is recorded.made


def test_a_call_may_wait_for_its_server(tracing):
    """``wait_for_ready`` waits; without it the call fails UNAVAILABLE at once, as its span says."""
    with grpc.insecure_channel("127.0.0.1:1") as bare:
        method = tracekit.grpc.trace_channel(bare, tracing).unary_unary("/shop.Orders/x")
        assert told(method, b"")[1] is grpc.StatusCode.UNAVAILABLE
        began = time.monotonic()
        assert told(method, b"", timeout=0.2, wait_for_ready=True)[1] is (
            grpc.StatusCode.DEADLINE_EXCEEDED
        )
        assert time.monotonic() - began >= 0.15
    codes = [s.attributes["rpc.response.status_code"] for s in tracing.sink.take_many(2)]
    assert codes == ["UNAVAILABLE", "DEADLINE_EXCEEDED"]
