"""What interceptors of others do around our handlers: contexts, kept handlers, limits, start-up."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode

import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

UU = grpc.unary_unary_rpc_method_handler
US = grpc.unary_stream_rpc_method_handler
CODE = "rpc.response.status_code"


def servers(tracing, sink_count):
    spans = [s for s in tracing.sink.take_many(sink_count) if s.kind is SpanKind.SERVER]
    return sorted(spans, key=lambda span: span.start_time)


@pytest.fixture
def serve(stack):
    """Return what serves handlers by name, blocking, with the interceptors given; the channel."""

    def serve(*interceptors, **methods):
        handlers = grpc.method_handlers_generic_handler("shop.Orders", methods)
        server = grpc.server(ThreadPoolExecutor(8), (handlers,), interceptors)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stack.callback(lambda: server.stop(0).wait(5))
        return stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))

    return serve


@pytest.fixture
def serve_aio(stack, run):
    """The same on asyncio; ``around`` is entered while the server is started."""

    def serve(*interceptors, around=contextlib.nullcontext, options=None, **methods):
        handlers = grpc.method_handlers_generic_handler("shop.Orders", methods)

        async def start():
            server = grpc.aio.server(ThreadPoolExecutor(4), (handlers,), interceptors, options)
            port = server.add_insecure_port("127.0.0.1:0")
            with around():
                await server.start()
            return server, port

        server, port = run(start())
        stack.callback(lambda: run(server.stop(0)))
        return stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))

    return serve


# --- contexts ---

ABSTRACT = sorted(grpc.ServicerContext.__abstractmethods__)


def passing(name):
    return lambda self, *args: getattr(self._real, name)(*args)


class Minimal(grpc.ServicerContext):
    """The abstract methods and no more."""

    def __init__(self, real):
        self._real = real


for _name in ABSTRACT:
    setattr(Minimal, _name, passing(_name))
Minimal.__abstractmethods__ = frozenset()


def with_attributes(real):
    """Attributes where gRPC has methods."""

    class Plain(Minimal):
        code = None
        details = "nothing"
        trailing_metadata = ()
        time_remaining = 3.5

    return Plain(real)


def raising(real):
    """Methods that raise whatever."""

    def broken(self, *args):
        raise OSError("not here")

    return type("Raising", (Minimal,), dict.fromkeys(("code", "details", "peer"), broken))(real)


class Unseen:
    """Knows the real one by a closure only; hardly anything of a context."""

    def __init__(self, real):
        self.abort = real.abort
        self.set_code = real.set_code


CONTEXTS = [Minimal, with_attributes, raising, Unseen, lambda real: None]


class Hands(grpc.ServerInterceptor):
    """Hands the handler a context of its own."""

    def __init__(self, make):
        self.make = make

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        if handler.unary_unary:
            return UU(lambda request, context: handler.unary_unary(request, self.make(context)))
        return US(lambda request, context: handler.unary_stream(request, self.make(context)))


def act(request, context):
    if request == b"abort":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not yet")
    if request == b"set":
        context.set_code(grpc.StatusCode.DATA_LOSS)
    if request == b"raise":
        raise KeyError("gone")
    return request


def act_stream(request, context):
    yield b"first"
    yield act(request, context)


def told(call, request):
    try:
        return call(request)
    except grpc.RpcError as error:
        return error.code(), error.details()


@pytest.mark.parametrize("request_", [b"ok", b"abort", b"set", b"raise"])
@pytest.mark.parametrize("make", CONTEXTS)
def test_a_foreign_context_changes_nothing(tracing, serve, make, request_):
    """The client sees what it sees without us; each RPC has one span, which has ended."""
    if make is CONTEXTS[-1] and request_ in (b"abort", b"set"):
        pytest.skip("there is no context to abort")
    both = []
    for interceptors in ((Hands(make),), (Hands(make), tracekit.grpc.server_interceptor(tracing))):
        channel = serve(*interceptors, Act=UU(act), Many=US(act_stream))
        unary = channel.unary_unary("/shop.Orders/Act")
        stream = channel.unary_stream("/shop.Orders/Many")
        both.append([told(unary, request_), told(lambda r, s=stream: list(s(r)), request_)])
    assert both[0] == both[1]
    unary, stream = servers(tracing, 2)
    known = make not in (Unseen, CONTEXTS[-1])
    if known or request_ in (b"ok", b"raise"):
        wire = "OK" if request_ == b"ok" else both[0][0][0].name
        assert unary.attributes[CODE] == stream.attributes[CODE] == wire


class Bare:
    """The arrival of an RPC with no more than gRPC itself needs of it once the handler runs."""

    def __init__(self, event):
        self.call = event.call


def of_a_bare_arrival(real):
    return type(real)(Bare(real._rpc_event), real._state, real._request_deserializer)


def of_another_state(real):
    return type(real)(real._rpc_event, object(), real._request_deserializer)


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("around", [of_a_bare_arrival, of_another_state])
def test_an_own_context_of_foreign_parts(tracing, serve, around, sampled):
    """A context of gRPC's own is no matter around an arrival or a state of somebody else's."""
    ours = tracekit.grpc.server_interceptor(tracing)
    channel = serve(Hands(around), ours, Act=UU(act), Many=US(act_stream))
    unary = channel.unary_unary("/shop.Orders/Act")
    stream = channel.unary_stream("/shop.Orders/Many")
    metadata = metadata_of("ann", sampled=sampled)
    assert unary(b"ok", metadata=metadata, timeout=5) == b"ok"
    assert list(stream(b"ok", metadata=metadata, timeout=5)) == [b"first", b"ok"]
    if sampled:
        assert [span.attributes[CODE] for span in servers(tracing, 2)] == ["OK", "OK"]


def test_spans_end_without_context_callbacks(tracing, serve):
    """A handler that outlives its client, behind a context without callbacks, leaves none open."""
    done = threading.Event()

    def slow(request, context):
        time.sleep(0.15)
        done.set()
        return request

    channel = serve(Hands(Unseen), tracekit.grpc.server_interceptor(tracing), Act=UU(slow))
    with pytest.raises(grpc.RpcError):
        channel.unary_unary("/shop.Orders/Act")(b"", timeout=0.05)
    assert done.wait(3)
    assert tracing.sink.take().kind is SpanKind.SERVER


# --- handlers that are kept ---


class Keeps(grpc.ServerInterceptor):
    """Keeps the handler that it was given first for each method."""

    def __init__(self):
        self.kept = {}

    def intercept_service(self, continuation, details):
        if details.method not in self.kept:
            self.kept[details.method] = continuation(details)
        return self.kept[details.method]


class AioKeeps(grpc.aio.ServerInterceptor):
    def __init__(self):
        self.kept = {}

    async def intercept_service(self, continuation, details):
        if details.method not in self.kept:
            self.kept[details.method] = await continuation(details)
        return self.kept[details.method]


@pytest.fixture
def downstream(tracing, serve):
    """Return a traced method of another service that tells whose baggage and id arrived."""

    def tell(request, context):
        arrived = dict(context.invocation_metadata())
        return f"{arrived.get('uberctx-user')} {arrived.get('x-request-id')}".encode()

    channel = serve(Tell=UU(tell))
    return tracekit.grpc.trace_channel(channel, tracing).unary_unary("/shop.Orders/Tell")


def metadata_of(user, *, sampled=True):
    trace_id = f"{hash(user) & 0xFFFFFFFF | 1:x}"
    return (
        ("uber-trace-id", f"{trace_id}:{trace_id}:0:{int(sampled)}"),
        ("uberctx-user", user),
        ("x-request-id", f"id-of-{user}"),
    )


@pytest.mark.parametrize("flavour", ["blocking", "aio", "aio_threads"])
@pytest.mark.parametrize("users", [(True, True, True), (False, True, False)], ids=["all", "some"])
def test_a_kept_handler_tells_callers_apart(tracing, serve, serve_aio, downstream, flavour, users):
    """The metadata of the call that is being served decides: baggage, ids, parent, sampling."""

    async def handle(request, context):
        return await asyncio.to_thread(downstream, request)

    if flavour == "blocking":
        ours = tracekit.grpc.server_interceptor(tracing)
        channel = serve(Keeps(), ours, Act=UU(lambda request, _: downstream(request)))
    else:
        ours = tracekit.grpc.aio.server_interceptor(tracing)
        handler = handle if flavour == "aio" else lambda request, _: downstream(request)
        channel = serve_aio(AioKeeps(), ours, Act=UU(handler))
    method = channel.unary_unary("/shop.Orders/Act")
    for user, sampled in zip(("ann", "ben", "cas"), users, strict=True):
        answer = method(b"", metadata=metadata_of(user, sampled=sampled), timeout=5)
        assert answer == f"{user} id-of-{user}".encode()
    spans = servers(tracing, 2 * sum(users))
    assert [span.attributes[CODE] for span in spans] == ["OK"] * sum(users)
    expected = [
        int(dict(metadata_of(user))["uber-trace-id"].split(":")[0], 16)
        for user, sampled in zip(("ann", "ben", "cas"), users, strict=True)
        if sampled
    ]
    assert [span.context.trace_id for span in spans] == expected
    assert [span.parent.span_id for span in spans] == expected


def test_a_kept_handler_serves_concurrently(tracing, serve, downstream):
    """Also while the call that it was made for is still being served."""
    together = threading.Barrier(3)

    def handle(request, context):
        together.wait(3)
        return downstream(request)

    channel = serve(Keeps(), tracekit.grpc.server_interceptor(tracing), Act=UU(handle))
    method = channel.unary_unary("/shop.Orders/Act")
    users = ("dan", "eve", "fay")
    calls = [method.future(b"", metadata=metadata_of(user)) for user in users]
    assert [call.result(5) for call in calls] == [f"{u} id-of-{u}".encode() for u in users]
    assert len({span.context.trace_id for span in servers(tracing, 6)}) == 3


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_a_kept_handler_begins_twice_at_once(tracing, serve, kind):
    """Neither takes the other for the call that the handler was made for."""
    together = threading.Barrier(2)

    class Waits(Unseen):
        """Is asked about both calls before either has begun."""

        def peer(self):
            together.wait(3)
            return "ipv4:127.0.0.1:1"

    def handle(request, context):
        together.wait(3)  # nor has either ended before both have begun
        return request

    def stream(request, context):
        yield handle(request, context)

    waits, keeps = Hands(Waits), Keeps()
    ours = tracekit.grpc.server_interceptor(tracing)
    channel = serve(waits, keeps, ours, Act=UU(handle), Many=US(stream))
    if kind == "unary":
        method = channel.unary_unary("/shop.Orders/Act")
        calls = [method.future(b"ok", timeout=5) for _ in range(2)]
        assert [call.result(5) for call in calls] == [b"ok"] * 2
    else:
        calls = [channel.unary_stream("/shop.Orders/Many")(b"ok", timeout=5) for _ in range(2)]
        assert [list(call)[-1] for call in calls] == [b"ok"] * 2
    spans = servers(tracing, 2)
    assert len({span.context.span_id for span in spans}) == 2
    assert tracing.stats().open == 0


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_a_kept_handler_tells_failures_apart(tracing, serve, kind):
    """Codes, aborts and exceptions are on the span of the call that had them."""
    keeps, ours = Keeps(), tracekit.grpc.server_interceptor(tracing)
    channel = serve(keeps, ours, Act=UU(act), Many=US(act_stream))
    requests = [b"ok", b"abort", b"raise", b"set", b"ok"]
    for request in requests:
        with contextlib.suppress(grpc.RpcError):
            if kind == "unary":
                channel.unary_unary("/shop.Orders/Act")(request)
            else:
                list(channel.unary_stream("/shop.Orders/Many")(request))
    codes = [span.attributes[CODE] for span in servers(tracing, len(requests))]
    assert codes == ["OK", "FAILED_PRECONDITION", "UNKNOWN", "DATA_LOSS", "OK"]


class Twice(grpc.ServerInterceptor):
    """Calls the handler twice, the second time on another thread."""

    def intercept_service(self, continuation, details):
        handler = continuation(details)

        def twice(request, context):
            answers = [handler.unary_unary(request, context)]
            again = threading.Thread(
                target=lambda: answers.append(handler.unary_unary(request, context))
            )
            again.start()
            again.join(5)
            return answers[1]

        return UU(twice, handler.request_deserializer, handler.response_serializer)


def test_a_repeated_handler_has_two_spans(tracing, serve, downstream):
    """Both are children of the caller, and both end."""
    channel = serve(
        Twice(), tracekit.grpc.server_interceptor(tracing), Act=UU(lambda r, _: downstream(r))
    )
    assert channel.unary_unary("/shop.Orders/Act")(b"", metadata=metadata_of("gil")) == (
        b"gil id-of-gil"
    )
    spans = servers(tracing, 4)
    assert len({span.parent.span_id for span in spans}) == 1
    assert [span.attributes[CODE] for span in spans] == ["OK", "OK"]


# --- whoever answers in the handler's stead ---


class Translates(grpc.ServerInterceptor):
    """Turns exceptions into codes, or answers."""

    def intercept_service(self, continuation, details):
        handler = continuation(details)

        def translated(request, context):
            try:
                return handler.unary_unary(request, context)
            except KeyError:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such key")
            except LookupError:
                return b"default"

        return UU(translated, handler.request_deserializer, handler.response_serializer)


def test_a_translated_exception_has_its_code(tracing, serve):
    """The span has the code on the wire, and the exception that was behind it."""

    def fail(request, context):
        raise {b"key": KeyError, b"index": IndexError, b"value": ValueError}[request]("odd")

    channel = serve(Translates(), tracekit.grpc.server_interceptor(tracing), Act=UU(fail))
    method = channel.unary_unary("/shop.Orders/Act")
    assert method(b"index") == b"default"
    for request, code in (b"key", "NOT_FOUND"), (b"value", "UNKNOWN"):
        with pytest.raises(grpc.RpcError) as raised:
            method(request)
        assert raised.value.code().name == code
    spans = servers(tracing, 3)
    assert [span.attributes[CODE] for span in spans] == ["OK", "NOT_FOUND", "UNKNOWN"]
    assert [[event.name for event in span.events] for span in spans] == [["exception"]] * 3


class AioLimits(grpc.aio.ServerInterceptor):
    """Gives handlers little time, and answers, or aborts, when that is over."""

    def __init__(self, code=None):
        self.code = code

    async def intercept_service(self, continuation, details):
        handler = await continuation(details)

        async def limited(request, context):
            try:
                return await asyncio.wait_for(handler.unary_unary(request, context), 0.05)
            except asyncio.TimeoutError:
                if self.code is not None:
                    await context.abort(self.code, "too slow")
                return b"late"

        return UU(limited, handler.request_deserializer, handler.response_serializer)


@pytest.mark.parametrize("code", [None, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_an_outer_timeout_decides_the_code(tracing, serve_aio, code):
    """A handler that was cancelled by it did not cancel the call."""

    async def slow(request, context):
        await asyncio.sleep(3)

    ours = tracekit.grpc.aio.server_interceptor(tracing)
    channel = serve_aio(AioLimits(code), ours, Act=UU(slow))
    method = channel.unary_unary("/shop.Orders/Act")
    if code is None:
        assert method(b"", timeout=3) == b"late"
    else:
        with pytest.raises(grpc.RpcError):
            method(b"", timeout=3)
    assert tracing.sink.take().attributes[CODE] == ("OK" if code is None else code.name)


@pytest.mark.parametrize("then", ["return", "raise", "yield"])
def test_a_swallowed_abort_is_what_went_out(tracing, serve_aio, then):
    """Whatever an asynchronous generator does after its abort."""

    async def handle(request, context):
        try:
            yield b"first"
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "no further")
        except BaseException:
            if then == "raise":
                raise ValueError("afterwards") from None
            if then == "yield":
                yield b"too late"

    ours = tracekit.grpc.aio.server_interceptor(tracing)
    channel = serve_aio(ours, Many=US(handle))
    with pytest.raises(grpc.RpcError) as raised:
        list(channel.unary_stream("/shop.Orders/Many")(b"", timeout=3))
    assert raised.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert tracing.sink.take().attributes[CODE] == "OUT_OF_RANGE"


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
def test_a_request_too_large_is_no_success(tracing, serve_aio, kind):
    """A handler on asyncio sees the end of the stream and returns; nothing of that goes out."""

    async def one(requests, context):
        return b"".join([request async for request in requests])

    async def many(requests, context):
        async for request in requests:
            yield request

    handler = grpc.stream_unary_rpc_method_handler(one)
    if kind == "stream_stream":
        handler = grpc.stream_stream_rpc_method_handler(many)
    ours = tracekit.grpc.aio.server_interceptor(tracing)
    seen = []
    options = [("grpc.max_receive_message_length", 64)]

    def call(channel, last):
        answer = getattr(channel, kind)("/shop.Orders/Act")(iter([b"small", last]), timeout=5)
        return list(answer) if kind == "stream_stream" else answer

    for interceptors in ((), (ours,)):
        channel = serve_aio(*interceptors, options=options, Act=handler)
        seen += [told(functools.partial(call, channel), b"x" * size) for size in (9, 99)]
    assert seen[:2] == seen[2:]
    assert seen[1][0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    good, bad = (span.attributes[CODE] for span in servers(tracing, 2))
    assert good == "OK"
    for _ in range(20):
        if bad == "CANCELLED":
            break  # on a busy machine gRPC hears of it a step of the loop too late, now and then
        told(functools.partial(call, channel), b"x" * 99)
        bad = tracing.sink.take().attributes[CODE]
    assert bad == "CANCELLED"


def test_a_kept_handler_and_a_large_request(tracing, serve_aio):
    """Also where it was made for an RPC that is not sampled, and so has no span."""

    async def one(requests, context):
        return b"".join([request async for request in requests])

    options = [("grpc.max_receive_message_length", 64)]
    ours = tracekit.grpc.aio.server_interceptor(tracing)
    handler = grpc.stream_unary_rpc_method_handler(one)
    channel = serve_aio(AioKeeps(), ours, options=options, Act=handler)
    method = channel.stream_unary("/shop.Orders/Act")

    def call(size, *, sampled):
        metadata = metadata_of("ann", sampled=sampled)
        return method(iter([b"small", b"x" * size]), metadata=metadata, timeout=5)

    assert call(9, sampled=False) == b"small" + b"x" * 9
    for _ in range(20):  # as above: now and then gRPC hears of it too late
        seen = told(functools.partial(call, sampled=True), 99)
        assert seen[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        code = tracing.sink.take().attributes[CODE]
        if code == "CANCELLED":
            break
    assert code == "CANCELLED"


@pytest.mark.parametrize("flavour", ["blocking", "aio", "aio_threads"])
def test_a_cancel_before_a_deadline_is_one(tracing, serve, serve_aio, flavour):
    """What happened first is the code, however long the handler takes to end after that."""
    begun = threading.Event()

    def slow(request, context):
        begun.set()
        time.sleep(0.4)
        return request

    async def stubborn(request, context):
        begun.set()
        try:
            await asyncio.sleep(3)
        finally:
            await asyncio.sleep(0.3)  # it has something to put away
        return request

    if flavour == "blocking":
        channel = serve(tracekit.grpc.server_interceptor(tracing), Act=UU(slow))
    else:
        ours = tracekit.grpc.aio.server_interceptor(tracing)
        channel = serve_aio(ours, Act=UU(stubborn if flavour == "aio" else slow))
    call = channel.unary_unary("/shop.Orders/Act").future(b"", timeout=0.25)
    assert begun.wait(3)
    call.cancel()
    span = tracing.sink.take()
    assert span.attributes[CODE] == "CANCELLED"
    assert span.status.status_code is not StatusCode.ERROR


# --- what was current at the start ---


@contextlib.contextmanager
def current(tracing, *, span=True, suppress=None):
    context = baggage.set_baggage("from", "start-up")
    token = otel_context.attach(context)
    with contextlib.ExitStack() as stack:
        if span:
            stack.enter_context(tracing.tracer("app").start_as_current_span("start-up"))
        if suppress == "made":
            stack.enter_context(suppress_instrumentation())
        elif suppress == "plain":
            suppressed = otel_context.set_value("suppress_instrumentation", True)
            inner = otel_context.attach(suppressed)
            stack.callback(otel_context.detach, inner)
        yield
    otel_context.detach(token)


class Adds(grpc.aio.ServerInterceptor):
    """Makes a baggage current for the RPC, in whatever way."""

    async def intercept_service(self, continuation, details):
        otel_context.attach(baggage.set_baggage("tenant", "blue"))
        return await continuation(details)


@pytest.mark.parametrize("theirs", [(), (Adds(),)], ids=["alone", "below another"])
@pytest.mark.parametrize("suppress", [None, "made", "plain"])
@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_no_request_inherits_from_startup(tracing, serve_aio, kind, suppress, theirs):
    """A request without headers is a root; what interceptors add during the RPC is there."""
    bags = []

    async def unary(request, context):
        bags.append(dict(baggage.get_all()))
        return request

    async def stream(request, context):
        bags.append(dict(baggage.get_all()))
        yield request

    ours = tracekit.grpc.aio.server_interceptor(tracing)
    channel = serve_aio(
        *theirs,
        ours,
        around=lambda: current(tracing, suppress=suppress),
        Act=UU(unary),
        Many=US(stream),
    )
    for _ in range(2):
        if kind == "unary":
            channel.unary_unary("/shop.Orders/Act")(b"", timeout=3)
        else:
            list(channel.unary_stream("/shop.Orders/Many")(b"", timeout=3))
    spans = servers(tracing, 3)
    assert [span.parent for span in spans] == [None, None]
    assert bags == [{"tenant": "blue"} if theirs else {}] * 2


@pytest.mark.parametrize("key", ["suppress_instrumentation"])
def test_both_keys_suppress(tracing, serve, key):
    """The plain key, which most instrumentations set, is honoured on both sides."""

    class Suppresses(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            handler = continuation(details)

            def quiet(request, context):
                token = otel_context.attach(otel_context.set_value(key, True))
                try:
                    return handler.unary_unary(request, context)
                finally:
                    otel_context.detach(token)

            return UU(quiet)

    ours = tracekit.grpc.server_interceptor(tracing)
    channel = serve(Suppresses(), ours, Act=UU(lambda request, _: request))
    method = tracekit.grpc.trace_channel(channel, tracing).unary_unary("/shop.Orders/Act")
    token = otel_context.attach(otel_context.set_value(key, True))
    assert method(b"x") == b"x"
    otel_context.detach(token)


# --- what handlers see ---


def test_aio_contexts_keep_every_name(tracing, serve_aio):
    """To a blocking handler ``dir``, ``isinstance`` and attributes are those of gRPC's own."""
    seen = []

    def look(request, context):
        seen.append((sorted(dir(context)), [type(context).__mro__[-1], context.__class__]))
        with pytest.raises(AttributeError):
            context.of_my_own = 1
        return request

    for interceptors in ((), (tracekit.grpc.aio.server_interceptor(tracing),)):
        serve_aio(*interceptors, Act=UU(look)).unary_unary("/shop.Orders/Act")(b"", timeout=3)
    assert seen[0] == seen[1]
    tracing.sink.take()


