"""A server's handlers and its end: what a program may do there, with and without tracing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest
from collector import no_collector
from waiting import eventually

import tracekit
import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def handlers(**behaviors):
    """Make handlers of the service ``shop.Orders``, each under the name of its kind."""
    make = {kind: getattr(grpc, f"{kind}_rpc_method_handler") for kind in KINDS}
    found = {kind: make[kind](behavior) for kind, behavior in behaviors.items()}
    return (grpc.method_handlers_generic_handler("shop.Orders", found),)


def serve(stack, tracing, behaviors, **options):
    """Start a blocking server, traced unless ``tracing`` is None; return it and a bare channel."""
    ours = [tracekit.grpc.server_interceptor(tracing)] if tracing else []
    server = grpc.server(ThreadPoolExecutor(4), handlers(**behaviors), ours, **options)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    return server, stack.enter_context(grpc.insecure_channel(target))


def ask(channel, kind="unary_unary", request=b"ask", timeout=5):
    """Call and return messages, code and details."""
    request = iter([request]) if kind.startswith("stream") else request
    messages = []
    try:
        answer = getattr(channel, kind)(f"/shop.Orders/{kind}")(request, timeout=timeout)
        messages.extend(answer if kind.endswith("_stream") else [answer])
    except grpc.RpcError as error:
        return messages, error.code(), error.details()
    return messages, grpc.StatusCode.OK, ""


def ask_asyncio(run, tracing, kind, behavior):
    """Ask the same of one handler on a ``grpc.aio`` server."""
    ours = [tracekit.grpc.aio.server_interceptor(tracing)] if tracing else []

    async def start():
        server = grpc.aio.server(ThreadPoolExecutor(2), handlers(**{kind: behavior}), ours)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = run(start())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        found = ask(channel, kind)
    run(server.stop(1))
    return found


def codes(tracing, count=1):
    spans = tracing.sink.take_many(count)
    return [span.attributes["rpc.response.status_code"] for span in spans]


class Iterator:
    """An iterator that is no generator, and never heard of ``close``."""

    def __init__(self):
        self.left = [b"one", b"two"]

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


class Called:
    """A handler that is an object."""

    def __call__(self, request, context):
        return request


def cancels(request, context):
    context.cancel()
    while context.is_active():
        time.sleep(0.001)
    return request


def in_another_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(5)


def cancels_and_returns(request, context):
    context.cancel()
    return request


def cancels_and_raises(request, context):
    context.cancel()
    raise KeyError(request)


def cancels_and_aborts(request, context):
    context.cancel()
    context.abort(grpc.StatusCode.NOT_FOUND, "gone")


def cancels_with_a_code(request, context):
    context.set_code(grpc.StatusCode.DATA_LOSS)
    context.cancel()
    return request


def cancels_with_trailers(request, context):
    context.set_trailing_metadata((("late", "1"),))
    context.cancel()
    return request


def cancels_with_illegal_trailers(request, context):
    context.set_trailing_metadata((("Late", "1"),))
    context.cancel()
    return request


def cancels_and_raises_with_illegal_trailers(request, context):
    context.set_trailing_metadata((("Late", "1"),))
    context.cancel()
    raise KeyError(request)


def cancels_a_large_response(request, context):
    context.cancel()
    return b"x" * 5000


def cancels_what_cannot_be_sent(request, context):
    context.cancel()
    return 5


def cancels_thrice(request, context):
    for _ in range(3):
        assert context.cancel() is None
    return request


def cancels_from_a_thread(request, context):
    in_another_thread(context.cancel)
    return request


def cancels_after_sending(request, context):
    context.send_initial_metadata((("early", "1"),))
    context.cancel()
    return request


CANCELLING = (
    cancels,
    cancels_and_returns,
    cancels_and_raises,
    cancels_and_aborts,
    cancels_with_a_code,
    cancels_with_trailers,
    cancels_with_illegal_trailers,
    cancels_and_raises_with_illegal_trailers,
    cancels_a_large_response,
    cancels_what_cannot_be_sent,
    cancels_thrice,
    cancels_from_a_thread,
    cancels_after_sending,
)


def trailing_only(request, context):
    context.set_trailing_metadata((("late", "1"),))
    context.set_details("all is well")
    return request


def odd_code(request, context):
    context.set_code(5)  # a number is no code to a blocking server
    return request


# What gRPC cannot even refuse: it logs an error and leaves the client waiting.
NEVER_ANSWERED = ("text", "a number", "a kind of bytes", "a stream of numbers")


class Data(bytes):
    """Bytes of a class of the program's."""


