"""The questions that Jaeger's query API is asked, read from parameters and put to the store.

Source: Jaeger 1.48 ``cmd/query/app/query_parser.go`` and ``plugin/storage/memory``; the words of
the errors are its own, because tools show them.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from tracekit.local._formats import read
from tracekit.local._go_json import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tracekit.local._records import Record
    from tracekit.local._spans import ReceivedSpan, TagValue
    from tracekit.local._traces import TraceStore

_LOOKBACK_US = 48 * 3600 * 1_000_000
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")
_LITERAL = ("compact", "binary")
"""Formats in which every tag's key stands in the bytes; of the others, some tags are composed."""
_COMPOSED = re.compile(r"span\.kind|error|otel\.|w3c\.|event|peer\.")


class QueryError(ValueError):
    """A question that cannot be answered; the message is for who asked."""


class Query(NamedTuple):
    """Which traces are wanted: those with one span that all of this is true of."""

    service: str
    operation: str = ""
    start_us: int = 0
    end_us: int = 1 << 63
    min_us: float = 0
    max_us: float = 0
    tags: Mapping[str, str] = {}
    limit: int = 100
    trace_ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, list[str]], *, any_service: bool = False) -> Query:
        """Read parameters as they come by HTTP; ``QueryError`` says which is wrong.

        Jaeger's API wants a service to be named; ``any_service`` does without.
        """
        now_us = time.time_ns() // 1000
        start = _time(given, "start", now_us - _LOOKBACK_US)
        end = _time(given, "end", now_us)
        tags = _tags(given.get("tag", []), given.get("tags", []))
        limit = _integer(_first(given, "limit") or "100")
        shortest, longest = _duration(given, "minDuration"), _duration(given, "maxDuration")
        try:
            ids = [parse_trace_id(each) for each in given.get("traceID", [])]
        except QueryError as error:
            raise QueryError(f"cannot parse traceID param: {error}") from None
        service = _first(given, "service")
        if not ids and not service and not any_service:
            raise QueryError("parameter 'service' is required")
        if shortest and longest and longest < shortest:
            raise QueryError("'maxDuration' should be greater than 'minDuration'")
        operation = _first(given, "operation")
        return cls(service, operation, start, end, shortest, longest, tags, limit, tuple(ids))

    def find(self, store: TraceStore) -> list[list[Record]]:
        """Return the newest traces that match, the newest first, ``limit`` at most."""
        found = [records for _, records in store.traces() if any(map(self.matches, records))]
        found.sort(key=lambda records: records[0].start_us, reverse=True)
        return found[: self.limit] if self.limit > 0 else found

    def matches(self, record: Record) -> bool:
        """Tell whether all of this is true of a span."""
        return (
            (not self.service or record.source.service == self.service)
            and (not self.operation or record.operation == self.operation)
            and (not self.min_us or record.duration_us >= self.min_us)
            and (not self.max_us or record.duration_us <= self.max_us)
            and self.start_us <= record.start_us <= self.end_us
            and (not self.tags or self._has_tags(record))
        )

    def _has_tags(self, record: Record) -> bool:
        if not all(_may_have(record, key) for key in self.tags):
            return False
        pairs = {(key, as_text(value)) for key, value in all_tags(read(record))}
        return all(pair in pairs for pair in self.tags.items())


def all_tags(span: ReceivedSpan) -> Iterator[tuple[str, TagValue]]:
    """Yield every tag that a search looks at: the span's, its process', its logs' fields."""
    yield from span.tags.pairs
    yield from span.process_tags.pairs
    for log in span.logs:
        yield from log.fields.pairs


def as_text(value: TagValue) -> str:
    """Return a tag's value as the text that it is searched by."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    return value.hex() if isinstance(value, bytes) else str(value)


def parse_trace_id(text: str) -> int:
    """Return the id in up to 32 hexadecimal digits."""
    if len(text) > 32:
        raise QueryError(f"TraceID cannot be longer than 32 hex characters: {text:.100}")
    for part in (text[:-16], text[-16:]) if len(text) > 16 else (text,):
        if not re.fullmatch(r"[0-9a-fA-F]+", part):
            raise QueryError(f"strconv.ParseUint: parsing {json.dumps(part)}: invalid syntax")
    return int(text, 16)


def lookback(given: Mapping[str, list[str]]) -> tuple[int, int]:
    """Return from when to when dependencies are asked for, in µs; both are given in ms."""
    end_us = _time(given, "endTs", time.time_ns() // 1000, unit_us=1000)
    try:
        back_us = _integer(_first(given, "lookback") or "86400000") * 1000
    except QueryError as error:
        raise QueryError(f"unable to parse param 'lookback': {error}") from None
    return end_us - back_us, end_us


def _may_have(record: Record, key: str) -> bool:
    plain = key.isascii() and key.isprintable() and not set(key) & set('"\\')
    if not plain or (record.source.format not in _LITERAL and _COMPOSED.match(key)):
        return True
    known = key in record.source.process_tags or key in record.source.scope
    return known or key.encode() in record.raw


def _first(given: Mapping[str, list[str]], name: str) -> str:
    return given.get(name, [""])[0]


def _time(given: Mapping[str, list[str]], name: str, default_us: int, unit_us: int = 1) -> int:
    text = _first(given, name)
    if not text:
        return default_us
    try:
        return _integer(text) * unit_us
    except QueryError as error:
        raise QueryError(f"unable to parse param '{name}': {error}") from None


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text):
        raise QueryError(f"strconv.ParseInt: parsing {json.dumps(text[:100])}: invalid syntax")
    return int(text)


def _duration(given: Mapping[str, list[str]], name: str) -> float:
    text = _first(given, name)
    if not text:
        return 0
    try:
        return parse_duration_ns(text) / 1000
    except QueryError as error:
        raise QueryError(f"unable to parse param '{name}': {error}") from None


def parse_duration_ns(text: str) -> float:
    """Return the time that Go's notation says: ``1.5s``, ``2m30s``, ``100ms``."""
    shown = json.dumps(text[:100], ensure_ascii=False)
    left = text.lstrip("+-") if text[:1] in ("+", "-") else text
    if left == "0":
        return 0
    total, at = 0.0, 0
    while at < len(left) or not left:
        part = _PART.match(left, at)
        if part is None:
            raise QueryError(f"time: invalid duration {shown}")
        amount, unit = part.groups()
        if not unit:
            raise QueryError(f"time: missing unit in duration {shown}")
        if unit not in _UNITS_NS:
            named = json.dumps(unit[:40], ensure_ascii=False)
            raise QueryError(f"time: unknown unit {named} in duration {shown}")
        total += float(amount) * _UNITS_NS[unit]
        at = part.end()
    return -total if text[0] == "-" else total


def _tags(simple: list[str], as_json: list[str]) -> dict[str, str]:
    tags = {}
    for each in simple:
        key, colon, value = each.partition(":")
        if not colon:
            raise QueryError(
                f"malformed 'tag' parameter, expecting key:value, received: {each:.200}"
            )
        tags[key] = value
    for each in as_json:
        try:
            given = json.loads(each)
        except (ValueError, RecursionError) as error:
            raise QueryError(
                f"malformed 'tags' parameter, cannot unmarshal JSON: {error}"
            ) from None
        if given is None:
            continue
        if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
            raise QueryError(
                "malformed 'tags' parameter, cannot unmarshal JSON: not an object of strings"
            )
        tags.update(given)
    return tags
