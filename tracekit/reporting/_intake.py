"""Where a tracer of ours puts its spans, past the looks that a reporter has for other SDKs'."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan


class Intake:
    """The front of one process' pipeline, for who tells of each sampled span once, by itself.

    That spans are the tracer's own, and of this process, it has seen already; so ``on_start`` is
    to move a counter, and ``on_end`` is to queue.
    """

    __slots__ = ("offer", "started")

    def __init__(self, started: Iterator[int]) -> None:
        self.started = started
        """Counts a span that starts; ``for _ in started: break`` does so without a call."""
        self.offer: Callable[[ReadableSpan], None] | None = None
        """``SpanQueue.offer``; None while the pipeline is to be asked for a worker as well."""
