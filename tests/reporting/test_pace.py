"""Nobody outside sets our pace faster than our own, and each limit that was learnt grows back."""

from __future__ import annotations

import email.utils
import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from tiny import TinyEncoder, TinySpan

import tracekit
from tracekit._protocols import SendResult
from tracekit.reporting import Reporter
from tracekit.reporting._shared_limit import SharedLimit
from tracekit.testing import FakeClock

MAX = 1000


class Wire:
    """A wire whose answers a function of the payload gives."""

    max_retry_s = None

    def __init__(self, answer, max_bytes=MAX):
        self.answer, self.max_bytes = answer, max_bytes
        self.sizes = []

    def send(self, payload, deadline):
        self.sizes.append(len(payload.body))
        return self.answer(len(payload.body))

    def close(self):
        pass


def driven(wire):
    clock = FakeClock()
    reporter = Reporter(
        TinyEncoder(), lambda: wire, spawn=lambda _pipeline: None, clock=clock, wait=clock.wait
    )
    return reporter, clock


def end(reporter, count, size=30):
    for number in range(count):
        span = TinySpan(str(number), size)
        reporter.on_start(span)
        reporter.on_end(span)


@pytest.mark.parametrize("after_s", [0.0, -5.0, 1e-9])
def test_a_receiver_does_not_shorten_pauses(after_s):
    """Whatever it asks for, attempts are no closer than the back-off's own."""
    wire = Wire(lambda _size: SendResult.retry("busy", after_s=after_s))
    reporter, clock = driven(wire)
    end(reporter, 5)
    for _ in range(600):  # a worker, for three seconds
        reporter._state.pipeline.work(partial=True)
        clock.wait(0.005)
    assert 3 <= len(wire.sizes) <= 12


@given(st.floats(0.2, 60.0))
def test_a_requested_pause_is_kept(after_s):
    """Not sooner than asked, and processes that were told the same do not come back together."""
    wire = Wire(lambda _size: SendResult.retry("busy", after_s=after_s))
    dues = set()
    for _ in range(3):
        reporter, clock = driven(wire)
        end(reporter, 1)
        due = reporter._state.pipeline.work(partial=True) - clock()
        assert after_s <= due <= after_s * 1.1 + 1e-6
        dues.add(due)
    assert len(dues) > 1


def test_one_span_alone_is_always_tried():
    """Five refusals teach to share less, not that no span can be sent."""
    refusals = iter([True] * 5)
    wire = Wire(
        lambda _size: SendResult.too_large("413") if next(refusals, False) else SendResult.sent()
    )
    reporter, _ = driven(wire)
    end(reporter, 20)
    assert reporter.flush(60.0)
    lost = reporter.stats().dropped["too_large"]
    assert lost <= 2
    end(reporter, 500)
    assert reporter.flush(60.0)
    assert reporter.stats().sent == 520 - lost
    assert max(wire.sizes[-10:]) > MAX - 60  # full payloads again


@pytest.mark.parametrize("limit", [40, 250, 999])
def test_a_narrow_receiver_is_asked_rarely(limit):
    """All spans arrive, and few payloads are refused on the way to that."""
    wire = Wire(lambda n: SendResult.too_large("") if n > limit else SendResult.sent())
    reporter, _ = driven(wire)
    for _ in range(20):
        end(reporter, 500)
        assert reporter.flush(60.0)
    assert reporter.stats().sent == 10_000
    refused = sum(size > limit for size in wire.sizes)
    assert refused < 30 + len(wire.sizes) / 50


def test_a_refusing_receiver_is_not_hammered():
    """One attempt a second at last, not one for each span as fast as they come."""
    wire = Wire(lambda _size: SendResult.too_large("413"))
    reporter, clock = driven(wire)
    end(reporter, 3000)
    for _ in range(3000):
        reporter._state.pipeline.work(partial=True)
        clock.wait(0.01)
    assert len(wire.sizes) < 150


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5000)), max_size=200), st.integers(1, 5000))
def test_the_shared_limit_stays_in_its_range(answers, max_bytes):
    """Between one byte and the wire's own, whatever is answered; full payloads taken restore it."""
    limit = SharedLimit()
    for accepted, size in answers:
        if accepted:
            limit.accept(size, max_bytes)
        else:
            limit.refuse(size)
        assert 1 <= limit.of(max_bytes) <= max_bytes
    for _ in range(256 * 14):
        limit.accept(limit.of(max_bytes), max_bytes)
    assert limit.of(max_bytes) == max_bytes


class Unwilling(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    value = "0"
    count = 0

    def do_POST(self):
        Unwilling.count += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(429)
        self.send_header("Retry-After", self.value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.mark.integration
@pytest.mark.parametrize("value", ["0.0", "-1", email.utils.formatdate(0, usegmt=True)])
def test_retry_after_nothing_over_http(value):
    """From a real server, in each of the forms of that header."""
    Unwilling.value, Unwilling.count = value, 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Unwilling)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _busy_for_a_second({"JAEGER_ENDPOINT": f"http://127.0.0.1:{server.server_port}/x"})
    server.shutdown()
    server.server_close()
    assert 2 <= Unwilling.count <= 12


@pytest.mark.integration
def test_retry_info_of_nothing_over_grpc():
    """``RetryInfo`` of no time at all does not hasten us either."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=0)))
    status = status_pb2.Status(code=14, details=[detail]).SerializeToString()
    count = 0

    def export(_request, context):
        nonlocal count
        count += 1
        context.set_trailing_metadata([("grpc-status-details-bin", status)])
        context.abort(grpc.StatusCode.UNAVAILABLE, "busy")

    class Any(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(ThreadPoolExecutor(2), [Any()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    _busy_for_a_second(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }
    )
    server.stop(0).wait(5)
    assert 2 <= count <= 12


def _busy_for_a_second(environ):
    sampling = {"sampler_type": "const", "sampler_param": 1, "exit_budget_s": 0.1}
    tracing = tracekit.init("s", environ=environ, set_global=False, flush_s=0.05, **sampling)
    for _ in range(50):
        tracing.tracer("t").start_span("x").end()
    time.sleep(1.2)
    tracing.shutdown(0.1)


class NumberingEncoder(TinyEncoder):
    """Keeps the number of each payload that it seals."""

    def __init__(self):
        self.numbers = []

    def seal(self, process, frames, seq_no, loss):
        self.numbers.append(seq_no)
        return super().seal(process, frames, seq_no, loss)


def test_the_parts_of_a_payload_are_numbered():
    """An agent learns from the numbers how many were sent: none is left out, none comes twice."""
    encoder, clock = NumberingEncoder(), FakeClock()
    wire = Wire(lambda n: SendResult.too_large("") if n > 200 else SendResult.sent())
    reporter = Reporter(
        encoder, lambda: wire, spawn=lambda _pipeline: None, clock=clock, wait=clock.wait
    )
    end(reporter, 100)
    assert reporter.flush(60.0)
    assert reporter.stats().sent == 100
    assert len(encoder.numbers) > len(wire.sizes) / 2
    assert encoder.numbers == list(range(1, len(encoder.numbers) + 1))
