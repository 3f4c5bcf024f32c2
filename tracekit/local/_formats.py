"""The wires, each with what cuts a message into spans and what reads one span of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.local._jaeger_scan import read_binary, read_compact
from tracekit.local._otlp import read_otlp
from tracekit.local._otlp_json import read_otlp_json
from tracekit.local._zipkin import read_zipkin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.local._records import Read, Record
    from tracekit.local._spans import ReceivedSpan

READERS: Mapping[str, Read] = {
    "compact": read_compact,
    "binary": read_binary,
    "otlp": read_otlp,
    "otlp-json": read_otlp_json,
    "zipkin": read_zipkin,
}


def read(record: Record) -> ReceivedSpan:
    """Return the whole span of a record."""
    return READERS[record.source.format](record.raw, record.source)
