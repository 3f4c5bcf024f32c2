"""Memory that ends between two steps of the drain: spans are counted once, permits come back."""

from __future__ import annotations

import itertools
import sys
import time

import pytest
from collector import no_collector
from tiny import ManyEncoder, TinySpan

from tracekit._process.tally import FREE_THREADED
from tracekit._protocols import SendResult
from tracekit.reporting import Reporter
from tracekit.reporting._batcher import Batcher
from tracekit.reporting._ledger import Ledger
from tracekit.reporting._queue import SpanQueue
from tracekit.reporting._sender import Sender

testcapi = pytest.importorskip("_testcapi")
pytestmark = [
    pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage traces already"),
    pytest.mark.skipif(FREE_THREADED, reason="to store an attribute may take memory there"),
]
CAPACITY = 200
SPANS = 150


class Wire:
    """Takes payloads but those that it is to answer otherwise, once."""

    max_retry_s = 0.0

    def __init__(self, *answers):
        self.max_bytes = 3_000
        self.answers = list(answers)
        self.arrived = []

    def send(self, payload, deadline):
        if self.answers and (answer := self.answers.pop(0)) is not None:
            return answer
        self.arrived += (frame.span for frame in payload.frames)
        return SendResult.sent()

    def close(self):
        pass


def reporter_of(wire):
    return Reporter(
        ManyEncoder(),
        lambda: wire,
        spawn=lambda _pipeline: None,
        wait=time.sleep,
        queue_size=CAPACITY,
    )


def end(reporter, spans):
    for number in range(spans):
        span = TinySpan(str(number))
        reporter.on_start(span)
        reporter.on_end(span)


def failing(code, allocation, then, many=1):
    """Call ``then``; in ``code``, ``many`` allocations fail from one on; return if it came."""
    armed = False

    def arm(frame, event, _arg):
        nonlocal armed
        if armed or frame.f_code is not code:
            return
        armed = True
        sys.settrace(None)
        frame.f_trace = None
        testcapi.set_nomemory(allocation, allocation + many)

    with no_collector():  # finalizers of others' would run without memory
        sys.settrace(arm)
        try:
            then()
        except MemoryError:
            pass
        finally:
            sys.settrace(None)
            testcapi.remove_mem_hooks()
    return armed


PLACES = {
    "sent": (Sender._settle, [SendResult.sent(rejected=1)]),
    "lost": (Sender._settle, [SendResult.failed("never")]),
    "too large": (Batcher.split, [SendResult.too_large("halve it")]),
    "retried": (Sender._postpone, [SendResult.retry("later")]),
    "taken": (SpanQueue.take, []),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("allocation", range(24))
def test_the_drain(place, allocation):
    """Wherever it fails, the next flush brings each span to one figure, and the room is whole."""
    function, answers = PLACES[place]
    wire = Wire(*answers)
    reporter = reporter_of(wire)
    end(reporter, SPANS)
    assert failing(function.__code__, allocation, lambda: reporter.flush(5.0))
    reporter.flush(5.0)
    stats = reporter.stats()
    assert stats.sent + sum(stats.dropped.values()) == stats.finished == SPANS
    assert (stats.queued, stats.in_flight) == (0, 0)
    end(reporter, CAPACITY + 1)
    assert reporter.stats().queued == CAPACITY


@pytest.mark.parametrize("allocation", range(24))
def test_memory_that_stays_away(allocation):
    """A span that nothing could hold is counted when there is some again, and its room is free."""
    ledger = Ledger()
    queue = SpanQueue(CAPACITY, "newest", ledger)
    for _ in range(SPANS):
        queue.offer(TinySpan("s"))
    assert failing(SpanQueue.take.__code__, allocation, lambda: queue.take(100), many=5)
    had = 0
    while queue.hand or queue.take(50):
        had += len(queue.hand)
        queue.hand = []
    assert had + ledger.dropped["encode_failed"] == ledger.taken.value == SPANS
    for _ in range(CAPACITY + 1):
        queue.offer(TinySpan("s"))
    assert len(queue) == CAPACITY


def test_room_that_is_short_twice():
    """Permits that cannot be given back at the first and the second attempt are at the third."""
    again = 0
    for first, second in itertools.product(range(40), range(4)):
        queue = SpanQueue(CAPACITY, "newest", Ledger())
        for _ in range(SPANS):
            queue.offer(TinySpan("s"))
        failing(SpanQueue.take.__code__, first, lambda: queue.take(100))  # noqa: B023 - called now
        queue.hand = []
        again += failing(
            SpanQueue._give_what_is_owed.__code__,
            second,
            lambda: queue.take(50),  # noqa: B023
        )
        queue.hand = []
        while queue.take(50):
            queue.hand = []
        for _ in range(CAPACITY + 1):
            queue.offer(TinySpan("s"))
        assert len(queue) == CAPACITY, (first, second)
    assert again


@pytest.mark.parametrize("allocation", range(8))
def test_the_end(allocation):
    """What is in hand is given up once, though the first attempt fails."""
    wire = Wire(*[SendResult.paced(3600.0)] * 9)
    reporter = reporter_of(wire)
    end(reporter, SPANS)
    reporter.flush(0.0)
    assert failing(Batcher.abandon.__code__, allocation, lambda: reporter.shutdown(0.0))
    reporter.shutdown(0.0)
    stats = reporter.stats()
    assert sum(stats.dropped.values()) == stats.finished == SPANS
    assert (stats.queued, stats.in_flight) == (0, 0)


def test_a_reason_that_cannot_be_told():
    """A span that does not fit is counted once, those behind it are sent."""

    class Wavering(Wire):
        """Cannot say how much it takes when asked why a span is too large."""

        @property
        def max_bytes(self):
            if sys._getframe(1).f_code is Batcher._explain_too_large.__code__:
                raise OSError("gone")
            return 3_000

        @max_bytes.setter
        def max_bytes(self, _most):
            pass

    reporter = reporter_of(Wavering())
    for size in (30, 4_000, 30, 30):
        span = TinySpan(str(size), size)
        reporter.on_start(span)
        reporter.on_end(span)
    assert reporter.flush(5.0).sent == 3
    dropped = reporter.stats().dropped
    assert (dropped["too_large"], dropped["encode_failed"]) == (1, 0)


def test_a_thread_that_ends_after_a_failure():
    """Nothing was being encoded then, so no other span is to blame."""
    wire = Wire()
    reporter = reporter_of(wire)
    bad = TinySpan("bad", 0)
    reporter.on_start(bad)
    reporter.on_end(bad)
    reporter.flush(5.0)
    end(reporter, 1)
    pipeline = reporter._state.pipeline
    pipeline.queue.take(1)  # as far as a worker came that something ended
    pipeline.worker_died()
    assert reporter.flush(5.0).sent == 1
