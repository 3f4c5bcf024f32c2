"""W3C Trace Context, level 2: ``traceparent`` and ``tracestate``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tracekit.propagation import _tracestate
from tracekit.propagation._headers import ignore
from tracekit.propagation._remote import NO_BAGGAGE, Remote

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from tracekit.propagation._headers import Note

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_SAMPLED, _RANDOM = 0x01, 0x02
# A higher version may append fields behind a dash; version 00 may not, ff is forbidden.
_VERSION_00 = re.compile(r"[ \t]*00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})[ \t]*").fullmatch
_VERSION_NEXT = re.compile(
    r"[ \t]*(?!ff|00)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*|[ \t]*)"
).fullmatch


def decode(headers: Mapping[str, str], note: Note = ignore) -> Remote | None:
    """Read ``traceparent``, and ``tracestate`` if that is legal; it never stands alone."""
    value = headers.get(TRACEPARENT)
    if value is None:
        return None
    match = _VERSION_00(value) or _VERSION_NEXT(value)
    if match is None:
        note("malformed")
        return None
    trace, span, flags = match.groups()
    trace_id, span_id, bits = int(trace, 16), int(span, 16), int(flags, 16)
    if not trace_id or not span_id:
        note("zero_id")
        return None
    state = headers.get(TRACESTATE)
    return Remote(
        trace_id,
        span_id,
        None,
        bits & _SAMPLED != 0,
        False,
        None,
        NO_BAGGAGE,
        _decode_state(state, note) if state else "",
        bits & (_SAMPLED | _RANDOM),
    )


def _decode_state(text: str, note: Note) -> str:
    members = _tracestate.parse(text)
    if members is None:
        note("tracestate")
        return ""
    return _tracestate.render(members)


def write(
    into: MutableMapping[str, str],
    trace_id: int,
    span_id: int,
    _parent_id: int | None,
    trace_flags: int,
    _marks: int,
) -> None:
    """Write ``traceparent``; of the flags only *sampled* and *random trace id* exist."""
    trace = trace_id.to_bytes(16, "big").hex()
    flags = trace_flags & (_SAMPLED | _RANDOM)
    into[TRACEPARENT] = f"00-{trace}-{span_id.to_bytes(8, 'big').hex()}-0{flags}"
