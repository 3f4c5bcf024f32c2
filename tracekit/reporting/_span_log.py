"""What is logged of single spans: each that is sent, if that is wanted, and those that fail."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tracekit._display import cited, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

_log = logging.getLogger("tracekit")
_spans_log = logging.getLogger("tracekit.spans")


def explain_failed(spans: Sequence[ReadableSpan]) -> None:
    """Tell which span could not be encoded; a ``MemoryError`` of ours may have none to name."""
    for span in spans:
        try:
            name = cited(span.name)
        except Exception:  # a name that is no text, a span that has none
            name = quoted(type(span).__name__)
        _log.debug("span %s cannot be encoded", name, exc_info=True)


def log_span(span: ReadableSpan) -> None:
    """Log a span that is about to be sent, as the clients of Jaeger do."""
    context = span.get_span_context()
    if context is not None:
        duration_s = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        _spans_log.info(
            "Reporting span %032x:%016x %s (%.6f s)",
            context.trace_id,
            context.span_id,
            quoted(span.name),
            duration_s,
        )
