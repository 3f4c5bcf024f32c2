"""Jaeger's Thrift, compact and binary, checked and cut into spans whose tags are not read.

A span as the clients write it, ids first and no references, is cut by ``_compact``; any other
goes through the reader of whole structs. Both give the same, which a test holds. Source:
``jaeger.thrift``. Dense on purpose: this runs over every byte that arrives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from tracekit.local import _jaeger
from tracekit.local._records import MAX_SPAN_BYTES, MAX_SPANS, Arrival, DecodeError, Record, Source
from tracekit.local._thrift import BinaryReader, CompactReader, Reader

if TYPE_CHECKING:
    from tracekit.local._spans import ReceivedBatch, ReceivedSpan
    from tracekit.local._thrift import Struct

_KINDS = ("server", "client", "producer", "consumer", "internal")
_NUMBER = rb"([\x80-\xff]{0,9}[\x00-\x7f])"
_HEAD = re.compile(rb"\x16" + rb"\x16".join([_NUMBER] * 4) + rb"\x18")
"""Fields 1 to 4 of a span, the ids, and the head of the fifth, its name."""
_TIMES = re.compile(rb"\x25" + _NUMBER + rb"\x16" + _NUMBER + rb"\x16" + _NUMBER)
"""Fields 7 to 9 of a span: flags, start, duration."""
_TIME = re.compile(rb"\x16" + _NUMBER + rb"\x19")
"""Field 1 of a log, its time, and the head of the second, its fields."""


def scan_datagram(data: bytes) -> Arrival:
    """Cut one ``emitBatch`` call, compact or binary (the first byte tells).

    Raises ``ThriftError`` or ``DecodeError``, both ``ValueError``; nothing else, whatever the
    bytes are. Bytes behind the call are ignored, as the agent does.
    """
    reader = _jaeger.reader_of(data)
    name, _, _ = reader.envelope()
    if name != "emitBatch":
        raise DecodeError(f"a call of {name!r:.80}, not of 'emitBatch'")
    arrival, before = None, 0
    while True:
        before, kind = reader.field_head(before)
        if not kind:
            break
        if before == 1 and kind == 12:
            arrival = _scan(reader, data)
        elif before == 1:
            raise DecodeError("batch is no struct")
        else:
            reader.field_value(kind)
    if arrival is None:
        raise DecodeError("batch is missing")
    return arrival


def scan_batch(data: bytes) -> Arrival:
    """Cut one ``Batch`` in the binary protocol, as a collector takes it over HTTP."""
    return _scan(BinaryReader(data), data)


def read_compact(raw: bytes, source: Source) -> ReceivedSpan:
    """Return the span in these bytes, which ``scan_datagram`` has checked."""
    return _jaeger.span(CompactReader(raw).struct(), source.service, source.process_tags)


def read_binary(raw: bytes, source: Source) -> ReceivedSpan:
    """Return the span in these bytes, which ``scan_batch`` has checked."""
    return _jaeger.span(BinaryReader(raw).struct(), source.service, source.process_tags)


def _scan(reader: Reader, data: bytes) -> Arrival:
    """Read a batch: everything but the spans as a struct, the spans as the bytes they stand in."""
    rest: Struct = {}
    records: list[Record] | None = None
    place, before = -1, 0
    while True:
        before, kind = reader.field_head(before)
        if not kind:
            break
        if before == 2:
            if kind not in (9, 15):
                raise DecodeError("batch.spans is no list")
            place = reader.at
            if 1 in rest:
                head = _jaeger.batch({1: rest[1], 2: []}, len(data))
                records = _records(reader, data, _source(reader, head))
                continue
        rest[before] = reader.field_value(kind)
    if place < 0:
        raise DecodeError("batch.spans is missing")
    head = _jaeger.batch({**rest, 2: []}, len(data))
    if records is None:  # no client writes the process behind its spans, but one may
        end = reader.at
        reader.seek(place)
        records = _records(reader, data, _source(reader, head))
        reader.seek(end)
    client = str(head.process_tags.get("client-uuid", ""))[:64]
    return Arrival(records, head.service, head.seq_no, head.stats, client)


def _source(reader: Reader, head: ReceivedBatch) -> Source:
    name = "compact" if isinstance(reader, CompactReader) else "binary"
    return Source(name, head.service, head.process_tags)


def _records(reader: Reader, data: bytes, source: Source) -> list[Record]:
    kind, count = reader.list_head()
    if count > MAX_SPANS:
        raise DecodeError(f"{count} spans in one message")
    if count and kind != 12:
        raise DecodeError("batch.spans holds no structs")
    records = []
    fast = isinstance(reader, CompactReader)
    for _ in range(count):
        start = reader.at
        record = _compact(data, start, source) if fast else None
        if record is None:
            record = _any(reader, data, source)
        else:
            reader.seek(start + len(record.raw))
        if len(record.raw) > MAX_SPAN_BYTES:
            raise DecodeError(f"a span of {len(record.raw)} bytes")
        records.append(record)
    return records


def _any(reader: Reader, data: bytes, source: Source) -> Record:
    start = reader.at
    span = _jaeger.span(reader.struct(), source.service, source.process_tags)
    kind = span.tags.get("span.kind")
    return Record(
        span.trace_id,
        span.span_id,
        span.parent_id or 0,
        span.operation,
        kind if isinstance(kind, str) and kind in _KINDS else "",
        span.error,
        span.start_us,
        span.duration_us,
        source,
        data[start : reader.at],
    )


def _compact(data: bytes, at: int, source: Source) -> Record | None:
    """Cut a span of the usual form; None leaves it, whatever it is, to the reader of structs."""
    ids = _HEAD.match(data, at)
    if ids is None:
        return None
    try:
        end = ids.end()
        size = data[end]
        if size > 127:
            return None
        end += 1 + size
        name = data[end - size : end]
        times = _TIMES.match(data, end)
        if times is None:
            return None
        facts: list[str | bool | None] = [None, None]
        end = _logs(data, _tags(data, times.end(), facts), len(data))
    except (IndexError, _Unusual):
        return None
    low, high, span_id, parent_id = ids.groups()
    _, start, duration = times.groups()
    return Record(
        _number(high) << 64 | _number(low),
        _number(span_id),
        _number(parent_id),
        name.decode("utf-8", "replace"),
        str(facts[0] or ""),
        facts[1] is True,
        _signed(start),
        _signed(duration),
        source,
        data[at:end],
    )


_Facts: TypeAlias = "list[str | bool | None]"
"""Kind and error of a span: what its first tags of these names say."""


class _Unusual(Exception):  # noqa: N818 - no error: a way out
    """The bytes are not of the usual form."""


def _tags(data: bytes, at: int, facts: _Facts) -> int:
    """Pass over field 10 (or 1, in a log) if it is there; note kind and error in ``facts``."""
    if data[at] != 0x19:
        return at
    return _tag_list(data, at + 1, facts)


def _tag_list(data: bytes, at: int, facts: _Facts | None) -> int:  # noqa: C901, PLR0912, PLR0915 - see the head
    head = data[at]
    count = head >> 4
    at += 1
    if count == 15:
        count = data[at]
        at += 1
        if count > 127:
            raise _Unusual
    if count and head & 15 != 12:
        raise _Unusual
    for _ in range(count):
        named = data[at + 1]
        if data[at] != 0x18 or named > 127:
            raise _Unusual
        key = at + 2
        at = key + named
        if data[at] != 0x15:
            raise _Unusual
        form = data[at + 1] << 8 | data[at + 2]  # the type, and the head of the value's field
        at += 3
        if form == 0x0018:  # string
            size = data[at]
            at += 1
            if size > 127:
                size = size & 127 | data[at] << 7
                at += 1
                if size > 0x3FFF:
                    raise _Unusual
            value, at = at, at + size
            if facts is not None and named <= 9:
                name = data[key : key + named]
                if name == b"span.kind" and facts[0] is None:
                    word = data[value:at].decode("utf-8", "replace")
                    facts[0] = word if word in _KINDS else ""
                elif name == b"error" and facts[1] is None:
                    facts[1] = data[value:at] == b"true"
        elif form in (0x0431, 0x0432):  # bool
            if facts is not None and named in (5, 9):
                if data[key : key + named] == b"span.kind":
                    raise _Unusual
                if facts[1] is None and data[key : key + named] == b"error":
                    facts[1] = form == 0x0431
        elif facts is not None and data[key : key + named] in (b"span.kind", b"error"):
            raise _Unusual
        elif form == 0x0646:  # long
            while data[at] > 127:
                at += 1
            at += 1
        elif form == 0x0227:  # double
            at += 8
        else:
            raise _Unusual
        if data[at]:
            raise _Unusual
        at += 1
    return at


def _logs(data: bytes, at: int, end: int) -> int:
    """Pass over field 11 if it is there, and over the end of the span."""
    if data[at] == 0x19:
        head = data[at + 1]
        at += 2
        if head >> 4 == 15 or head & 15 != 12:
            raise _Unusual
        for _ in range(head >> 4):
            time = _TIME.match(data, at)
            if time is None:
                raise _Unusual
            at = _tag_list(data, time.end(), None)
            if data[at]:
                raise _Unusual
            at += 1
    if data[at] or at >= end:
        raise _Unusual
    return at + 1


def _number(raw: bytes) -> int:
    """Return the number that a varint of zig-zag form stands for, without its sign."""
    result = shift = 0
    for byte in raw:
        result |= (byte & 0x7F) << shift
        shift += 7
    result &= 0xFFFF_FFFF_FFFF_FFFF
    return ((result >> 1) ^ -(result & 1)) & 0xFFFF_FFFF_FFFF_FFFF


def _signed(raw: bytes) -> int:
    value = _number(raw)
    return value - (1 << 64) if value >> 63 else value
