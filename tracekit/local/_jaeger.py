"""From Thrift structs to received spans: the Jaeger data model (``jaeger.thrift``).

Field numbers stand here as literals beside the name they get, which is the IDL in short.
"""

from __future__ import annotations

from typing import TypeVar

from tracekit.local._records import DecodeError
from tracekit.local._spans import (
    ClientStats,
    Log,
    ReceivedBatch,
    ReceivedSpan,
    Reference,
    Tags,
    TagValue,
)
from tracekit.local._thrift import BinaryReader, CompactReader, Reader, Struct, Value

_T = TypeVar("_T")


def decode_datagram(data: bytes) -> ReceivedBatch:
    """Read one ``emitBatch`` call, compact or binary (the first byte tells).

    Raises ``ThriftError`` or ``DecodeError``, both ``ValueError``; nothing else, whatever the
    bytes are. Bytes behind the call are ignored, as the agent does.
    """
    message = reader_of(data).message()
    if message.name != "emitBatch":
        raise DecodeError(f"a call of {message.name!r}, not of 'emitBatch'")
    return batch(_field(message.arguments, 1, dict, "batch"), len(data))


def reader_of(data: bytes) -> Reader:
    """Return what reads this datagram: its first byte tells the protocol."""
    return CompactReader(data) if data[:1] == b"\x82" else BinaryReader(data)


def batch(fields: Struct, size_bytes: int) -> ReceivedBatch:
    """Return the batch in a struct; raise ``DecodeError`` for what is none."""
    process = _field(fields, 1, dict, "process")
    service = _text(process, 1, "process.serviceName")
    process_tags = _tags(process, 2)
    spans = _structs(fields, 2, "batch.spans", required=True)
    stats = _field(fields, 4, dict, "batch.stats", {})
    return ReceivedBatch(
        service=service,
        process_tags=process_tags,
        spans=tuple(span(each, service, process_tags) for each in spans),
        seq_no=_field(fields, 3, int, "batch.seqNo") if 3 in fields else None,
        stats=_stats(stats) if stats else None,
        size_bytes=size_bytes,
    )


def span(fields: Struct, service: str, process_tags: Tags) -> ReceivedSpan:
    """Return the span in a struct; raise ``DecodeError`` for what is none."""
    tags = _tags(fields, 10)
    kind = tags.get("span.kind", "internal")
    return ReceivedSpan(
        service=service,
        process_tags=process_tags,
        trace_id=_trace_id(fields, high=2, low=1),
        span_id=_id(fields, 3, "span.spanId"),
        parent_id=_id(fields, 4, "span.parentSpanId") or None,
        operation=_text(fields, 5, "span.operationName"),
        kind=kind if isinstance(kind, str) else "internal",
        flags=_field(fields, 7, int, "span.flags"),
        start_us=_field(fields, 8, int, "span.startTime"),
        duration_us=_field(fields, 9, int, "span.duration"),
        tags=tags,
        logs=tuple(
            Log(_field(log, 1, int, "log.timestamp"), _tags(log, 2))
            for log in _structs(fields, 11, "span.logs")
        ),
        references=tuple(_reference(ref) for ref in _structs(fields, 6, "span.references")),
    )


def _reference(fields: Struct) -> Reference:
    follows = _field(fields, 1, int, "reference.refType") == 1
    return Reference(
        kind="follows_from" if follows else "child_of",
        trace_id=_trace_id(fields, high=3, low=2),
        span_id=_id(fields, 4, "reference.spanId"),
    )


def _stats(fields: Struct) -> ClientStats:
    return ClientStats(*(_field(fields, number, int, "stats") for number in (1, 2, 3)))


def _tags(fields: Struct, number: int) -> Tags:
    return Tags(
        (_text(tag, 1, "tag.key"), _tag_value(tag)) for tag in _structs(fields, number, "tags")
    )


def _tag_value(tag: Struct) -> TagValue:
    """Return the value that the tag's type names; one that was left out is its type's zero."""
    match _field(tag, 2, int, "tag.vType"):
        case 0:
            return _field(tag, 3, bytes, "tag.vStr", b"").decode("utf-8", "replace")
        case 1:
            return _field(tag, 4, float, "tag.vDouble", 0.0)
        case 2:
            return _field(tag, 5, bool, "tag.vBool", False)
        case 3:
            return _field(tag, 6, int, "tag.vLong", 0)
        case 4:
            return _field(tag, 7, bytes, "tag.vBinary", b"")
        case unknown:
            raise DecodeError(f"tag.vType is {unknown}")


def _trace_id(fields: Struct, *, high: int, low: int) -> int:
    return _id(fields, high, "traceIdHigh") << 64 | _id(fields, low, "traceIdLow")


def _id(fields: Struct, number: int, name: str) -> int:
    # Ids travel as signed numbers: from 2**63 on they arrive negative.
    return _field(fields, number, int, name) & 0xFFFF_FFFF_FFFF_FFFF


def _text(fields: Struct, number: int, name: str) -> str:
    return _field(fields, number, bytes, name).decode("utf-8", "replace")


def _structs(fields: Struct, number: int, name: str, *, required: bool = False) -> list[Struct]:
    elements = _field(fields, number, list, name, None if required else [])
    return [_checked(element, dict, name) for element in elements]


def _field(fields: Struct, number: int, kind: type[_T], name: str, default: _T | None = None) -> _T:
    value = fields.get(number)
    if value is not None:
        return _checked(value, kind, name)
    if default is None:
        raise DecodeError(f"{name} is missing")
    return default


def _checked(value: Value, kind: type[_T], name: str) -> _T:
    # type() and not isinstance(): True is an int to Python, but not on the wire.
    if type(value) is not kind:
        raise DecodeError(f"{name} is of type {type(value).__name__}, not {kind.__name__}")
    return value
