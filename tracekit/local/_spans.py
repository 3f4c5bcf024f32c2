"""What the receiver got, as plain values: spans, their batch, the sender's own figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

TagValue: TypeAlias = str | bool | int | float | bytes


class Tags(Mapping[str, TagValue]):
    """Tags by key. On the wire a key may stand twice: ``[key]`` is the first, ``pairs`` all."""

    __slots__ = ("_by_key", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, TagValue]] = ()) -> None:
        self.pairs = tuple(pairs)
        self._by_key = dict(reversed(self.pairs))

    def __getitem__(self, key: str) -> TagValue:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for key, _ in self.pairs))

    def __len__(self) -> int:
        return len(self._by_key)

    def __repr__(self) -> str:
        return f"Tags({list(self.pairs)!r})"


class Log(NamedTuple):
    """Something that happened within a span; ``time_us`` since 1970."""

    time_us: int
    fields: Tags


class Reference(NamedTuple):
    """Another span that a span names besides its parent."""

    kind: Literal["child_of", "follows_from"]
    trace_id: int
    span_id: int


class ReceivedSpan(NamedTuple):
    """One span as it stood on the wire. Ids are unsigned; times are µs, ``start_us`` since 1970."""

    service: str
    process_tags: Tags
    trace_id: int
    span_id: int
    parent_id: int | None
    """None for a root (0 on the wire)."""
    operation: str
    kind: str
    """Of tag ``span.kind``: server, client, producer, consumer; without it ``internal``."""
    flags: int
    """1 sampled, 2 debug, 8 firehose."""
    start_us: int
    duration_us: int
    tags: Tags
    logs: tuple[Log, ...]
    references: tuple[Reference, ...]

    @property
    def error(self) -> bool:
        """Whether the span is marked as failed (tag ``error`` is true)."""
        return self.tags.get("error") in (True, "true")


class ClientStats(NamedTuple):
    """Spans that the sender lost so far, as it says of itself in a batch."""

    full_queue_dropped_spans: int
    too_large_dropped_spans: int
    failed_to_emit_spans: int


class ReceivedBatch(NamedTuple):
    """One datagram's content. A gap in ``seq_no`` is a datagram that was lost on the way."""

    service: str
    process_tags: Tags
    spans: tuple[ReceivedSpan, ...]
    seq_no: int | None
    stats: ClientStats | None
    size_bytes: int
