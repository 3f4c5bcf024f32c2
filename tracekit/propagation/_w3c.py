"""W3C Trace Context, level 2: ``traceparent`` and ``tracestate``.

Unlike Jaeger's header it is strict: one digit too many, or one in upper case, and the whole header
counts as absent, because whoever wrote it may not mean what we would read.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from typing import TYPE_CHECKING

from tracekit._context import RANDOM
from tracekit.propagation import _tracestate
from tracekit.propagation._headers import MAX_VALUE_BYTES, ignore, sendable
from tracekit.propagation._remote import NO_BAGGAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from tracekit.propagation._headers import Note
    from tracekit.propagation._remote import ExtractedFields

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_SAMPLED = 0x01
_KNOWN = _SAMPLED | RANDOM
_FLAGS = {"00": 0, "01": 1, "02": 2, "03": 3}
_TAILS = ("-00", "-01", "-02", "-03")
_from_bytes = int.from_bytes
# Blanks around the value; unknown flags; a higher version, which may append fields behind a dash.
_ANY_VERSION = r"[ \t]*((?!ff)[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*|)[ \t]*"


def decode(headers: Mapping[str, str], note: Note = ignore) -> ExtractedFields | None:
    """Read ``traceparent``, and ``tracestate`` if that is legal; it never stands alone."""
    value = headers.get(TRACEPARENT)
    if value is None:
        return None
    fields = value.split("-", 4)
    if len(fields) != 4 or fields[0] != "00" or fields[3] not in _FLAGS:
        fields = _rare(value)
    _, trace, span, flags = fields
    # unhexlify below takes both cases, the header has lower case only (section 3.2.2).
    if len(trace) != 32 or len(span) != 16 or value.lower() != value:
        note("malformed")
        return None
    try:
        trace_id, span_id = (
            _from_bytes(unhexlify(trace), "big"),
            _from_bytes(unhexlify(span), "big"),
        )
    except ValueError:
        note("malformed")
        return None
    if not trace_id or not span_id:
        note("zero_id")
        return None
    bits = _FLAGS[flags]
    text = headers.get(TRACESTATE)
    state = _decode_state(text, note) if text else ""
    return trace_id, span_id, None, bits & 1 == 1, False, None, NO_BAGGAGE, state, bits


def _rare(value: str) -> list[str]:
    """Return the four fields of a legal value in an unusual form; empty ones of an illegal."""
    # 3.2.4: of a higher version what is known is read, and written again as version 00; version 00
    # itself has four fields and no more, and unknown flags are not sent on (3.2.2.5).
    match = re.fullmatch(_ANY_VERSION, value) if len(value) <= MAX_VALUE_BYTES else None
    if match is None or (match[1] == "00" and match[5]):
        return ["", "", "", ""]
    return ["00", match[2], match[3], f"{int(match[4], 16) & _KNOWN:02x}"]


def _decode_state(text: str, note: Note) -> str:
    # 3.3: a state that cannot be read is dropped, and the traceparent beside it holds.
    members = _tracestate.parse(text) if len(text) <= MAX_VALUE_BYTES else None
    if members is None:
        note("tracestate")
        return ""
    return _tracestate.render(members)


def write(
    into: MutableMapping[str, str],
    trace_id: int,
    span_id: int,
    bits: int,
    _parent_id: int | None,
) -> None:
    """Write ``traceparent``; of the flags only *sampled* and *random trace id* exist."""
    into[TRACEPARENT] = (
        f"00-{trace_id.to_bytes(16, 'big').hex()}-{span_id.to_bytes(8, 'big').hex()}"
        f"{_TAILS[bits & _KNOWN]}"
    )


def write_state(into: MutableMapping[str, str], state: str, note: Note) -> None:
    """Write ``tracestate``; a text of somebody else's that no header can carry is noted."""
    if sendable(state) and len(state) <= MAX_VALUE_BYTES:
        into[TRACESTATE] = state
    else:
        note("tracestate")
