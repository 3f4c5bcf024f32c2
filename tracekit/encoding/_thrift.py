"""Thrift's two wire protocols as small dialects: scalars, field headers, list headers.

An encoder of structs asks a dialect for the header bytes of its fields once, at start, and then
only joins bytes. In the compact protocol a field header holds the distance to the field before
it, so a header is asked for together with its predecessor; the binary protocol ignores that.

Source: thrift-compact-protocol.md and thrift-binary-protocol.md of Apache Thrift.
"""

from __future__ import annotations

import enum
import struct
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Type(enum.Enum):
    """A Thrift type: its code in the binary and in the compact protocol."""

    BOOL = (2, 1)  # compact: 1 is true, 2 is false, and the value is the field header
    I32 = (8, 5)
    I64 = (10, 6)
    DOUBLE = (4, 7)
    STRING = (11, 8)
    LIST = (15, 9)
    STRUCT = (12, 12)


class Field(NamedTuple):
    """One row of an IDL struct: ``id: type name``."""

    id: int
    type: Type
    name: str


class Struct:
    """An IDL struct: its fields by name, in the order of their ids."""

    def __init__(self, name: str, *fields: Field) -> None:
        self.name = name
        self.fields = {field.name: field for field in fields}

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]


class Dialect(Protocol):
    """How one protocol writes; every method is pure."""

    @property
    def i32(self) -> Callable[[int], bytes]:
        """Encode a signed 32-bit integer."""

    @property
    def i64(self) -> Callable[[int], bytes]:
        """Encode a signed 64-bit integer; struct.error or OverflowError beyond."""

    @property
    def u64(self) -> Callable[[int], bytes]:
        """Encode an unsigned id as i64: the same eight bytes, read as a signed number."""

    @property
    def size(self) -> Callable[[int], bytes]:
        """Encode the length that stands before the bytes of a string."""

    @property
    def double(self) -> Callable[[float], bytes]:
        """Encode a double."""

    def header(self, field: Field, after: Field | None = None) -> bytes:
        """Return the header of ``field`` when ``after`` is the last field written before it."""

    def flag(self, field: Field, after: Field | None, *, value: bool) -> bytes:
        """Return a whole boolean field."""

    def structs(self, count: int) -> bytes:
        """Return the header of a list of ``count`` structs."""

    def message(self, name: bytes, seq_id: int) -> bytes:
        """Return the header of a one-way call."""


_SIGN = 1 << 63
_WRAP = 1 << 64
_CHUNK = 0x3FFF
_BYTES = tuple(bytes((n,)) for n in range(256))
_ONE = struct.Struct("<H").pack
_TWO = struct.Struct("<2H").pack
_FOUR = struct.Struct("<4H").pack
_MAX_TAILS = 1024
_ONEWAY = 4


_LAST = tuple(_BYTES[n] if n < 0x80 else _BYTES[n] + b"\1" for n in range(256))
# Two varint bytes with their continuation bits for every 14-bit value, as one u16. A list takes
# 650 KB where an array takes 32, and a sixth of the time of an id less. It is filled when Python
# first writes a long number: beside native frames that may be never.
_PAIRS: list[int] = []


def _filled(encode: Callable[[int], bytes], n: int) -> bytes:
    """Encode ``n``, for which the table of pairs was found empty."""
    halves = (range(high + 0x80, high + 0x100) for high in range(0x8000, 0x1_0000, 0x100))
    _PAIRS[:] = chain.from_iterable(halves)  # in one step: another thread may be here, too
    return encode(n)


def varint(n: int) -> bytes:
    """Encode an unsigned integer below 2**64."""
    if n < 0x80:
        return _BYTES[n]
    if n < 1 << 14:
        return _BYTES[n & 0x7F | 0x80] + _BYTES[n >> 7]
    try:
        return _ONE(_PAIRS[n & _CHUNK]) + varint(n >> 14)
    except IndexError:
        return _filled(varint, n)


def zigzag_id(n: int) -> bytes:
    """Encode an unsigned id below 2**64 as the signed number with the same bits: zigzag, varint.

    Ids are random, so nearly all of their ten bytes are in use: two bytes at a time from a table
    takes a third of the time of the textbook's loop.
    """
    # An id from 2**63 on is, for Thrift, the negative number.
    z = n << 1 if n < _SIGN else (_WRAP - n << 1) - 1
    if z < 1 << 56 or z >= _WRAP:
        return _wide(z)
    pairs = _PAIRS
    try:
        low, high = pairs[z & _CHUNK], pairs[z >> 14 & _CHUNK]
        return _FOUR(low, high, pairs[z >> 28 & _CHUNK], pairs[z >> 42 & _CHUNK]) + _LAST[z >> 56]
    except IndexError:
        return _filled(zigzag_id, n)


