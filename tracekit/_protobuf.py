"""Protobuf's wire format by tables: a message is a table of its fields, nothing is generated.

A writer asks a table once for the bytes that stand before a field and then only joins bytes. The
reader follows a table through whatever a peer sent, skips what the table does not name and never
nests deeper than the table does.

Source: protobuf's encoding guide; each table names the ``.proto`` file that it was made from.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple


class DecodeError(ValueError):
    """The bytes are no message of the expected form."""


class Type(enum.Enum):
    """A field's type: its name in a ``.proto`` file, its wire type."""

    INT = ("int64", 0)  # int32 too: a negative one is extended to 64 bits
    UINT = ("uint64", 0)  # and uint32, bool, enum
    FIXED64 = ("fixed64", 1)
    DOUBLE = ("double", 1)
    STRING = ("string", 2)
    BYTES = ("bytes", 2)
    MESSAGE = ("message", 2)
    FIXED32 = ("fixed32", 5)

    @property
    def wire(self) -> int:
        """What the key of a field says about the form of its value."""
        return self.value[1]


class Field(NamedTuple):
    """One row of a message: ``type name = number``."""

    number: int
    type: Type
    name: str
    message: Message | None = None
    """The table of a message within; None leaves it unread."""
    repeated: bool = False


class Message:
    """A message: its fields by number for a reader, by name for a writer."""

    def __init__(self, *fields: Field) -> None:
        self.by_number = {field.number: field for field in fields}
        self._keys = {field.name: varint(field.number << 3 | field.type.wire) for field in fields}

    def key(self, name: str) -> bytes:
        """Return the bytes that stand before the value of a field."""
        return self._keys[name]


Value = int | float | str | bytes | dict[str, "Value"] | list["Value"]


def varint(n: int) -> bytes:
    """Encode an unsigned integer; a negative one in the 64 bits of its two's complement."""
    n &= (1 << 64) - 1
    encoded = bytearray()
    while n > 0x7F:
        encoded.append(n & 0x7F | 0x80)
        n >>= 7
    encoded.append(n)
    return bytes(encoded)


def read(data: bytes, table: Message) -> dict[str, Value]:
    """Return the fields that are set, by name.

    Raises:
        DecodeError: the bytes are cut off, or no protobuf.

    """
    fields: dict[str, Value] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        raw, at = _raw(data, at, key & 7)
        field = table.by_number.get(key >> 3)
        if field is None or field.type.wire != key & 7:
            continue
        value = _value(raw, field)
        if field.repeated:
            held = fields.setdefault(field.name, [])
            assert isinstance(held, list)  # noqa: S101 - by construction of the table
            held.append(value)
        else:
            fields[field.name] = value
    return fields


_LENGTHS = {1: 8, 5: 4}


def _raw(data: bytes, at: int, wire: int) -> tuple[int | bytes, int]:
    if wire == 0:
        return _varint(data, at)
    if wire == 2:
        length, at = _varint(data, at)
    elif wire in _LENGTHS:
        length = _LENGTHS[wire]
    else:  # groups: protobuf's past
        raise DecodeError(f"wire type {wire}")
    if at + length > len(data):
        raise DecodeError("the message is cut off")
    return data[at : at + length], at + length


def _value(raw: int | bytes, field: Field) -> Value:
    if isinstance(raw, int):
        return raw - (1 << 64) if field.type is Type.INT and raw >> 63 else raw
    if field.type is Type.DOUBLE:
        value: float = struct.unpack("<d", raw)[0]
        return value
    if field.type in (Type.FIXED32, Type.FIXED64):
        return int.from_bytes(raw, "little")
    if field.message is not None:
        return read(raw, field.message)
    if field.type is not Type.STRING:
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise DecodeError(f"{field.name} is no UTF-8") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise DecodeError("the message is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7
    raise DecodeError("a number has more than 64 bits")
