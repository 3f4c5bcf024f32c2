"""Beside other people's code: compiled stubs, wrappers around call objects, their interceptors."""

from __future__ import annotations

import asyncio
import collections
import importlib
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.aio
import pytest
from opentelemetry.instrumentation import grpc as otel_grpc
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind

import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # it announces the end of old Pythons
    from google.api_core import exceptions, grpc_helpers, grpc_helpers_async, retry, retry_async

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
PROTO = """
syntax = "proto3";
package fleet;
message Name { string text = 1; }
service Greeter {
  rpc One(Name) returns (Name);
  rpc Many(Name) returns (stream Name);
  rpc Join(stream Name) returns (Name);
  rpc Echo(stream Name) returns (stream Name);
}
"""


class Flaky:
    """Handlers of all kinds; the first ``failures`` calls end UNAVAILABLE, all requests read."""

    def __init__(self, failures=0):
        self.failures = failures
        self.metadata = []

    def come(self, context):
        self.metadata.append(dict(context.invocation_metadata()))
        if self.failures:
            self.failures -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "come again")

    def unary_unary(self, request, context):
        self.come(context)
        return request

    def unary_stream(self, request, context):
        self.come(context)
        yield request
        yield request

    def stream_unary(self, requests, context):
        data = b"".join(requests)  # all of it: what is sent to a call that ended may disturb it
        self.come(context)
        return data

    def stream_stream(self, requests, context):
        messages = list(requests)
        self.come(context)
        yield from messages


def serve(program, stack, *interceptors):
    make = {kind: getattr(grpc, f"{kind}_rpc_method_handler") for kind in KINDS}
    handlers = grpc.method_handlers_generic_handler(
        "shop.Orders", {kind: make[kind](getattr(program, kind)) for kind in KINDS}
    )
    server = grpc.server(ThreadPoolExecutor(4), (handlers,), interceptors)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    return target


def request_of(kind):
    return iter([b"a", b"b"]) if kind.startswith("stream") else b"ab"


