"""What gRPC's servers answer to a compression that they lack, and who says that nobody is there."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tracekit._causes import Cause
from tracekit._protocols import Frame, Outcome, Payload
from tracekit.transport._http import Tls
from tracekit.transport._otlp_grpc import METHOD, OtlpGrpcTransport

SOON = 20.0


@contextlib.contextmanager
def serving(export, options=(), port=0):
    """Run a server of ``Export`` on bytes; yield it and its port."""
    server = grpc.server(ThreadPoolExecutor(1), options=options)
    service, method = METHOD.strip("/").split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield server, port
    finally:
        server.stop(0).wait(SOON)


@contextlib.contextmanager
def far_away(port, after_s):
    """Put a relay before ``port`` whose answers begin late; yield the relay's port."""

    def pass_on(source, sink, after_s):
        time.sleep(after_s)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.create_connection(("127.0.0.1", port), SOON) as far:
                there = threading.Thread(target=pass_on, args=(self.request, far, 0))
                there.start()
                pass_on(far, self.request, after_s)
                there.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        try:
            yield relay.server_address[1]
        finally:
            relay.shutdown()


def send(transport, body=b"x" * 5000):
    return transport.send(Payload(body, [Frame(b"")]), time.monotonic() + SOON)


def test_a_server_may_lack_gzip(caplog):
    """It answers UNIMPLEMENTED: sent at once as it is, and never compressed again."""
    bodies = []
    plain_only = [("grpc.compression_enabled_algorithms_bitset", 1)]
    with serving(lambda body, _: bodies.append(body) or b"", plain_only) as (_, port):
        transport = OtlpGrpcTransport(f"http://127.0.0.1:{port}", gzipped=True)
        with contextlib.closing(transport):
            assert [send(transport).ok for _ in range(3)] == [True] * 3
    assert len(bodies) == 3
    # Another refusal would have cost another warning.
    assert len([r for r in caplog.records if "takes no gzip" in r.getMessage()]) == 1


@pytest.mark.parametrize(("code", "asked"), [("UNIMPLEMENTED", 2), ("INVALID_ARGUMENT", 1)])
def test_two_refusals_end_no_compression(code, asked, caplog):
    """A server without the service, say: final. Any other code is no reason for a second try."""
    calls = []

    def export(body, context):
        calls.append(body)
        context.abort(getattr(grpc.StatusCode, code), "no")

    with serving(export) as (_, port):
        transport = OtlpGrpcTransport(f"http://127.0.0.1:{port}", gzipped=True)
        with contextlib.closing(transport):
            assert send(transport).outcome is send(transport).outcome is Outcome.FAILED
    assert len(calls) == 2 * asked
    assert not caplog.records


def test_absent_is_told_from_a_servers_word():
    """Words of a server, or of a proxy before it, never shorten the pauses between attempts."""

    def export(_body, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, "no connection, refused, DNS")

    with serving(export) as (server, port):
        transport = OtlpGrpcTransport(f"http://127.0.0.1:{port}")
        with contextlib.closing(transport):
            assert not send(transport).unreached
            server.stop(0).wait(SOON)
            transport.close()
            assert send(transport).unreached


def test_a_return_is_found_at_once():
    """When to try again is the pipeline's to say: gRPC's own back-off does not add to it."""
    with serving(lambda _body, _context: b"") as (_, port):
        pass
    transport = OtlpGrpcTransport(f"http://127.0.0.1:{port}")
    with contextlib.closing(transport):
        for _ in range(8):
            assert send(transport).unreached
        with serving(lambda _body, _context: b"", port=port):
            assert send(transport).ok


@pytest.mark.parametrize("fault", ["absent", "below a file", "a circle of links", "a directory"])
def test_a_certificate_that_cannot_be_read(fault, tmp_path):
    """Whatever the path leads to instead, the operator is sent to look at it."""
    path = tmp_path / "ca.pem"
    if fault == "below a file":
        path.touch()
        path /= "ca.pem"
    elif fault == "a circle of links":
        path.symlink_to(path)
    elif fault == "a directory":
        path.mkdir()
    transport = OtlpGrpcTransport("https://127.0.0.1:1", tls=Tls(ca_file=str(path)))
    with contextlib.closing(transport):
        result = send(transport)
    assert (result.outcome, result.cause) == (Outcome.RETRY, Cause.FILE)


def test_a_collector_may_be_far_away():
    """A connection needs several round trips, for TLS and HTTP/2 as well: they are waited for."""
    with serving(lambda _body, _context: b"") as (_, port), far_away(port, 0.5) as far:
        transport = OtlpGrpcTransport(f"http://127.0.0.1:{far}")
        with contextlib.closing(transport):
            assert send(transport).ok


@pytest.mark.parametrize(
    ("code", "words", "outcome"),
    [
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (7 vs. 4)", "TOO_LARGE"),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (7 vs. 4)", "TOO_LARGE"),
        ("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 4: 7", "TOO_LARGE"),
        (
            "RESOURCE_EXHAUSTED",
            "Received message exceeds the maximum configured message size.",
            "TOO_LARGE",
        ),
        (
            "OUT_OF_RANGE",
            "Error, decoded message length too large: found 7 bytes, the limit is: 4 bytes",
            "TOO_LARGE",
        ),
        ("UNKNOWN", "Received http2 header with status: 413", "TOO_LARGE"),
        ("UNKNOWN", "Received http2 header with status: 414", "FAILED"),
        ("RESOURCE_EXHAUSTED", "the tenant exceeds its maximum rate of 4 spans", "FAILED"),
        ("OUT_OF_RANGE", "the window is over", "RETRY"),
        ("INVALID_ARGUMENT", "a value larger than max", "FAILED"),
    ],
)
def test_a_limit_has_many_words(code, words, outcome):
    """Each implementation of gRPC says in its own way that a message is above its limit."""

    def export(_body, context):
        context.abort(getattr(grpc.StatusCode, code), words)

    with serving(export) as (_, port):
        transport = OtlpGrpcTransport(f"http://127.0.0.1:{port}")
        with contextlib.closing(transport):
            assert send(transport).outcome.name == outcome
