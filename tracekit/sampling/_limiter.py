"""The token bucket, and the sampler that admits so many traces a second."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tracekit.sampling._sampler import RootSampler, answers, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace.sampling import SamplingResult


class _Level:
    """What a bucket held at a moment, and the one level that followed, once there is one."""

    __slots__ = ("balance", "following", "max_balance", "rate", "ready_at_s", "since_s")

    def __init__(self, balance: float, since_s: float, rate: float) -> None:
        self.rate = rate
        # A rate below one a second must still be able to save up for one trace.
        self.max_balance = max(rate, 1.0)
        self.balance = min(balance, self.max_balance)
        self.since_s = since_s
        # Before this moment there is no token: one number for the refusals, the most frequent call.
        if self.balance >= 1.0:
            self.ready_at_s = -math.inf
        else:
            self.ready_at_s = since_s + (1.0 - self.balance) / rate if rate else math.inf
        self.following: dict[None, _Level] = {}

    def balance_at(self, now_s: float) -> float:
        earned = max(now_s - self.since_s, 0.0) * self.rate
        return min(self.balance + earned, self.max_balance)


class RateLimiter:
    """A token bucket: ``rate`` tokens a second, at most ``max(rate, 1)`` saved, full at first.

    In any stretch of T seconds at most ``rate * T + max(rate, 1)`` calls of ``take`` succeed.

    There is no lock: a signal handler may interrupt ``take`` on the same thread and take a token
    itself, and a child may be forked while another thread is inside. Instead, a level is
    immutable but for its successor, and ``dict.setdefault`` lets exactly one caller set that;
    whoever loses starts over from the winner's level. A refused call changes nothing at all.
    """

    __slots__ = ("_clock", "_level")

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        rate = number(rate, "traces per second")
        self._clock = clock
        self._level = _Level(max(rate, 1.0), clock(), rate)

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._latest().rate

    def take(self) -> bool:
        """Take a token if there is one; never waits."""
        now_s = self._clock()
        level = self._level
        while now_s >= level.ready_at_s:
            balance = level.balance_at(now_s)
            if balance < 1.0:  # a rounding error before its time
                return False
            since_s = max(now_s, level.since_s)
            if self._follow(level, _Level(balance - 1.0, since_s, level.rate)):
                return True
            level = self._latest()
        return False

    def update(self, rate: float) -> None:
        """Change the rate; the bucket stays as full, in proportion, as it was.

        A new bucket would be full: a thousand processes that hear of a new rate in the same
        second would each let a burst through.
        """
        rate = number(rate, "traces per second")
        while True:
            level = self._latest()
            if level.rate == rate:
                return
            now_s = max(self._clock(), level.since_s)
            share = level.balance_at(now_s) / level.max_balance
            if self._follow(level, _Level(share * max(rate, 1.0), now_s, rate)):
                return

    def _latest(self) -> _Level:
        # ``_level`` may lag: the winner of a race sets it a moment after it has won, and may be
        # the very call that this one interrupted.
        level = self._level
        while (following := level.following.get(None)) is not None:
            level = following
        return level

    def _follow(self, level: _Level, following: _Level) -> bool:
        if level.following.setdefault(None, following) is not following:
            return False
        # Look once more after setting it: a winner that was held up must not leave behind a level
        # that others have gone on from, for a refused call trusts ``_level`` alone.
        latest: _Level | None = following
        while latest is not None:
            self._level = latest
            latest = latest.following.get(None)
        return True


class RateLimiting(RootSampler):
    """Samples at most ``rate`` roots a second (bursts of ``max(rate, 1)``), whatever their ids.

    ``limiter`` is a bucket to go on with: its rate is updated, its balance kept.
    """

    by_operation = False

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        limiter: RateLimiter | None = None,
    ) -> None:
        self.rate = number(rate, "traces per second")
        if limiter is None:
            limiter = RateLimiter(self.rate, clock=clock)
        else:
            limiter.update(self.rate)
        self.limiter = limiter
        self._accept, self._deny = answers("ratelimiting", self.rate)

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return whether a token was left."""
        return self._accept if self.limiter.take() else self._deny

    def get_description(self) -> str:
        """Return the sampler and its parameter."""
        return f"RateLimiting{{{self.rate:g}/s}}"

    def figures(self) -> dict[str, object]:
        """Return the type and the traces per second."""
        return {"type": "ratelimiting", "param": self.rate}
