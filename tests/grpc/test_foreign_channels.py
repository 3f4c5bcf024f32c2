"""Channels that gRPC did not make: doubles and stubs act as they do bare, and are traced."""

from __future__ import annotations

import asyncio
import functools
import warnings
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import grpc
import grpc.aio
import pytest
from opentelemetry import trace

import tracekit
import tracekit.grpc
import tracekit.grpc.aio
import tracekit.opentracing

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # it announces the end of old Pythons
    from google.api_core.grpc_helpers import ChannelStub

GET = "/shop.Orders/Get"


def test_a_mock_is_a_channel(tracing):
    """What it was told to answer it answers, and it was called as the stub calls it."""
    bare = mock.Mock()
    method = bare.unary_unary.return_value
    method.return_value = b"scripted"
    method.with_call.return_value = b"no pair"
    method.future.return_value.done.return_value = True
    channel = tracekit.grpc.trace_channel(bare, tracing)
    stub = channel.unary_unary(GET, request_serializer=None, response_deserializer=None)
    assert stub(b"x", timeout=2) == b"scripted"
    assert stub.with_call(b"x") == b"no pair"
    assert stub.future(b"x") is method.future.return_value
    bare.unary_unary.assert_called_once_with(
        GET, request_serializer=None, response_deserializer=None
    )
    assert method.call_args.kwargs["timeout"] == 2
    assert "uber-trace-id" in dict(method.call_args.kwargs["metadata"])
    stub.side_effect = KeyError("scripted later")
    with pytest.raises(KeyError):
        stub(b"x")
    assert len(tracing.sink.take_many(4)) == 4


@pytest.mark.parametrize("kind", ["unary_unary", "stream_unary"])
def test_a_channel_stub_keeps_its_script(tracing, kind):
    """One stub for each method, as the test that scripts it expects."""
    stub = ChannelStub()
    method = getattr(tracekit.grpc.trace_channel(stub, tracing), kind)(GET)
    stub.Get.response = b"first"
    assert method(b"a") == b"first"
    stub.Get.response = LookupError("gone")
    with pytest.raises(LookupError):
        method(b"b")
    stub.Get.response = None
    stub.Get.responses = iter([b"2", b"3"])
    assert [method(b"c"), method(b"d")] == [b"2", b"3"]
    assert stub.Get.requests == [b"a", b"b", b"c", b"d"]
    errors = [span.attributes.get("error.type") for span in tracing.sink.take_many(4)]
    assert errors == [None, "LookupError", None, None]


class Terse:
    """A channel of one's own whose methods take less than gRPC's, and whose names are odd."""

    _target = 7
    _channel = _unary_unary_interceptors = "no list"

    def unary_unary(self, method, *_):
        return lambda request: request + b"!"

    unary_stream = stream_unary = stream_stream = unary_unary


def test_a_method_without_metadata_gets_none(tracing):
    """It could not be called with any."""
    for trace_channel in tracekit.grpc.trace_channel, tracekit.grpc.aio.trace_channel:
        assert trace_channel(Terse(), tracing).unary_unary(GET)(b"x") == b"x!"
    assert len(tracing.sink.take_many(2)) == 2


def test_a_mock_on_asyncio(tracing, run):
    """Coroutines are awaited as they are, and the span lasts as long."""

    async def answer(request, **_):
        await asyncio.sleep(0.05)
        if request == b"fail":
            raise LookupError("gone")
        return request

    async def call(request):
        bare = mock.Mock()
        bare.unary_unary.return_value = answer
        return await tracekit.grpc.aio.trace_channel(bare, tracing).unary_unary(GET)(request)

    assert run(call(b"x")) == b"x"
    with pytest.raises(LookupError):
        run(call(b"fail"))
    good, bad = tracing.sink.take_many(2)
    assert good.end_time - good.start_time > 0.045e9
    assert bad.attributes["error.type"] == "LookupError"


def test_the_other_flavour_is_refused(tracing, run):
    """A channel of the other kind is, where it is passed, with the name of the right function."""
    blocking = grpc.insecure_channel("127.0.0.1:1")
    with blocking, pytest.raises(TypeError, match=r"tracekit\.grpc\.trace_channel"):
        tracekit.grpc.aio.trace_channel(blocking, tracing)

    async def refuse():
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            with pytest.raises(TypeError, match=r"tracekit\.grpc\.aio\.trace_channel"):
                tracekit.grpc.trace_channel(channel, tracing)

    run(refuse())


class Source:
    """In the way of grpcio-opentracing."""

    def __init__(self, get):
        self.get_active_span = get


@pytest.fixture
def echo(stack):
    handlers = grpc.method_handlers_generic_handler(
        "shop.Orders", {"Get": grpc.unary_unary_rpc_method_handler(lambda request, _: request)}
    )
    server = grpc.server(ThreadPoolExecutor(1), (handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    return stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))