class Labelled(grpc.RpcMethodHandler):
    """A handler of somebody's own class, with a label that interceptors further out look for."""

    def __init__(self, handler):
        for name in type(handler)._fields:
            setattr(self, name, getattr(handler, name))
        self.needs = "login"


def test_a_handler_keeps_its_attributes(tracing, serve):
    """Interceptors further out find their own attributes and class on it."""
    found = []

    class Looks(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            handler = continuation(details)
            found.append((handler.needs, isinstance(handler, Labelled)))
            return handler

    ours = tracekit.grpc.server_interceptor(tracing)
    channel = serve(Looks(), ours, Act=Labelled(UU(lambda request, _: request)))
    assert channel.unary_unary("/shop.Orders/Act")(b"x") == b"x"
    assert found == [("login", True)]
    assert tracing.sink.take().attributes[CODE] == "OK"


def test_hooks_see_the_callers_timeout(tracing, serve):
    """``Rpc.timeout_s`` on both sides; None without a deadline."""
    seen = []

    def note(span, rpc):
        seen.append(rpc.timeout_s)

    ours = tracekit.grpc.server_interceptor(tracing, on_start=note)
    channel = tracekit.grpc.trace_channel(
        serve(ours, Act=UU(lambda request, _: request)), tracing, on_start=note
    )
    method = channel.unary_unary("/shop.Orders/Act")
    method(b"", timeout=7)
    method.future(b"", 8).result()
    method(b"")
    tracing.sink.take_many(6)
    assert seen[0] == 7
    assert 6 < seen[1] < 7.5
    assert seen[2] == 8
    assert seen[4] is None
    assert seen[5] is None