def ends(tracing, count):
    """Take spans; return kind and final code of each, in the order of their ends."""
    return [
        (span.kind.name, span.attributes["rpc.response.status_code"])
        for span in tracing.sink.take_many(count)
    ]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return the modules that grpcio-tools makes of a service with all kinds of methods."""
    from grpc_tools import protoc  # noqa: PLC0415 (imports setuptools' resources)

    folder = tmp_path_factory.mktemp("compiled")
    (folder / "greeter.proto").write_text(PROTO)
    arguments = [f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(["protoc", *arguments, str(Path(folder, "greeter.proto"))]) == 0
    sys.path.insert(0, str(folder))
    yield importlib.import_module("greeter_pb2"), importlib.import_module("greeter_pb2_grpc")
    sys.path.remove(str(folder))


def test_compiled_stubs_work(compiled, tracing, stack):
    """The blocking stub of grpcio-tools, all kinds: sizes told are those of the messages."""
    messages, service = compiled

    class Greeter(service.GreeterServicer):
        def One(self, request, context):  # noqa: N802
            return request

        def Many(self, request, context):  # noqa: N802
            yield from [request] * 3

        def Join(self, requests, context):  # noqa: N802
            return messages.Name(text="".join(r.text for r in requests))

        def Echo(self, requests, context):  # noqa: N802
            yield from requests

    server = grpc.server(
        ThreadPoolExecutor(4), interceptors=[tracekit.grpc.server_interceptor(tracing)]
    )
    service.add_GreeterServicer_to_server(Greeter(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
    stub = service.GreeterStub(tracekit.grpc.trace_channel(channel, tracing))
    ann = messages.Name(text="Ann")
    assert stub.One(ann) == ann
    assert list(stub.Many(ann)) == [ann] * 3
    assert stub.Join(iter([ann, ann])).text == "AnnAnn"
    assert list(stub.Echo(iter([ann, ann]))) == [ann, ann]
    spans = tracing.sink.take_many(8)
    assert {span.name for span in spans} == {
        f"fleet.Greeter/{name}" for name in ("One", "Many", "Join", "Echo")
    }
    (many,) = [s for s in spans if s.name.endswith("Many") and s.kind is SpanKind.SERVER]
    assert many.attributes["rpc.response.message_count"] == 3
    assert many.attributes["rpc.response.message_bytes"] == 3 * ann.ByteSize()


def test_compiled_stubs_work_on_asyncio(compiled, tracing, run):
    """The same stub and servicer class with ``grpc.aio``."""
    messages, service = compiled

    class Greeter(service.GreeterServicer):
        async def One(self, request, context):  # noqa: N802
            return request

        async def Many(self, request, context):  # noqa: N802
            for _ in range(3):
                yield request

        async def Join(self, requests, context):  # noqa: N802
            return messages.Name(text="".join([r.text async for r in requests]))

        async def Echo(self, requests, context):  # noqa: N802
            async for request in requests:
                yield request

    async def scenario():
        server = grpc.aio.server(interceptors=[tracekit.grpc.aio.server_interceptor(tracing)])
        service.add_GreeterServicer_to_server(Greeter(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as bare:
            stub = service.GreeterStub(tracekit.grpc.aio.trace_channel(bare, tracing))
            ann = messages.Name(text="Ann")
            assert await stub.One(ann) == ann
            assert [name async for name in stub.Many(ann)] == [ann] * 3
            assert (await stub.Join(iter([ann, ann]))).text == "AnnAnn"
            assert [name async for name in stub.Echo(iter([ann, ann]))] == [ann, ann]
        await server.stop(None)

    run(scenario())
    assert len({span.name for span in tracing.sink.take_many(8)}) == 4


@pytest.mark.parametrize("edge", ["trace_channel", "interceptors"])
@pytest.mark.parametrize("kind", KINDS)
def test_google_api_core_wraps_blocking(tracing, stack, kind, edge):
    """Errors are mapped, a retry is a span of its own, streams keep the methods of a call."""
    target = serve(Flaky(failures=1), stack)
    channel = stack.enter_context(grpc.insecure_channel(target))
    if edge == "interceptors":
        channel = grpc.intercept_channel(channel, *tracekit.grpc.client_interceptors(tracing))
    else:
        channel = tracekit.grpc.trace_channel(channel, tracing)
    wrapped = grpc_helpers.wrap_errors(getattr(channel, kind)(f"/shop.Orders/{kind}"))
    again = retry.Retry(retry.if_exception_type(exceptions.ServiceUnavailable), initial=0.01)
    found = again(lambda: wrapped(request_of(kind)))()
    if kind.endswith("_stream"):
        assert b"".join(found).startswith(b"ab")
        assert found.code() is grpc.StatusCode.OK
        assert not found.is_active()
    else:
        assert found == b"ab"
    assert ends(tracing, 2) == [("CLIENT", "UNAVAILABLE"), ("CLIENT", "OK")]


@pytest.mark.parametrize("edge", ["trace_channel", "interceptors"])
@pytest.mark.parametrize("kind", KINDS)
def test_google_api_core_wraps_asyncio(tracing, stack, run, kind, edge):
    """The same on ``grpc.aio``, whose wrappers ask for call objects of the right classes."""
    target = serve(Flaky(failures=1), stack)

    async def scenario():
        ours = tracekit.grpc.aio.client_interceptors(tracing) if edge == "interceptors" else None
        async with grpc.aio.insecure_channel(target, interceptors=ours) as bare:
            channel = bare if ours else tracekit.grpc.aio.trace_channel(bare, tracing)
            wrapped = grpc_helpers_async.wrap_errors(getattr(channel, kind)(f"/shop.Orders/{kind}"))

            async def once():
                call = wrapped(request_of(kind))
                if kind == "unary_unary":
                    return await call
                if kind == "stream_unary":
                    return await (await call)
                return b"".join([message async for message in await call])

            again = retry_async.AsyncRetry(
                retry_async.if_exception_type(exceptions.ServiceUnavailable), initial=0.01
            )
            return await again(once)()

    assert run(scenario()).startswith(b"ab")
    assert ends(tracing, 2) == [("CLIENT", "UNAVAILABLE"), ("CLIENT", "OK")]


class Details(
    collections.namedtuple(  # noqa: PYI024 (as everybody copies it from gRPC's examples)
        "Details", ("method", "timeout", "metadata", "credentials")
    ),
    grpc.ClientCallDetails,
):
    """Somebody's own details, with the four fields that gRPC's examples name."""


class Client(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """One way to intercept, for all kinds of calls."""

    def intercept_unary_unary(self, continuation, details, request):
        return self.intercept(continuation, details, request)

    intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = (
        intercept_unary_unary
    )


class Authenticated(Client):
    """Adds a token in details of its own making."""

    def intercept(self, continuation, details, request):
        metadata = [*(details.metadata or ()), ("authorization", "token")]
        mine = Details(details.method, details.timeout, metadata, details.credentials)
        return continuation(mine, request)


class Retrying(Client):
    """Calls on a second time if the first one failed."""

    def intercept(self, continuation, details, request):
        messages = list(request) if isinstance(request, collections.abc.Iterator) else None
        for _ in range(2):
            call = continuation(details, request if messages is None else iter(messages))
            if call.code() is grpc.StatusCode.OK:
                break
        return call


class Answering(Client):
    """Answers by itself and never calls on."""

    class Answer(grpc.Call, grpc.Future):
        """As little as gRPC asks of an interceptor's own answer."""

        def result(self, timeout=None):
            return b"mine"

        def __iter__(self):
            return iter([b"mine"])

        def exception(self, timeout=None):
            return None

        traceback = code = details = initial_metadata = trailing_metadata = exception
        cancel = cancelled = running = is_active = time_remaining = exception

        def done(self):
            return True

        def add_done_callback(self, fn):
            fn(self)

        def add_callback(self, callback):
            return False

    def intercept(self, continuation, details, request):
        return self.Answer()


