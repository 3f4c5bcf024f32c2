"""Per-operation sampling: the rate, the floor under it, the bounded table, late updates."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.sampling import AdaptiveStrategy, GuaranteedThroughput, PerOperation, RemoteSampler
from tracekit.testing import FakeClock

NEVER, ALWAYS = (1 << 64) - 1, 0  # ids that only rate 1 samples, and that any rate above 0 does


def ask(sampler, trace_id, name="operation"):
    result = sampler.should_sample(None, trace_id, name)
    return result.decision.is_sampled(), result.attributes["sampler.type"]


def test_the_lower_bound_admits_the_refused():
    """Its traces are labelled lowerbound, with the rate as parameter, as the back end expects."""
    sampler = GuaranteedThroughput(0.25, 1.0, clock=FakeClock())
    result = sampler.should_sample(None, NEVER, "operation")
    assert result.decision.is_sampled()
    assert dict(result.attributes) == {"sampler.type": "lowerbound", "sampler.param": 0.25}
    assert ask(sampler, NEVER) == (False, "lowerbound")


def test_an_admitted_trace_is_charged_too():
    """To the lower bound: a floor is a minimum, it adds nothing to what is sampled anyway."""
    sampler = GuaranteedThroughput(0.25, 1.0, clock=FakeClock())
    assert ask(sampler, ALWAYS) == (True, "probabilistic")
    assert ask(sampler, NEVER) == (False, "lowerbound")


def test_each_operation_has_rate_and_floor():
    """Listed operations follow their rate; others the default."""
    strategy = AdaptiveStrategy(0.0, 1.0, {"all": 1.0, "": 1.0})
    sampler = PerOperation(strategy, clock=FakeClock())
    assert ask(sampler, NEVER, "all") == (True, "probabilistic")
    assert ask(sampler, NEVER, "") == (True, "probabilistic")
    assert ask(sampler, NEVER, "unknown") == (True, "lowerbound")
    assert ask(sampler, NEVER, "unknown") == (False, "lowerbound")
    assert ask(sampler, NEVER, "another") == (True, "lowerbound")


def test_a_full_table_gives_the_default_rate():
    """Without a floor: operation names without end cost no memory without end."""
    sampler = PerOperation(AdaptiveStrategy(0.5, 1.0, {}), max_operations=2, clock=FakeClock())
    for name in ("a", "b"):
        assert ask(sampler, NEVER, name) == (True, "lowerbound")
    assert ask(sampler, NEVER, "c") == (False, "probabilistic")
    assert sampler.operations() == {"a": 0.5, "b": 0.5}


def test_a_long_strategy_is_cut():
    """The bound of the table holds for what the server lists, too."""
    operations = {f"operation {n}": 0.1 for n in range(50)}
    sampler = PerOperation(AdaptiveStrategy(0.5, 0.0, operations), max_operations=10)
    ask(sampler, NEVER, "newcomer")
    assert list(operations)[:10] == list(sampler.operations())


def test_threads_do_not_overfill_the_table():
    """The table ends at its bound however many threads race to the last place."""
    sampler = PerOperation(AdaptiveStrategy(0.5, 0.0, {}), max_operations=100)
    names = [f"operation {n}" for n in range(300)]

    def work(seed):
        for name in random.Random(seed).sample(names, 300):
            ask(sampler, NEVER, name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(sampler.operations()) == 100


def test_an_update_keeps_what_stays():
    """As in the Go and Java clients: a listed operation gets no second burst, others start anew."""
    clock = FakeClock()
    remote = RemoteSampler(clock=clock)
    remote.apply(AdaptiveStrategy(0.0, 1.0, {"stays": 0.0, "goes": 0.0}))
    for name in ("stays", "goes", "late"):
        assert ask(remote, NEVER, name) == (True, "lowerbound")
    remote.apply(AdaptiveStrategy(0.0, 1.0, {"stays": 0.25, "late": 0.0}))
    assert ask(remote, NEVER, "stays") == (False, "lowerbound")
    assert ask(remote, NEVER, "late") == (False, "lowerbound")
    assert ask(remote, ALWAYS, "stays") == (True, "probabilistic")
    assert remote.current.operations() == {"stays": 0.25, "late": 0.0}
    assert ask(remote, NEVER, "goes") == (True, "lowerbound")


@given(st.floats(0.0, 1.0), st.floats(0.0, 20.0), st.integers(0, 2**32))
def test_a_floor_and_a_rate_are_both_met(rate, floor, seed):
    """Over a minute of steady traffic an operation gets its rate, and at least its floor."""
    draw = random.Random(seed)
    clock = FakeClock(0.0)
    sampler = PerOperation(AdaptiveStrategy(rate, floor, {}), clock=clock)
    by_rate = sampled = 0
    for _ in range(1200):
        clock.advance(0.05)
        trace_id = draw.getrandbits(64)
        by_rate += trace_id < rate * 2.0**64
        sampled += ask(sampler, trace_id)[0]
    assert sampled >= by_rate
    assert sampled >= min(int(floor * 60 * 0.9) - 1, 1200)
    assert sampled <= by_rate + floor * 60 + max(floor, 1.0)


def test_bad_rates_are_refused():
    """A sampler that cannot be is not built."""
    with pytest.raises(ValueError):
        PerOperation(AdaptiveStrategy(0.5, -1.0, {}))
    with pytest.raises(ValueError):
        PerOperation(AdaptiveStrategy(0.5, 1.0, {"a": 1.5}))
