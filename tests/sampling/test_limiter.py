"""The token bucket: its law, its updates, and what interrupts it."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.sampling import RateLimiter, from_type
from tracekit.testing import FakeClock

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sampling.json").read_text())["cases"]
SEQUENCES = [case for case in VECTORS if case["op"] == "sampler_seq"]
steps = st.lists(st.floats(0.0, 5.0, allow_subnormal=False), min_size=1, max_size=60)


@pytest.mark.parametrize("case", SEQUENCES, ids=lambda case: case["id"])
def test_vectors_of_sequences(case):
    """Asked at these times, the sampler decides as the Jaeger clients do from a full bucket."""
    clock = FakeClock(0.0)
    sampler = from_type(case["sampler"]["type"], case["sampler"]["param"], clock=clock)
    seen = []
    for at in case["t"]:
        clock.now = float(at)
        seen.append(sampler.should_sample(None, 1, "operation").decision.is_sampled())
    assert case["expect"]["sampled"] == seen


@given(st.floats(0.0, 50.0, allow_subnormal=False), steps)
def test_no_stretch_of_time_admits_too_much(rate, pauses):
    """Rate times time plus burst holds between any two admitted calls, not only from the start."""
    clock = FakeClock(0.0)
    limiter = RateLimiter(rate, clock=clock)
    taken: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        taken.extend(clock.now for _ in range(3) if limiter.take())
    burst = max(rate, 1.0)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = rate * (taken[last] - start) + burst
            assert last - first + 1 <= allowed + 1e-6


@given(st.floats(0.1, 50.0), st.floats(0.1, 10.0))
def test_a_pause_fills_the_bucket(rate, pause):
    """It admits no less than the whole tokens of the time that passed, up to its size."""
    clock = FakeClock(0.0)
    limiter = RateLimiter(rate, clock=clock)
    while limiter.take():
        pass
    clock.advance(pause)
    earned = min(rate * pause, max(rate, 1.0))
    assert sum(limiter.take() for _ in range(100)) >= int(earned - 1e-6)


def test_a_tenth_admits_one_in_ten_seconds():
    """Rates below one save up for one token."""
    clock = FakeClock(0.0)
    limiter = RateLimiter(0.1, clock=clock)
    admitted = []
    for second in range(31):
        clock.now = float(second)
        if limiter.take():
            admitted.append(second)
    assert admitted == [0, 10, 20, 30]


def test_a_clock_that_goes_back():
    """Time lost is not paid twice."""
    clock = FakeClock(100.0)
    limiter = RateLimiter(1.0, clock=clock)
    assert limiter.take()
    clock.now = 50.0
    assert not limiter.take()
    clock.now = 100.5
    assert not limiter.take()


def test_an_update_keeps_the_proportion():
    """Half full of 4 becomes half full of 8, and a higher rate earns from now on only."""
    clock = FakeClock(0.0)
    limiter = RateLimiter(4.0, clock=clock)
    assert limiter.take()
    assert limiter.take()
    limiter.update(8.0)
    assert sum(limiter.take() for _ in range(20)) == 4
    clock.advance(0.5)
    assert sum(limiter.take() for _ in range(20)) == 4


def test_threads_share_what_there_is():
    """Eight threads race for 100 tokens that never come back: exactly 100 are taken."""
    limiter = RateLimiter(100.0, clock=FakeClock(0.0))
    taken: list[int] = []
    threads = [
        threading.Thread(target=lambda: taken.append(sum(limiter.take() for _ in range(500))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(taken) == 100


class Interrupted(float):
    """A time whose first subtraction is interrupted: the level has been read and not yet left."""

    handler = None

    def __sub__(self, other):
        handler, self.handler = self.handler, None
        if handler is not None:
            handler()
        return float(self) - other


def test_a_call_may_interrupt_another():
    """A handler amid ``take`` gets the token; the interrupted call sees that, and nothing hangs."""
    clock = FakeClock(0.0)
    limiter = RateLimiter(1.0, clock=clock)
    assert limiter.take()
    inner: list[bool] = []
    clock.now = Interrupted(1.0)
    clock.now.handler = lambda: inner.append(limiter.take())
    assert not limiter.take()
    assert inner == [True]


def test_an_update_during_a_take_is_not_lost():
    """The interrupted call starts over from the updated level."""
    clock = FakeClock(0.0)
    limiter = RateLimiter(1.0, clock=clock)
    assert limiter.take()
    clock.now = Interrupted(1.0)
    clock.now.handler = lambda: limiter.update(50.0)
    assert limiter.take()
    assert limiter.rate == 50.0


@pytest.mark.parametrize("rate", [0.0, 3.0, 25.0])
def test_random_traffic_is_held_to_the_rate(rate):
    """Over 200 seconds of seeded traffic the count is the rate's, give or take the burst."""
    draw = random.Random(7)
    clock = FakeClock(0.0)
    sampler = from_type("ratelimiting", rate, clock=clock)
    count = 0
    while clock.now < 200.0:
        clock.advance(draw.expovariate(100.0))
        count += sampler.should_sample(None, 1, "operation").decision.is_sampled()
    assert 200 * rate * 0.97 <= count <= 200 * rate + max(rate, 1.0) + 1
