"""Tags and logs as ``jaeger_client``'s spans showed them: Thrift's shapes, made when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRING, _DOUBLE, _BOOL, _LONG, _BINARY = range(5)
FIELDS = ("vStr", "vDouble", "vBool", "vLong", "vBinary")
"""Where a Thrift tag keeps its value, by ``vType``."""


class Tag(NamedTuple):
    """One tag; the value stands in the field that ``vType`` names."""

    key: str
    vType: int  # noqa: N815 (Thrift's names)
    vStr: str | None = None  # noqa: N815
    vDouble: float | None = None  # noqa: N815
    vBool: bool | None = None  # noqa: N815
    vLong: int | None = None  # noqa: N815
    vBinary: bytes | None = None  # noqa: N815

    @classmethod
    def of(cls, key: str, value: object) -> Tag:
        """Return the tag of a value; what Thrift has no type for stands there as text."""
        if isinstance(value, bool):
            return cls(key, _BOOL, vBool=value)
        if isinstance(value, int):
            return cls(key, _LONG, vLong=value)
        if isinstance(value, float):
            return cls(key, _DOUBLE, vDouble=value)
        if isinstance(value, bytes):
            return cls(key, _BINARY, vBinary=value)
        return cls(key, _STRING, vStr=str(value))


class Log(NamedTuple):
    """One log; ``timestamp`` in µs since the epoch."""

    timestamp: int
    fields: list[Tag]


def tags_of(values: Mapping[str, object] | None) -> list[Tag]:
    """Return attributes as tags, in their order."""
    return [Tag.of(key, value) for key, value in (values or {}).items()]