def call_through(kind, channel, metadata=None):
    """Call in the blocking way and return what came, as one."""
    found = getattr(channel, kind)(f"/shop.Orders/{kind}")(request_of(kind), metadata=metadata)
    return b"".join(found) if kind.endswith("_stream") else found


@pytest.mark.parametrize("outermost", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_anothers_metadata_is_kept(tracing, stack, kind, outermost):
    """A token that is added before or after us arrives, and so do our headers."""
    program = Flaky()
    ours = tracekit.grpc.client_interceptors(tracing)
    order = [*ours, Authenticated()] if outermost else [Authenticated(), *ours]
    channel = stack.enter_context(grpc.insecure_channel(serve(program, stack)))
    channel = grpc.intercept_channel(channel, *order)
    assert call_through(kind, channel, [("x-mine", "1")]).startswith(b"ab")
    (client,) = tracing.sink.take_many(1)
    got = program.metadata[0]
    assert (got["authorization"], got["x-mine"]) == ("token", "1")
    assert f"{client.context.span_id:x}" in got["uber-trace-id"]


@pytest.mark.parametrize("edge", ["trace_channel", "interceptors"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [(("x-mine", "1"),), [("x-mine", "1")]], ids=["tuple", "list"])
def test_metadata_has_the_callers_type(tracing, stack, kind, edge, given):
    """What another interceptor may add to the caller's tuple or list, it may add to ours."""

    class Appending(Client):
        def intercept(self, continuation, details, request):
            more = type(given)([("x-more", "1")])
            return continuation(details._replace(metadata=details.metadata + more), request)

    program = Flaky()
    bare = stack.enter_context(grpc.insecure_channel(serve(program, stack)))
    ours = tracekit.grpc.client_interceptors(tracing) if edge == "interceptors" else []
    channel = grpc.intercept_channel(bare, *ours, Appending())
    if not ours:
        channel = tracekit.grpc.trace_channel(channel, tracing)
    call_through(kind, channel, given)
    assert {"x-mine", "x-more", "uber-trace-id"} <= program.metadata[0].keys()
    assert len(tracing.sink.take_many(1)) == 1


@pytest.mark.parametrize("edge", ["trace_channel", "interceptors"])
@pytest.mark.parametrize(
    "given", [None, (("x-mine", "1"),), grpc.aio.Metadata(("x-mine", "1"))], ids=str
)
def test_aio_metadata_has_grpcs_type(tracing, stack, run, edge, given):
    """To other interceptors ``grpc.aio`` promises its own class, whatever the caller gave."""

    class Adding(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation, details, request):
            details.metadata.add("x-more", "1")
            return await continuation(details, request)

    program = Flaky()
    target = serve(program, stack)

    async def scenario():
        ours = tracekit.grpc.aio.client_interceptors(tracing) if edge == "interceptors" else []
        async with grpc.aio.insecure_channel(target, interceptors=[*ours, Adding()]) as bare:
            channel = bare if ours else tracekit.grpc.aio.trace_channel(bare, tracing)
            await channel.unary_unary("/shop.Orders/unary_unary")(b"ab", metadata=given)

    run(scenario())
    assert {"x-more", "uber-trace-id"} <= program.metadata[0].keys()
    assert ends(tracing, 1) == [("CLIENT", "OK")]


@pytest.mark.parametrize("kind", ["unary_unary", "stream_unary"])
def test_a_retry_is_a_span_by_its_place(tracing, stack, kind):
    """Below it each attempt is a span; above it they are one, with the code of the last."""
    ours = tracekit.grpc.client_interceptors(tracing)
    for order, expected in (
        ([Retrying(), *ours], [("CLIENT", "UNAVAILABLE"), ("CLIENT", "OK")]),
        ([*ours, Retrying()], [("CLIENT", "OK")]),
    ):
        channel = stack.enter_context(grpc.insecure_channel(serve(Flaky(failures=1), stack)))
        assert call_through(kind, grpc.intercept_channel(channel, *order)) == b"ab"
        assert ends(tracing, len(expected)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_interceptor_may_answer_itself(tracing, stack, kind):
    """The program gets that answer, and the span ends."""
    ours = tracekit.grpc.client_interceptors(tracing)
    channel = stack.enter_context(grpc.insecure_channel("127.0.0.1:1"))
    channel = grpc.intercept_channel(channel, *ours, Answering())
    assert call_through(kind, channel) == b"mine"
    assert ends(tracing, 1) == [("CLIENT", "OK")]


class Refusing(grpc.ServerInterceptor):
    """Ends a call without calling on, as authentication does."""

    def intercept_service(self, continuation, details):
        def refuse(request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        return grpc.unary_unary_rpc_method_handler(refuse)


def test_an_inner_refusal_has_its_code(tracing, stack):
    """We come first, so a refusal is seen; behind the one who refuses there is nothing to see."""
    ours = tracekit.grpc.server_interceptor(tracing)
    for order, expected in (
        ([ours, Refusing()], [("SERVER", "UNAUTHENTICATED")]),
        ([Refusing(), ours], []),
    ):
        channel = stack.enter_context(grpc.insecure_channel(serve(Flaky(), stack, *order)))
        with pytest.raises(grpc.RpcError) as raised:
            call_through("unary_unary", channel)
        assert raised.value.details() == "who are you?"
        assert ends(tracing, len(expected)) == expected


class Once(grpc.ServerInterceptor):
    """Gives handlers that do something else than be called once."""

    def __init__(self, behave):
        self._behave = behave

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._behave(handler.unary_unary, request, context)
        )


def twice(behavior, request, context):
    behavior(request, context)
    return behavior(request, context)


def suppressed(behavior, request, context):
    with suppress_instrumentation():
        return behavior(request, context)


@pytest.mark.parametrize("decision", [0, 1])
@pytest.mark.parametrize(
    ("behave", "begun"),
    [(twice, 2), (suppressed, 0), (lambda behavior, request, context: request, 0)],
    ids=["twice", "suppressed", "not at all"],
)
def test_each_handler_call_begins_a_span(tracing, stack, behave, begun, decision):
    """As often as an interceptor further out calls it: again, with tracing suppressed, or never."""
    ours = tracekit.grpc.server_interceptor(tracing)
    channel = stack.enter_context(grpc.insecure_channel(serve(Flaky(), stack, Once(behave), ours)))
    arriving = (("uber-trace-id", f"1:2:0:{decision}"),)
    assert call_through("unary_unary", channel, arriving) == b"ab"
    assert ends(tracing, begun * decision) == [("SERVER", "OK")] * (begun * decision)
    counts = tracing.provider.counts()
    assert (counts.unsampled_joined, counts.joined) == (begun * (1 - decision), begun * decision)
    assert tracing.stats().started == tracing.stats().finished == begun * decision


class Spelling(grpc.ServerInterceptor):
    """Writes metadata in its own way."""

    def __init__(self, spell):
        self._spell = spell

    def intercept_service(self, continuation, details):
        found = tuple(self._spell(key, value) for key, value in details.invocation_metadata)
        return continuation(details._replace(invocation_metadata=found))


@pytest.mark.parametrize(
    "spell",
    [
        lambda key, value: (key.title(), value),
        lambda key, value: (key, value.encode()),
        lambda key, value: (key.upper().encode(), value),
    ],
    ids=["case", "bytes", "bytes names"],
)
def test_metadata_from_further_out_is_read(tracing, stack, spell):
    """In whatever letter case, as text or as bytes."""
    ours = tracekit.grpc.server_interceptor(tracing)
    order = Spelling(spell), ours
    channel = stack.enter_context(grpc.insecure_channel(serve(Flaky(), stack, *order)))
    call_through("unary_unary", channel, (("uber-trace-id", "ab:cd:0:1"),))
    assert tracing.sink.take().context.trace_id == 0xAB


class Gone:
    """Somebody who had a handle."""

    def __init__(self, tracing):
        self.held = [tracing]

    @property
    def tracing(self):
        return self.held[0]


@pytest.mark.parametrize("on_asyncio", [False, True])
def test_a_missing_handle_costs_no_call(tracing, stack, serve_on_asyncio, on_asyncio):
    """The call is served untraced."""
    gone = Gone(tracing)
    library = tracekit.grpc.aio if on_asyncio else tracekit.grpc
    interceptor = library.server_interceptor(gone)
    gone.held.clear()
    if on_asyncio:
        target = serve_on_asyncio(interceptor, "unary_unary")
    else:
        target = serve(Flaky(), stack, interceptor)
    channel = stack.enter_context(grpc.insecure_channel(target))
    assert call_through("unary_unary", channel) == b"ab"


class OddError(grpc.RpcError):
    """An interceptor's own idea of an error."""

    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code


@pytest.mark.parametrize("code", [5, "NOT_FOUND", None])
def test_an_interceptors_error_goes_on(tracing, stack, code):
    """It reaches the program as it is, and the span ends."""

    class Failing(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            raise OddError(code)

    bare = stack.enter_context(grpc.insecure_channel("127.0.0.1:1"))
    channel = tracekit.grpc.trace_channel(grpc.intercept_channel(bare, Failing()), tracing)
    with pytest.raises(OddError):
        channel.unary_unary("/shop.Orders/unary_unary")(b"")
    assert tracing.sink.take().name == "shop.Orders/unary_unary"


@pytest.mark.parametrize("outermost", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_opentelemetrys_own_may_be_there(tracing, stack, kind, outermost):
    """Both trace the same call on the same pipeline, one under the other, in either order."""
    ours, theirs = (
        tracekit.grpc.server_interceptor(tracing),
        otel_grpc.server_interceptor(tracer_provider=tracing.provider),
    )
    target = serve(Flaky(), stack, *((ours, theirs) if outermost else (theirs, ours)))
    mine = tracekit.grpc.client_interceptors(tracing)
    other = otel_grpc.client_interceptor(tracer_provider=tracing.provider)
    channel = stack.enter_context(grpc.insecure_channel(target))
    if outermost:
        channel = otel_grpc.intercept_channel(channel, other)
        channel = grpc.intercept_channel(channel, *mine)
    else:
        channel = grpc.intercept_channel(channel, *mine)
        channel = otel_grpc.intercept_channel(channel, other)
    assert call_through(kind, channel).startswith(b"ab")
    spans = tracing.sink.take_many(4)
    assert {span.kind for span in spans} == {SpanKind.CLIENT, SpanKind.SERVER}
    if not (outermost and kind.endswith("_stream")):  # theirs may begin when it is first read
        assert len({span.context.trace_id for span in spans}) == 1


def test_aio_has_interceptors_either_side(tracing, stack, run):
    """Refusing, adding metadata, trying twice: as on the blocking side, in either order."""

    class Twice(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation, details, request):
            call = await continuation(details, request)
            if await call.code() is not grpc.StatusCode.OK:
                metadata = grpc.aio.Metadata(*(details.metadata or ()), ("x-try", "2"))
                call = await continuation(details._replace(metadata=metadata), request)
            return call

    async def call(order):
        program = Flaky(failures=1)
        target = serve(program, stack)
        async with grpc.aio.insecure_channel(target, interceptors=order) as channel:
            response = await channel.unary_unary("/shop.Orders/unary_unary")(b"ab")
        assert program.metadata[1]["x-try"] == "2"
        assert "uber-trace-id" in program.metadata[1]
        return response

    ours = tracekit.grpc.aio.client_interceptors(tracing)
    assert run(call([Twice(), *ours])) == b"ab"
    assert ends(tracing, 2) == [("CLIENT", "UNAVAILABLE"), ("CLIENT", "OK")]
    assert run(call([*ours, Twice()])) == b"ab"
    assert ends(tracing, 1) == [("CLIENT", "OK")]


def test_aio_interceptors_may_refuse_early(tracing, run):
    """A handler put in the place of the real one is traced like it."""

    class Refusing(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation, details):
            async def refuse(request, context):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

            return grpc.unary_unary_rpc_method_handler(refuse)

    async def scenario():
        server = grpc.aio.server(
            interceptors=(tracekit.grpc.aio.server_interceptor(tracing), Refusing())
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await asyncio.wait_for(channel.unary_unary("/shop.Orders/x")(b""), 5)
        await server.stop(None)
        return raised.value.details()

    assert run(scenario()) == "who are you?"
    assert ends(tracing, 1) == [("SERVER", "UNAUTHENTICATED")]
