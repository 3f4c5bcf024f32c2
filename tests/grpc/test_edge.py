"""What an application sets on the edges of gRPC, and how they sit among others."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind

import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

ECHO = "/shop.Orders/Echo"


class Shop:
    """A server whose one handler is replaced by each test; on a free port until the test ends."""

    def __init__(self):
        self.handle = lambda request, context: request
        self.stack = contextlib.ExitStack()

    def answer(self, request, context):
        return self.handle(request, context)

    def serve(self, *interceptors, service="shop.Orders", at="127.0.0.1:0"):
        handler = grpc.unary_unary_rpc_method_handler(self.answer)
        handlers = grpc.method_handlers_generic_handler(service, {"Echo": handler})
        server = grpc.server(ThreadPoolExecutor(4), (handlers,), interceptors)
        port = server.add_insecure_port(at)
        server.start()
        self.stack.callback(lambda: server.stop(0).wait(5))
        return at.replace(":0", f":{port}")

    def channel(self, target):
        channel = grpc.insecure_channel(target)
        self.stack.callback(channel.close)
        return channel


@pytest.fixture
def shop():
    shop = Shop()
    with shop.stack:
        yield shop


def server_span(tracing, count=1):
    spans = tracing.sink.take_many(count)
    return next(span for span in spans if span.kind is SpanKind.SERVER)


def test_a_handlers_spans_are_children(shop, tracing):
    """Spans and outgoing calls of a handler have the server span as parent."""
    other = shop.serve(tracekit.grpc.server_interceptor(tracing))
    inner = tracekit.grpc.trace_channel(shop.channel(other), tracing)
    target = shop.serve(tracekit.grpc.server_interceptor(tracing))
    seen = []

    def handle(request, context):
        if request == b"outer":
            seen.append(trace.get_current_span().get_span_context().span_id)
            inner.unary_unary(ECHO)(b"inner")
            with tracing.tracer("shop").start_as_current_span("work"):
                pass
        return request

    shop.handle = handle
    assert shop.channel(target).unary_unary(ECHO)(b"outer") == b"outer"
    spans = tracing.sink.take_many(4)
    outer = spans[-1]
    children = [s.name for s in spans if s.parent and s.parent.span_id == outer.context.span_id]
    assert seen == [outer.context.span_id]
    assert sorted(children) == ["shop.Orders/Echo", "work"]


@pytest.mark.parametrize("decision", ["0", "1"])
@pytest.mark.parametrize("on_asyncio", [False, True])
def test_a_handler_passes_on_what_arrived(shop, tracing, serve_on_asyncio, on_asyncio, decision):
    """Trace id, decision, baggage and mesh headers, below a span of the server's own."""
    sent = []

    def handle(request, context):
        outgoing = tracing.propagator.outgoing()
        sent.append({**outgoing.own, **outgoing.forwarded})
        return request

    shop.handle = handle
    if on_asyncio:
        target = serve_on_asyncio(tracekit.grpc.aio.server_interceptor(tracing), "Echo", handle)
    else:
        target = shop.serve(tracekit.grpc.server_interceptor(tracing))
    arriving = (
        ("uber-trace-id", f"{0xABC:016x}:{0xDEF:016x}:0:{decision}"),
        ("uberctx-user", "bob"),
        ("x-request-id", "r-1"),
    )
    assert shop.channel(target).unary_unary(ECHO)(b"", metadata=arriving) == b""
    trace_id, span_id, _, flags = sent[0].pop("uber-trace-id").split(":")
    assert (int(trace_id, 16), flags) == (0xABC, decision)
    assert int(span_id, 16) not in (0, 0xDEF)
    assert sent == [{"uberctx-user": "bob", "x-request-id": "r-1"}]
    tracing.sink.take_many(int(decision))


def test_metadata_arrives_whole(shop, tracing):
    """Repeated keys, bytes; a tuple, list, iterator, None is taken and left as it was."""
    target = shop.serve(tracekit.grpc.server_interceptor(tracing))
    got = []

    def handle(request, context):
        got.append([(k, v) for k, v in context.invocation_metadata() if k.startswith("x-")])
        return request

    shop.handle = handle
    call = tracekit.grpc.trace_channel(shop.channel(target), tracing).unary_unary(ECHO)
    pairs = [("x-a", "1"), ("x-a", "2"), ("x-raw-bin", b"\x00\xfe")]
    held = list(pairs)
    for metadata in (tuple(pairs), held, iter(pairs), None):
        call(b"", metadata=metadata)
    assert held == pairs
    assert got == [pairs, pairs, pairs, []]
    tracing.sink.take_many(8)


