"""The two messages of ``jaeger.api_v2.SamplingManager``, read and written by a small table.

The table turns the answer into the very shape that its JSON has, so one reader judges both.
Source: Jaeger's ``api_v2/sampling.proto`` and protobuf's wire format.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from tracekit.errors import StrategyError
from tracekit.sampling._strategy import from_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.sampling._strategy import AnyStrategy

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """How a field is called in JSON, its wire type, and the table of a message within."""

    name: str
    wire: int
    message: Mapping[int, _Field] | None = None
    repeated: bool = False


_PROBABILISTIC = {1: _Field("samplingRate", _FIXED64)}
_RESPONSE: Mapping[int, _Field] = {
    2: _Field("probabilisticSampling", _LENGTH, _PROBABILISTIC),
    3: _Field("rateLimitingSampling", _LENGTH, {1: _Field("maxTracesPerSecond", _VARINT)}),
    4: _Field(
        "operationSampling",
        _LENGTH,
        {
            1: _Field("defaultSamplingProbability", _FIXED64),
            2: _Field("defaultLowerBoundTracesPerSecond", _FIXED64),
            3: _Field(
                "perOperationStrategies",
                _LENGTH,
                {
                    1: _Field("operation", _LENGTH),
                    2: _Field("probabilisticSampling", _LENGTH, _PROBABILISTIC),
                },
                repeated=True,
            ),
        },
    ),
}


def encode_parameters(service: str) -> bytes:
    """Return ``SamplingStrategyParameters``: the question a client asks."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def decode_response(message: bytes) -> AnyStrategy:
    """Return the strategy in a ``SamplingStrategyResponse``.

    Raises:
        StrategyError: the bytes are no such message, or it holds no usable strategy.

    """
    try:
        return from_response(_message(message, _RESPONSE))
    except (IndexError, struct.error, UnicodeDecodeError):
        raise StrategyError("the answer is no protobuf message of the expected form") from None


def _message(data: bytes, table: Mapping[int, _Field]) -> dict[str, object]:
    """Decode one message; ``IndexError`` or ``struct.error`` where it is cut off.

    The nesting is that of ``table``, whatever was sent: unknown fields are skipped unread.
    """
    fields: dict[str, object] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        raw, at = _value(data, at, key & 7)
        field = table.get(key >> 3)
        if field is None or field.wire != key & 7:
            continue
        value: object = raw
        if isinstance(raw, bytes):
            value = raw.decode() if field.message is None else _message(raw, field.message)
        if field.repeated:
            held = fields.setdefault(field.name, [])
            assert isinstance(held, list)  # noqa: S101 - by construction of the table
            held.append(value)
        else:
            fields[field.name] = value
    return fields


def _value(data: bytes, at: int, wire: int) -> tuple[float | bytes, int]:
    if wire == _VARINT:
        value, at = _read_varint(data, at)
        return value - (1 << 64) if value >> 63 else value, at  # an int32 comes sign-extended
    if wire == _FIXED64:
        return struct.unpack_from("<d", data, at)[0], at + 8
    if wire == _FIXED32:
        return struct.unpack_from("<f", data, at)[0], at + 4
    if wire == _LENGTH:
        length, at = _read_varint(data, at)
        if at + length > len(data):
            raise IndexError(length)
        return data[at : at + length], at + length
    raise IndexError(wire)  # groups: protobuf's past, never in this message


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7
        if shift > 63:
            raise IndexError(at)
