"""OTLP in protobuf, checked and cut into spans without reading their attributes.

Source: opentelemetry-proto ``collector/trace/v1/trace_service.proto`` and ``trace/v1/trace.proto``.
Dense on purpose: this runs over every byte that arrives. A key of one byte is ``number << 3 |
type`` (types: 0 varint, 1 eight bytes, 2 length and content, 5 four bytes): 0x0a is field 1 with
content.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tracekit.local._otlp_values import attributes, check_attribute
from tracekit.local._protobuf import ProtobufError, expect, fields, length, text, varint
from tracekit.local._records import (
    MAX_PARTS,
    MAX_SPAN_BYTES,
    MAX_SPANS,
    Arrival,
    DecodeError,
    Record,
    Source,
)
from tracekit.local._spans import Tags

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("", "internal", "server", "client", "producer", "consumer")
NO_SERVICE = "OTLPResourceNoServiceName"
"""The name that Jaeger gives to spans whose resource has no attributes at all."""


def scan_otlp(data: bytes) -> list[Arrival]:
    """Cut an ``ExportTraceServiceRequest`` into spans, an arrival for each resource.

    Raises ``ProtobufError`` or ``DecodeError``, both ``ValueError``; nothing else, whatever the
    bytes are.
    """
    try:
        arrivals: list[Arrival] = []
        room = MAX_SPANS
        for start, end in _parts(data, 0, len(data), 1):
            arrivals.append(_resource_spans(data, start, end, room))
            # A part without spans counts as one: it costs memory, too.
            room -= max(1, len(arrivals[-1].records))
    except (IndexError, RecursionError):
        raise ProtobufError("the message ends in the middle of a field") from None
    return arrivals


def _parts(data: bytes, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    for number, kind, start, stop in fields(data, at, end):
        if number == wanted:
            expect(kind, 2, f"field {number}")
            yield start, stop


def _resource_spans(data: bytes, at: int, end: int, room: int) -> Arrival:
    resource: list[tuple[str, str | bool | int | float | bytes]] = []
    for start, stop in _parts(data, at, end, 1):
        resource.extend(itertools.islice(attributes(data, start, stop, 1), MAX_PARTS + 1))
        if len(resource) > MAX_PARTS:
            raise DecodeError(f"more than {MAX_PARTS} attributes of one resource")
    service = process("otlp", resource)
    records: list[Record] = []
    for start, stop in _parts(data, at, end, 2):
        room -= 1
        scope = Tags(pair for each in _parts(data, start, stop, 1) for pair in _scope(data, *each))
        source = service._replace(scope=scope)
        for first, last in _parts(data, start, stop, 2):
            records.append(_record(data, first, last, source))
            if len(records) > room:
                raise DecodeError(f"more than {MAX_SPANS} spans in one message")
    if room < 0:
        raise DecodeError(f"more than {MAX_SPANS} parts in one message")
    return Arrival(records, service.service)


def process(format: str, resource: list[tuple[str, str | bool | int | float | bytes]]) -> Source:  # noqa: A002 - the word of ``Source``
    """Return what the spans of a resource share; the service's name stands among its attributes."""
    names = [value for key, value in resource if key == "service.name"]
    name = str(names[0]) if names else ("" if resource else NO_SERVICE)
    return Source(format, name, Tags(pair for pair in resource if pair[0] != "service.name"))


def _scope(data: bytes, at: int, end: int) -> Iterator[tuple[str, str]]:
    for number, kind, start, stop in fields(data, at, end):
        if number in (1, 2) and start != stop:
            expect(kind, 2, "scope")
            key = "otel.library.name" if number == 1 else "otel.library.version"
            yield key, text(data[start:stop])


def _record(data: bytes, at: int, end: int, source: Source) -> Record:  # noqa: C901, PLR0912 - see the head
    if end - at > MAX_SPAN_BYTES:
        raise DecodeError(f"a span of {end - at} bytes")
    begin, parts = at, 0
    trace_id = span_id = parent_id = kind = start_ns = end_ns = 0
    name, error = "", False
    while at < end:
        key = data[at]
        at += 1
        if key == 0x4A:  # attributes
            stop = at + 1 + data[at]
            if data[at] < 128 and stop <= end:
                check_attribute(data, at + 1, stop)
            else:
                start, stop = length(data, at, end)
                check_attribute(data, start, stop)
            at = stop
            parts += 1
        elif key in (0x39, 0x41):  # start, end
            value = int.from_bytes(data[at : at + 8], "little")
            at += 8
            if key == 0x39:
                start_ns = value
            else:
                end_ns = value
        elif key == 0x30:
            kind, at = varint(data, at)
        elif key in (0x0A, 0x12, 0x22, 0x2A, 0x1A):
            start, at = length(data, at, end)
            if key == 0x0A:
                trace_id = _id(data[start:at], 16, "trace_id")
            elif key == 0x12:
                span_id = _id(data[start:at], 8, "span_id")
            elif key == 0x22:
                parent_id = _id(data[start:at], 8, "parent_span_id")
            elif key == 0x2A:
                name = text(data[start:at])
        elif key == 0x7A:
            start, at = length(data, at, end)
            error = status(data, start, at)[0] == 2
        else:
            at = _other(data, at - 1, end)
            parts += 1
    if parts > MAX_PARTS:
        raise DecodeError(f"more than {MAX_PARTS} attributes, events and links of one span")
    if at > end:
        raise ProtobufError(f"a span ends in the middle of a field at byte {end}")
    return Record(
        trace_id,
        span_id,
        parent_id,
        name,
        KINDS[kind] if kind < len(KINDS) else "",
        error,
        start_ns // 1000,
        (end_ns - start_ns) // 1000 if end_ns >= start_ns else -((start_ns - end_ns) // 1000),
        source,
        data[begin:end],
    )


def _other(data: bytes, at: int, end: int) -> int:
    """Check an event, a link, a field in an unusual form; return where it ends."""
    number, kind, start, stop = next(fields(data, at, end))
    if number in (11, 13):
        expect(kind, 2, "span.events or span.links")
        wanted = 3 if number == 11 else 4
        for found, inner, first, last in fields(data, start, stop):
            if found == wanted:
                expect(inner, 2, "attributes")
                check_attribute(data, first, last)
            elif number == 11:
                _expect_known(found, inner, {1: 1, 2: 2})
            else:
                _expect_known(found, inner, {1: 2, 2: 2})
                if found in (1, 2):
                    _id(data[first:last], 16 if found == 1 else 8, "link")
    elif number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15):
        raise ProtobufError(f"field {number} of a span is of wire type {kind}")
    return stop


def _expect_known(number: int, kind: int, known: dict[int, int]) -> None:
    if number in known:
        expect(kind, known[number], f"field {number}")


def _id(raw: bytes, size: int, name: str) -> int:
    if len(raw) not in (0, size):
        raise DecodeError(f"{name} has {len(raw)} bytes, not {size}")
    return int.from_bytes(raw, "big")


def status(data: bytes, at: int, end: int) -> tuple[int, str]:
    """Return code (1 ok, 2 error) and message of a Status."""
    code, message = 0, ""
    for number, kind, start, stop in fields(data, at, end):
        if number == 3:
            expect(kind, 0, "status.code")
            code = start
        elif number == 2:
            expect(kind, 2, "status.message")
            message = text(data[start:stop])
    return code, message
