"""OTLP over HTTP and gRPC, from the environment to OpenTelemetry's own protobuf services."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time

import pytest
from accounting import law
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

import tracekit
import tracekit.grpc
from tracekit._display import quoted
from tracekit._protocols import Frame, Outcome, Payload
from tracekit.transport import _otlp
from tracekit.transport._http import Tls
from tracekit.transport._otlp_grpc import OtlpGrpcTransport

SOON = 20.0


@contextlib.contextmanager
def running(environ, **fields):
    """Run a handle that sends at flush, in one batch; what is left by the end is lost at once."""
    tracing = tracekit.init(environ=environ, set_global=False, flush_s=60.0, **fields)
    try:
        yield tracing
    finally:
        tracing.shutdown(0.0)


def make(tracing, count=1, name="step"):
    tracer = tracing.tracer("scope")
    for number in range(count):
        tracer.start_span(f"{name} {number}", attributes={"n": number}).end()


def test_what_was_created_is_received(receiver):
    """The variables alone choose the wire; every span arrives once, with its resource."""
    with running(receiver.environ) as tracing:
        make(tracing, 300)
        assert tracing.flush(SOON)
    assert sorted(span.name for span in receiver.spans) == sorted(f"step {n}" for n in range(300))
    tags = {item.key: item.value.string_value for item in _resource(receiver).attributes}
    assert tags["service.name"] == "shop"
    assert (tracing.stats().sent, receiver.gzipped) == (300, False)


def _resource(receiver):
    return receiver.requests[0].resource_spans[0].resource


def test_only_a_base_endpoint_gets_the_path(receiver):
    """``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` is used as it is."""
    environ = dict(receiver.environ)
    with running(environ) as tracing:
        make(tracing)
        assert tracing.flush(SOON)
    if receiver.protocol == "grpc":
        return
    assert receiver.headers[-1][":path"] == "/v1/traces"
    environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"http://127.0.0.1:{receiver.port}/mine?x=1"
    with running(environ) as tracing:
        make(tracing)
        assert tracing.flush(SOON)
    assert receiver.headers[-1][":path"] == "/mine?x=1"


def test_headers_are_decoded_and_sent(receiver):
    """Credentials and tenants come from the variable; those of traces win over the general."""
    environ = receiver.environ | {
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20t%3D1,X-Tenant=a%2Cb",
    }
    with running(environ) as tracing:
        make(tracing)
        assert tracing.flush(SOON)
    headers = receiver.headers[-1]
    assert (headers["authorization"], headers["x-tenant"]) == ("Bearer t=1", "a,b")


def test_gzip_by_choice(receiver):
    """``OTEL_EXPORTER_OTLP_COMPRESSION=gzip`` compresses on either wire."""
    with running(receiver.environ | {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}) as tracing:
        make(tracing, 50)
        assert tracing.flush(SOON)
    assert len(receiver.spans) == 50
    if receiver.protocol != "grpc":  # grpc's server hides the header that it has undone
        assert receiver.gzipped


def test_tls_both_ways(make_receiver, certificates):
    """The receiver is verified by the CA file and verifies us; a stranger gets nothing through."""
    with make_receiver(certificates) as receiver:
        with running(receiver.environ) as tracing:
            make(tracing, 20)
            assert tracing.flush(SOON)
        stranger = dict(receiver.environ)
        for name in ("CLIENT_CERTIFICATE", "CLIENT_KEY"):
            del stranger[f"OTEL_EXPORTER_OTLP_{name}"]
        with running(stranger) as tracing:
            make(tracing)
            assert not tracing.flush(0.5)
            law(tracing.stats())
    assert len(receiver.spans) == 20


def test_a_receivers_pause_is_waited_out(receiver, mood):
    """``Retry-After`` and ``RetryInfo`` are waited out, then the payload is sent again, once."""
    receiver.moods = [mood(error="overloaded", after_s=0.4)]
    with running(receiver.environ) as tracing:
        make(tracing, 5)
        assert tracing.flush(SOON)
    first, second = receiver.arrivals
    assert second - first >= 0.4
    assert (len(receiver.spans), tracing.stats().retries) == (5, 1)


def test_a_passing_fault_is_retried(receiver, mood):
    """503 and UNAVAILABLE cost a retry and nothing else."""
    receiver.moods = [mood(error="unavailable")] * 3
    with running(receiver.environ) as tracing:
        make(tracing, 5)
        assert tracing.flush(SOON)
    assert (len(receiver.spans), tracing.stats().retries) == (5, 3)


@pytest.mark.parametrize("error", ["invalid", "unauthenticated", "internal"])
def test_a_final_refusal_is_counted(receiver, mood, caplog, error):
    """A payload that can never be taken is not sent again; the warning has the server's words."""
    receiver.moods = [mood(error=error, words="no such tenant")]
    with running(receiver.environ) as tracing, caplog.at_level(logging.WARNING, "tracekit"):
        make(tracing, 5)
        assert tracing.flush(SOON)
    stats = tracing.stats()
    assert (stats.sent, stats.dropped["send_failed"], len(receiver.arrivals)) == (0, 5, 1)
    assert "no such tenant" in caplog.text


def test_partial_success_counts_as_rejected(receiver, mood, caplog):
    """What the receiver refuses of a payload is a loss, in its own words; the rest is sent."""
    receiver.moods = [mood(rejected=2, words="too\nold")]
    with running(receiver.environ) as tracing, caplog.at_level(logging.WARNING, "tracekit"):
        make(tracing, 5)
        assert tracing.flush(SOON)
    stats = tracing.stats()
    assert (stats.sent, stats.dropped["rejected"]) == (3, 2)
    assert "too old" in caplog.text
    assert "rejected: 2" in caplog.text


def test_a_receivers_warning_is_no_loss(receiver, mood):
    """Partial success with nothing rejected is success."""
    receiver.moods = [mood(words="please send less")]
    with running(receiver.environ) as tracing:
        make(tracing, 5)
        assert tracing.flush(SOON)
    assert tracing.stats().sent == 5


def test_a_restarted_receiver_gets_all(receiver):
    """Spans wait while nobody listens, and arrive within a back-off step of the return."""
    with running(receiver.environ) as tracing:
        make(tracing, 5, "before")
        assert tracing.flush(SOON)
        receiver.stop()
        make(tracing, 20, "between")
        assert not tracing.flush(0.3)
        law(tracing.stats())
        receiver.start()
        assert tracing.flush(SOON)
        assert tracing.stats().sent == 25
    assert len({span.name for span in receiver.spans}) == 25


class Relay:
    """Passes bytes between a client and ``port``; ``cut`` breaks all connections there are."""

    def __init__(self, port):
        self._upstream = port
        self._sockets = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def close(self):
        self._listening.close()
        self.cut()


def test_twins_of_a_broken_call_are_counted(make_receiver):
    """A request that was taken and whose answer was lost is sent again, and ``resent`` tells."""
    with make_receiver() as receiver, contextlib.closing(Relay(receiver.port)) as relay:
        endpoint = f"http://127.0.0.1:{relay.port}"
        environ = {**receiver.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        with running(environ) as tracing:
            make(tracing, 5, "before")
            assert tracing.flush(SOON)
            take, receiver.take = receiver.take, lambda *args: (take(*args), relay.cut())[0]
            make(tracing, 5, "broken")
            flushing = threading.Thread(target=tracing.flush, args=(SOON,))
            flushing.start()
            receiver.wait(2)
            receiver.take = take
            assert tracing.flush(SOON)
            flushing.join()
            stats = tracing.stats()
        assert (stats.finished, stats.sent) == (10, 10)
        twins = len(receiver.spans) - len({span.span_id for span in receiver.spans})
        assert 5 <= twins <= stats.resent


def test_a_flush_is_bounded(make_receiver):
    """Neither flush nor shutdown waits longer than it was told to; what is left is counted."""
    release = threading.Event()

    class Hanging(make_receiver):
        def take(self, request, headers):
            release.wait(SOON)
            return super().take(request, headers)

    with Hanging() as receiver:
        try:
            with running(receiver.environ) as tracing:
                make(tracing, 5)
                began = time.monotonic()
                assert not tracing.flush(0.2)
                tracing.shutdown(0.2)
                assert time.monotonic() - began < SOON / 2
                stats = tracing.stats()
                law(stats)
                assert stats.sent == 0
        finally:
            release.set()


def test_the_timeout_bounds_a_request(make_receiver):
    """``OTEL_EXPORTER_OTLP_TIMEOUT`` is in milliseconds; what may have arrived is sent again."""
    release = threading.Event()

    class Slow(make_receiver):
        def take(self, request, headers):
            if not self.arrivals:
                self.arrivals.append(0.0)
                release.wait(SOON)
            return super().take(request, headers)

    with Slow() as receiver:
        try:
            with running(receiver.environ | {"OTEL_EXPORTER_OTLP_TIMEOUT": "200"}) as tracing:
                make(tracing, 5)
                assert tracing.flush(SOON)
                assert tracing.stats().resent == 5
        finally:
            release.set()


def test_a_too_large_message_is_split(make_receiver, mood):
    """A limit of the receiver, learnt from its refusal, shrinks what is sent."""
    with make_receiver() as receiver, running(receiver.environ) as tracing:
        if receiver.protocol == "grpc":
            receiver.stop()
            receiver.options = [("grpc.max_receive_message_length", 20_000)]
            receiver.start()
        else:
            receiver.moods = [mood(error="too large")]
        for _ in range(100):
            tracing.tracer("t").start_span("x", attributes={"text": "y" * 1000}).end()
        assert tracing.flush(SOON)
        assert tracing.stats().sent == 100
    assert len(receiver.spans) == 100
    assert len(receiver.requests) > 1


def test_our_own_calls_are_not_traced(receiver):
    """With every channel instrumented, a flush brings no spans but the program's."""
    with running(receiver.environ) as tracing:
        undo = tracekit.grpc.instrument(tracing)
        try:
            make(tracing, 5)
            assert tracing.flush(SOON)
            assert tracing.flush(SOON)
        finally:
            undo()
        assert tracing.stats().started == 5
    assert len(receiver.spans) == 5
    assert not {"uber-trace-id", "traceparent"} & receiver.headers[-1].keys()


def test_only_otlp_over_grpc_imports_grpc():
    """Only OTLP over gRPC imports grpcio."""
    program = (
        "import sys, tracekit\n"
        "t = tracekit.init('x', transport='otlp-http', set_global=False)\n"
        "t.shutdown(0)\n"
        "sys.exit('grpc' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_a_service_may_lack_grpcio():
    """A variable for all services does not stop this one: it says what is missing, and counts."""
    program = (
        "import logging, sys\n"
        "sys.modules['grpc'] = None\n"
        "import tracekit\n"
        "logging.basicConfig()\n"
        "t = tracekit.init('x', transport='otlp-grpc', sampler_type='const', sampler_param=1)\n"
        "t.tracer('t').start_span('s').end()\n"
        "assert t.flush()\n"
        "assert t.stats().dropped['send_failed'] == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], timeout=60, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stderr.count("pip install 'tracekit-jaeger[otlp]'") == 2
    )  # at the start, and at the loss


def grpc_send(transport, body=b"", timeout_s=SOON):
    return transport.send(Payload(body, [Frame(b"")]), time.monotonic() + timeout_s)


def test_a_burst_is_sent_in_usual_batches(receiver):
    """No request holds more than 512 spans, although thousands fit into its bytes."""
    with running(receiver.environ) as tracing:
        make(tracing, 3500)
        assert tracing.flush(SOON)
        assert tracing.stats().sent == 3500
    sizes = [
        sum(len(scope.spans) for resource in each.resource_spans for scope in resource.scope_spans)
        for each in receiver.requests
    ]
    assert max(sizes) == 512
    assert sum(sizes) == 3500


def test_a_refused_connection_is_no_doubt():
    """A refused connection is retried without being counted as a possible twin."""
    transport = OtlpGrpcTransport("http://127.0.0.1:9")
    result = grpc_send(transport)
    transport.close()
    assert (result.outcome, list(result.doubt)) == (Outcome.RETRY, [])
    assert "UNAVAILABLE" in result.reason


def test_missing_certificates_are_waited_for(tmp_path):
    """A file that a sidecar has yet to write is a reason to try again, and is named."""
    transport = OtlpGrpcTransport("https://127.0.0.1:9", tls=Tls(str(tmp_path / "ca.pem")))
    result = grpc_send(transport)
    assert result.outcome is Outcome.RETRY
    assert "ca.pem" in result.reason


@pytest.mark.parametrize(
    "headers",
    [{"x-tenant": "secret\u00e4"}, {"X Bad": "secret"}, {"x-bin": "secret"}],
    ids=["value", "name", "binary"],
)
def test_unsendable_headers_do_not_raise(headers):
    """They will never work, so the spans are dropped at once; the reason repeats no value."""
    transport = OtlpGrpcTransport("http://127.0.0.1:9", headers=headers)
    result = grpc_send(transport)
    transport.close()
    assert result.outcome is Outcome.FAILED
    assert "secret" not in result.reason


@pytest.mark.parametrize("endpoint", ["collector:4317", "unix:///x", ""])
def test_another_form_of_endpoint_is_refused(endpoint):
    """Settings never let one through; who builds a transport by hand is told."""
    with pytest.raises(ValueError, match="not the URL"):
        OtlpGrpcTransport(endpoint)


@given(st.integers(-5, 100), st.text(max_size=300))
def test_partial_success_is_read_as_written(number, words):
    """The number and the words of the response, the latter as one bounded line."""
    words = words.encode("utf-8", "replace").decode()
    partial = ExportTracePartialSuccess(rejected_spans=number, error_message=words)
    response = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    found, said = _otlp.rejected(response)
    assert found == max(0, number)
    assert said == quoted(words)


@given(st.binary(max_size=40))
def test_no_answer_makes_the_readers_raise(data):
    """Whatever a receiver answers, it is read or ignored."""
    number, words = _otlp.rejected(data)
    assert number >= 0
    assert "\n" not in words
    delay = _otlp.retry_delay_s(data)
    assert delay is None or 0.0 <= delay <= 60.0


@pytest.mark.parametrize(
    ("seconds", "nanos", "delay"),
    [(1, 500_000_000, 1.5), (0, 0, 0.0), (-3, 0, 0.0), (1_000_000, 0, 60.0)],
)
def test_retry_info_is_found_among_details(seconds, nanos, delay):
    """The delay is honoured within reason."""
    status = Status(code=8)
    status.details.append(Any(type_url="type.googleapis.com/other", value=b"\xff"))
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos)))
    assert _otlp.retry_delay_s(status.SerializeToString()) == delay
