"""One span to several reporters: the first has the account, others are offered what it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit.reporting._reporter import Reporter
    from tracekit.reporting._stats import FlushResult


class FanOut:
    """A reporter in front of several. What a span of the program waits for is one offer more each.

    Each of them has a queue, a worker and figures of its own, so none waits for another. Starts
    and withdrawals are told to the first alone: the others begin to count when a span ends.
    """

    def __init__(self, first: Reporter, others: tuple[Reporter, ...]) -> None:
        self._first = first
        self._others = others
        self.on_start = first.on_start
        self.withdraw = first.withdraw

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended."""
        self._first.on_end(span)
        for other in self._others:
            other.report(span)

    def report(self, span: ReadableSpan) -> None:
        """Take a span that somebody else has started, ended and decided to send."""
        self._first.report(span)
        for other in self._others:
            other.report(span)

    def flush(self, timeout_s: float) -> FlushResult:
        """Have the first send what is queued: what another one does is told by its own flush."""
        return self._first.flush(timeout_s)

    def shutdown(self, timeout_s: float) -> None:
        """Drain all of them at the same time, within ``timeout_s``."""
        deadline_s = time.monotonic() + timeout_s
        for other in self._others:
            other.begin_shutdown(timeout_s)
        self._first.shutdown(timeout_s)
        for other in self._others:
            other.shutdown(max(0.0, deadline_s - time.monotonic()))
