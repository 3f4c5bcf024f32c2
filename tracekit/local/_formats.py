"""The wires, each with what cuts a message into spans and what reads one span of it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tracekit.local._jaeger_scan import read_binary, read_compact
from tracekit.local._otlp import read_otlp
from tracekit.local._otlp_json import read_otlp_json
from tracekit.local._spans import ReceivedSpan, Tags
from tracekit.local._zipkin import read_zipkin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.local._records import Read, Record

READERS: Mapping[str, Read] = {
    "compact": read_compact,
    "binary": read_binary,
    "otlp": read_otlp,
    "otlp-json": read_otlp_json,
    "zipkin": read_zipkin,
}


def read(record: Record) -> ReceivedSpan:
    """Return the whole span of a record.

    What a receiver has checked always reads. A record from a file that somebody else wrote may
    not: then it is the span as far as it is known, with a tag that says what is wrong.
    """
    try:
        return READERS[record.source.format](record.raw, record.source)
    except (ValueError, LookupError, RecursionError, struct.error) as error:
        return ReceivedSpan(
            record.service,
            record.source.process_tags,
            record.trace_id,
            record.span_id,
            record.parent_id or None,
            record.operation,
            record.kind or "internal",
            0,
            record.start_us,
            record.duration_us,
            Tags([("unreadable", f"{type(error).__name__}: {error}")]),
            (),
            (),
        )
