"""The span of an interpreter without CPython's GIL, and which kind of span a tracer makes.

``Span`` looks and then stores, which is safe where threads change at calls and jumps back only.
Without CPython's GIL two threads may look at the same time. So here each change takes the span's
lock, also the first one, which makes it. What a program gave is cleaned before: its ``__str__``
may wait for a thread that changes the same span.
"""

from __future__ import annotations

import contextlib
from time import time_ns
from typing import TYPE_CHECKING

from tracekit._process.tally import DIVIDED
from tracekit.tracing._span import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import Attributes, AttributeValue


class LockedSpan(Span):
    """A recording span that rests on its lock alone. Made by a tracer only."""

    __slots__ = ()

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set one attribute."""
        self._merge(self._tracer._limits.span.clean_one(key, value))

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes, in their order."""
        if attributes:
            self._merge(self._tracer._limits.span.clean(attributes, bounded=False))

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event; ``timestamp`` in ns since the epoch. Attributes are copied now."""
        moment = time_ns() if timestamp is None else timestamp
        self._append_event((name, moment, self._tracer._limits.event.clean(attributes)))

    def end(
        self, end_time: int | None = None, last: Mapping[str, AttributeValue] | None = None
    ) -> None:
        """End the span at ``end_time`` (ns since the epoch; None: now) and hand it on, once.

        The lock names the one that passes, and is let go of before anybody hears of it: a span
        processor may wait for a thread that asks this span.
        """
        if last is not None:
            self.set_attributes(last)
        with self._lock:
            first = self._end_time is None
            if first:
                self._end_time = end_time = time_ns() if end_time is None else end_time
        if not first:
            self._tracer._provider._ended_twice()
            return
        try:
            super().end(end_time)
        except (RecursionError, MemoryError):
            with contextlib.suppress(AttributeError):
                self._process  # noqa: B018 - it is not there if the span was handed on
                self._end_time = None
            raise


SPAN: type[Span] = LockedSpan if DIVIDED else Span
"""The class of the spans that record."""
