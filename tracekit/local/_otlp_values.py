"""Attributes of OTLP in protobuf: checked as they arrive, read when somebody looks.

Source: opentelemetry-proto ``common/v1/common.proto`` (KeyValue, AnyValue). As tags they become
what the collector's translator to Jaeger makes of them: bytes in base64, arrays and maps as JSON.
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, TypeAlias, Union

from tracekit.local._go_json import composed
from tracekit.local._protobuf import MAX_DEPTH, ProtobufError, expect, fields, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.local._spans import TagValue

Any: TypeAlias = Union[str, bool, int, float, bytes, "list[Any]", "dict[str, Any]", None]

_WIRE_TYPES = {1: 2, 2: 0, 3: 0, 4: 1, 5: 2, 6: 2, 7: 2}


def check_attribute(data: bytes, at: int, end: int) -> None:
    """Raise ``ProtobufError`` if these bytes are no KeyValue."""
    # Nearly every attribute has a short key and a short text: those are told by five comparisons.
    if at < end and data[at] == 0x0A:
        value = at + 2 + data[at + 1]
        if value + 2 < end and data[value] == 0x12 and value + 2 + data[value + 1] == end:
            kind, size = data[value + 2], data[value + 3] if value + 3 < end else 0
            if kind == 0x0A and size < 128 and value + 4 + size == end:
                return
            if kind in (0x10, 0x18) and size < 128 and value + 4 == end:
                return
    attribute(data, at, end)


def attribute(data: bytes, at: int, end: int, depth: int = 0) -> tuple[str, Any]:
    """Return key and value of a KeyValue."""
    key, value = "", None
    for number, kind, start, stop in fields(data, at, end):
        if number == 1:
            expect(kind, 2, "attribute.key")
            key = text(data[start:stop])
        elif number == 2:
            expect(kind, 2, "attribute.value")
            value = _value(data, start, stop, depth + 1)
    return key, value


def attributes(data: bytes, at: int, end: int, number: int) -> Iterator[tuple[str, TagValue]]:
    """Yield as tags the KeyValues that stand as field ``number`` of a message."""
    for found, kind, start, stop in fields(data, at, end):
        if found == number:
            expect(kind, 2, "attributes")
            key, value = attribute(data, start, stop)
            yield key, as_tag(value)


def as_tag(value: Any) -> TagValue:
    """Return an attribute's value as a tag's."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (list, dict)):
        return composed(value)
    return "" if value is None else value


def _value(data: bytes, at: int, end: int, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ProtobufError("attribute values are nested too deeply")
    value: Any = None
    for number, kind, start, stop in fields(data, at, end):
        if number not in _WIRE_TYPES:
            continue
        expect(kind, _WIRE_TYPES[number], "attribute value")
        match number:
            case 1:
                value = text(data[start:stop])
            case 2:
                value = start != 0
            case 3:
                value = start - (1 << 64) if start >> 63 else start
            case 4:
                (value,) = struct.unpack_from("<d", data, start)
            case 5:
                value = [
                    _value(data, first, last, depth + 1)
                    for _, _, first, last in _only(data, start, stop)
                ]
            case 6:
                value = dict(
                    attribute(data, first, last, depth + 1)
                    for _, _, first, last in _only(data, start, stop)
                )
            case _:
                value = data[start:stop]
    return value


def _only(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    for field in fields(data, at, end):
        if field[0] == 1:
            expect(field[1], 2, "a composed value")
            yield field
