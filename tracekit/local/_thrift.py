"""A reader of Thrift's compact and binary protocols that needs no schema.

It answers what stands in the bytes: structs as dictionaries from field id to value. It shares
nothing with ``tracekit.encoding`` on purpose: what one side misunderstands about the wire, the
other must not misunderstand in the same way.

The input is a datagram from anybody, so the reader is total: it returns, or it raises
``ThriftError``. Memory and depth are bounded by the input's size and by ``MAX_DEPTH``.
Source: the Thrift compact and binary protocol specifications.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import NamedTuple, TypeAlias, Union

MAX_DEPTH = 24
"""Nesting that no Jaeger message comes near (it needs 6), far below Python's recursion limit."""

MAX_ELEMENTS = 1_000_000
"""Elements of all lists and maps in one message: an empty one takes a byte, and us a hundred."""

Value: TypeAlias = Union[bool, int, float, bytes, "list[Value]", "Struct"]
Struct: TypeAlias = "dict[int, Value]"


class ThriftError(ValueError):
    """Bytes that are no Thrift message; ``position`` says how far they were read."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"{reason} at byte {position}")
        self.reason = reason
        self.position = position

    def __reduce__(self) -> tuple[type[ThriftError], tuple[str, int]]:
        return type(self), (self.reason, self.position)


class Message(NamedTuple):
    """The envelope of a call: what it calls, in which role, its number, its arguments."""

    name: str
    kind: int
    """1 call, 2 reply, 3 exception, 4 oneway. Jaeger's Go client says 1 where others say 4."""
    sequence: int
    arguments: Struct


class Reader(ABC):
    """Reads one protocol from ``data``, from the front to the back. Not for two threads."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._depth = 0
        self._elements_left = MAX_ELEMENTS

    def message(self) -> Message:
        """Read a whole call with its envelope."""
        name, kind, sequence = self.envelope()
        return Message(name, kind, sequence, self.struct())

    @abstractmethod
    def envelope(self) -> tuple[str, int, int]:
        """Read what stands before a call's arguments: name, role and number."""

    @abstractmethod
    def field_head(self, before: int) -> tuple[int, int]:
        """Read a field's number and type; ``(0, 0)`` at the end of the struct.

        ``before`` is the number of the field before it, 0 for the first.
        """

    @abstractmethod
    def list_head(self) -> tuple[int, int]:
        """Read the type and the count of a list's elements."""

    @abstractmethod
    def _fields(self) -> Struct:
        """Read the fields of a struct up to its end."""

    @abstractmethod
    def _value(self, kind: int) -> Value:
        """Read one value of the type that the protocol calls ``kind``."""

    def struct(self) -> Struct:
        """Read one struct; of a repeated field id the last value counts."""
        self._descend()
        fields = self._fields()
        self._depth -= 1
        return fields

    def _elements(self, kind: int, count: int) -> list[Value]:
        self._descend()
        elements = [self._value(kind) for _ in range(count)]
        self._depth -= 1
        return elements

    def _pairs(self, keys: int, values: int, count: int) -> list[Value]:
        self._descend()
        pairs: list[Value] = [[self._value(keys), self._value(values)] for _ in range(count)]
        self._depth -= 1
        return pairs

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong("nested too deeply")

    @property
    def at(self) -> int:
        """How many bytes were read."""
        return self._at

    def seek(self, at: int) -> None:
        """Go on reading at a place where a value begins."""
        self._at = at

    def field_value(self, kind: int) -> Value:
        """Read a field's value of the type that its head named."""
        return self._value(kind)

    def left(self) -> int:
        """Return how many bytes were not read."""
        return len(self._data) - self._at

    def _wrong(self, reason: str) -> ThriftError:
        return ThriftError(reason, self._at)

    def _take(self, size: int) -> bytes:
        if not 0 <= size <= self.left():
            raise self._wrong(f"{size} bytes promised, {self.left()} left")
        start = self._at
        self._at += size
        return self._data[start : self._at]

    def _byte(self) -> int:
        return self._take(1)[0]

    def _check_count(self, count: int) -> int:
        # Every element takes at least one byte, so a larger count is a lie: refuse it before
        # it makes us loop or allocate.
        if not 0 <= count <= self.left():
            raise self._wrong(f"{count} elements promised, {self.left()} bytes left")
        self._elements_left -= count
        if self._elements_left < 0:
            raise self._wrong(f"more than {MAX_ELEMENTS} elements in all lists and maps")
        return count


