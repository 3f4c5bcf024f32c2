"""An exception out of a signal handler, at any place of the drain, loses and doubles nothing.

CPython runs signal handlers after calls, at jumps back and on entry of a function. So a trace
function raises there, once at each such place that a program of offers and flushes passes.
"""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from collector import no_collector
from interrupting import Interrupt, Interrupting
from tiny import ManyEncoder, TinyEncoder, TinySpan

import tracekit.reporting
from tracekit._protocols import SendResult
from tracekit.reporting import Reporter
from tracekit.testing import FakeClock

CHECKED = {str(path) for path in Path(tracekit.reporting.__file__).parent.glob("_*.py")} - {
    tracekit.reporting.__file__
}
MAX_BYTES = 100


class Wire:
    """Takes every payload but: refuses one span, asks for half, for time, for the one before."""

    max_retry_s = None

    def __init__(self):
        self.max_bytes = MAX_BYTES
        self.arrived = Counter()
        self.calls = 0
        self.before = None

    def send(self, payload, deadline):
        self.calls += 1
        names = [frame.span.name for frame in payload.frames]
        if len(payload.body) > self.max_bytes:
            return SendResult.too_large("halve it")
        if self.calls == 2:
            self.max_bytes = MAX_BYTES // 2
            return SendResult.too_large("halve it")
        if self.calls == 5:
            return SendResult.retry("refused", doubt=[self.before])
        if self.calls == 7:
            return SendResult.failed("never")
        rejected = 1 if self.calls == 9 else 0
        self.before = payload
        self.arrived.update(names)
        return SendResult.sent(rejected=rejected)

    def close(self):
        pass


class InReporting(Interrupting):
    checked = CHECKED


@pytest.fixture(autouse=True)
def undisturbed():
    """A collection in the traced program would run what other tests left, and interrupt that."""
    with no_collector():
        yield


def lives(interrupting=None, encoder=TinyEncoder):
    """Run the program, with an interrupt in its first flush; return what became of its spans."""
    clock = FakeClock()
    wire = Wire()
    reporter = Reporter(
        encoder(), lambda: wire, spawn=lambda _pipeline: None, clock=clock, wait=clock.wait
    )
    spans = [TinySpan(str(number)) for number in range(12)]
    spans[4].size = 0
    spans[7].size = 1_000
    spans[-1].name = "poison"
    for span in spans:
        reporter.on_start(span)
        reporter.on_end(span)
    sys.settrace(interrupting)
    try:
        reporter.flush(5.0)
    except Interrupt:
        pass
    else:
        assert interrupting is None or interrupting.place is None
    finally:
        sys.settrace(None)
    with ThreadPoolExecutor(1) as another:  # whoever it is, the turn is free again
        flushed = another.submit(reporter.flush, 5.0).result()
    return flushed, reporter.stats(), wire, spans


def test_the_program_passes_every_fate():
    """Not interrupted, it has spans sent, sent again, rejected, too large, and lost otherwise."""
    flushed, stats, _, _ = lives()
    assert flushed
    assert stats.resent
    assert min(stats.dropped[reason] for reason in ("too_large", "encode_failed")) >= 1
    assert min(stats.dropped[reason] for reason in ("send_failed", "rejected")) >= 1


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage traces already")
@pytest.mark.parametrize("encoder", [TinyEncoder, ManyEncoder])
def test_interrupts_lose_or_double_no_span(encoder):
    """Wherever the flush is interrupted, the next one brings each span to exactly one figure."""
    counting = InReporting(None)
    lives(counting, encoder)
    assert counting.passed > 100
    for place in range(1, counting.passed + 1):
        flushed, stats, wire, spans = lives(InReporting(place), encoder)
        figures = {**stats.as_dict(), **stats.dropped}
        assert min(v for v in figures.values() if isinstance(v, int)) >= 0, (place, stats)
        lost = sum(stats.dropped.values())
        assert flushed, (place, stats)
        assert stats.sent + lost == stats.finished == len(spans), (place, stats)
        # A payload whose answer was interrupted is sent twice; all others arrive once.
        assert len(wire.arrived) >= stats.sent, (place, stats)


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage traces already")
@pytest.mark.parametrize("policy", ["newest", "oldest"])
def test_an_interrupted_end_counts_truly(policy):
    """Wherever ``on_end`` is interrupted, nothing is counted that no flush could ever bring."""

    def ended(interrupting):
        wire = Wire()
        wire.max_bytes = 10_000
        clock = FakeClock()
        reporter = Reporter(
            TinyEncoder(),
            lambda: wire,
            spawn=lambda _pipeline: None,
            queue_size=3,
            drop_policy=policy,
            clock=clock,
            wait=clock.wait,
        )
        sys.settrace(interrupting)
        try:
            for number in range(5):
                span = TinySpan(str(number))
                reporter.on_start(span)
                reporter.on_end(span)
        except Interrupt:
            pass
        finally:
            sys.settrace(None)
        flushed = reporter.flush(5.0)
        return flushed, reporter.stats(), wire

    counting = InReporting(None)
    ended(counting)
    assert counting.passed > 10
    for place in range(1, counting.passed + 1):
        flushed, stats, wire = ended(InReporting(place))
        assert flushed, (place, stats)
        assert stats.finished == stats.sent + sum(stats.dropped.values())
        assert stats.sent == wire.arrived.total() <= 3
        assert stats.open <= 1
