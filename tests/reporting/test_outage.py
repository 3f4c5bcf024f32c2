"""A receiver that is away for a while and comes back: found in time, and never pressed."""

from __future__ import annotations

import itertools
import math

import pytest

from tracekit._protocols import Frame, Payload, SendResult
from tracekit.reporting import Reporter
from tracekit.testing import FakeClock

STEP_S = 0.01


class Span:
    _accounted = True
    resource = None
    name = "x"

    @staticmethod
    def get_span_context():
        return None


class Encoder:
    def process(self, resource):
        return b""

    def frame(self, span):
        return Frame(b"x")

    def overhead_bytes(self, process, frames, scopes, seq_no, loss):
        return 0

    def seal(self, process, frames, seq_no, loss):
        return Payload(b"x" * len(frames), frames)


class Wire:
    """Gives ``answer`` until the clock says ``back_s``; remembers when it was asked."""

    max_bytes = 1 << 20
    max_retry_s = 60.0

    def __init__(self, clock, back_s, answer):
        self.clock = clock
        self.back_s = back_s
        self.answer = answer
        self.asked = []

    def send(self, payload, deadline):
        self.asked.append(self.clock())
        return SendResult.sent() if self.clock() >= self.back_s else self.answer

    def close(self):
        pass


def outage(answer, away_s, spans_per_s, *, then_s=6.0, queue_size=10_000):
    """Return wire and figures after an outage, driven as the worker drives it, without a thread."""
    clock = FakeClock(0.0)
    wire = Wire(clock, away_s, answer)
    reporter = Reporter(
        Encoder(),
        lambda: wire,
        spawn=lambda _pipeline: None,
        wait=clock.wait,
        queue_size=queue_size,
        max_batch_spans=512,
        clock=clock,
    )
    pipeline = reporter._state.pipeline
    due, owed = 0.0, 0.0
    while clock() < away_s + then_s:
        owed += spans_per_s * STEP_S
        while owed >= 1:
            reporter.on_start(Span())
            reporter.on_end(Span())
            owed -= 1
        if due is None or clock() >= due:
            due = pipeline.work(partial=True)
        clock.advance(STEP_S)
    return wire, reporter.stats()


AWAY = SendResult.retry("connection refused", unreached=True)


@pytest.mark.parametrize("away_s", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("spans_per_s", [400, 1500])
def test_a_restarted_collector_is_found_soon(away_s, spans_per_s):
    """Six seconds at 1500 spans a second fit into the queue, so nothing is lost."""
    wire, stats = outage(AWAY, away_s, spans_per_s)
    assert stats.dropped["queue_full"] == 0
    assert stats.sent >= stats.finished - 2 * 512  # what waits is younger than an interval
    assert len([at for at in wire.asked if at < away_s]) <= 30


def test_pauses_stay_long_for_an_empty_queue():
    """A service without traffic leaves a receiver alone: the back-off grows to seconds."""
    wire, _ = outage(AWAY, 60.0, 1)
    pauses = [b - a for a, b in itertools.pairwise(wire.asked)]
    assert max(pauses) > 2.4
    assert len(wire.asked) < 40


def test_pauses_last_a_quarter_of_a_second():
    """However full the queue: who comes back is not met by a crowd of attempts."""
    wire, stats = outage(AWAY, 30.0, 1500, queue_size=1000)
    late = [at for at in wire.asked if 5.0 < at < 30.0]
    assert stats.dropped["queue_full"] > 0
    assert len(late) <= 25 / (0.25 / 2)
    assert min(b - a for a, b in itertools.pairwise(late)) >= 0.25 / 2 - STEP_S


@pytest.mark.parametrize(
    ("answer", "least_s"),
    [(SendResult.retry("503"), 2.4), (SendResult.retry("429", after_s=4.0), 3.9)],
    ids=["busy", "told to wait"],
)
def test_a_busy_receiver_is_not_pressed(answer, least_s):
    """Its back-off stays as it is although the queue overflows: the receiver sets the pace."""
    wire, stats = outage(answer, 40.0, 1500)
    assert stats.dropped["queue_full"] > 0
    pauses = [b - a for a, b in itertools.pairwise(wire.asked)]
    assert max(pauses) >= least_s
    assert len([at for at in wire.asked if 15.0 < at < 40.0]) <= math.ceil(25 / 2.4)
