"""The sampler that does what it is told from elsewhere: by a sampling server, or a file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from tracekit.sampling._limiter import RateLimiting
from tracekit.sampling._operations import PerOperation
from tracekit.sampling._parent import ParentRule, state_of
from tracekit.sampling._sampler import (
    INITIAL_RATE,
    MAX_OPERATIONS,
    Probabilistic,
    RootSampler,
)
from tracekit.sampling._strategy import AdaptiveStrategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult

    from tracekit.sampling._keep import KeepRules
    from tracekit.sampling._strategy import AnyStrategy


class Feed(Protocol):
    """Where strategies come from: something that starts to work at the first root decision."""

    def wake(self) -> None:
        """Be running in this process from now on. Called at every root: cheap, never raises."""

    def state(self) -> dict[str, object]:
        """Return what happened so far: plain counters and the last error."""

    def close(self, timeout_s: float) -> None:
        """Stop for good; wait ``timeout_s`` seconds at most."""


class RemoteSampler(RootSampler):
    """Decides by the strategy that was applied last; by ``initial`` until there is one.

    ``apply`` builds a sampler aside and swaps one reference, so a root never waits for it.
    """

    def __init__(
        self,
        initial: RootSampler | None = None,
        *,
        max_operations: int = MAX_OPERATIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.current = initial if initial is not None else Probabilistic(INITIAL_RATE)
        self.feed: Feed | None = None
        self.keep: KeepRules | None = None
        """What to keep of traces that are not sampled, by operation, if the strategy says it."""
        self._max_operations = max_operations
        self._clock = clock
        self._applied_at_s: float | None = None

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return the current strategy's answer; see to it that the feed is running."""
        if self.feed is not None:
            self.feed.wake()
        return self.current.decide(trace_id, name)

    def apply(self, strategy: AnyStrategy) -> None:
        """Put ``strategy`` in force; buckets of what stays keep their balance. One caller."""
        self.current = self._sampler(strategy)
        self.keep = getattr(strategy, "keep", None)
        self._applied_at_s = self._clock()

    def _sampler(self, strategy: AnyStrategy) -> RootSampler:
        former = self.current
        if isinstance(strategy, AdaptiveStrategy):
            return PerOperation(
                strategy,
                max_operations=self._max_operations,
                clock=self._clock,
                previous=former if isinstance(former, PerOperation) else None,
            )
        if strategy.type == "ratelimiting":
            limiter = former.limiter if isinstance(former, RateLimiting) else None
            return RateLimiting(strategy.param, clock=self._clock, limiter=limiter)
        return Probabilistic(strategy.param)

    def close(self, timeout_s: float = 0.5) -> None:
        """Stop the feed within ``timeout_s`` seconds; the last strategy stays in force."""
        if self.feed is not None:
            self.feed.close(timeout_s)

    def state(self) -> dict[str, object]:
        """Return the strategy in force, its age in seconds (None: never applied), the feed's."""
        applied_at_s = self._applied_at_s
        age_s = None if applied_at_s is None else max(self._clock() - applied_at_s, 0.0)
        feed = self.feed.state() if self.feed is not None else {}
        return {"strategy": state_of(self.current), "age_s": age_s, **feed}

    def figures(self) -> dict[str, object]:
        """Return ``state`` as that of a remote sampler."""
        return {"type": "remote", **self.state()}

    def get_description(self) -> str:
        """Return the sampler and the one in force."""
        return f"Remote{{{self.current.get_description()}}}"


def head_of(sampler: Sampler, operation: str) -> tuple[str, bool | float]:
    """Return type and parameter of what decides about roots named ``operation`` now."""
    if isinstance(sampler, ParentRule):
        sampler = sampler.root
    if isinstance(sampler, RemoteSampler):
        sampler = sampler.current
    if isinstance(sampler, PerOperation):
        return "probabilistic", sampler.rate_of(operation)
    state = state_of(sampler)
    param = state.get("param")
    return str(state["type"]), param if isinstance(param, int | float) else 0.0
