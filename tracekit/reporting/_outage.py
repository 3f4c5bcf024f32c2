"""Whether the receiver can be reached: told at the first failure, and when it is back."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from tracekit._causes import Cause
from tracekit._process.undivided import no_fork
from tracekit._protocols import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit._protocols import SendResult

_log = logging.getLogger("tracekit")

PAUSE_S = 30.0
"""Between two warnings of a kind: a receiver that stumbles every second is told of twice a minute.
The counters have all of them."""


class Outage:
    """Follows the results of sending. One thread at a time, the one that runs the ``Sender``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since_s: float | None = None  # an outage's begin; None: the last send went well
        self._last_told_s = -math.inf
        self._told = False
        self._dropped_before = 0
        self._tried = False
        self._only_nobody_here = True
        self._cause = Cause.OTHER
        self._reason = ""

    @property
    def in_vain(self) -> bool:
        """Whether nobody on this very host has listened since the start, not even once."""
        return self._tried and self._only_nobody_here

    @property
    def remedy(self) -> str:
        """What to do about the outage that lasts; empty: there is none, or no advice."""
        return "" if self._since_s is None else self._cause.remedy

    def note(self, result: SendResult, dropped: int) -> None:
        """Take the result of an attempt; ``dropped`` spans have been lost so far."""
        if result.outcome is Outcome.RETRY and result.cause is Cause.FORK:
            return  # broken off by ourselves, and over with the next attempt
        if result.outcome in (Outcome.RETRY, Outcome.FAILED):
            self._tried = True
            self._only_nobody_here &= result.cause is Cause.NOBODY_HERE
            self._cause, self._reason = result.cause, result.reason
            if self._since_s is None:
                self._since_s, self._dropped_before = self._clock(), dropped
        elif result.outcome is Outcome.SENT:
            self._tried, self._only_nobody_here = True, False
            if self._since_s is not None:
                self._end(dropped)

    @property
    def untold(self) -> bool:
        """Whether an outage has begun of which nobody was told."""
        return self._since_s is not None and not self._told

    def tell(self, *, told: bool) -> None:
        """Warn about an outage that has begun, unless that is ``told`` already (with a loss)."""
        if not self.untold:
            return
        now = self._clock()
        if told:
            self._told, self._last_told_s = True, now
        elif now - self._last_told_s >= PAUSE_S:
            self._told, self._last_told_s = True, now
            remedy = self._cause.remedy
            _log.warning(
                "spans cannot be sent and wait: %s%s", self._reason, f"; {remedy}" if remedy else ""
            )

    def _end(self, dropped: int) -> None:
        if self._told and self._since_s is not None:
            with no_fork():
                _log.warning(
                    "spans are sent again, after %.1f s; %d were dropped meanwhile",
                    self._clock() - self._since_s,
                    dropped - self._dropped_before,
                )
        self._since_s, self._told = None, False