def test_a_malformed_header_costs_its_parent(shop, tracing):
    """Nonsense in every format means a root span, not a failed call."""
    target = shop.serve(tracekit.grpc.server_interceptor(tracing))
    nonsense = (("uber-trace-id", "x:y:z"), ("traceparent", "00-"), ("b3", "?"))
    assert shop.channel(target).unary_unary(ECHO)(b"ok", metadata=nonsense) == b"ok"
    assert server_span(tracing).parent is None


def test_health_checks_are_not_traced(shop, tracing):
    """Nor is reflection, unless ``exclude`` replaces the default list."""
    default = shop.serve(tracekit.grpc.server_interceptor(tracing), service="grpc.health.v1.Health")
    asked = shop.serve(
        tracekit.grpc.server_interceptor(tracing, exclude=()), service="grpc.health.v1.Health"
    )
    for target in (default, asked):
        shop.channel(target).unary_unary("/grpc.health.v1.Health/Echo")(b"")
    assert server_span(tracing).name == "grpc.health.v1.Health/Echo"


def test_the_peer_is_named_as_far_as_known(shop, tracing, tmp_path):
    """A Unix socket has a path on the client's span, and nothing on the server's."""
    path = tmp_path / "sock"
    target = shop.serve(tracekit.grpc.server_interceptor(tracing), at=f"unix:{path}")
    channel = tracekit.grpc.trace_channel(shop.channel(target), tracing)
    channel.unary_unary(ECHO)(b"")
    spans = {span.kind: span for span in tracing.sink.take_many(2)}
    assert spans[SpanKind.CLIENT].attributes["server.address"] == str(path)
    assert "network.peer.address" not in spans[SpanKind.SERVER].attributes


@pytest.mark.parametrize(
    "exclude", [["shop.Orders"], ["shop.Orders/Echo"], [lambda name: name.endswith("Echo")]]
)
def test_exclude_takes_names_and_predicates(shop, tracing, exclude):
    """A service, method or predicate that excludes an RPC leaves it untraced on either side."""
    target = shop.serve(tracekit.grpc.server_interceptor(tracing, exclude=exclude))
    channel = tracekit.grpc.trace_channel(shop.channel(target), tracing, exclude=exclude)
    assert channel.unary_unary(ECHO)(b"hi") == b"hi"


def test_a_sampler_may_keep_what_it_is_given(shop, tracing):
    """What a sampler of the program's does to a call's attributes the next call does not have."""

    class Marks(Sampler):
        def should_sample(self, context, trace_id, name, kind, attributes, *rest, **named):
            first = "shop.first" not in attributes
            attributes["shop.first"] = True
            return SamplingResult(Decision.RECORD_AND_SAMPLE, {**attributes, "shop.alone": first})

        def get_description(self):
            return "Marks"

    tracing.provider.sampler = Marks()
    target = shop.serve(tracekit.grpc.server_interceptor(tracing))
    call = tracekit.grpc.trace_channel(shop.channel(target), tracing).unary_unary(ECHO)
    assert [call(b"one"), call(b"two")] == [b"one", b"two"]
    assert [span.attributes["shop.alone"] for span in tracing.sink.take_many(4)] == [True] * 4


@pytest.mark.parametrize("options", [{}, {"on_start": print}], ids=["plain", "hooks"])
def test_a_disabled_handle_passes_context_on(shop, options, caplog):
    """Without spans the trace of the request being served still goes on, with nothing beside it."""
    came = {}

    def handle(request, context):
        came.update(context.invocation_metadata())
        return request

    shop.handle = handle
    tracing = tracekit.testing.tracing(disabled=True)
    channel = tracekit.grpc.trace_channel(shop.channel(shop.serve()), tracing, **options)
    arrived = {"uber-trace-id": "00000000000000ab:00000000000000cd:0:1"}
    token = otel_context.attach(tracing.propagator.extract(arrived))
    try:
        assert channel.unary_unary(ECHO)(b"hi") == b"hi"
    finally:
        otel_context.detach(token)
    assert came.items() >= arrived.items()
    assert not caplog.records


