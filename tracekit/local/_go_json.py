"""JSON as Go's ``encoding/json`` writes it: what Jaeger's answers and composed tags look like."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence

_ESCAPED = "<>&\u2028\u2029"


def dumps(value: object, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON without spaces, ``<``, ``>`` and ``&`` escaped.

    A number that JSON does not have is a string (``"NaN"``, ``"+Inf"``), where Go would refuse
    the whole document.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    options = {"ensure_ascii": False, "separators": separators, "indent": indent}
    try:
        written = json.dumps(value, allow_nan=False, **options)  # type: ignore[arg-type]
    except ValueError:
        written = json.dumps(_finite(value), **options)  # type: ignore[arg-type]
    # Lone surrogates cannot be encoded; they come from JSON escapes of a sender.
    text = written.encode("utf-8", "replace").decode()
    for each in _ESCAPED:  # ten times as fast as str.translate
        text = text.replace(each, f"\\u{ord(each):04x}")
    return text


def composed(value: object) -> str:
    """Return an array or a map as the text of a tag: keys sorted, bytes in base64."""
    return dumps(_plain(value))


def number(value: float) -> str:
    """Return a number as text for the eye: NaN and infinities as Go calls them."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.10g}"


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return number(value)
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return value
