"""Jaeger's tags: one encoded key and value each, the short ones remembered whole."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tracekit.encoding._idl import TAG, TagType
from tracekit.encoding._memory import MAX_KEPT_BYTES, remember

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.util.types import AnyValue

    from tracekit.encoding._thrift import Dialect

_STOP = b"\0"
_SIGN = 1 << 63


class Tags:
    """Encodes tags; remembers whole short ones, and what stands before the value of each key."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._size = dialect.size
        self._texts: dict[tuple[str, str], bytes] = {}
        self._numbers: dict[tuple[str, int], bytes] = {}
        self._strings: dict[str, bytes] = {}
        self._longs: dict[str, bytes] = {}
        self._doubles: dict[str, bytes] = {}
        self._bools: dict[tuple[str, bool], bytes] = {}

    def extend(self, out: list[bytes], pairs: Iterable[tuple[str, AnyValue]]) -> None:
        """Append one encoded Tag per pair to ``out``.

        Most values of most spans come again (methods, routes, status codes, hosts), so a look
        into a bounded memory is cheaper than encoding; what is long or of another type is not kept.
        """
        append = out.append
        texts = self._texts
        numbers = self._numbers
        bools = self._bools
        for pair in pairs:
            value = pair[1]
            kind = type(value)
            if kind is str:
                append(texts.get(pair) or self._text(pair))  # type: ignore[arg-type]
            elif kind is int:
                append(numbers.get(pair) or self._number(pair))  # type: ignore[arg-type]
            elif kind is bool:
                append(bools.get(pair) or self._bool(pair))  # type: ignore[arg-type]
            elif kind is float:
                append(self._double(pair[0], value))  # type: ignore[arg-type]
            else:
                append(self.one(pair[0], value))

    def string(self, key: str, value: str) -> bytes:
        """Return one encoded Tag for a string."""
        pair = (key, value)
        return self._texts.get(pair) or self._text(pair)

    def _text(self, pair: tuple[str, str]) -> bytes:
        key, value = pair
        text = value.encode("utf-8", "replace")
        prefix = self._strings.get(key) or self._prefix(self._strings, key, TagType.STRING, "vStr")
        tag = b"%b%b%b\0" % (prefix, self._size(len(text)), text)
        return remember(self._texts, pair, tag) if len(text) <= MAX_KEPT_BYTES else tag

    def _double(self, key: str, value: float) -> bytes:
        if not math.isfinite(value):
            return self.one(key, not_finite(value))
        doubles = self._doubles
        prefix = doubles.get(key) or self._prefix(doubles, key, TagType.DOUBLE, "vDouble")
        return prefix + self._dialect.double(value) + _STOP

    def _number(self, pair: tuple[str, int]) -> bytes:
        return remember(self._numbers, pair, self.one(*pair))

    def one(self, key: str, value: AnyValue) -> bytes:
        """Return one encoded Tag for a value of any type."""
        if isinstance(value, bool):
            return self._bools.get((key, value)) or self._bool((key, value))
        if isinstance(value, int) and -_SIGN <= value < _SIGN:
            prefix = self._prefix(self._longs, key, TagType.LONG, "vLong")
            return prefix + self._dialect.i64(value) + _STOP
        if isinstance(value, float):
            return self._double(key, value)
        if isinstance(value, bytes):
            return self._head(key, TagType.BINARY, "vBinary") + self.sized(value) + _STOP
        prefix = self._prefix(self._strings, key, TagType.STRING, "vStr")
        return prefix + self.text(as_text(value)) + _STOP

    def text(self, text: str) -> bytes:
        """Return a Thrift string; what UTF-8 cannot hold (lone surrogates) becomes ``?``."""
        return self.sized(text.encode("utf-8", "replace"))

    def sized(self, data: bytes) -> bytes:
        """Return length and bytes."""
        return self._size(len(data)) + data

    def _bool(self, pair: tuple[str, bool]) -> bytes:
        key, value = pair
        head = self._dialect.header(TAG["key"]) + self.text(key)
        kind = self._dialect.header(TAG["vType"], TAG["key"]) + self._dialect.i32(TagType.BOOL)
        whole = head + kind + self._dialect.flag(TAG["vBool"], TAG["vType"], value=value) + _STOP
        return remember(self._bools, pair, whole)

    def _prefix(self, known: dict[str, bytes], key: str, tag_type: TagType, value: str) -> bytes:
        return known.get(key) or remember(known, key, self._head(key, tag_type, value))

    def _head(self, key: str, tag_type: TagType, value: str) -> bytes:
        header = self._dialect.header
        return b"".join(
            (
                header(TAG["key"]),
                self.text(key),
                header(TAG["vType"], TAG["key"]),
                self._dialect.i32(tag_type),
                header(TAG[value], TAG["vType"]),
            )
        )


def as_text(value: AnyValue) -> str:
    """Return nested values as JSON, None as nothing, everything else as ``str`` says it.

    A text of a class of its own is its content: ``str`` of an enum's member would be its name.
    JSON has no NaN and no infinity; they are texts in it, as ``not_finite`` calls them.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        try:
            return _dumped(value, allow_nan=False)
        except ValueError:
            return _dumped(_finite(value))
    return str(value)


def not_finite(value: float) -> str:
    """Return what protobuf's JSON mapping calls a NaN or an infinity.

    No format may hold one as a number, although each could: Jaeger's query service answers JSON,
    which has no such number, so a single one breaks the search of its whole service.
    """
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _dumped(value: object, *, allow_nan: bool = True) -> str:
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), default=_json, allow_nan=allow_nan
    )


def _finite(value: object) -> object:
    """Return a nested value with texts in place of NaNs and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return not_finite(value)
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _json(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return dict(value) if hasattr(value, "keys") else str(value)  # type: ignore[call-overload]
