"""A trace in one line, for lists, from what is known of it without reading a span."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from tracekit.drawing import duration, printable
from tracekit.local._jaeger_json import trace_id_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.local._records import Record


def summary(trace: Sequence[Record]) -> str:
    """Return when it was, its id, root, duration, number of spans and of errors."""
    root, start_us, end_us, errors = _facts(trace)
    name = printable(f"{root.service} {root.operation}")[:60]
    spans = f"{len(trace)} span{'s' * (len(trace) != 1)}"
    return (
        f"{clock(start_us)}  {trace_id_text(trace[0].trace_id):>32}  "
        f"{duration(end_us - start_us):>9}  {spans:>11}{f', {errors} failed' if errors else '':<12}"
        f"  {name}"
    )


def in_short(trace: Sequence[Record]) -> dict[str, object]:
    """Return the same as a JSON object, times in µs, and the spans of each service."""
    root, start_us, end_us, errors = _facts(trace)
    return {
        "traceID": trace_id_text(trace[0].trace_id),
        "service": root.service,
        "operation": root.operation,
        "startTime": start_us,
        "duration": end_us - start_us,
        "spans": len(trace),
        "errors": errors,
        "services": dict(Counter(record.service for record in trace)),
    }


def _facts(trace: Sequence[Record]) -> tuple[Record, int, int, int]:
    """Return the root, the first start, the last end, and the number of spans that failed."""
    ids = {record.span_id for record in trace}
    roots = [record for record in trace if record.parent_id not in ids]
    root = min(roots or trace, key=lambda record: record.start_us)
    start_us = min(record.start_us for record in trace)
    end_us = max(record.start_us + record.duration_us for record in trace)
    return root, start_us, end_us, sum(record.error for record in trace)


def clock(time_us: int) -> str:
    """Return the time of day of a time since 1970, in the time zone of this process."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(time_us // 1_000_000))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"
