"""The table of instruments: the names that operators know, and figures that are those of stats."""

from __future__ import annotations

import itertools
import logging
import re

import pytest
from opentelemetry import trace
from prometheus_client import CollectorRegistry

import tracekit
import tracekit.prometheus
import tracekit.testing
from tracekit import metrics
from tracekit.reporting import DropReason
from tracekit.transport import SendResult

TABLE = metrics.JAEGER + metrics.OWN + metrics.ADDED + metrics.RPC + metrics.SDK

# Written down from jaeger-client-go's metrics.go and rpcmetrics, as its Prometheus factory shows
# them; jaeger-client-python has the same below the prefix ``jaeger:``. Left out is what has no
# counterpart here: baggage restrictions and throttling of debug spans.
GO = {
    "jaeger_tracer_traces_total": {
        ("started", "y"),
        ("started", "n"),
        ("joined", "y"),
        ("joined", "n"),
    },
    "jaeger_tracer_started_spans_total": {("y",), ("n",)},
    "jaeger_tracer_finished_spans_total": {("y",)},
    "jaeger_tracer_span_context_decoding_errors_total": {()},
    "jaeger_tracer_reporter_spans_total": {("ok",), ("err",), ("dropped",)},
    "jaeger_tracer_reporter_queue_length": {()},
    "jaeger_tracer_sampler_queries_total": {("ok",), ("err",)},
    "jaeger_tracer_sampler_updates_total": {("ok",), ("err",)},
}
GO_LABELS = {
    "jaeger_tracer_traces_total": ("state", "sampled"),
    "jaeger_tracer_started_spans_total": ("sampled",),
    "jaeger_tracer_finished_spans_total": ("sampled",),
    "jaeger_tracer_span_context_decoding_errors_total": (),
    "jaeger_tracer_reporter_spans_total": ("result",),
    "jaeger_tracer_reporter_queue_length": (),
    "jaeger_tracer_sampler_queries_total": ("result",),
    "jaeger_tracer_sampler_updates_total": ("result",),
    "jaeger_rpc_requests_total": ("component", "endpoint", "error"),
    "jaeger_rpc_request_latency": ("component", "endpoint", "error"),
    "jaeger_rpc_http_requests_total": ("component", "endpoint", "status_code"),
}


@pytest.fixture
def tracing():
    handle = tracekit.testing.tracing()
    yield handle
    handle.shutdown()


def read(handle):
    """Return every figure by Prometheus' name."""
    return {family.instrument.prometheus: dict(family.points) for family in handle.metrics()}


def test_names_and_labels_are_the_go_clients():
    """Dashboards and alerts that were written for Jaeger's clients find every series."""
    ours = {row.prometheus: row.labels for row in TABLE if row.name.startswith("jaeger.")}
    assert ours == GO_LABELS


def test_every_series_is_shown_at_zero(tracing):
    """Of the Go client's, by a new handle: ``rate`` then sees a counter's first increase."""
    shown = read(tracing)
    assert {name: set(shown[name]) for name in GO} == GO
    assert all(value == 0 for name in GO for value in shown[name].values())


def test_names_are_unique_and_fit_both():
    """Every name is one of OpenTelemetry's grammar and, translated, one of Prometheus'."""
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names) == len({row.prometheus for row in TABLE})
    for row in TABLE:
        assert re.fullmatch(r"[a-z][a-z0-9._]*", row.name)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", row.prometheus)
        assert row.prometheus.endswith("_total") == (row.kind == "counter")
        assert row.help.endswith(".")
        assert row.figure


def test_stats_and_figures_agree():
    """Sent, dropped by reason, queued, open, unsampled: each stands where operators look."""
    answers = itertools.cycle(
        [SendResult.sent(), SendResult.failed("no"), SendResult.sent(rejected=1)]
    )
    transport = tracekit.testing.MemoryTransport(lambda payload: next(answers))
    handle = tracekit.testing.tracing(transport, queue_size=5, flush_s=60)
    tracer = handle.tracer("test")
    for _ in range(3):
        for _ in range(7):  # two more than the queue holds, if the worker sleeps
            tracer.start_span("x").end()
        handle.flush()
    still_open = tracer.start_span("open")
    with trace.use_span(still_open):
        tracer.start_span("child").end()
    stats, shown = handle.stats(), read(handle)
    dropped = dict(stats.dropped)
    assert shown["jaeger_tracer_started_spans_total"] == {("y",): stats.started, ("n",): 0}
    assert shown["jaeger_tracer_finished_spans_total"] == {("y",): stats.finished}
    assert shown["tracekit_spans_open"] == {(): 1} == {(): stats.open}
    assert shown["tracekit_spans_dropped_total"] == {
        (reason.value,): dropped[reason.value] for reason in DropReason
    }
    never_tried = dropped.pop("queue_full") + dropped.pop("shutdown")
    assert shown["jaeger_tracer_reporter_spans_total"] == {
        ("ok",): stats.sent,
        ("err",): sum(dropped.values()),
        ("dropped",): never_tried,
    }
    assert dropped["send_failed"] > 0
    assert dropped["rejected"] > 0
    assert shown["tracekit_reporter_payloads_total"] == {(): stats.payloads}
    assert shown["tracekit_reporter_sent_bytes_total"] == {(): stats.payload_bytes}
    assert shown["jaeger_tracer_reporter_queue_length"] == {(): stats.queued}
    still_open.end()
    handle.shutdown()