def stops(request, context):
    raise StopIteration("x")


def swallows_abort(request, context):
    with contextlib.suppress(Exception):
        context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    return request


def aborts_twice(request, context):
    try:
        context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    except Exception:
        context.abort(grpc.StatusCode.INTERNAL, "broken")


def aborts_then_raises(request, context):
    try:
        context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    except Exception as error:
        raise ValueError(request) from error


def aborts_with_ok(request, context):
    context.abort(grpc.StatusCode.OK, "all is well")


def raises_nothing_special(request, context):
    raise Exception  # noqa: TRY002 (what an abort looks like)


def raises_after_ok(request, context):
    context.set_code(grpc.StatusCode.OK)
    raise ValueError(request)


def details_in_bytes(request, context):
    context.set_code(grpc.StatusCode.INTERNAL)
    context.set_details(b"broken \xff")
    return request


BEHAVIORS = {
    "StopIteration": ("unary_unary", stops),
    "a swallowed abort": ("unary_unary", swallows_abort),
    "two aborts": ("unary_unary", aborts_twice),
    "an abort, then an error": ("unary_unary", aborts_then_raises),
    "an abort with OK": ("unary_unary", aborts_with_ok),
    "a bare Exception": ("unary_unary", raises_nothing_special),
    "an error after OK": ("unary_unary", raises_after_ok),
    "details in bytes": ("unary_unary", details_in_bytes),
    "an iterator": ("unary_stream", lambda request, context: Iterator()),
    "a list": ("unary_stream", lambda request, context: [b"one", b"two"]),
    "nothing": ("unary_unary", lambda request, context: None),
    "no iterator": ("unary_stream", lambda request, context: None),
    "text": ("unary_unary", lambda request, context: "text"),
    "a number": ("unary_unary", lambda request, context: 5),
    "a kind of bytes": ("unary_unary", lambda request, context: Data(request)),
    "a stream of numbers": ("unary_stream", lambda request, context: iter([b"one", 5])),
    "a stream of nothing": ("unary_stream", lambda request, context: iter([b"one", None])),
    "an object": ("unary_unary", Called()),
    "context.cancel": ("unary_unary", cancels),
    "details": ("unary_unary", trailing_only),
    "a number as code": ("unary_unary", odd_code),
}


@pytest.mark.parametrize("name", sorted(BEHAVIORS.keys() - NEVER_ANSWERED))
def test_an_odd_handler_is_as_bare(stack, tracing, name):
    """Whatever a handler is or returns, the client sees what it would see, and so does the span."""
    kind, behavior = BEHAVIORS[name]
    _, bare = serve(stack, None, {kind: behavior})
    _, traced = serve(stack, tracing, {kind: behavior})
    expected = ask(bare, kind)
    assert ask(traced, kind) == expected
    assert codes(tracing) == [expected[1].name]


def of_kind(kind, behavior):
    """Return a handler that does what ``behavior`` does, of streams with its one message."""

    def handler(requests, context):
        return behavior(next(requests) if kind.startswith("stream") else requests, context)

    def stream(requests, context):
        yield handler(requests, context)

    return stream if kind.endswith("_stream") else handler


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behavior", CANCELLING, ids=lambda behavior: behavior.__name__)
def test_a_handler_that_cancels_its_own_call(stack, tracing, kind, behavior):
    """What it does then is never sent, and nobody waits: the client's code is the span's."""
    behavior = of_kind(kind, behavior)
    _, bare = serve(stack, None, {kind: behavior})
    _, traced = serve(stack, tracing, {kind: behavior})
    expected = ask(bare, kind)[1:]
    assert ask(traced, kind)[1:] == expected
    assert codes(tracing) == [expected[0].name]
    assert expected[0] is grpc.StatusCode.CANCELLED


