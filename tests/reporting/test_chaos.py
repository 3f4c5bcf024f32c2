"""A random program against the reporter: whatever happens, every span is in exactly one figure."""

from __future__ import annotations

import os
import traceback
import warnings
from collections import Counter

from accounting import law
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tracekit._protocols import Frame, Payload, SendResult
from tracekit.reporting import Reporter
from tracekit.testing import FakeClock

ENVELOPE = 20
MAX_BYTES = 400
EMPTY = Payload(b"", [])


class TinySpan:
    """As much of a span as a reporter looks at; encoded it takes ``size`` bytes."""

    _accounted = True
    resource = None

    def __init__(self, number, size):
        self.name = f"span {number}"
        self.size = size


class TinyEncoder:
    def process(self, resource):
        return b""

    def frame(self, span):
        if span.size == 0:
            raise ValueError("cannot be encoded")
        return Frame(span.name.encode().ljust(span.size, b"."), b"", span)

    def overhead_bytes(self, process, frames, scopes, seq_no, loss):
        return ENVELOPE + frames

    def seal(self, process, frames, seq_no, loss):
        body = b"".join(frame.data for frame in frames)
        return Payload(b"#" * (ENVELOPE + len(frames)) + body, list(frames))


class MoodyTransport:
    """Does what its mood says, and remembers each span that it let through."""

    max_retry_s = 20.0

    def __init__(self):
        self.max_bytes = MAX_BYTES
        self.mood = "well"
        self.arrived = Counter()
        self.rejected = Counter()
        self.told_sent = []
        self.closed = 0

    def send(self, payload, deadline):
        assert payload.frames, "an empty payload is never sent"
        assert len(payload.body) <= MAX_BYTES
        if len(payload.body) > self.max_bytes:
            return SendResult.too_large("over the limit of the day")
        return getattr(self, f"_{self.mood}")(payload)

    def close(self):
        self.closed += 1

    def _well(self, payload):
        self.arrived.update(frame.span.name for frame in payload.frames)
        self.told_sent.append(payload)
        return SendResult.sent()

    def _picky(self, payload):
        self.rejected[payload.frames[0].span.name] += 1
        self.arrived.update(frame.span.name for frame in payload.frames[1:])
        return SendResult.sent(rejected=1, reason="one is enough")

    def _down(self, payload):
        return SendResult.retry("nobody there")

    def _busy(self, payload):
        return SendResult.retry("later", after_s=3.0)

    def _paced(self, payload):
        self.mood = "well"
        return SendResult.paced(0.005)

    def _doubtful(self, payload):
        self.arrived.update(frame.span.name for frame in payload.frames)
        self.mood = "well"
        return SendResult.retry("the answer was lost", doubt=[payload])

    def _late_refusal(self, payload):
        self.mood = "well"
        return SendResult.retry("refused", doubt=self.told_sent[-1:])

    def _dead(self, payload):
        return SendResult.failed("never")

    def _broken(self, payload):
        raise RuntimeError("a bug in a transport")

    def _narrow(self, payload):
        self.max_bytes = max(60, self.max_bytes // 2)
        self.mood = "well"
        return SendResult.too_large("the way is narrow")


MOODS = [name[1:] for name in vars(MoodyTransport) if name[0] == "_" and name[1] != "_"]


class Program(RuleBasedStateMachine):
    """Offers, failures, flushes, clock jumps, forks and shutdowns in any order."""

    @initialize(
        capacity=st.integers(1, 30),
        policy=st.sampled_from(["newest", "oldest"]),
        max_spans=st.none() | st.integers(1, 5),
    )
    def begin(self, capacity, policy, max_spans):
        self.clock = FakeClock()
        self.capacity = capacity
        self.transports = []
        self.forked = self.down = False  # one fork in a program: it takes longer than all else
        self.reporter = Reporter(
            TinyEncoder(),
            self._connect,
            spawn=lambda _pipeline: None,
            queue_size=capacity,
            drop_policy=policy,
            max_batch_spans=max_spans,
            clock=self.clock,
            wait=self.clock.wait,
        )
        self._forget()

    def _connect(self):
        self.transports.append(MoodyTransport())
        return self.transports[-1]

    def _forget(self):
        self.open = []
        self.started = self.finished = self.withdrawn = 0

    @property
    def transport(self):
        return self.transports[-1]

    @rule(count=st.integers(1, 20), size=st.sampled_from([0, 12, 40, 120, 390, 5_000]))
    def start_spans(self, count, size):
        for _ in range(count):
            span = TinySpan(self.started, size)
            self.reporter.on_start(span)
            self.open.append(span)
            self.started += 1

    @rule(count=st.integers(1, 60))
    def end_spans(self, count):
        for span in self.open[:count]:
            self.reporter.on_end(span)
            self.finished += 1
        del self.open[:count]

    @rule(count=st.integers(1, 20), size=st.sampled_from([12, 40, 120]))
    def trace_something(self, count, size):
        self.start_spans(count, size)
        self.end_spans(count)

    @precondition(lambda self: self.open)
    @rule()
    def decide_against_a_live_span(self):
        self.reporter.withdraw(self.open.pop())
        self.withdrawn += 1

    @rule(mood=st.sampled_from(MOODS))
    def change_the_weather(self, mood):
        self.transport.mood = mood

    @rule(partial=st.booleans())
    def let_the_worker_work(self, partial):
        self.reporter._now().pipeline.work(partial=partial)

    @rule(seconds=st.sampled_from([0.001, 0.2, 1.0, 6.0, 100.0]))
    def let_time_pass(self, seconds):
        self.clock.advance(seconds)

    @rule(timeout_s=st.sampled_from([0.0, 0.01, 1.0, 5.0]))
    def flush(self, timeout_s):
        before = self.reporter.stats()
        result = self.reporter.flush(timeout_s)
        after = self.reporter.stats()
        assert result.sent == after.sent - before.sent
        assert result.left == after.queued + after.in_flight
        assert bool(result) == (result.left == 0)

    @precondition(lambda self: self.finished > 20 and not self.down)
    @rule(timeout_s=st.sampled_from([0.0, 2.0]))
    def shut_down(self, timeout_s):
        self.reporter.shutdown(timeout_s)
        self.down = True
        stats = self.reporter.stats()
        assert (stats.queued, stats.in_flight) == (0, 0)
        assert self.transport.closed

    @precondition(lambda self: self.down or self.finished > 50)
    @rule()
    def wake_up_as_a_forked_child(self):
        self.reporter._now().mark[0] = 0  # what the kernel does to the child's page
        assert not any(v for v in self.reporter.stats().as_dict().values() if isinstance(v, int))
        self._forget()

    @precondition(lambda self: self.finished > 40 and not self.forked)
    @rule(count=st.integers(1, 40))
    def fork(self, count):
        """Fork for real: the child starts from nothing, sends its own and changes nothing here."""
        self.forked = True
        before = self.reporter.stats()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the test runner's own threads
            pid = os.fork()
        if pid == 0:
            try:
                self._live_as_a_child(count)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert self.reporter.stats() == before

    def _live_as_a_child(self, count):
        """Send what is begun here; a fork does not undo a shutdown."""
        self._forget()
        self.the_law_holds()
        self.trace_something(count, 12)
        self.transport.mood = "well"
        assert self.reporter.flush(5.0)
        self.the_law_holds()
        stats = self.reporter.stats()
        takes = 0 if self.down else min(count, self.capacity)
        assert stats.sent == len(self.transport.arrived) == takes
        self.reporter.shutdown(5.0)
        self.down = True
        self.the_law_holds()

    @invariant()
    def the_law_holds(self):
        if not hasattr(self, "reporter"):
            return
        stats = self.reporter.stats()
        assert law(stats).started == self.started - self.withdrawn
        assert stats.finished == self.finished
        assert stats.unsampled == self.withdrawn
        assert min(v for v in stats.as_dict().values() if isinstance(v, int)) >= 0
        assert stats.queued <= self.capacity
        if self.down:
            assert stats.queued == stats.in_flight == 0

    @invariant()
    def what_arrived_is_what_was_sent(self):
        if not hasattr(self, "reporter"):
            return
        stats = self.reporter.stats()
        # A span in doubt has arrived and is not counted as sent yet; a twin has arrived twice.
        twins = sum(n - 1 for n in self.transport.arrived.values())
        assert twins <= stats.resent
        assert stats.sent <= len(self.transport.arrived) <= stats.sent + stats.resent
        assert stats.dropped["rejected"] <= self.transport.rejected.total()

    @invariant()
    def what_waits_encoded_is_bounded_by_bytes(self):
        """One payload to send, one in doubt, one being filled, and the frame that did not fit."""
        if not hasattr(self, "reporter"):
            return
        batcher = self.reporter._now().pipeline._sender._batcher
        frames = [*batcher._frames, *(batcher._batch or EMPTY).frames]
        bodies = [payload.payload.body for payload in batcher.pending]
        assert sum(len(frame.data) for frame in frames) + sum(map(len, bodies)) <= 4 * MAX_BYTES

    def teardown(self):
        if not hasattr(self, "reporter"):
            return
        self.transport.mood = "well"
        self.clock.advance(100.0)
        self.reporter.shutdown(5.0)
        stats = self.reporter.stats()
        assert stats.finished == stats.sent + sum(stats.dropped.values())
        self.the_law_holds()


Program.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestProgram = Program.TestCase


def test_of_what_waits_little_is_encoded():
    """With nobody to take payloads, 10 000 spans wait as they are, two payloads of bytes apart."""
    clock = FakeClock()
    transport = MoodyTransport()
    transport.mood = "down"
    reporter = Reporter(
        TinyEncoder(),
        lambda: transport,
        spawn=lambda _pipeline: None,
        clock=clock,
        wait=clock.wait,
    )
    for number in range(10_000):
        span = TinySpan(number, 40)
        reporter.on_start(span)
        reporter.on_end(span)
        if number % 100 == 0:
            clock.advance(0.1)
            reporter._now().pipeline.work(partial=True)
    stats = reporter.stats()
    assert stats.queued + stats.in_flight == 10_000
    assert 0 < stats.in_flight * 40 <= 2 * MAX_BYTES
