"""A received span as it is kept: its bytes as they came, and the few facts that searches ask for.

Reading a span's tags and logs costs ten times what finding its end costs, and most spans are never
looked at. So a receiver checks the form of what came, notes the facts below, and keeps the bytes;
``Record.read`` reads the rest when somebody looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tracekit.local._spans import ClientStats, Tags

if TYPE_CHECKING:
    from tracekit.local._spans import ReceivedSpan

MAX_SPANS = 100_000
"""Spans in one message; what promises more is refused before it is read."""
MAX_SPAN_BYTES = 1024 * 1024
"""Bytes of one span; a larger one is refused with its message."""
MAX_PARTS = 10_000
"""Attributes, events and links of one span, or attributes of one resource."""
OVERHEAD_BYTES = 900
"""What a kept span costs beside its bytes: the record, its numbers, its place in the indexes."""


class DecodeError(ValueError):
    """Well-formed bytes that are no spans; the message says which field is wrong."""


class Read(Protocol):
    """Reads the bytes of a span that a receiver of the same format has checked."""

    def __call__(self, raw: bytes, source: Source, /) -> ReceivedSpan:
        """Return the whole span."""


class Source(NamedTuple):
    """What the spans of one message share."""

    format: str
    """The wire that it came by, a key of ``_formats.READERS``."""
    service: str
    process_tags: Tags
    scope: Tags = Tags()
    """What names the instrumentation, as tags of every span (OTLP)."""


class Record(NamedTuple):
    """One span. Ids are unsigned, times are µs; ``parent_id`` is 0 for a root."""

    trace_id: int
    span_id: int
    parent_id: int
    operation: str
    kind: str
    """``server``, ``client``, ``producer``, ``consumer``, ``internal``, or empty: it says none."""
    error: bool
    start_us: int
    duration_us: int
    source: Source
    raw: bytes

    @property
    def service(self) -> str:
        """The service that sent it."""
        return self.source.service

    @property
    def size_bytes(self) -> int:
        """What it costs to keep it, about."""
        return len(self.raw) + OVERHEAD_BYTES


class Arrival(NamedTuple):
    """The content of one message: its spans, and what the sender says of itself."""

    records: list[Record]
    service: str = ""
    seq_no: int | None = None
    stats: ClientStats | None = None
    client: str = ""
    """What tells two processes of one service apart (process tag ``client-uuid``)."""
