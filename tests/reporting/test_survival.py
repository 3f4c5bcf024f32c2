"""What goes wrong inside costs what is at hand, is counted, and never stops the rest."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from waiting import eventually

from tracekit._protocols import SendResult
from tracekit.encoding import jaeger_compact
from tracekit.reporting import Reporter
from tracekit.reporting._worker import start_worker
from tracekit.sampling import Const, ParentRule
from tracekit.testing import MemoryTransport
from tracekit.tracing import TracerProvider as OwnProvider


class Encoder:
    """Jaeger's, but what a span of the given name meets raises in ``step``."""

    def __init__(self, step, error):
        self._jaeger = jaeger_compact()
        self._step = step
        self._error = error
        self.process = self._jaeger.process

    def _fail(self, step, frames):
        if step == self._step and any(b"poison" in frame.data for frame in frames):
            raise self._error

    def frame(self, span):
        frame = self._jaeger.frame(span)
        self._fail("frame", [frame])
        # Its own scope, so that its overhead is measured.
        return frame._replace(scope=b"poison" if b"poison" in frame.data else b"")

    def overhead_bytes(self, process, frames, scopes, seq_no, loss):
        if self._step == "overhead_bytes" and b"poison" in scopes:
            raise self._error
        return self._jaeger.overhead_bytes(process, frames, scopes, seq_no, loss)

    def seal(self, process, frames, seq_no, loss):
        self._fail("seal", frames)
        return self._jaeger.seal(process, frames, seq_no, loss)


class Span:
    """An ended span, as far as an encoder looks."""

    _accounted = True

    def __init__(self, provider_span, name):
        self._span = provider_span
        self.name = name

    def __getattr__(self, name):
        return getattr(self._span, name)


