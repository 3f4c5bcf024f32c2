"""What is remembered of every recording span: where it was started, and that it has ended."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

if TYPE_CHECKING:
    from types import FrameType

    from opentelemetry.context import Context

_OURS = ("tracekit.", "opentelemetry.", "contextlib", "functools")
"""Modules whose frames say nothing about who started a span."""


class Started(NamedTuple):
    """A span that has started, in the order of the starts."""

    span: Span
    where: str
    """``file:line`` of the program's own code."""


class Recorder(SpanProcessor):
    """Keeps what starts and what ends. Any thread may end spans into it and ask it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._started: dict[int, Started] = {}
        self._ended: dict[int, ReadableSpan] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember a span that is open from now on."""
        started = Started(span, _caller(sys._getframe(1)))
        with self.changed:
            self._started[span.get_span_context().span_id] = started

    def on_end(self, span: ReadableSpan) -> None:
        """Remember that a span has ended."""
        context = span.get_span_context()
        if context is not None:
            with self.changed:
                self._ended[context.span_id] = span
                self.changed.notify_all()

    def ended(self) -> list[ReadableSpan]:
        """Return the ended spans in the order of their ends."""
        with self.changed:
            return list(self._ended.values())

    def open(self) -> list[Started]:
        """Return what has started and not ended."""
        with self.changed:
            return [it for span_id, it in self._started.items() if span_id not in self._ended]

    def order(self, span: ReadableSpan) -> int:
        """Return the place of ``span`` among all that have started."""
        context = span.get_span_context()
        with self.changed:
            places = {span_id: place for place, span_id in enumerate(self._started)}
        return places.get(0 if context is None else context.span_id, -1)

    def strangers(self) -> list[Started]:
        """Return spans whose parent is a local span that was not started here: leftovers."""
        with self.changed:
            return [
                it
                for it in self._started.values()
                if (parent := it.span.parent) is not None
                and not parent.is_remote
                and parent.span_id not in self._started
            ]

    def clear(self) -> None:
        """Forget what has ended."""
        with self.changed:
            for span_id in self._ended:
                self._started.pop(span_id, None)
            self._ended.clear()


def _caller(frame: FrameType | None) -> str:
    """Return ``file:line`` of the first frame that is the program's."""
    while frame is not None and f"{frame.f_globals.get('__name__', '')}.".startswith(_OURS):
        frame = frame.f_back
    return "unknown" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