class CompactReader(Reader):
    """The compact protocol: zig-zag varints, field ids as differences (agent port 6831)."""

    def envelope(self) -> tuple[str, int, int]:
        if self._byte() != 0x82:
            raise self._wrong("not the compact protocol")
        role = self._byte()
        if role & 0x1F != 1:
            raise self._wrong("unknown version of the compact protocol")
        sequence = self._varint()
        name = self._take(self._varint()).decode("utf-8", "replace")
        return name, role >> 5, sequence

    def field_head(self, before: int) -> tuple[int, int]:
        head = self._byte()
        if not head:
            return 0, 0
        return (before + (head >> 4) if head >> 4 else self._integer()), head & 0x0F

    def field_value(self, kind: int) -> Value:
        # In a field's head the type says the boolean itself; in a list it takes a byte.
        return kind == 1 if kind in (1, 2) else self._value(kind)

    def list_head(self) -> tuple[int, int]:
        head = self._byte()
        count, kind = head >> 4, head & 0x0F
        return kind, self._check_count(self._varint() if count == 15 else count)

    def _varint(self) -> int:
        result = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result & 0xFFFF_FFFF_FFFF_FFFF
        raise self._wrong("a varint of more than ten bytes")

    def _integer(self) -> int:
        coded = self._varint()
        return (coded >> 1) ^ -(coded & 1)

    def _fields(self) -> Struct:
        fields: Struct = {}
        field_id = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 0x0F
            field_id = field_id + delta if delta else self._integer()
            fields[field_id] = self.field_value(kind)
        return fields

    def _value(self, kind: int) -> Value:  # noqa: PLR0911 - one line a wire type
        match kind:
            case 1 | 2:
                return self._byte() == 1
            case 3:
                return int.from_bytes(self._take(1), "big", signed=True)
            case 4 | 5 | 6:
                return self._integer()
            case 7:  # little-endian, unlike the binary protocol
                number: float = struct.unpack("<d", self._take(8))[0]
                return number
            case 8:
                return self._take(self._varint())
            case 9 | 10:
                return self._list()
            case 11:
                return self._map()
            case 12:
                return self.struct()
            case _:
                raise self._wrong(f"unknown type {kind}")

    def _list(self) -> list[Value]:
        return self._elements(*self.list_head())

    def _map(self) -> list[Value]:
        count = self._check_count(self._varint())
        kinds = self._byte() if count else 0
        return self._pairs(kinds >> 4, kinds & 0x0F, count)


class BinaryReader(Reader):
    """The binary protocol, strict or not: fixed-width big-endian numbers (port 6832, HTTP)."""

    def envelope(self) -> tuple[str, int, int]:
        head = self._number(4)
        if head < 0:
            if (head >> 16) & 0xFFFF != 0x8001:
                raise self._wrong("unknown version of the binary protocol")
            kind = head & 0xFF
            name = self._take(self._number(4))
        else:  # the older form starts with the length of the name
            name = self._take(head)
            kind = self._byte()
        sequence = self._number(4)
        return name.decode("utf-8", "replace"), kind, sequence

    def field_head(self, before: int) -> tuple[int, int]:
        kind = self._byte()
        return (self._number(2), kind) if kind else (0, 0)

    def list_head(self) -> tuple[int, int]:
        kind = self._byte()
        return kind, self._check_count(self._number(4))

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big", signed=True)

    def _fields(self) -> Struct:
        fields: Struct = {}
        while kind := self._byte():
            field_id = self._number(2)
            fields[field_id] = self._value(kind)
        return fields

    def _value(self, kind: int) -> Value:  # noqa: C901, PLR0911 - one line a wire type
        match kind:
            case 2:
                return self._byte() == 1
            case 3:
                return self._number(1)
            case 4:
                number: float = struct.unpack(">d", self._take(8))[0]
                return number
            case 6:
                return self._number(2)
            case 8:
                return self._number(4)
            case 10:
                return self._number(8)
            case 11:
                return self._take(self._number(4))
            case 12:
                return self.struct()
            case 13:
                return self._map()
            case 14 | 15:
                return self._elements(*self.list_head())
            case _:
                raise self._wrong(f"unknown type {kind}")

    def _map(self) -> list[Value]:
        keys, values = self._byte(), self._byte()
        return self._pairs(keys, values, self._check_count(self._number(4)))
