"""Where received batches are kept: in memory, bounded, read by whoever waits for them."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from tracekit.local._spans import ReceivedBatch, ReceivedSpan

if TYPE_CHECKING:
    from collections.abc import Callable

Spans: TypeAlias = tuple[ReceivedSpan, ...]


class Store:
    """Batches in the order of arrival; beyond ``max_spans`` the oldest batches go. Thread-safe."""

    def __init__(self, max_spans: int = 200_000) -> None:
        self._max_spans = max_spans
        self._batches: deque[ReceivedBatch] = deque()
        self._count = 0
        self._evicted = 0
        self._changed = threading.Condition()

    @property
    def evicted(self) -> int:
        """How many spans had to go to make room."""
        return self._evicted

    def add(self, batch: ReceivedBatch) -> None:
        """Keep a batch and wake whoever waits."""
        with self._changed:
            self._batches.append(batch)
            self._count += len(batch.spans)
            while self._count > self._max_spans and len(self._batches) > 1:
                gone = len(self._batches.popleft().spans)
                self._count -= gone
                self._evicted += gone
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget every batch."""
        with self._changed:
            self._batches.clear()
            self._count = 0

    def batches(self) -> tuple[ReceivedBatch, ...]:
        """Return every batch that is held, oldest first."""
        with self._changed:
            return tuple(self._batches)

    def spans(self) -> Spans:
        """Return the spans of all batches that are held, in the order of arrival."""
        return tuple(span for batch in self.batches() for span in batch.spans)

    def wait_until(self, enough: Callable[[Spans], bool], timeout_s: float) -> bool:
        """Wait until ``enough(spans)``; return False when ``timeout_s`` passed before.

        ``enough`` runs on the caller's thread, once at the start and once for each new batch.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not enough(self.spans()):
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    return enough(self.spans())
        return True

    def wait(self, n: int, timeout_s: float) -> Spans:
        """Return the spans as soon as there are ``n``; raise ``TimeoutError`` otherwise."""
        with self._changed:
            if self._changed.wait_for(lambda: self._count >= n, timeout_s):
                return self.spans()
            raise TimeoutError(f"{self._count} of {n} spans after {timeout_s:g} s")
