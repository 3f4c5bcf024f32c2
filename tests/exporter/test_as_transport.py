"""Any OpenTelemetry exporter as the wire of our pipeline."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import pytest
import requests
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from waiting import eventually

import tracekit
import tracekit.requests
from tracekit.testing import MemoryTransport

SOON = 20.0


class Exporter(SpanExporter):
    """Keeps batches; ``hold`` makes it hang, ``answer`` decides how an export ends."""

    def __init__(self, answer=SpanExportResult.SUCCESS):
        self.answer = answer
        self.batches = []
        self.exports = 0
        self.shutdowns = 0
        self.free = threading.Event()
        self.free.set()

    def export(self, spans):
        self.exports += 1
        self.free.wait(SOON)
        if isinstance(self.answer, Exception):
            raise self.answer
        self.batches.append(list(spans))
        return self.answer

    def shutdown(self):
        self.shutdowns += 1
        self.free.wait(SOON)

    @property
    def names(self):
        return [span.name for batch in self.batches for span in batch]


@contextlib.contextmanager
def running(exporter, **fields):
    tracing = tracekit.init(
        "shop",
        environ={},
        set_global=False,
        exporter=exporter,
        **{"sampler_type": "const", "sampler_param": 1, "flush_s": 0.02, **fields},
    )
    try:
        yield tracing
    finally:
        exporter.free.set()
        tracing.shutdown(SOON)


def make(tracing, count=1):
    for number in range(count):
        tracing.tracer("scope").start_span(str(number), attributes={"n": number}).end()


def test_an_exporter_gets_spans_in_batches():
    """It sees what the SDK would show it, each span once, as many together as the SDK sends."""
    exporter = Exporter()
    with running(exporter, flush_s=60) as tracing:
        make(tracing, 1200)
        assert tracing.flush(SOON)
        assert tracing.stats().sent == 1200
    assert exporter.names == [str(number) for number in range(1200)]
    assert max(len(batch) for batch in exporter.batches) == 512
    span = exporter.batches[0][7]
    assert (span.attributes["n"], span.resource.attributes["service.name"]) == (7, "shop")
    assert span.instrumentation_scope.name == "scope"


def test_a_batch_has_the_size_of_the_setting():
    """``max_batch_spans`` goes below the SDK's number, and beyond it."""
    for limit in (10, 1000):
        exporter = Exporter()
        with running(exporter, flush_s=60, max_batch_spans=limit) as tracing:
            make(tracing, 1200)
            assert tracing.flush(SOON)
        assert max(len(batch) for batch in exporter.batches) == limit


def test_losses_are_told_during_a_hang(caplog):
    """The worker does not sit in one export for ever: it warns of what is dropped meanwhile."""
    exporter = Exporter()
    exporter.free.clear()
    with running(exporter, queue_size=10) as tracing, caplog.at_level(logging.WARNING, "tracekit"):
        make(tracing, 1)
        eventually(lambda: exporter.exports)
        make(tracing, 100)
        eventually(lambda: "queue_full" in caplog.text)
        assert "90 spans dropped (queue_full: 90)" in caplog.text
    assert len(exporter.names) == 11


@pytest.mark.parametrize(
    ("answer", "words"),
    [(SpanExportResult.FAILURE, "Exporter could not export"), (OSError("no route"), "no route")],
    ids=["failure", "raises"],
)
def test_an_exporters_losses_are_counted(answer, words, caplog):
    """It has tried as often as it wanted to; the warning says who failed and why."""
    exporter = Exporter(answer)
    with running(exporter) as tracing, caplog.at_level(logging.WARNING, "tracekit"):
        make(tracing, 5)
        assert tracing.flush(SOON)
        stats = tracing.stats()
    assert (stats.sent, stats.dropped["send_failed"]) == (0, 5)
    assert words in caplog.text


def test_a_hung_exporter_holds_up_nobody():
    """Flush returns in time; when the export ends after all, its spans are sent, once."""
    exporter = Exporter()
    exporter.free.clear()
    with running(exporter, flush_s=60) as tracing:
        make(tracing, 5)
        began = time.monotonic()
        for _ in range(3):
            assert not tracing.flush(0.1)
        assert time.monotonic() - began < SOON / 2
        assert (exporter.exports, tracing.stats().in_flight) == (1, 5)
        exporter.free.set()
        assert tracing.flush(SOON)
        assert tracing.stats().sent == 5
    assert (exporter.exports, exporter.names) == (1, ["0", "1", "2", "3", "4"])


def test_no_shutdown_waits_for_a_hang():
    """What it still has is counted as lost at shutdown."""
    exporter = Exporter()
    exporter.free.clear()
    with running(exporter, flush_s=60) as tracing:
        make(tracing, 5)
        began = time.monotonic()
        tracing.shutdown(0.1)
        assert time.monotonic() - began < SOON / 2
        assert tracing.stats().dropped["shutdown"] == 5


def test_an_exporter_is_shut_down_once():
    """However often the handle is."""
    exporter = Exporter()
    with running(exporter) as tracing:
        make(tracing)
        tracing.shutdown(SOON)
        tracing.shutdown(SOON)
    assert (exporter.shutdowns, exporter.names) == (1, ["0"])


def test_an_exporters_calls_are_not_traced():
    """With every session traced, an exporter that posts makes no spans, and no end of them."""

    class Posting(Exporter):
        def export(self, spans):
            assert not is_instrumentation_enabled()  # for OpenTelemetry's instrumentations
            with contextlib.suppress(requests.ConnectionError):
                requests.post("http://127.0.0.1:9/", timeout=SOON)
            return super().export(spans)

    exporter = Posting()
    with running(exporter) as tracing:
        undo = tracekit.requests.instrument(tracing=tracing)
        try:
            make(tracing)
            assert tracing.flush(SOON)
        finally:
            undo()
        assert tracing.stats().started == 1
    assert exporter.names == ["0"]


def test_the_log_says_who_gets_the_spans(caplog):
    """Not the agent, of which the settings still speak."""
    with caplog.at_level(logging.INFO, "tracekit"), running(Exporter()):
        assert "spans to Exporter;" in caplog.text
        assert "agent" not in caplog.text


def test_a_wire_excludes_an_exporter():
    """There is one way out."""
    with pytest.raises(TypeError, match="together"):
        tracekit.init("x", environ={}, exporter=Exporter(), transport=MemoryTransport())
