"""Attributes as OTLP: each a ``KeyValue`` with an ``AnyValue``, the short ones remembered whole."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

from tracekit._protobuf import varint
from tracekit.encoding._memory import MAX_KEPT_BYTES, remember
from tracekit.encoding._otlp_idl import ANY_VALUE, ARRAY_VALUE, KEY_VALUE, KEY_VALUE_LIST
from tracekit.encoding._tags import as_text, not_finite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.util.types import AnyValue

    from tracekit._protobuf import Message

    Elements = dict[tuple[str, AnyValue], bytes]

_SIGN = 1 << 63
MAX_TABLED = 2048
SIZES = tuple(varint(n) for n in range(MAX_TABLED))
"""The lengths of nearly all messages, encoded in advance."""


def size(n: int) -> bytes:
    """Encode the length that stands before a text or a message."""
    return SIZES[n] if n < MAX_TABLED else varint(n)


def sized(data: bytes) -> bytes:
    """Return length and bytes."""
    return size(len(data)) + data


def utf8(text: str) -> bytes:
    """Encode a text; what UTF-8 cannot hold (lone surrogates) becomes ``?``."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST, _BYTES = (
    ANY_VALUE.key(f"{kind}_value")
    for kind in ("string", "bool", "int", "double", "array", "kvlist", "bytes")
)
_MAX_DEPTH = 16
"""How deep values may be nested: protobuf's readers refuse a request with more than 100 messages
within each other, and a mapping takes three a level."""
_KEY, _VALUE = KEY_VALUE.key("key"), KEY_VALUE.key("value")
_f64 = struct.Struct("<d").pack


def any_value(value: AnyValue, depth: int = 0) -> bytes:  # noqa: PLR0911 (a row per type)
    """Return an AnyValue without its length: None is one with nothing set.

    What no reader takes is a text: numbers that are not finite, values nested too deeply.
    """
    if isinstance(value, str):
        return _STRING + sized(utf8(value))
    if isinstance(value, bool):
        return _BOOL + SIZES[value]
    if isinstance(value, int) and -_SIGN <= value < _SIGN:
        return _INT + varint(value)
    if isinstance(value, float):
        return _DOUBLE + _f64(value) if isfinite(value) else any_value(not_finite(value))
    if isinstance(value, bytes):
        return _BYTES + sized(value)
    if value is None:
        return b""
    if depth >= _MAX_DEPTH:
        return any_value(as_text(value))
    if isinstance(value, Mapping):
        key = KEY_VALUE_LIST.key("values")
        pairs = [key + sized(key_value(str(name), item, depth + 1)) for name, item in value.items()]
        return _KVLIST + sized(b"".join(pairs))
    if isinstance(value, list | tuple):
        key = ARRAY_VALUE.key("values")
        return _ARRAY + sized(b"".join([key + sized(any_value(item, depth + 1)) for item in value]))
    return any_value(str(value))


def key_value(key: str, value: AnyValue, depth: int = 0) -> bytes:
    """Return a KeyValue without its length."""
    encoded = any_value(value, depth)
    return _KEY + sized(utf8(key)) + _VALUE + sized(encoded)


class Attributes:
    """Encodes the attributes of one message, whole elements of its repeated field.

    Most values of most spans come again (methods, routes, status codes, hosts), so a look into a
    bounded memory is cheaper than encoding; what is long or of another type is not kept.
    """

    def __init__(self, table: Message) -> None:
        self._key = table.key("attributes")
        # One memory a type: to a dictionary, 1, 1.0 and True are the same key.
        self._texts: Elements = {}
        self._numbers: Elements = {}
        self._bools: Elements = {}
        self._heads: dict[str, bytes] = {}
        self._doubles: dict[str, bytes] = {}

    def extend(self, out: list[bytes], pairs: Iterable[tuple[str, AnyValue]]) -> None:
        """Append one encoded element per pair to ``out``."""
        append = out.append
        texts = self._texts
        numbers = self._numbers
        bools = self._bools
        for pair in pairs:
            value = pair[1]
            kind = type(value)
            if kind is str:
                append(texts.get(pair) or self._text(*pair))  # type: ignore[arg-type]
            elif kind is int:
                append(numbers.get(pair) or self._kept(numbers, pair))
            elif kind is bool:
                append(bools.get(pair) or self._kept(bools, pair))
            elif kind is float and isfinite(value):  # type: ignore[arg-type]
                key = pair[0]
                append((self._doubles.get(key) or self._double(key)) + _f64(value))
            else:
                append(self.one(*pair))

    def one(self, key: str, value: AnyValue) -> bytes:
        """Return one element."""
        return self._key + sized(key_value(key, value))

    def all(self, attributes: Mapping[str, AnyValue] | None) -> bytes:
        """Return all elements."""
        out: list[bytes] = []
        if attributes:
            self.extend(out, attributes.items())
        return b"".join(out)

    def _text(self, key: str, value: str) -> bytes:
        """Return the element of a text: what ``one`` returns, in half of its time."""
        text = utf8(value)
        length = len(text)
        head = self._heads.get(key) or self._head(key)
        string = _STRING + size(length) + text
        tail = size(len(string)) + string
        element = self._key + size(len(head) + len(tail)) + head + tail
        return remember(self._texts, (key, value), element) if length <= MAX_KEPT_BYTES else element

    def _head(self, key: str) -> bytes:
        """Return what stands before the length of a value."""
        return remember(self._heads, key, _KEY + sized(utf8(key)) + _VALUE)

    def _kept(self, known: Elements, pair: tuple[str, AnyValue]) -> bytes:
        element = self.one(*pair)
        short = len(element) - len(pair[0]) <= MAX_KEPT_BYTES
        return remember(known, pair, element) if short else element

    def _double(self, key: str) -> bytes:
        """Return what stands before the eight bytes of a double."""
        return remember(self._doubles, key, self.one(key, 0.0)[:-8])
