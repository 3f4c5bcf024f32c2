"""Without the GIL, too: whatever order threads take their steps in, the books are right.

The same orders find what goes wrong when one step is divided, so they are fine enough.
"""

from __future__ import annotations

import pytest
from interleavings import explore
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from tracekit._process.tally import AtomicInt
from tracekit.reporting._ledger import Ledger
from tracekit.reporting._queue import SpanQueue
from tracekit.sampling import ParentRule
from tracekit.sampling._limiter import RateLimiter
from tracekit.tracing import Span, TracerProvider
from tracekit.tracing._locked_span import LockedSpan
from tracekit.tracing._process_state import TracingState, TracingStates

pytestmark = pytest.mark.timeout(120)


def counting(zero):
    """Two threads count as the tracer does."""
    process = TracingState(zero)

    def slot():
        process.children += 1

    def check():
        assert int(process.children) == 2

    return [slot, slot], check


class Told:
    """A reporter that keeps what it is told, and what could be read at that moment."""

    def __init__(self):
        self.ended = []
        self.read = []

    def on_start(self, span, parent_context=None):
        pass

    def on_end(self, span):
        self.ended.append(span)
        self.read.append(span._facts())


def live_span(kind, told=None, **limits):
    provider = TracerProvider(
        ParentRule(ALWAYS_ON), told or Told(), Resource({}), limits=SpanLimits(**limits)
    )
    span = provider.get_tracer("t").start_span("x")
    span.__class__ = kind
    return span, provider


def ends(kind):
    """Two threads end a span; one hands it on, the other is counted."""
    told = Told()
    span, provider = live_span(kind, told)

    def check():
        assert told.ended == [span]
        assert provider.counts().ended_twice == 1

    return [span.end, span.end], check


def attributes_at_the_limit(kind):
    """Two threads set an attribute where one fits; the other is counted as dropped."""
    span, _ = live_span(kind, max_span_attributes=2)
    span._attrs["before"] = 1

    def check():
        assert len(span._attrs) == 2
        assert span._dropped == 1

    return [lambda: span.set_attribute("a", 1), lambda: span.set_attributes({"b": 2})], check


def first_events(kind):
    """Two threads add the first event; both are there."""
    span, _ = live_span(kind)

    def check():
        assert sorted(name for name, _, _ in span._added_events) == ["a", "b"]

    return [lambda: span.add_event("a"), lambda: span.add_event("b")], check


def change_and_end(kind):
    """One thread changes what another one ends: what was handed on never changes after."""
    told = Told()
    span, _ = live_span(kind, told)

    def change():
        span.set_attribute("a", 1)
        span.add_event("e")

    def check():
        assert told.read == [span._facts()]

    return [change, span.end], check


SPANS = [ends, attributes_at_the_limit, first_events, change_and_end]


def test_counters_are_exact():
    """All orders of two threads that count."""
    assert explore(lambda: counting(AtomicInt)) > 20


def test_plain_counters_would_not_be():
    """The orders are fine enough to find an addition that is not one step."""
    with pytest.raises(AssertionError, match="in the order"):
        explore(lambda: counting(int))


@pytest.mark.parametrize("scenario", SPANS)
def test_a_locked_span_keeps_its_promises(scenario):
    """All orders of two threads at one span, with two preemptions at most."""
    assert explore(lambda: scenario(LockedSpan), most=2) > 100


# (Two ends at once pass there, too, but for a division inside the interpreter: the deletion of a
# slot looks whether it is set before it takes the object's lock.)
@pytest.mark.parametrize("scenario", SPANS[1:])
def test_the_span_for_the_gil_would_not(scenario):
    """The orders find each place of ``Span`` that rests on the GIL."""
    with pytest.raises(AssertionError, match="in the order"):
        explore(lambda: scenario(Span), most=2)


def offers(queue_of, policy):
    """Two threads offer to a queue with room for one, while a third takes."""
    ledger = Ledger()
    queue = queue_of(1, policy, ledger)
    queue.offer("before")
    queue.take()  # a permit was used and is back
    del queue.hand[:]
    taken = []

    def take():
        taken.extend(queue.take())

    def check():
        stats = ledger.snapshot()
        left = len(queue)
        assert left <= 1
        assert stats.finished == 3
        assert stats.queued == left
        assert stats.taken == 1 + len(taken)
        assert stats.dropped["queue_full"] == 3 - left - stats.taken
        assert len(queue._permits) + left == 1

    return [lambda: queue.offer("a"), lambda: queue.offer("b"), take], check


class PlantedQueue(SpanQueue):
    """Looks whether there is a permit before it takes one: two steps."""

    def offer(self, span):
        if not self._permits:
            return super().offer(span)
        for _ in self._finished:
            break
        self._spans.append(span)
        self._permits.clear()
        return None


@pytest.mark.parametrize("policy", ["newest", "oldest"])
def test_the_bound_of_the_queue_is_exact(policy):
    """All orders of two offers and a take, with two preemptions at most."""
    assert explore(lambda: offers(SpanQueue, policy), most=2) > 500


def test_a_permit_in_two_steps_is_found():
    """A queue that looks before it takes breaks its bound, and the orders find it."""
    with pytest.raises(AssertionError, match="in the order"):
        explore(lambda: offers(PlantedQueue, "newest"), most=2)


def test_nothing_is_left_in_a_closed_queue():
    """A span that is offered while the queue closes is counted, whoever comes first."""

    def scenario():
        ledger = Ledger()
        queue = SpanQueue(2, "newest", ledger)

        def close():
            queue.close()
            queue.abandon()

        def check():
            stats = ledger.snapshot()
            assert len(queue) == 0
            assert (stats.finished, stats.dropped["shutdown"]) == (1, 1)

        return [lambda: queue.offer("a"), close], check

    assert explore(scenario, most=2) > 100


def test_one_token_lets_one_trace_through():
    """Two threads ask a limiter that has one token left."""

    def scenario():
        limiter = RateLimiter(1.0, clock=lambda: 5.0)
        told = []
        return [lambda: told.append(limiter.take())] * 2, lambda: told_once(told)

    def told_once(told):
        assert sorted(told) == [False, True]

    assert explore(scenario, most=1) > 10


def test_a_fork_gives_all_threads_one_state():
    """Two threads that first look after a fork find the same heir."""

    def scenario():
        states = TracingStates()
        states.current.mark[0] = 0  # what the kernel does to a child
        found = []

        def check():
            assert found[0] is found[1] is states.current

        return [lambda: found.append(states.now())] * 2, check

    assert explore(scenario, most=1) > 20
