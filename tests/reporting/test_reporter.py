"""The reporter with a real worker: intervals, signals, forks, warnings, its end."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
import time
import traceback

import pytest
from accounting import lawful
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from waiting import eventually

from tracekit._protocols import SendResult
from tracekit.encoding import jaeger_compact
from tracekit.reporting import Reporter
from tracekit.reporting._worker import start_worker
from tracekit.testing import MemoryTransport


class RecordOnly(Sampler):
    def should_sample(self, *args, **kwargs):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "RecordOnly"


class Rig:
    """An OpenTelemetry provider of the plain SDK on our reporter, and the wires it made."""

    def __init__(self, answer=None, **options):
        self.wires = []
        self.reporter = Reporter(
            jaeger_compact(),
            lambda: self.wires.append(MemoryTransport(answer)) or self.wires[-1],
            **{"spawn": start_worker, "wait": time.sleep, "flush_s": 0.05, **options},
        )
        provider = TracerProvider(shutdown_on_exit=False, resource=Resource({"service.name": "s"}))
        provider.add_span_processor(self.reporter)
        self.tracer = provider.get_tracer("t")

    def spans(self, count):
        for _ in range(count):
            self.tracer.start_span("span").end()

    @property
    def received(self):
        return sum(len(payload.frames) for wire in self.wires for payload in wire.payloads)


@pytest.fixture
def rig():
    made = []

    def make(*args, **options):
        made.append(Rig(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.reporter.shutdown(1.0)


def test_no_thread_before_the_first_span(rig):
    """The worker starts with the first ended span, and sends within the interval by itself."""
    before = set(threading.enumerate())
    it = rig()
    span = it.tracer.start_span("span")
    assert set(threading.enumerate()) - before == set()
    span.end()
    assert len(set(threading.enumerate()) - before) == 1
    eventually(lambda: it.received == 1)


def test_many_spans_wake_the_worker_early(rig):
    """With an interval of an hour, full batches still go out: the count wakes the worker."""
    it = rig(flush_s=3600.0)
    it.spans(1)
    eventually(lambda: it.reporter._now().pipeline.queue.wakeup.armed)
    it.spans(5_000)
    eventually(lambda: it.received > 0)
    assert it.reporter.flush(10.0)
    assert it.received == 5_001


def test_unsampled_spans_of_other_sdks(rig):
    """Spans of another provider that are recorded but not sampled are counted as unsampled."""
    it = rig()
    provider = TracerProvider(sampler=RecordOnly(), shutdown_on_exit=False)
    provider.add_span_processor(it.reporter)
    provider.get_tracer("t").start_span("span").end()
    stats = it.reporter.stats()
    assert (stats.started, stats.finished, stats.unsampled) == (0, 0, 1)


def test_signal_handlers_may_do_anything(rig):
    """A handler that traces, flushes and reads figures never deadlocks and never breaks the law."""
    it = rig()
    verdicts = []

    def handler(_signum, _frame):
        it.spans(1)
        it.reporter.flush(0.05)
        verdicts.append(lawful(it.reporter.stats()))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while len(verdicts) < 300:
            it.spans(20)
            it.reporter.flush(0.05)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(verdicts)
    assert it.reporter.flush(20.0)
    assert it.received == it.reporter.stats().finished == it.reporter.stats().sent


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("fork", [os.fork, ctypes.PyDLL(None).fork], ids=["hooks", "no hooks"])
def test_a_forked_child_counts_from_zero(rig, fork):
    """The parent's queue is the parent's to send; inherited open spans are foreign in the child."""
    it = rig(flush_s=3600.0)
    it.spans(30)
    inherited = it.tracer.start_span("inherited")
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            inherited.end()
            it.spans(7)
            flushed = it.reporter.flush(10.0)
            stats = it.reporter.stats()
            told = (
                bool(flushed),
                stats.started,
                stats.sent,
                stats.foreign,
                it.received,
                lawful(stats),
            )
            os.write(writer, repr(told).encode())
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        assert told.read() == repr((True, 7, 7, 1, 7, True))
    os.waitpid(pid, 0)
    inherited.end()
    assert it.reporter.flush(10.0)
    assert it.received == it.reporter.stats().sent == 31


def test_without_threads_the_caller_drains(rig):
    """When no thread can be started ``end`` does not raise, and nothing is lost."""

    def no_threads(_pipeline):
        raise RuntimeError("can't start new thread")

    it = rig(spawn=no_threads)
    it.spans(10)
    assert it.reporter.stats().queued == 10
    assert it.reporter.flush(5.0)
    assert it.received == 10


def test_one_warning_says_how_many_and_why(rig, caplog):
    """A thousand dropped spans cost one log line with their number, reason and remedy."""
    it = rig(queue_size=10, spawn=lambda _pipeline: None)
    with caplog.at_level(logging.WARNING, "tracekit"):
        it.spans(1_000)
        it.reporter.flush(5.0)
        it.spans(20)
        it.reporter.flush(5.0)
    (record,) = caplog.records
    assert "990 spans dropped (queue_full: 990)" in record.message
    assert "JAEGER_REPORTER_MAX_QUEUE_SIZE" in record.message


def test_the_end_tells_of_untold_losses(rig, caplog):
    """What cannot be sent before the end is counted and told, not waited for."""
    it = rig(lambda _payload: SendResult.retry("nobody listens"))
    it.spans(5)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "tracekit"):
        it.reporter.shutdown(0.2)
    assert time.monotonic() - began < 5.0
    assert it.reporter.stats().dropped["shutdown"] == 5
    assert "5 spans dropped (shutdown: 5), last problem: nobody listens" in caplog.text
    it.spans(1)
    it.reporter.shutdown(0.2)
    assert it.reporter.stats().dropped["shutdown"] == 6
    assert all(wire.closed for wire in it.wires)


def test_a_flush_beside_a_stuck_send_returns(rig):
    """While the worker is stuck in a send, flush and shutdown return in time and keep the law."""
    stuck, go_on = threading.Event(), threading.Event()
    sending = []

    def answer(payload):
        sending.append(len(payload.frames))
        stuck.set()
        go_on.wait(30.0)
        return SendResult.sent()

    it = rig(answer)
    it.spans(3)  # the worker may wake up before the third
    assert stuck.wait(20.0)
    it.spans(2)
    result = it.reporter.flush(0.1)
    assert (result.left, bool(result)) == (5, False)
    it.reporter.shutdown(0.1)
    stats = it.reporter.stats()
    assert lawful(stats)
    assert sending[0] <= 3
    assert (stats.in_flight, stats.dropped["shutdown"]) == (sending[0], 5 - sending[0])
    go_on.set()
    eventually(lambda: it.reporter.stats().sent == sending[0] and it.wires[0].closed)


def test_own_traffic_is_not_traced(rig):
    """While a transport sends, instrumentation of its calls is suppressed."""
    seen = []
    it = rig(
        lambda _payload: seen.append(get_value(_SUPPRESS_INSTRUMENTATION_KEY)) or SendResult.sent()
    )
    it.spans(1)
    assert it.reporter.flush(10.0)
    assert seen == [True]
    assert get_value(_SUPPRESS_INSTRUMENTATION_KEY) is None


def test_reported_spans_are_logged(rig, caplog):
    """With ``log_spans`` each span costs one INFO line with its ids, name and duration."""
    it = rig(log_spans=True)
    with caplog.at_level(logging.INFO, "tracekit.spans"):
        it.spans(2)
        it.reporter.flush(10.0)
    assert [record.name for record in caplog.records] == ["tracekit.spans"] * 2
    assert "span (0.00" in caplog.text
