"""What a server could not send is not OK on its span, although its handler ended well."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest
from waiting import eventually

import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

METHOD = "/a.B/U"


def large(request, context):
    return b"x" * 50_000


def slightly_large(request, context):
    return b"x" * 1_500


def of_another_type(request, context):
    context.set_trailing_metadata((("k", 5),))
    return b"fine"


def fine(request, context):
    context.set_trailing_metadata((("k", " ~"), ("k-bin", b"\n\xff"), ("a.b_c-9", "")))
    return b"x" * 900


def streamed(behavior):
    """Return a handler that responds once before it does what ``behavior`` does."""

    def stream(request, context):
        yield b"first"
        yield behavior(request, context)

    return stream


class Generic(grpc.GenericRpcHandler):
    def __init__(self, handler):
        self._handler = handler

    def service(self, details):
        return self._handler


OPTIONS = [("grpc.max_send_message_length", 1_200)]


@contextlib.contextmanager
def blocking(handler, tracing):
    interceptors = [tracekit.grpc.server_interceptor(tracing)]
    server = grpc.server(ThreadPoolExecutor(2), [Generic(handler)], interceptors, options=OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0.1).wait(1)  # old versions never get done with some of the calls


def seen_by_client(port, *, streams=False):
    """Return the code on the wire."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            if streams:
                list(channel.unary_stream(METHOD)(b"", timeout=1.0))
            else:
                channel.unary_unary(METHOD)(b"", timeout=1.0)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK


def ended(tracing):
    """Return the code of the server's one span, once it has ended."""
    spans = eventually(lambda: tracing.sink.spans)
    tracing.shutdown(0)
    (span,) = spans
    return span.attributes["rpc.response.status_code"]


def call(function, *, streams=False):
    """Return the code on the wire, and that of the server's span."""
    tracing = tracekit.testing.tracing(service_name="s")
    if streams:
        handler = grpc.unary_stream_rpc_method_handler(streamed(function))
    else:
        handler = grpc.unary_unary_rpc_method_handler(function)
    with blocking(handler, tracing) as port:
        wire = seen_by_client(port, streams=streams)
        return wire, ended(tracing)


@pytest.mark.parametrize("function", [large, slightly_large, of_another_type])
def test_a_response_that_could_not_be_sent(function):
    """The client has an error, and the server's span does not say OK."""
    wire, said = call(function)
    assert wire is not grpc.StatusCode.OK
    assert said not in ("OK", None)


def test_a_streams_end_may_be_unsendable():
    """The same goes for the status behind the last response that could not be sent."""
    wire, said = call(of_another_type, streams=True)
    assert wire is not grpc.StatusCode.OK
    assert said not in ("OK", None)


@pytest.mark.parametrize("streams", [False, True])
def test_trailing_metadata_leaves_it_ok(streams):
    """Whatever has to be waited for to know it."""
    assert call(fine, streams=streams) == (grpc.StatusCode.OK, "OK")


# --- trailing metadata that gRPC takes, and whose status it then cannot send ---

ILLEGAL = {
    "value": (("k", "a\nb"),),
    "text": (("k", "ok"), ("name", "Zoë")),
    "bytes": (("k", b"\x00"),),
    "key": (("Token", "x"),),
    "empty": (("", "x"),),
}
"""What HTTP/2 cannot carry. Old versions of gRPC then tell the client nothing at all."""


def outcome(how, context):
    if how == "raise":
        raise KeyError("boom")
    if how == "code":
        context.set_code(grpc.StatusCode.NOT_FOUND)
    return b"fine"


@pytest.mark.parametrize("streams", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize(
    ("how", "trailer"),
    [
        *(("ok", trailer) for trailer in ILLEGAL),
        ("raise", "key"),
        ("code", "key"),
        ("abort", "key"),
    ],
)
def test_illegal_trailing_metadata(how, trailer, streams):
    """The span says INTERNAL, as gRPC does, and is over although gRPC may never be done."""

    def handle(request, context):
        context.set_trailing_metadata(ILLEGAL[trailer])
        if how == "abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        return outcome(how, context)

    wire, said = call(handle, streams=streams)
    assert said == "INTERNAL"
    assert wire.name in ("INTERNAL", "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("streams", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("how", ["ok", "raise", "code", "abort"])
def test_illegal_trailers_after_a_cancel(how, streams):
    """What happened first is the code: nobody was there any more to be told INTERNAL."""
    began, tracing = threading.Event(), tracekit.testing.tracing(service_name="s")

    def handle(request, context):
        began.set()
        eventually(lambda: not context.is_active())
        context.set_trailing_metadata(ILLEGAL["key"])
        if how == "abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        return outcome(how, context)

    def stream(request, context):
        yield b"first"
        handle(request, context)

    if streams:
        handler = grpc.unary_stream_rpc_method_handler(stream)
    else:
        handler = grpc.unary_unary_rpc_method_handler(handle)
    with blocking(handler, tracing) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        if streams:
            waiting = channel.unary_stream(METHOD)(b"", timeout=20)
        else:
            waiting = channel.unary_unary(METHOD).future(b"", timeout=20)
        assert began.wait(10)
        waiting.cancel()
        assert ended(tracing) == "CANCELLED"


@pytest.mark.parametrize("streams", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("how", ["ok", "raise", "code", "abort"])
def test_illegal_trailers_on_asyncio(how, streams):
    """The same goes for ``grpc.aio``."""

    async def handle(request, context):
        context.set_trailing_metadata(ILLEGAL["value"])
        if how == "abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        return outcome(how, context)

    async def stream(request, context):
        yield b"first"
        yield await handle(request, context)

    async def main():
        server = grpc.aio.server(interceptors=[tracekit.grpc.aio.server_interceptor(tracing)])
        if streams:
            handler = grpc.unary_stream_rpc_method_handler(stream)
        else:
            handler = grpc.unary_unary_rpc_method_handler(handle)
        server.add_generic_rpc_handlers([Generic(handler)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        wire = await asyncio.to_thread(seen_by_client, port, streams=streams)
        await server.stop(0)
        return wire

    tracing = tracekit.testing.tracing(service_name="s")
    wire = asyncio.run(main())
    assert ended(tracing) == "INTERNAL"
    assert wire.name in ("INTERNAL", "DEADLINE_EXCEEDED")
