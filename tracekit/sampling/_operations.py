"""A rate for each operation, with a floor under it: what adaptive sampling orders."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice, repeat
from typing import TYPE_CHECKING

from tracekit._context import LOW_64_BITS
from tracekit.sampling._limiter import RateLimiter
from tracekit.sampling._sampler import (
    MAX_OPERATIONS,
    Probabilistic,
    RootSampler,
    answers,
    number,
    threshold,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace.sampling import SamplingResult

    from tracekit.sampling._strategy import AdaptiveStrategy

MAX_NAME = 1024
"""Characters of the name of an operation that gets a sampler without being listed."""


class GuaranteedThroughput(RootSampler):
    """Samples the share ``rate`` of the trace ids, and at least ``lower_bound`` roots a second.

    A trace that the rate admits is charged to the bound too. The traces of the bound are labelled
    ``lowerbound`` with the *rate* as parameter, which is what the back end's calculation expects.
    ``limiter`` is a bucket to go on with: its rate is updated, its balance kept.
    """

    by_operation = False
    # Thousands of these are asked in turn: what lies close together is in the cache together.
    __slots__ = ("_accept", "_deny", "_floor", "_take", "_threshold", "limiter", "rate")

    def __init__(
        self,
        rate: float,
        lower_bound: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        limiter: RateLimiter | None = None,
    ) -> None:
        self.rate = number(rate, "sampling rate", at_most=1.0)
        if limiter is None:
            limiter = RateLimiter(lower_bound, clock=clock)
        else:
            limiter.update(lower_bound)
        self.limiter = limiter
        self._take = limiter.take
        self._threshold = threshold(self.rate)
        self._accept, _ = answers("probabilistic", self.rate)
        self._floor, self._deny = answers("lowerbound", self.rate)

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return the answer of the rate if it admits the trace, else that of the bound."""
        within_bound = self._take()
        if trace_id & LOW_64_BITS < self._threshold:
            return self._accept
        return self._floor if within_bound else self._deny

    def get_description(self) -> str:
        """Return the sampler and its parameters."""
        return f"GuaranteedThroughput{{{self.rate:g}, {self.limiter.rate:g}/s}}"


class PerOperation(RootSampler):
    """Asks the sampler of the root's operation; at most ``max_operations`` have one.

    An unknown operation gets its own with the default rate and the lower bound; when the table is
    full, or its name too long, the default rate alone. ``previous`` is the sampler that this one
    replaces: operations that the strategy still lists keep the balance of their bucket, the others
    are forgotten and come back when they are used (as in the Go and Java clients).
    """

    def __init__(
        self,
        strategy: AdaptiveStrategy,
        *,
        max_operations: int = MAX_OPERATIONS,
        clock: Callable[[], float] = time.monotonic,
        previous: PerOperation | None = None,
    ) -> None:
        self.default_rate = strategy.default
        self.lower_bound = number(strategy.lower_bound, "lower bound")
        self.max_operations = max_operations
        self._clock = clock
        self._default = Probabilistic(strategy.default)
        known = previous._table if previous is not None else {}
        self._table: dict[str, GuaranteedThroughput] = {}
        for operation, rate in islice(strategy.operations.items(), max_operations):
            former = known.get(operation)
            self._table[operation] = self._sampler(rate, former.limiter if former else None)
        # A slot is taken before the table grows: ``deque.pop`` is atomic, so racing threads
        # cannot overfill it, and no lock can be left held by an interrupted or forked thread.
        self._free: deque[None] = deque(repeat(None, max_operations - len(self._table)))

    def operations(self) -> dict[str, float]:
        """Return the rate of every operation that has a sampler of its own now."""
        return {operation: sampler.rate for operation, sampler in self._table.copy().items()}

    def rate_of(self, operation: str) -> float:
        """Return the rate of one operation."""
        own = self._table.get(operation)
        return self.default_rate if own is None else own.rate

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return the answer of the operation's sampler."""
        sampler = self._table.get(name) or self._admit(name)
        return sampler.decide(trace_id, name)

    def _admit(self, name: str) -> RootSampler:
        if len(name) > MAX_NAME:
            return self._default
        try:
            self._free.pop()
        except IndexError:
            return self._default
        mine = self._sampler(self.default_rate, None)
        winner = self._table.setdefault(name, mine)
        if winner is not mine:
            self._free.append(None)
        return winner

    def _sampler(self, rate: float, limiter: RateLimiter | None) -> GuaranteedThroughput:
        return GuaranteedThroughput(rate, self.lower_bound, clock=self._clock, limiter=limiter)

    def get_description(self) -> str:
        """Return the sampler, its defaults and how many operations it knows."""
        known = f"{len(self._table)}/{self.max_operations} operations"
        return f"PerOperation{{{self.default_rate:g}, {self.lower_bound:g}/s, {known}}}"

    def figures(self) -> dict[str, object]:
        """Return the defaults and the rates by operation."""
        return {
            "type": "adaptive",
            "default": self.default_rate,
            "lower_bound": self.lower_bound,
            "operations": self.operations(),
        }