@pytest.fixture
def report():
    """Return a function that ends spans of some names in a reporter with the encoder given."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")

    def names(reporter, *names):
        for name in names:
            span = tracer.start_span(name)
            span.end()
            made = Span(span, name)
            reporter.on_start(made)
            reporter.on_end(made)

    return names


def settled(stats):
    return stats.sent + sum(stats.dropped.values())


@pytest.mark.parametrize("step", ["frame", "overhead_bytes", "seal"])
@pytest.mark.parametrize("spawn", [start_worker, lambda _pipeline: None], ids=["worker", "caller"])
def test_an_encoder_may_raise(report, step, spawn):
    """At whatever step, the span or its payload is ``encode_failed``, and the others are sent."""
    wire = MemoryTransport()
    reporter = Reporter(
        Encoder(step, ValueError("no")), lambda: wire, spawn=spawn, wait=time.sleep, flush_s=0.02
    )
    for name in ("before", "poison", "after"):
        report(reporter, name)
        assert reporter.flush(20.0)
    reporter.shutdown(5.0)
    stats = reporter.stats()
    assert (stats.sent, stats.dropped["encode_failed"]) == (2, 1)
    assert settled(stats) == stats.finished == 3
    assert wire.closed


@pytest.mark.parametrize("way", ["ended", "reported"])
def test_no_memory_to_start_a_worker(way):
    """The span is in the queue by then, once; its end raises nothing, and it is sent."""
    lacking = []

    def clock():
        if lacking:
            raise lacking.pop()
        return time.monotonic()

    reporter = Reporter(
        jaeger_compact(), MemoryTransport, spawn=start_worker, wait=time.sleep, clock=clock
    )
    if way == "ended":
        own = OwnProvider(ParentRule(Const(True)), reporter, Resource({})).get_tracer("t")
        last = own.start_span("s").end
    else:
        span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("s")
        span.end()
        last = functools.partial(reporter.report, span)
    lacking.append(MemoryError())
    last()
    assert not lacking
    stats = reporter.stats()
    assert (stats.started, stats.finished, stats.queued) == (1, 1, 1)
    assert reporter.flush(5.0).sent == 1
    reporter.shutdown(5.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_is_killed_is_replaced(report):
    """What ends the thread costs the span that it was encoding; the next one starts another."""
    wire = MemoryTransport()
    reporter = Reporter(
        Encoder("frame", SystemExit("killed")),
        lambda: wire,
        spawn=start_worker,
        wait=time.sleep,
        flush_s=0.02,
    )
    report(reporter, "poison")
    eventually(lambda: reporter.stats().dropped["encode_failed"] == 1)

    def another_is_sent():
        report(reporter, "after")
        return reporter.stats().sent > 0

    eventually(another_is_sent)
    assert "tracekit-worker" in [thread.name for thread in threading.enumerate()]
    assert reporter.flush(20.0)
    reporter.shutdown(5.0)


class Deadly(MemoryTransport):
    """Takes small payloads; the first send ends the thread that sends it."""

    max_bytes = 1_000

    def __init__(self):
        super().__init__()
        self.sends = 0

    def send(self, payload, deadline):
        self.sends += 1
        if self.sends == 1:
            raise SystemExit("killed")
        return super().send(payload, deadline)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_killed_at_a_send(report):
    """What it has taken and not encoded yet is not what killed it: all of it is sent by another."""
    wire, workers = Deadly(), []

    def spawn(pipeline):
        workers.append(start_worker(pipeline))
        return workers[-1]

    reporter = Reporter(jaeger_compact(), lambda: wire, spawn=spawn, wait=time.sleep, flush_s=0.02)
    report(reporter, *map(str, range(60)))
    eventually(lambda: wire.sends)
    workers[0].join(20.0)
    assert reporter.flush(20.0)
    reporter.shutdown(5.0)
    stats = reporter.stats()
    assert (stats.sent, sum(stats.dropped.values())) == (60, 0)


class Refusing(MemoryTransport):
    """Takes nothing, and asks to be tried again."""

    def send(self, payload, deadline):
        return SendResult.retry("not now")


def test_what_waits_in_hand_is_bounded(report):
    """A payload that is refused, the batch behind it and one more: not a whole bite of spans."""
    reporter = Reporter(
        jaeger_compact(),
        Refusing,
        spawn=lambda _pipeline: None,
        wait=time.sleep,
        queue_size=100,
        max_batch_spans=20,
    )
    for _ in range(5):
        report(reporter, *map(str, range(60)))
        assert not reporter.flush(0.0)
    stats = reporter.stats()
    assert stats.queued == 100
    assert stats.in_flight <= 2 * 20 + 1
    reporter.shutdown(0.0)


def test_a_worker_that_cannot_be_started(report):
    """Whatever starting it raises, ``on_end`` returns, and a later span tries again."""
    now = [0.0]
    tries = []

    def spawn(pipeline):
        tries.append(pipeline)
        if len(tries) < 3:
            raise AttributeError("a half-imported module")

    wire = MemoryTransport()
    reporter = Reporter(
        jaeger_compact(), lambda: wire, spawn=spawn, wait=time.sleep, clock=lambda: now[0]
    )
    for _ in range(5):
        report(reporter, "a", "b")
        now[0] += 10.0
    assert len(tries) == 3
    assert reporter.flush(5.0)
    assert reporter.stats().sent == 10


def test_an_interrupted_start_is_tried_again(report):
    """An exception out of a signal handler goes through, and the pipeline stays startable."""
    tries = []

    def spawn(pipeline):
        tries.append(pipeline)
        if len(tries) == 1:
            raise KeyboardInterrupt

    now = [0.0]
    reporter = Reporter(
        jaeger_compact(),
        MemoryTransport,
        spawn=spawn,
        wait=time.sleep,
        clock=lambda: now[0],
    )
    with pytest.raises(KeyboardInterrupt):
        report(reporter, "a")
    now[0] += 10.0
    report(reporter, "b")
    assert len(tries) == 2
    assert reporter.flush(5.0)
    assert reporter.stats().sent == 2


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def test_an_exception_may_have_no_words(report):
    """An exception whose ``__str__`` raises is a failed send like any other."""

    def answer(payload):
        if b"poison" in payload.body:
            raise UnspeakableError
        return SendResult.sent()

    wire = MemoryTransport(answer)
    reporter = Reporter(jaeger_compact(), lambda: wire, spawn=lambda _: None, wait=time.sleep)
    for name in ("a", "poison", "b"):
        report(reporter, name)
        assert reporter.flush(5.0)
    assert (reporter.stats().sent, reporter.stats().dropped["send_failed"]) == (2, 1)


def test_a_raising_listener_makes_no_twins(report):
    """A payload that was sent is settled before anybody is told, so it is not sent again."""
    wire = MemoryTransport()
    reporter = Reporter(jaeger_compact(), lambda: wire, spawn=lambda _: None, wait=time.sleep)

    def tell(_took_s, _result):
        raise RuntimeError("a meter that is broken")

    reporter.tell_sent.append(tell)
    report(reporter, "a")
    reporter.flush(5.0)
    reporter.shutdown(5.0)
    assert (reporter.stats().sent, len(wire.payloads)) == (1, 1)


def test_a_transport_that_raises_in_close(report, caplog):
    """The shutdown returns, everything is counted, and the log has the reason."""

    class Jammed(MemoryTransport):
        def close(self):
            raise OSError("jammed")

    reporter = Reporter(jaeger_compact(), Jammed, spawn=start_worker, wait=time.sleep)
    report(reporter, "a")
    with caplog.at_level(logging.ERROR, "tracekit"):
        reporter.shutdown(5.0)
    assert reporter.stats().sent == 1
    assert "jammed" in caplog.text


def test_late_spans_are_told_once(report, caplog):
    """They are counted as ever, and one warning says so, not one a span."""
    reporter = Reporter(jaeger_compact(), MemoryTransport, spawn=start_worker, wait=time.sleep)
    report(reporter, "in time")
    with caplog.at_level(logging.WARNING, "tracekit"):
        reporter.shutdown(5.0)
        assert not caplog.records
        report(reporter, "late", "later", "too late")
    assert [record.message for record in caplog.records] == [
        "spans that end after tracing was shut down are dropped"
    ]
    assert (reporter.stats().sent, reporter.stats().dropped["shutdown"]) == (1, 3)


def test_a_threadless_program_is_told_once(report, caplog):
    """A first failure may be the end of the interpreter; one a second later is worth a warning."""
    now = [0.0]

    def no_threads(_pipeline):
        raise RuntimeError("daemon threads are disabled")

    reporter = Reporter(
        jaeger_compact(), MemoryTransport, spawn=no_threads, wait=time.sleep, clock=lambda: now[0]
    )
    with caplog.at_level(logging.WARNING, "tracekit"):
        report(reporter, "a", "b")
        assert not caplog.records
        for _ in range(3):
            now[0] += 2.0
            report(reporter, "c")
    (record,) = caplog.records
    assert "daemon threads are disabled" in record.message
    assert reporter.flush(5.0)


def test_spans_reported_may_share_an_id():
    """Client and server of one call had one id in Zipkin's way; both are sent, from any thread."""
    provider = TracerProvider(shutdown_on_exit=False)
    span = provider.get_tracer("t").start_span("shared")
    span.end()
    reporter = Reporter(jaeger_compact(), MemoryTransport, spawn=start_worker, wait=time.sleep)

    def work():
        for _ in range(200):
            reporter.report(span)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert reporter.flush(10.0)
    stats = reporter.stats()
    assert (stats.started, stats.open, stats.sent, stats.foreign) == (800, 0, 800, 0)
    reporter.shutdown(1.0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_does_not_undo_a_shutdown(report):
    """Spans that a child ends after its parent's shutdown are dropped there, too, and counted."""
    reporter = Reporter(jaeger_compact(), MemoryTransport, spawn=start_worker, wait=time.sleep)
    reporter.shutdown(1.0)
    pid = os.fork()
    if pid == 0:
        try:
            report(reporter, "late")
            stats = reporter.stats()
            os._exit(0 if (stats.finished, stats.dropped["shutdown"]) == (1, 1) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_later_flush_is_not_ended_early(report):
    """The worker ends the flushes whose spans it has settled or looked for, and no other one."""
    late = []

    class Wire(MemoryTransport):
        def send(self, payload, deadline_s):
            if not late:  # on the worker: the first flush is being served
                report(reporter, "second")
                late.append(threading.Thread(target=lambda: late.append(reporter.flush(20.0))))
                late[0].start()
                eventually(lambda: len(pipeline._flush_requests) == 2)
            return super().send(payload, deadline_s)

    reporter = Reporter(
        Encoder("", None), Wire, spawn=start_worker, wait=time.sleep, flush_s=3600.0
    )
    pipeline = reporter._now().pipeline
    report(reporter, "first")
    assert reporter.flush(20.0)
    late[0].join(20.0)
    assert late[1].left == 0
    reporter.shutdown(5.0)
