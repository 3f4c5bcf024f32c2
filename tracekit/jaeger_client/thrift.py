"""``jaeger_client.thrift``: tags and logs in Thrift's shapes, for programs that make their own.

The pipeline has encoders of its own, so there is nothing here that makes processes or batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.jaeger_client._fields import Log, Tag
from tracekit.jaeger_client.constants import MAX_TRACEBACK_LENGTH
from tracekit.opentracing._tags import ValueRules, text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_TRACEBACK_LENGTH",
    "id_to_int",
    "make_log",
    "make_tag",
    "make_tags",
    "timestamp_micros",
]


def make_tag(key: object, value: object, max_length: int, max_traceback_length: int) -> Tag:
    """Return a value as a tag; texts are cut to so many characters."""
    return Tag.of(text(key), ValueRules(max_length, max_traceback_length).plain(value))


def make_tags(
    tags: Mapping[str, object] | None,
    max_length: int,
    max_traceback_length: int = MAX_TRACEBACK_LENGTH,
) -> list[Tag]:
    """Return values as tags, in their order."""
    return [
        make_tag(key, value, max_length, max_traceback_length)
        for key, value in (tags or {}).items()
    ]


def make_log(
    timestamp: float,
    fields: Mapping[str, object] | None,
    max_length: int,
    max_traceback_length: int,
) -> Log:
    """Return a log; ``timestamp`` in seconds since the epoch, or in µs if it is an int."""
    return Log(timestamp_micros(timestamp), make_tags(fields, max_length, max_traceback_length))


def timestamp_micros(ts: float) -> int:
    """Return seconds (a float) as µs; what is an int is µs already."""
    return int(ts * 1_000_000) if isinstance(ts, float) else ts


def id_to_int(big_id: int | None) -> int | None:
    """Return an id as Thrift's signed 64 bits have it."""
    return big_id - (1 << 64) if big_id is not None and big_id >> 63 else big_id
