"""A reader of protobuf that needs no schema: fields by number, as they stand in the bytes.

Total: it returns or raises ``ProtobufError``, in time and memory bounded by the input. Source: the
protobuf encoding specification. A field of a wrong wire type is refused, not skipped: it says that
the sender means another message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 32
"""Nesting of attribute values; no attribute that somebody means to read comes near."""


class ProtobufError(ValueError):
    """Bytes that are no message of the expected kind."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` and where it ends."""
    value = shift = 0
    for end in range(at, min(at + 10, len(data))):
        byte = data[end]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, end + 1
        shift += 7
    raise ProtobufError(f"a number that does not end at byte {at}")


def length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the content that a length at ``at`` announces begins and ends."""
    if at < end and data[at] < 128:
        size, start = data[at], at + 1
    else:
        size, start = varint(data, at)
    if start + size > end:
        raise ProtobufError(f"{size} bytes promised, {max(0, end - start)} left at byte {start}")
    return start, start + size


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and where the value begins and ends, of each field in a message.

    The value of a varint (type 0) is yielded itself, as the third number.
    """
    while at < end:
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(data, at)
            start = value
        elif kind == 2:
            start, at = length(data, at, end)
        elif kind in (1, 5):
            start, at = at, at + (8 if kind == 1 else 4)
        else:
            raise ProtobufError(f"a field of wire type {kind} before byte {at}")
        if at > end or not number:
            raise ProtobufError(f"field {number} does not fit its message at byte {at}")
        yield number, kind, start, at


def text(data: bytes) -> str:
    """Return UTF-8 as text; what is none is replaced, so that the rest can be read."""
    return data.decode("utf-8", "replace")


def expect(kind: int, wanted: int, name: str) -> None:
    """Refuse a field that is not of the wire type that its number means."""
    if kind != wanted:
        raise ProtobufError(f"{name} is of wire type {kind}, not {wanted}")
