"""What goes wrong with one span of many that are taken and encoded together."""

from __future__ import annotations

import sys
import time

import pytest
from collector import no_collector
from tiny import ManyEncoder, TinySpan

from tracekit.reporting import Reporter
from tracekit.reporting._batcher import Batcher
from tracekit.reporting._ledger import Ledger
from tracekit.reporting._queue import SpanQueue
from tracekit.testing import MemoryTransport


class Unspeakable(TinySpan):
    """Its name cannot be told."""

    name = property(lambda _self: 1 / 0, lambda _self, _name: None)


@pytest.mark.parametrize("bad", [TinySpan(None, 0), TinySpan(7, 0), Unspeakable("", 0)])
def test_a_span_that_cannot_be_named(bad):
    """It cannot be encoded either; those before and behind it are sent."""
    wire = MemoryTransport()
    reporter = Reporter(ManyEncoder(), lambda: wire, spawn=lambda _pipeline: None, wait=time.sleep)
    for span in (*(TinySpan(f"{n}") for n in range(20)), bad, *(TinySpan("x") for _ in range(20))):
        reporter.on_start(span)
        reporter.on_end(span)
    result = reporter.flush(5.0)
    assert (result.sent, result.dropped, result.left) == (40, 1, 0)


@pytest.mark.parametrize("size", [30_000, 64_000, 70_000])
def test_large_spans_are_read_a_few_times(size):
    """Not as often as spans wait in hand: nothing is encoded of most of those."""
    seen = 0

    class Counting(ManyEncoder):
        def frames(self, spans, into, room):
            nonlocal seen
            seen += len(spans)
            super().frames(spans, into, room)

    wire = MemoryTransport()
    wire.max_bytes = 65_000
    reporter = Reporter(Counting(), lambda: wire, spawn=lambda _pipeline: None, wait=time.sleep)
    for number in range(256):
        span = TinySpan(str(number), size)
        reporter.on_start(span)
        reporter.on_end(span)
    reporter.flush(5.0)
    assert reporter.stats().queued == reporter.stats().in_flight == 0
    assert seen <= 3 * 256


def test_a_span_that_ends_threads():
    """Of those that were read with it none is lost: each is encoded alone from then on."""

    class Ending(ManyEncoder):
        def frames(self, spans, into, room):
            if any(span.name == "end" for span in spans):
                raise SystemExit
            super().frames(spans, into, room)

    wire = MemoryTransport()
    ledger = Ledger()
    queue = SpanQueue(100, "newest", ledger)
    batcher = Batcher(queue, ledger, Ending(), wire, max_batch_spans=None, log_spans=False)
    for number in range(60):
        queue.offer(TinySpan("end" if number == 40 else str(number)))
    deaths = 0
    while True:
        try:
            batcher.fill(partial=True)
            break
        except SystemExit:
            deaths += 1
            batcher.worker_died()
    assert deaths == 2
    assert sum(len(pending.payload.frames) for pending in batcher.pending) == 59
    assert ledger.snapshot().dropped["encode_failed"] == 1


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage traces already")
@pytest.mark.parametrize("failing", [*range(12)])
def test_no_memory_while_hands_change(failing):
    """Each place of the change fails once for want of memory; no span is sent or lost twice."""
    testcapi = pytest.importorskip("_testcapi")
    wire = MemoryTransport()
    wire.max_bytes = 20_000
    reporter = Reporter(ManyEncoder(), lambda: wire, spawn=lambda _pipeline: None, wait=time.sleep)
    for number in range(60):
        span = TinySpan(str(number), 700)
        reporter.on_start(span)
        reporter.on_end(span)
    code = Batcher._encode_next.__code__
    armed = False

    def arm(frame, event, _arg):
        nonlocal armed
        if frame.f_code is not code:
            return None
        if event == "line" and "made" in frame.f_locals and frame.f_locals["made"] and not armed:
            armed = True
            sys.settrace(None)
            frame.f_trace = None
            testcapi.set_nomemory(failing, failing + 3)
            return None
        return arm

    with no_collector():  # finalizers of others' would run without memory
        sys.settrace(arm)
        try:
            reporter.flush(5.0)
        finally:
            sys.settrace(None)
            testcapi.remove_mem_hooks()
    assert armed
    reporter.flush(5.0)
    stats = reporter.stats()
    assert stats.sent + sum(stats.dropped.values()) == 60
    assert (stats.queued, stats.in_flight) == (0, 0)