@pytest.mark.parametrize("wrap", [lambda get: get, Source], ids=["function", "object"])
@pytest.mark.parametrize("bridge", [False, True], ids=["otel", "opentracing"])
@pytest.mark.parametrize("how", ["channel", "interceptor"])
def test_a_span_source_gives_the_parent(tracing, echo, wrap, bridge, how):
    """Programs that start a span without making it current say which it is."""
    if bridge:
        span = tracekit.opentracing.tracer(tracing).start_span("held")
        otel = span.otel
    else:
        span = otel = tracing.tracer("app").start_span("held")
    held = [span]
    source = wrap(lambda: held[0])
    if how == "channel":
        channel = tracekit.grpc.trace_channel(echo, tracing, active_span_source=source)
    else:
        interceptors = tracekit.grpc.client_interceptors(tracing, active_span_source=source)
        channel = grpc.intercept_channel(echo, *interceptors)
    method = channel.unary_unary(GET)
    method(b"")
    held[0] = None
    method(b"")
    held.clear()  # and now it raises
    assert method(b"x") == b"x"
    otel.end()
    below, root, other, _ = tracing.sink.take_many(4)
    assert below.parent.span_id == otel.get_span_context().span_id
    assert root.parent is other.parent is None
    assert not trace.get_current_span().get_span_context().is_valid


# --- instrument() above and below the patches of others ---


def inserting(real, theirs):
    """Put their interceptor into the list that it is given."""

    @functools.wraps(real)
    def server(*args, **kwargs):
        interceptors = kwargs.get("interceptors", [])
        interceptors.insert(0, theirs)
        kwargs["interceptors"] = interceptors
        return real(*args, **kwargs)

    return server


def by_keyword(real, theirs):
    def server(*args, interceptors=None, **kwargs):
        return real(*args, interceptors=[theirs, *(interceptors or ())], **kwargs)

    return server


def by_place(real, theirs):
    def server(thread_pool, handlers=None, interceptors=(), *args, **kwargs):
        return real(thread_pool, handlers, (*interceptors, theirs), *args, **kwargs)

    return server


def appending(real, theirs):
    def server(*args, **kwargs):
        kwargs.setdefault("interceptors", []).append(theirs)
        return real(*args, **kwargs)

    return server


class Theirs(grpc.ServerInterceptor):
    def __init__(self):
        self.seen = 0

    def intercept_service(self, continuation, details):
        self.seen += 1
        return continuation(details)


HANDLERS = (
    grpc.method_handlers_generic_handler(
        "shop.Orders", {"Get": grpc.unary_unary_rpc_method_handler(lambda request, _: request)}
    ),
)
STYLES = {
    "pool": lambda pool, given: grpc.server(pool),
    "handlers by name": lambda pool, given: grpc.server(pool, handlers=HANDLERS),
    "an empty list": lambda pool, given: grpc.server(pool, interceptors=[]),
    "a list": lambda pool, given: grpc.server(pool, interceptors=[given]),
    "by place": lambda pool, given: grpc.server(pool, HANDLERS, [given]),
    "a generator": lambda pool, given: grpc.server(pool, interceptors=(i for i in [given])),
    "options": lambda pool, given: grpc.server(pool, options=[("grpc.so_reuseport", 0)]),
    "the thread pool by name": lambda pool, given: grpc.server(thread_pool=pool),
}


@pytest.mark.parametrize("below", [False, True], ids=["ours on top", "theirs on top"])
@pytest.mark.parametrize("patch", [inserting, by_keyword, by_place, appending])
@pytest.mark.parametrize("style", STYLES)
def test_all_styles_work_with_both_patches(tracing, stack, style, patch, below):
    """What works under another SDK's patch works under both; each interceptor is there once."""

    def run(*, ours):
        theirs, given = Theirs(), Theirs()
        real = grpc.server
        undo = None
        try:
            if ours and below:
                undo = tracekit.grpc.instrument(tracing)
            grpc.server = patch(grpc.server, theirs)
            if ours and not below:
                undo = tracekit.grpc.instrument(tracing)
            try:
                with ThreadPoolExecutor(1) as pool:
                    server = STYLES[style](pool, given)
                    server.add_generic_rpc_handlers(HANDLERS)
                    port = server.add_insecure_port("127.0.0.1:0")
                    server.start()
                    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                        answer = channel.unary_unary(GET)(b"x", timeout=5)
                    server.stop(0).wait(5)
            except (TypeError, AttributeError) as error:
                return type(error)
            return answer, theirs.seen, given.seen
        finally:
            if undo is not None:
                undo()
            grpc.server = real

    alone, both = run(ours=False), run(ours=True)
    if isinstance(alone, tuple):
        assert both == alone
    if isinstance(both, tuple):
        kinds = [span.kind.name for span in tracing.sink.take_many(2)]
        assert sorted(kinds) == ["CLIENT", "SERVER"]