def test_a_cancel_behind_the_response_is_ok(stack, tracing):
    """A cancel behind the response, from a thread that outlived the handler, changes nothing."""
    kept = []

    def behavior(request, context):
        kept.append(context.cancel)
        return request

    _, channel = serve(stack, tracing, {"unary_unary": behavior})
    for _ in range(3):
        assert ask(channel)[1] is grpc.StatusCode.OK
        assert codes(tracing) == ["OK"]
        in_another_thread(kept.pop())
    assert tracing.stats().open == 0


def test_an_outer_cancel_does_as_bare(stack, tracing):
    """A context that somebody wrapped, or gave another ``cancel``, does what it does bare."""

    class Wrapped:
        def __init__(self, context):
            self._context = context

        def __getattr__(self, name):
            return getattr(self._context, name)

    class Outer(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            handler = continuation(details)

            def wrapped(request, context):
                if request == b"own":
                    inner, context.cancel = context.cancel, lambda: told.append(inner)
                    return handler.unary_unary(request, context)
                return handler.unary_unary(request, Wrapped(context))

            return grpc.unary_unary_rpc_method_handler(
                wrapped, handler.request_deserializer, handler.response_serializer
            )

    told = []
    service = handlers(unary_unary=cancels_and_returns)
    ours = [Outer(), tracekit.grpc.server_interceptor(tracing)]
    server = grpc.server(ThreadPoolExecutor(2), service, ours)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
    assert ask(channel)[1] is grpc.StatusCode.CANCELLED
    assert codes(tracing) == ["CANCELLED"]
    assert ask(channel, request=b"own") == ([b"own"], grpc.StatusCode.OK, "")
    assert codes(tracing) == ["OK"]
    assert len(told) == 1


def test_a_context_leads_to_no_circle(stack, tracing):
    """What gRPC knows of a call is freed with it, also when it was cancelled."""
    contexts = []

    def behavior(request, context):
        contexts.append(weakref.ref(context))
        if request == b"cancel":
            context.cancel()
        return request

    _, channel = serve(stack, tracing, {"unary_unary": behavior})
    for request in (b"", b"cancel"):
        ask(channel, request=request)
        tracing.sink.take_many(1)
    eventually(lambda: not any(context() for context in contexts))
    assert len(contexts) == 2


def test_a_kept_handler_leads_to_no_circle(stack, tracing):
    """An interceptor further out may keep a handler: what gRPC knows of each call goes with it."""
    kept, states = {}, []

    class Keeps(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            if details.method not in kept:
                kept[details.method] = continuation(details)
            return kept[details.method]

    def behavior(request, context):
        states.append(weakref.ref(context._state))
        if request == b"abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        return request

    ours = [Keeps(), tracekit.grpc.server_interceptor(tracing)]
    server = grpc.server(ThreadPoolExecutor(2), handlers(unary_unary=behavior), ours)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
    stack.enter_context(no_collector())
    for request in (b"", b"", b"abort", b""):
        ask(channel, request=request)
        tracing.sink.take_many(1)
    eventually(lambda: not any(state() for state in states[:-1]))
    assert len(states) == 4


@pytest.mark.parametrize("name", NEVER_ANSWERED)
def test_what_cannot_be_sent_is_internal(stack, tracing, name):
    """A response that is no bytes never leaves a blocking server: INTERNAL, and why."""
    kind, behavior = BEHAVIORS[name]
    for tracer in (None, tracing):
        _, channel = serve(stack, tracer, {kind: behavior})
        assert ask(channel, kind, timeout=0.2)[1] is grpc.StatusCode.DEADLINE_EXCEEDED
    (span,) = tracing.sink.take_many(1)
    assert span.attributes["rpc.response.status_code"] == "INTERNAL"
    assert "Expected bytes, got" in span.events[0].attributes["exception.message"]


@pytest.mark.parametrize("name", ["an iterator", "a list", "nothing", "text", "an object"])
def test_an_odd_handler_is_as_bare_in_aio(tracing, run, name):
    """The same where ``grpc.aio`` runs a blocking handler in its threads."""
    kind, behavior = BEHAVIORS[name]
    expected = ask_asyncio(run, None, kind, behavior)
    assert ask_asyncio(run, tracing, kind, behavior) == expected
    assert codes(tracing) == [expected[1].name]


async def aio_stops(request, context):
    raise StopAsyncIteration("x")


async def aio_swallows_abort(request, context):
    with contextlib.suppress(BaseException):
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    return request


async def aio_aborts_then_raises(request, context):
    try:
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    except BaseException as error:
        raise ValueError(request) from error


async def aio_raises_nothing_special(request, context):
    raise Exception  # noqa: TRY002 (what an abort looks like)


async def aio_raises_after_ok(request, context):
    context.set_code(grpc.StatusCode.OK)
    raise ValueError(request)


async def aio_number_as_code(request, context):
    context.set_code(5)
    return request


async def aio_no_code(request, context):
    context.set_code(99)
    return request


async def aio_greets_twice(request, context):
    for _ in range(2):
        await context.send_initial_metadata((("early", "1"),))


async def aio_bad_trailers(request, context):
    context.set_trailing_metadata(17)
    return request


async def aio_returns_from_stream(request, context):
    await context.write(b"one")
    return b"ignored"


async def aio_yields_and_writes(request, context):
    yield b"one"
    await context.write(b"two")


async def aio_code_after_yield(request, context):
    yield b"one"
    context.set_code(grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize(
    ("kind", "behavior"),
    [
        ("unary_unary", aio_stops),
        ("unary_unary", aio_swallows_abort),
        ("unary_unary", aio_aborts_then_raises),
        ("unary_unary", aio_raises_nothing_special),
        ("unary_unary", aio_raises_after_ok),
        ("unary_unary", aio_number_as_code),
        ("unary_unary", aio_no_code),
        ("unary_unary", aio_greets_twice),
        ("unary_unary", aio_bad_trailers),
        ("unary_stream", aio_returns_from_stream),
        ("unary_stream", aio_yields_and_writes),
        ("unary_stream", aio_code_after_yield),
    ],
)
def test_an_odd_coroutine_is_as_bare(tracing, run, kind, behavior):
    """Coroutines and asynchronous generators, on the server that runs them."""
    expected = ask_asyncio(run, None, kind, behavior)
    assert ask_asyncio(run, tracing, kind, behavior) == expected
    assert codes(tracing) == [expected[1].name]


class Converts(grpc.GenericRpcHandler):
    """Handlers on asyncio that answer with what they are asked, by a serializer of their own."""

    def __init__(self, kind, serializer):
        async def unary(request, context):
            return request

        async def stream(request, context):
            yield request

        behavior = unary if kind == "unary_unary" else stream
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        self.handler = make(behavior, response_serializer=serializer)

    def service(self, details):
        return self.handler


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize("data", ["text", 7, None, b"bytes", Data(b"more")])
def test_what_a_serializer_made_is_as_bare(tracing, run, kind, data):
    """``grpc.aio`` encodes text that it is given, and refuses what a serializer makes of it."""

    async def start(ours):
        server = grpc.aio.server(handlers=[Converts(kind, lambda _: data)], interceptors=ours)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    found = []
    for ours in ([], [tracekit.grpc.aio.server_interceptor(tracing)]):
        server, port = run(start(ours))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            found.append(ask(channel, kind))
        run(server.stop(1))
    assert found[0] == found[1]
    assert codes(tracing) == [found[0][1].name]


class Stop(BaseException):
    """What gRPC lets pass where it would log an exception of a serializer's."""


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize("flavour", ["blocking", "aio"])
def test_a_serializer_that_stops_is_not_ok(tracing, stack, run, flavour, kind):
    """The client is never answered, and the span says why."""

    def stop(message):
        raise Stop

    def one(request, context):
        return request

    def many(request, context):
        yield request

    async def start():
        server = grpc.aio.server(handlers=[Converts(kind, stop)], interceptors=[ours])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.callback(lambda: run(server.stop(0)))
        return port

    if flavour == "aio":
        ours = tracekit.grpc.aio.server_interceptor(tracing)
        port = run(start())
    else:
        ours = tracekit.grpc.server_interceptor(tracing)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        handler = make(many if kind == "unary_stream" else one, response_serializer=stop)
        handlers = grpc.method_handlers_generic_handler("shop.Orders", {kind: handler})
        server = grpc.server(ThreadPoolExecutor(2), [handlers], [ours])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stack.callback(lambda: server.stop(0).wait(1))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert ask(channel, kind, timeout=0.2)[1] is grpc.StatusCode.DEADLINE_EXCEEDED
    span = tracing.sink.take()
    assert span.attributes["rpc.response.status_code"] in ("INTERNAL", "UNKNOWN")
    assert [event.attributes["exception.type"].split(".")[-1] for event in span.events] == ["Stop"]


def test_a_handler_may_send_from_elsewhere(stack, tracing):
    """An experimental handler keeps its marks and pool; its span ends with the last message."""

    def behavior(request, context, send):
        names.append(threading.current_thread().name)
        for message in (b"one", b"two", None):
            send(message)

    names = []
    behavior.experimental_non_blocking = True
    behavior.experimental_thread_pool = ThreadPoolExecutor(1, "theirs")
    stack.callback(behavior.experimental_thread_pool.shutdown)
    _, bare = serve(stack, None, {"unary_stream": behavior})
    _, traced = serve(stack, tracing, {"unary_stream": behavior})
    expected = ask(bare, "unary_stream")
    assert expected[0] == [b"one", b"two"]
    assert ask(traced, "unary_stream") == expected
    assert names == ["theirs_0", "theirs_0"]
    (span,) = tracing.sink.take_many(1)
    assert span.attributes["rpc.response.message_count"] == 2


def test_wrap_gives_threads_the_span(stack, tracing):
    """``tracekit.wrap`` carries the server's span; the thread may outlive the call."""
    go_on, threads = threading.Event(), []

    def later():
        go_on.wait(5)
        tracing.tracer("shop").start_span("later").end()

    def behavior(request, context):
        threads.append(threading.Thread(target=tracekit.wrap(later)))
        threads[0].start()
        return request

    _, channel = serve(stack, tracing, {"unary_unary": behavior})
    assert ask(channel)[0] == [b"ask"]
    (server,) = tracing.sink.take_many(1)
    go_on.set()
    threads[0].join(5)
    (child,) = tracing.sink.take_many(1)
    assert child.parent.span_id == server.context.span_id


def test_a_refused_call_leaves_nothing_open(stack, tracing):
    """With ``maximum_concurrent_rpcs`` gRPC refuses by itself: no handler, no span."""
    begun, go_on = threading.Event(), threading.Event()

    def behavior(request, context):
        begun.set()
        go_on.wait(5)
        return request

    _, channel = serve(stack, tracing, {"unary_unary": behavior}, maximum_concurrent_rpcs=1)
    first = channel.unary_unary("/shop.Orders/unary_unary").future(b"first")
    assert begun.wait(5)
    assert ask(channel)[1] is grpc.StatusCode.RESOURCE_EXHAUSTED
    go_on.set()
    assert first.result(5) == b"first"
    assert codes(tracing) == ["OK"]
    assert tracing.sink.open == 0


def test_an_unknown_method_has_no_span(stack, tracing):
    """It is UNIMPLEMENTED: there is no handler for it, so there is none to trace."""
    _, channel = serve(stack, tracing, {"unary_unary": Called()})
    assert ask(channel, "unary_stream")[1] is grpc.StatusCode.UNIMPLEMENTED
    assert tracing.stats().started == 0


@pytest.mark.parametrize("traced", [False, True])
def test_grace_lets_streams_end(stack, tracing, traced):
    """Within the grace a stream ends OK; what goes on longer is cancelled, as its span says."""
    begun = threading.Barrier(3, timeout=5)
    go_on = threading.Event()

    def behavior(request, context):
        yield b"first"
        begun.wait()
        if request == b"short":
            go_on.wait(5)
        else:
            while context.is_active():
                time.sleep(0.005)
        yield b"last"

    server, channel = serve(stack, tracing if traced else None, {"unary_stream": behavior})
    with ThreadPoolExecutor(2) as clients:
        short, long = (
            clients.submit(ask, channel, "unary_stream", request) for request in (b"short", b"long")
        )
        begun.wait()
        stopped = server.stop(0.5)
        go_on.set()
        assert short.result(5)[:2] == ([b"first", b"last"], grpc.StatusCode.OK)
        assert long.result(5)[1] in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        assert stopped.wait(5)
    if traced:
        assert codes(tracing, 2) == ["OK", "CANCELLED"]


def test_grace_lets_asyncio_streams_end(tracing, run):
    """The same on ``grpc.aio``."""

    async def scenario():
        begun, go_on = [asyncio.Event(), asyncio.Event()], asyncio.Event()

        async def behavior(request, context):
            yield b"first"
            begun[request == b"long"].set()
            await (go_on.wait() if request == b"short" else asyncio.sleep(5))
            yield b"last"

        server = grpc.aio.server(
            handlers=handlers(unary_stream=behavior),
            interceptors=[tracekit.grpc.aio.server_interceptor(tracing)],
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = channel.unary_stream("/shop.Orders/unary_stream")

            async def read(request):
                with contextlib.suppress(grpc.RpcError):
                    return [message async for message in method(request)]

            short, long = asyncio.create_task(read(b"short")), asyncio.create_task(read(b"long"))
            await asyncio.gather(*(event.wait() for event in begun))
            stopping = asyncio.create_task(server.stop(0.3))
            go_on.set()
            assert await short == [b"first", b"last"]
            assert await long is None
            await stopping

    run(scenario())
    assert codes(tracing, 2) == ["OK", "CANCELLED"]


def test_a_sudden_stop_ends_every_span(stack, tracing):
    """Handlers that wait on nothing but their client are told, and no span stays open."""
    begun = threading.Barrier(3, timeout=5)

    def behavior(request, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        begun.wait()
        ended.wait(5)
        return request

    server, channel = serve(stack, tracing, {"unary_unary": behavior})
    futures = [channel.unary_unary("/shop.Orders/unary_unary").future(b"") for _ in range(2)]
    begun.wait()
    server.stop(None).wait(5)
    assert all(future.exception(5) is not None for future in futures)
    assert codes(tracing, 2) == ["CANCELLED", "CANCELLED"]


@pytest.mark.parametrize("asked", [{}, {"response_metadata": ["late"]}], ids=["plain", "asked"])
@pytest.mark.parametrize("verb", ["__call__", "with_call", "future"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_arguments_of_a_call_by_name(stack, tracing, kind, verb, asked):
    """As gRPC names them: a stream of requests is ``request_iterator``."""

    def behavior(request, context):
        assert ("key", "value") in context.invocation_metadata()
        return request

    _, channel = serve(stack, None, {kind: of_kind(kind, behavior)})
    traced = tracekit.grpc.trace_channel(channel, tracing, **asked)
    name = "request_iterator" if kind.startswith("stream") else "request"
    for of in (channel, traced):
        method = getattr(of, kind)(f"/shop.Orders/{kind}")
        if kind.endswith("_stream") and verb != "__call__":
            assert not hasattr(method, verb)
            continue
        given = {name: iter([b"1"]) if kind.startswith("stream") else b"1"}
        result = getattr(method, verb)(**given, metadata=(("key", "value"),), timeout=5)
        if verb == "future":
            result = result.result()
        elif verb == "with_call":
            result = result[0]
        assert (list(result) if kind.endswith("_stream") else result) in (b"1", [b"1"])
        if of is traced:
            assert codes(tracing) == ["OK"]
