"""A second destination beside the first: fed, accounted for and ended on its own."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from accounting import lawful
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import tracekit
from tracekit.local import Receiver
from tracekit.testing import MemoryTransport
from tracekit.transport import SendResult

SOON = 20.0


@contextlib.contextmanager
def running(**fields):
    tracing = tracekit.init(
        "shop",
        environ={},
        set_global=False,
        **{"sampler_type": "const", "sampler_param": 1, "flush_s": 0.02, **fields},
    )
    try:
        yield tracing
    finally:
        tracing.shutdown()


@pytest.fixture
def agents():
    with Receiver() as first, Receiver() as second:
        yield first, second


def to(receiver):
    return {"agent_host": "127.0.0.1", "agent_port": receiver.port}


def spans(tracing, n, name="work"):
    for _ in range(n):
        tracing.tracer("t").start_span(name).end()


def test_both_destinations_get_every_span(agents):
    """Each counts what it took, from when it was added until it is removed."""
    first, second = agents
    with running(**to(first)) as tracing:
        spans(tracing, 1, "before")
        added = tracing.add_exporter("udp", **to(second))
        spans(tracing, 5)
        assert tracing.flush(SOON)
        assert added.flush(SOON)
        added.remove()
        spans(tracing, 1, "after")
        assert tracing.flush(SOON)
        assert (tracing.stats().sent, added.stats().sent) == (7, 5)
        assert lawful(tracing.stats())
        assert lawful(added.stats())
    assert {span.operation for span in second.wait(5, timeout_s=SOON)} == {"work"}
    assert len(first.wait(7, timeout_s=SOON)) == 7


def test_a_second_may_be_of_any_kind(agents):
    """As with ``init``: any OpenTelemetry exporter, any transport object, or the name of one."""

    class Kept(SpanExporter):
        spans = ()

        def export(self, spans):
            self.spans = (*self.spans, *spans)
            return SpanExportResult.SUCCESS

    kept, memory = Kept(), MemoryTransport()
    with running(**to(agents[0])) as tracing:
        added = [tracing.add_exporter(exporter=kept), tracing.add_exporter(memory)]
        spans(tracing, 3)
        assert all(each.flush(SOON) for each in added)
    assert len(kept.spans) == 3
    assert sum(len(each.frames) for each in memory.payloads) == 3
    assert memory.closed


@pytest.mark.parametrize("way", ["refuses", "hangs", "overflows"])
def test_a_dead_second_costs_no_first(agents, way):
    """What it cannot send is its own loss, counted there; a flush of the first does not wait."""
    free = threading.Event()

    def answer(_payload):
        if way == "hangs":
            free.wait(SOON)
        return SendResult.retry("nobody listens")

    with running(**to(agents[0])) as tracing:
        added = tracing.add_exporter(MemoryTransport(answer), queue_size=10)
        spans(tracing, 500)
        assert tracing.flush(SOON)
        assert tracing.stats().sent == 500
        assert added.stats().dropped["queue_full"] >= 400
        assert lawful(added.stats())
        free.set()
        added.remove(0.1)
        assert lawful(added.stats())
        assert added.stats().finished == sum(added.stats().dropped.values()) == 500


def test_two_of_one_format_share_frames():
    """Two compact agents are sent the same frames; another format has frames of its own."""
    first, same, other = MemoryTransport(), MemoryTransport(), MemoryTransport()
    with running(transport=first) as tracing:
        added = [
            tracing.add_exporter(same),
            tracing.add_exporter(other, agent_protocol="binary"),
        ]
        for _ in range(20):  # in turn, so that no two workers begin with a span at once
            spans(tracing, 1)
            assert tracing.flush(SOON)
            assert all(each.flush(SOON) for each in added)
    frames = [[f for p in wire.payloads for f in p.frames] for wire in (first, same, other)]
    shared = sum(one is two for one, two in zip(frames[0], frames[1], strict=True))
    assert shared >= 10
    assert all(one.data != two.data for one, two in zip(frames[0], frames[2], strict=True))


def test_redact_holds_for_both(agents):
    """``redact`` of the first holds for those that are added, unless they say more."""
    first, second = agents
    with running(redact=["email"], **to(first)) as tracing:
        added = tracing.add_exporter("udp", **to(second))
        tracing.tracer("t").start_span("work", attributes={"email": "a@b"}).end()
        assert tracing.flush(SOON)
        assert added.flush(SOON)
        for receiver in agents:
            (span,) = receiver.wait(1, timeout_s=SOON)
            assert span.tags["email"] == "REDACTED"


def test_figures_of_both_are_told_apart(agents):
    """Metrics of a further destination have its name as a label; two of a kind are numbered."""
    with running(**to(agents[0])) as tracing:
        names = {family.instrument.name for family in tracing.metrics()}
        assert not any(name.startswith("tracekit.exporter.") for name in names)
        added = [tracing.add_exporter("udp", **to(agents[1])) for _ in range(2)]
        added.append(tracing.add_exporter(MemoryTransport(), name="new back end"))
        spans(tracing, 2)
        assert all(each.flush(SOON) for each in added)
        points = {family.instrument.name: family.points for family in tracing.metrics()}
    assert points["tracekit.exporter.sent"] == {("udp",): 2, ("udp-2",): 2, ("new back end",): 2}
    assert points["tracekit.exporter.dropped"]["udp", "queue_full"] == 0


def test_bad_settings_are_an_error(agents):
    """They stand in the program, so they are raised where they stand."""
    with running(**to(agents[0])) as tracing:
        with pytest.raises(TypeError, match="queue_sise"):
            tracing.add_exporter("udp", queue_sise=5)
        with pytest.raises(tracekit.ConfigError):
            tracing.add_exporter("udp", queue_size=-5)
        with pytest.raises(TypeError):
            tracing.add_exporter("udp", exporter=object())


def test_a_disabled_handle_takes_one():
    """A program needs no case of its own for that."""
    memory = MemoryTransport()
    with running(disabled=True) as tracing:
        added = tracing.add_exporter(memory)
        spans(tracing, 1)
        assert added.flush(SOON)
        assert added.stats().finished == 0
        added.remove()
    assert memory.payloads == []


class Otlp(http.server.BaseHTTPRequestHandler):
    """Counts the spans of OTLP requests."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.taken += sum(len(scope.spans) for scope in resource.scope_spans)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_details):
        pass


