"""The queue's bound and the counters are exact, whoever calls whenever."""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from itertools import compress, repeat

import pytest

from tracekit.reporting import DropReason
from tracekit.reporting._ledger import Ledger, Tally
from tracekit.reporting._queue import SpanQueue, Wakeup


@pytest.fixture(autouse=True)
def switch_threads_all_the_time():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work, count=8):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_a_count_survives_a_race_of_threads():
    """Eight threads that add 5,000 times each make 40,000, read at any time without moving it."""
    tally = Tally()

    def work():
        for _ in range(5_000):
            tally.add()
            assert tally.value > 0

    in_threads(work)
    assert (tally.value, tally.value) == (40_000, 40_000)


def test_the_bound_is_exact_among_threads():
    """Whatever races, exactly ``capacity`` spans are queued and the others are refused."""
    ledger = Ledger()
    queue = SpanQueue(1_000, "newest", ledger)

    def work():
        for number in range(500):
            queue.offer(number)

    in_threads(work)
    assert len(queue) == 1_000
    assert ledger.snapshot().dropped["queue_full"] == 3_000
    assert ledger.snapshot().queued == 1_000


def test_a_refusal_is_no_queued_span():
    """A reader that has to wait its turn between two figures reads both again."""

    class Waiting(Tally):
        __slots__ = ("_others",)

        def __init__(self, others):
            super().__init__()
            self._others = others

        @property
        def value(self):
            self._others()
            return super().value

    ledger = Ledger()
    turns = [1_000, 300]

    def others():
        for _ in range(turns.pop() if turns else 0):
            ledger.finished.add()
            ledger.refused.add()

    ledger.finished = Waiting(others)
    stats = ledger.snapshot()
    assert (stats.finished, stats.queued, stats.dropped["queue_full"]) == (1_300, 0, 1_300)


@pytest.mark.parametrize("policy", ["newest", "oldest"])
def test_no_span_is_lost_from_offer_to_take(policy):
    """None is seen twice either: what is taken and what is dropped adds up, span by span."""
    ledger = Ledger()
    queue = SpanQueue(50, policy, ledger)
    taken = []
    bites = itertools.cycle((1, 7, 64))
    done = threading.Event()

    def consume():
        while not done.is_set() or len(queue):
            taken.extend(queue.take(next(bites)))
            del queue.hand[:]

    consumer = threading.Thread(target=consume)
    consumer.start()

    def work():
        me = object()  # an ident may be given out again
        for number in range(2_000):
            queue.offer((me, number))
            assert len(queue) <= 50

    in_threads(work, 4)
    done.set()
    consumer.join(30)
    assert len(set(taken)) == len(taken) == 8_000 - ledger.snapshot().dropped["queue_full"]


def test_oldest_goes_first_when_asked():
    """With the policy *oldest* a full queue keeps the latest spans, in order."""
    ledger = Ledger()
    queue = SpanQueue(3, "oldest", ledger)
    for number in range(10):
        queue.offer(number)
    assert queue.take(4) == [7, 8, 9]
    assert ledger.snapshot().dropped["queue_full"] == 7


def test_a_closed_queue_gives_what_it_has():
    """After ``close`` spans are refused as lost by the shutdown, the queued ones can be taken."""
    ledger = Ledger()
    queue = SpanQueue(3, "newest", ledger)
    for number in range(4):
        queue.offer(number)
        if number == 1:
            queue.close()
    assert queue.take(3) == [0, 1]
    assert ledger.snapshot().dropped["shutdown"] == 2


def test_a_capacity_below_one_is_refused():
    """A queue that can hold nothing is an error of who asks for it."""
    with pytest.raises(ValueError, match="at least 1"):
        SpanQueue(0, "newest", Ledger())


def test_a_wakeup_keeps_one_ring():
    """Many rings wake the next waiter once; without any it waits its time out."""
    wakeup = Wakeup()
    for _ in range(3):
        wakeup.ring()
    assert wakeup.wait(10.0)
    assert not wakeup.wait(0.0)


class Evicted(deque):
    """Spans of which one is dropped to make room after their number was asked for."""

    def __len__(self):
        length = super().__len__()
        if length > 1:
            self.popleft()
        return length


def test_a_take_that_races_with_evictions():
    """Each of them has given its permit back, and each that is missing has not."""
    ledger = Ledger()
    queue = SpanQueue(5, "oldest", ledger)
    queue._spans = Evicted(range(5))
    queue._taking = compress(map(deque.popleft, repeat(queue._spans)), zip(ledger.taken.count))
    assert queue.take(64) == [1, 2, 3, 4]
    assert ledger.taken.value == 4
    assert len(queue._permits) == 4


def test_a_take_without_memory_counts_all():
    """What has left the queue is in the hand, or is counted as lost; no permit is there twice."""
    testcapi = pytest.importorskip("_testcapi", reason="this Python has no module _testcapi")
    lost = 0
    for at in range(30):
        ledger = Ledger()
        queue = SpanQueue(50, "newest", ledger)
        for number in range(40):
            queue.offer(number)
        testcapi.set_nomemory(at, at + 1)
        try:
            queue.take(40)
        except MemoryError:
            pass
        finally:
            testcapi.remove_mem_hooks()
        dropped = ledger.dropped[DropReason.ENCODE_FAILED]
        assert len(queue.hand) + dropped == ledger.taken.value == 40 - len(queue)
        assert len(queue._permits) <= ledger.taken.value
        lost += dropped
    assert lost
