"""JSON from anybody: read within limits, its parts asked for by name and kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

from tracekit.local._records import MAX_SPAN_BYTES, DecodeError

Object: TypeAlias = Mapping[str, object]

__all__ = ["DecodeError", "Object", "array", "integer", "obj", "packed", "read_json", "string"]


def read_json(data: bytes) -> object:
    """Return the value of a JSON text; raise ``DecodeError`` if it is none, whatever it is."""
    try:
        value: object = json.loads(data)
    except RecursionError:
        raise DecodeError("JSON that is nested too deeply") from None
    except ValueError as error:  # JSON, UTF-8 and integers of too many digits alike
        raise DecodeError(f"no JSON: {error}"[:200]) from None
    return value


def packed(value: object) -> bytes:
    """Return a value that ``read_json`` gave as bytes to keep."""
    data = json.dumps(value, separators=(",", ":")).encode()
    if len(data) > MAX_SPAN_BYTES:
        raise DecodeError(f"a span of {len(data)} bytes")
    return data


def obj(value: object, what: str) -> Object:
    """Return an object, and nothing else."""
    if not isinstance(value, dict):
        raise DecodeError(f"{what} is no object")
    return value


def array(fields: Object, name: str, *, any_kind: bool = False) -> list[Object]:
    """Return the objects of a list, none if it is not there; ``any_kind`` admits other values."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise DecodeError(f"{name} is no list")
    if any_kind:
        return value
    return [obj(each, f"an entry of {name}") for each in value]


def string(fields: Object, name: str) -> str:
    """Return a text, the empty one if it is not there."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DecodeError(f"{name} is no string")
    return value


def integer(fields: Object, name: str, *, signed: bool = False) -> int:
    """Return a 64-bit number, given as a number or as its digits; 0 if it is not there."""
    value = fields.get(name)
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 24:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DecodeError(f"{name} is no integer")
    low, high = (-(1 << 63), 1 << 63) if signed else (0, 1 << 64)
    if not low <= value < high:
        raise DecodeError(f"{name} is out of range")
    return value