@pytest.fixture
def otlp():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Otlp) as server:
        server.taken = 0
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("ending", ["exit", "sigterm"])
def test_the_end_drains_both_at_once(ending, otlp):
    """One variable names the second. The first never answers; the second gets all in the time."""
    program = (
        "import os, signal, tracekit\n"
        "tracing = tracekit.init(flush_s=60)\n"
        "for _ in range(50):\n"
        "    tracekit.get_tracer('t').start_span('work').end()\n"
    )
    if ending == "sigterm":
        program += "os.kill(os.getpid(), signal.SIGTERM)\n"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ
            | {
                "JAEGER_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}/api/traces",
                "TRACEKIT_ALSO": f"http://127.0.0.1:{otlp.server_address[1]}",
                "TRACEKIT_EXIT_BUDGET": "2s",
                "JAEGER_SAMPLER_TYPE": "const",
                "JAEGER_SAMPLER_PARAM": "1",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == (-signal.SIGTERM if ending == "sigterm" else 0), done.stderr
    assert otlp.taken == 50
    assert time.monotonic() - began < SOON


def test_a_span_waits_for_one_offer_more(agents):
    """Ending a span beside a second destination costs less than twice what it cost without."""

    def cost(tracing, n=3000):
        tracer = tracing.tracer("t")
        best = float("inf")
        for _ in range(5):
            made = [tracer.start_span("work") for _ in range(n)]
            began = time.thread_time()
            for span in made:
                span.end()
            best = min(best, time.thread_time() - began)
        return best / n

    with running(**to(agents[0]), flush_s=60, queue_size=100_000) as tracing:
        alone = cost(tracing)
        tracing.add_exporter(MemoryTransport(), flush_s=60, queue_size=100_000)
        assert cost(tracing) < 3 * alone