def zigzag() -> Callable[[int], bytes]:
    """Return an encoder of signed integers: zigzag, then varint.

    The upper half of a time stamp changes once in minutes, so what follows its first four bytes is
    remembered.
    """
    pairs = _PAIRS
    tails: dict[int, bytes] = {}

    # Zigzag (0, -1, 1, -2 … are 0, 1, 2, 3 …) keeps numbers next to 0 short, whatever their sign.
    def signed(n: int) -> bytes:
        z = n << 1 if n >= 0 else ~(n << 1)
        if z < 1 << 14:
            return _BYTES[z] if z < 0x80 else _BYTES[z & 0x7F | 0x80] + _BYTES[z >> 7]
        if z < 1 << 28 or z >= 1 << 56:
            return _wide(z)
        high, low = z >> 28, z & 0xFFF_FFFF
        try:
            return _TWO(pairs[low & _CHUNK], pairs[low >> 14]) + (tails.get(high) or tail(high))
        except IndexError:
            return _filled(signed, n)

    def tail(n: int) -> bytes:
        if len(tails) >= _MAX_TAILS:
            tails.clear()
        tails[n] = encoded = varint(n)
        return encoded

    return signed


def _wide(z: int) -> bytes:
    if not 0 <= z < _WRAP:
        raise OverflowError("the number does not fit into 64 bits")
    return varint(z)


class Compact:
    """The compact protocol, version 1 (UDP 6831)."""

    size = staticmethod(varint)
    double = staticmethod(struct.Struct("<d").pack)

    u64 = staticmethod(zigzag_id)

    def __init__(self) -> None:
        self.i32 = self.i64 = zigzag()

    def header(self, field: Field, after: Field | None = None) -> bytes:
        """Return distance and type in one byte; no field of ours is more than 15 ids apart."""
        return self._header(field, after, field.type.value[1])

    def flag(self, field: Field, after: Field | None, *, value: bool) -> bytes:
        """Return the field header, which is the value."""
        return self._header(field, after, 1 if value else 2)

    @staticmethod
    def _header(field: Field, after: Field | None, code: int) -> bytes:
        return _BYTES[(field.id - (after.id if after else 0)) << 4 | code]

    def structs(self, count: int) -> bytes:
        """Return size and element type; from 15 on the size follows as a varint."""
        code: int = Type.STRUCT.value[1]
        return _BYTES[count << 4 | code] if count < 15 else _BYTES[0xF0 | code] + self.size(count)

    def message(self, name: bytes, seq_id: int) -> bytes:
        """Return protocol id, type and version, sequence id, name."""
        # 0x82 is the protocol; then three bits of message type above five of version.
        return b"\x82" + _BYTES[_ONEWAY << 5 | 1] + self.size(seq_id) + self.size(len(name)) + name


class Binary:
    """The binary protocol, strict (UDP 6832, HTTP)."""

    i32 = staticmethod(struct.Struct(">i").pack)
    i64 = staticmethod(struct.Struct(">q").pack)
    u64 = staticmethod(struct.Struct(">Q").pack)
    size = i32
    double = staticmethod(struct.Struct(">d").pack)

    def header(self, field: Field, after: Field | None = None) -> bytes:
        """Return type and id."""
        return struct.pack(">bh", field.type.value[0], field.id)

    def flag(self, field: Field, after: Field | None, *, value: bool) -> bytes:
        """Return the header and one byte."""
        return self.header(field, after) + _BYTES[value]

    def structs(self, count: int) -> bytes:
        """Return element type and size."""
        return struct.pack(">bi", Type.STRUCT.value[0], count)

    def message(self, name: bytes, seq_id: int) -> bytes:
        """Return version and type, name, sequence id."""
        # The sign bit of the version tells a strict message from an old one, which began with the
        # length of its name; the byte after the version is unused.
        return struct.pack(">Hxbi", 0x8001, _ONEWAY, len(name)) + name + self.i32(seq_id)