@pytest.mark.parametrize(("sampled", "letter"), [(1, "y"), (0, "n")])
def test_traces_are_started_here_or_joined(sampled, letter):
    """A root starts a trace, a span below a caller's joins one, a child does neither."""
    handle = tracekit.testing.tracing(sampler_param=sampled)
    tracer = handle.tracer("test")
    carrier = {"uber-trace-id": f"a:b:0:{sampled}"}
    for _ in range(3):
        with tracer.start_as_current_span("root"), tracer.start_as_current_span("child"):
            pass
    for _ in range(2):
        joined = tracer.start_span("joined", handle.propagator.extract(carrier))
        with trace.use_span(joined, end_on_exit=True):
            tracer.start_span("child").end()
    other = "n" if letter == "y" else "y"
    shown = read(handle)
    assert shown["jaeger_tracer_traces_total"] == {
        ("started", letter): 3,
        ("joined", letter): 2,
        ("started", other): 0,
        ("joined", other): 0,
    }
    assert shown["jaeger_tracer_started_spans_total"] == {(letter,): 10, (other,): 0}
    handle.shutdown()


def test_withdrawn_spans_lower_no_counter(tracing):
    """``sampling.priority`` 0 on a live span moves it to unsampled, and it has started sampled."""
    import tracekit.opentracing  # noqa: PLC0415 (only here)

    span = tracekit.opentracing.tracer(tracing).start_span("x")
    before = read(tracing)["jaeger_tracer_started_spans_total"]
    span.set_tag("sampling.priority", 0)
    span.finish()
    after = read(tracing)["jaeger_tracer_started_spans_total"]
    assert before == {("y",): 1, ("n",): 0}
    assert after == {("y",): 1, ("n",): 1}
    assert tracing.stats().started == 0


def test_propagation_is_counted():
    """Headers that cannot be read and formats that disagree have a figure each."""
    handle = tracekit.testing.tracing(propagation="jaeger,b3")
    extract = handle.propagator.extract
    extract({"uber-trace-id": "nonsense"})
    extract({"uber-trace-id": "a:b:0:1", "x-b3-traceid": "c" * 16, "x-b3-spanid": "d" * 16})
    shown = read(handle)
    counters = handle.propagator.counters
    assert shown["tracekit_propagation_decoding_errors_total"] == counters.decode_errors != {}
    assert shown["tracekit_propagation_conflicts_total"] == {("jaeger", "b3"): 1}
    assert shown["jaeger_tracer_span_context_decoding_errors_total"] == {(): 1}
    handle.shutdown()


def test_a_disabled_handle_shows_zeros():
    """A service whose tracing is off is scraped like any other."""
    handle = tracekit.testing.tracing(disabled=True)
    shown = read(handle)
    assert set(GO) < set(shown)
    assert {value for points in shown.values() for value in points.values()} == {0}


def test_the_collector_may_come_before_init():
    """It follows the process' handle, whichever that is when Prometheus asks."""

    def init():
        return tracekit.init(
            "x",
            environ={},
            sampler_type="const",
            sampler_param=1,
            transport=tracekit.testing.MemoryTransport(),
        )

    init().shutdown()  # what is shown until the next one is the last one's: not another test's
    registry = CollectorRegistry(auto_describe=True)
    registry.register(tracekit.prometheus.collector())
    name = "jaeger_tracer_started_spans_total"
    assert registry.get_sample_value(name, {"sampled": "y"}) == 0
    handle = init()
    try:
        handle.tracer("test").start_span("x").end()
        assert registry.get_sample_value(name, {"sampled": "y"}) == 1
    finally:
        handle.shutdown()


def test_two_collectors_are_refused():
    """On one registry, figures of two handles under one name would be nobody's."""
    registry = CollectorRegistry()
    registry.register(tracekit.prometheus.collector())
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(tracekit.prometheus.collector())


def test_what_is_no_handle_is_refused():
    """A mistake shows where it was made, not at the first scrape."""
    with pytest.raises(TypeError):
        tracekit.prometheus.collector("shop")


def test_each_reported_span_is_a_log_line(caplog):
    """``log_spans`` says operation, ids and duration at INFO, on a logger of its own."""
    handle = tracekit.testing.tracing(log_spans=True)
    span = handle.tracer("test").start_span("dispatch", start_time=1_000_000_000)
    span.end(2_500_000_000)
    with caplog.at_level(logging.INFO, "tracekit.spans"):
        handle.shutdown()
    context = span.get_span_context()
    (line,) = [record for record in caplog.records if record.name == "tracekit.spans"]
    assert line.levelno == logging.INFO
    assert line.getMessage() == (
        f"Reporting span {context.trace_id:032x}:{context.span_id:016x} dispatch (1.500000 s)"
    )