def test_hooks_see_the_span_and_may_throw(shop, tracing, caplog):
    """A hook adds attributes; one that raises costs one warning, never the call."""

    def on_start(span, rpc):
        span.set_attribute("shop.request", rpc.request.decode())

    def on_finish(span, rpc):
        span.set_attribute("shop.code", rpc.code.name)
        raise RuntimeError("hook")

    interceptor = tracekit.grpc.server_interceptor(tracing, on_start=on_start, on_finish=on_finish)
    call = shop.channel(shop.serve(interceptor)).unary_unary(ECHO)
    assert [call(b"one"), call(b"two")] == [b"one", b"two"]
    spans = tracing.sink.take_many(2)
    assert [span.attributes["shop.request"] for span in spans] == ["one", "two"]
    assert {span.attributes["shop.code"] for span in spans} == {"OK"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_metadata_is_kept_by_allow_list_only(shop, tracing):
    """All values of an allowed key, on both sides and in both directions; nothing else."""
    options = {"metadata": ["X-Tenant"], "response_metadata": ["x-shard"]}
    target = shop.serve(tracekit.grpc.server_interceptor(tracing, **options))

    def handle(request, context):
        context.set_trailing_metadata((("x-shard", "7"), ("x-secret", "no")))
        return request

    shop.handle = handle
    channel = tracekit.grpc.trace_channel(shop.channel(target), tracing, **options)
    channel.unary_unary(ECHO)(b"", metadata=(("x-tenant", "a"), ("x-tenant", "b"), ("auth", "s")))
    for span in tracing.sink.take_many(2):
        kept = {k: v for k, v in span.attributes.items() if "metadata" in k}
        assert kept == {
            "rpc.request.metadata.x-tenant": ("a", "b"),
            "rpc.response.metadata.x-shard": ("7",),
        }


def test_message_events_number_the_messages(shop, tracing):
    """With ``message_events`` each message is an event with its number and size."""
    target = shop.serve(tracekit.grpc.server_interceptor(tracing))
    channel = tracekit.grpc.trace_channel(shop.channel(target), tracing, message_events=True)
    channel.unary_unary(ECHO)(b"four")
    spans = tracing.sink.take_many(2)
    client = next(span for span in spans if span.kind is SpanKind.CLIENT)
    assert [(e.name, dict(e.attributes)) for e in client.events] == [
        (
            "rpc.message",
            {
                "rpc.message.type": way,
                "rpc.message.id": 1,
                "rpc.message.uncompressed_size": 4,
            },
        )
        for way in ("SENT", "RECEIVED")
    ]


def test_slow_s_keeps_slow_and_failed_calls(shop, tracing):
    """With ``slow_s`` a quick success leaves no span; a failure does, as its own caller's child."""
    target = shop.serve(tracekit.grpc.server_interceptor(tracing, slow_s=30))
    call = shop.channel(target).unary_unary(ECHO)
    call(b"quick")

    def fail(request, context):
        raise ValueError(request)

    shop.handle = fail
    with pytest.raises(grpc.RpcError):
        call(b"bad", metadata=(("uber-trace-id", "abc:def:0:1"),))
    span = server_span(tracing)
    assert span.parent.span_id == 0xDEF
    assert span.attributes["rpc.response.status_code"] == "UNKNOWN"


def test_slow_s_leaves_the_callers_span_open(shop, tracing):
    """Putting a client span off, kept or not, never touches the span in which the call is made."""
    channel = tracekit.grpc.trace_channel(shop.channel(shop.serve()), tracing, slow_s=30)
    with tracing.tracer("shop").start_as_current_span("caller") as caller:
        channel.unary_unary(ECHO)(b"")
        assert caller.is_recording()
    assert tracing.sink.take().name == "caller"


@pytest.mark.parametrize(
    ("semconv", "expected"),
    [
        ("current", {"rpc.system.name": "grpc", "rpc.response.status_code": "OK"}),
        ("old", {"rpc.system": "grpc", "rpc.service": "shop.Orders", "rpc.grpc.status_code": 0}),
        ("both", {"rpc.system.name": "grpc", "rpc.system": "grpc", "rpc.grpc.status_code": 0}),
    ],
)
@pytest.mark.parametrize("by", ["argument", "settings"])
def test_the_edge_or_process_chooses_semconv(shop, by, semconv, expected):
    """``semconv`` chooses current names, old ones, or both; unsaid, the settings do."""
    other = "old" if semconv == "current" else "current"
    tracing = tracekit.testing.tracing(semconv=semconv if by == "settings" else other)
    options = {"semconv": semconv} if by == "argument" else {}
    target = shop.serve(tracekit.grpc.server_interceptor(tracing, **options))
    shop.channel(target).unary_unary(ECHO)(b"")
    span = server_span(tracing)
    tracing.shutdown()
    assert expected.items() <= dict(span.attributes).items()
    assert ("rpc.system.name" in span.attributes) == (semconv != "old")
    assert ("network.peer.address" in span.attributes) == (semconv != "old")


def test_a_misspelt_semconv_is_refused():
    """An unknown ``semconv`` is said where it is written, by name."""
    with pytest.raises(ValueError, match="'newest'"):
        tracekit.grpc.server_interceptor(semconv="newest")


def test_tracing_a_call_twice_makes_one_span(shop, tracing):
    """Two interceptors, or an interceptor under a traced channel, see the same call."""
    interceptor = tracekit.grpc.server_interceptor(tracing)
    target = shop.serve(interceptor, tracekit.grpc.server_interceptor(tracing))
    twice = tracekit.grpc.client_interceptors(tracing) + tracekit.grpc.client_interceptors(tracing)
    channel = tracekit.grpc.trace_channel(
        grpc.intercept_channel(shop.channel(target), *twice), tracing
    )
    assert tracekit.grpc.trace_channel(channel, tracing) is channel
    channel.unary_unary(ECHO)(b"")
    kinds = [span.kind for span in tracing.sink.take_many(2)]
    assert sorted(kind.name for kind in kinds) == ["CLIENT", "SERVER"]


class Bare(NamedTuple):
    """An RPC that came without any metadata, as from a client that is not gRPC's own."""

    method: str
    invocation_metadata: tuple = ()


def test_rpcs_without_metadata_stay_apart(tracing, run):
    """All empty tuples are one object; still each RPC is traced, and once."""
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
    outer, inner = (tracekit.grpc.server_interceptor(tracing) for _ in range(2))
    made, passed_on = [], []

    def innermost(details):
        passed_on.append(inner.intercept_service(lambda _: handler, details))
        return passed_on[-1]

    for _ in range(2):
        made.append(inner.intercept_service(lambda _: handler, Bare(ECHO)))
        made.append(outer.intercept_service(innermost, Bare(ECHO)))
    assert all(found is not handler for found in made)
    assert all(found is handler for found in passed_on)

    async def on_asyncio():
        async def found(_details):
            return handler

        interceptor = tracekit.grpc.aio.server_interceptor(tracing)
        return [await interceptor.intercept_service(found, Bare(ECHO)) for _ in range(2)]

    assert all(found is not handler for found in run(on_asyncio()))


class Other(grpc.ServerInterceptor):
    """Somebody else's interceptor, which reads the final code after the handler."""

    def __init__(self, seen):
        self.seen = seen

    def intercept_service(self, continuation, details):
        handler = continuation(details)

        def behavior(request, context):
            response = handler.unary_unary(request, context)
            self.seen.append((context.code(), response))
            return response

        return grpc.unary_unary_rpc_method_handler(behavior)  # and forgets the serializers


@pytest.mark.parametrize("outermost", [True, False])
def test_interceptors_may_be_on_either_side(shop, tracing, outermost):
    """One that forgets our serializer costs the sizes, not the span; codes stay readable."""
    seen = []
    ours, other = tracekit.grpc.server_interceptor(tracing), Other(seen)
    target = shop.serve(*((ours, other) if outermost else (other, ours)))

    def handle(request, context):
        context.set_code(grpc.StatusCode.OK)
        return request

    shop.handle = handle
    assert shop.channel(target).unary_unary(ECHO)(b"x") == b"x"
    assert server_span(tracing).attributes["rpc.response.status_code"] == "OK"
    assert seen == [(grpc.StatusCode.OK, b"x")]


class UnspeakableError(Exception):
    """An error that cannot be turned into text."""

    def __str__(self):
        raise RuntimeError("no words")


class Failing(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation, details, request):
        raise UnspeakableError


def test_an_unprintable_error_goes_on(shop, tracing):
    """What tracing cannot write down stays what is raised, and the span has its type."""
    channel = grpc.intercept_channel(shop.channel("127.0.0.1:1"), Failing())
    with pytest.raises(UnspeakableError):
        tracekit.grpc.trace_channel(channel, tracing).unary_unary(ECHO)(b"x")
    (span,) = tracing.sink.take_many(1)
    assert span.attributes["error.type"] == "UnspeakableError"


def test_instrument_traces_and_undoes_itself(shop, tracing):
    """Servers and channels made while it is in force are traced, once, in any call style."""
    bare = grpc.insecure_channel
    undo = tracekit.grpc.instrument(tracing)
    try:
        assert tracekit.grpc.aio.instrument(tracing) is undo
        target = shop.serve(tracekit.grpc.server_interceptor(tracing))
        with grpc.insecure_channel(target, None, None) as channel:
            assert channel.unary_unary(ECHO)(b"") == b""
        with pytest.raises(TypeError):
            grpc.insecure_channel()
        assert len(tracing.sink.take_many(2)) == 2
        for interceptors in ((), [], None):
            grpc.server(ThreadPoolExecutor(1), interceptors=interceptors).stop(None)
    finally:
        undo()
    undo()
    assert grpc.insecure_channel is bare


def test_a_missing_grpc_names_the_extra():
    """``import tracekit`` leaves grpc alone; ``tracekit.grpc`` without it names the extra."""
    program = """
        import sys
        import tracekit
        assert "grpc" not in sys.modules, "import tracekit imports grpc"
        sys.modules["grpc"] = None
        try:
            import tracekit.grpc
        except ImportError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "tracekit-jaeger[grpc]" in done.stdout
