"""Spans as trees on standard output: the transport ``console``."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from tracekit import drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from opentelemetry.sdk.trace import Event, ReadableSpan

_MAX_WAITING = 5_000
"""Spans that wait for the root of their part of a trace; beyond that they are drawn without it."""


class ConsoleTreeExporter(SpanExporter):
    """Draws the spans of this process, a tree for each trace that it has a part in.

    A tree is drawn when its local root has ended: the span without a parent in this process. Spans
    that end later are drawn by themselves. Nothing is drawn twice. Any thread may call it.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._waiting: dict[int, list[_Drawn]] = {}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Draw every tree whose root is among ``spans``; keep the others for theirs."""
        with self._lock:
            complete = []
            for span in map(_Drawn, spans):
                self._waiting.setdefault(span.trace_id, []).append(span)
                if span.is_local_root:
                    complete.append(span.trace_id)
            if sum(map(len, self._waiting.values())) > _MAX_WAITING:
                complete = list(self._waiting)
            return self._draw(dict.fromkeys(complete))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Draw what still waits for its root."""
        with self._lock:
            return self._draw(dict.fromkeys(self._waiting)) is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Draw what still waits for its root."""
        self.force_flush()

    def _draw(self, trace_ids: Mapping[int, None]) -> SpanExportResult:
        spans = [span for trace_id in trace_ids for span in self._waiting.pop(trace_id)]
        if not spans:
            return SpanExportResult.SUCCESS
        out = sys.stdout if self._out is None else self._out
        width = max(80, min(shutil.get_terminal_size((100, 24)).columns, 160))
        try:
            color = drawing.wants_color(out, os.environ)
            text = drawing.draw(spans, width=width, color=color)
            encoding = getattr(out, "encoding", None) or "utf-8"
            out.write(text.encode(encoding, "replace").decode(encoding) + "\n\n")
            out.flush()
        except (OSError, ValueError):  # closed, or a pipe that nobody reads
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


class _Drawn:
    """A span with the attributes that are drawn (``drawing.DrawnSpan``)."""

    def __init__(self, span: ReadableSpan) -> None:
        context, parent = span.context, span.parent
        self.trace_id = context.trace_id if context else 0
        self.span_id = context.span_id if context else 0
        self.parent_id = parent.span_id if parent else None
        self.is_local_root = parent is None or parent.is_remote
        self.service = str(span.resource.attributes.get("service.name", ""))
        self.operation = span.name
        self.kind = span.kind.name.lower()
        self.start_us = (span.start_time or 0) // 1000
        self.duration_us = ((span.end_time or 0) - (span.start_time or 0)) // 1000
        self.error = span.status.status_code is StatusCode.ERROR
        described = span.status.description
        self.tags: Mapping[str, object] = {
            **(span.attributes or {}),
            **({"otel.status_description": described} if described else {}),
        }
        self.logs = tuple(map(_DrawnLog, span.events))


class _DrawnLog:
    def __init__(self, event: Event) -> None:
        self.fields: Mapping[str, object] = event.attributes or {}
