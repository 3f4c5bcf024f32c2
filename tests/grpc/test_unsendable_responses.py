"""What a server could not send is not OK on its span, although its handler ended well."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import tracekit.grpc
import tracekit.testing

METHOD = "/a.B/U"


def large(request, context):
    return b"x" * 50_000


def slightly_large(request, context):
    return b"x" * 1_500


def illegal_trailer(request, context):
    context.set_trailing_metadata((("k", "a\nb"),))
    return b"fine"


def fine(request, context):
    context.set_trailing_metadata((("k", "v"),))
    return b"x" * 900


class Generic(grpc.GenericRpcHandler):
    def __init__(self, behavior):
        self._handler = grpc.unary_unary_rpc_method_handler(behavior)

    def service(self, details):
        return self._handler


OPTIONS = [("grpc.max_send_message_length", 1_200)]


@contextlib.contextmanager
def blocking(behavior, tracing):
    interceptors = [tracekit.grpc.server_interceptor(tracing)]
    server = grpc.server(ThreadPoolExecutor(2), [Generic(behavior)], interceptors, options=OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0.1).wait(5)


def call(function):
    """Return the code on the wire, and that of the server's span."""
    tracing = tracekit.testing.tracing(service_name="s")
    with blocking(function, tracing) as port:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                channel.unary_unary(METHOD)(b"", timeout=1.0)
                wire = grpc.StatusCode.OK
            except grpc.RpcError as error:
                wire = error.code()
        deadline = time.monotonic() + 10
        while not (spans := tracing.sink.spans) and time.monotonic() < deadline:
            time.sleep(0.01)
    tracing.shutdown(0)
    (span,) = spans
    return wire, span.attributes["rpc.response.status_code"]


@pytest.mark.parametrize("function", [large, slightly_large, illegal_trailer])
def test_a_response_that_could_not_be_sent(function):
    """The client has an error, and the server's span does not say OK."""
    wire, said = call(function)
    assert wire is not grpc.StatusCode.OK
    assert said not in ("OK", None)


def test_a_response_with_trailing_metadata_is_still_ok():
    """Whatever has to be waited for to know it."""
    assert call(fine) == (grpc.StatusCode.OK, "OK")
