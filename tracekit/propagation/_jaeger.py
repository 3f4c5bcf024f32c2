"""Jaeger's own headers: ``uber-trace-id``, ``uberctx-*``, ``jaeger-baggage``, ``jaeger-debug-id``.

Accepts what any of the official clients accepted, emits what all of them read: ids of 16 or 32
digits, parent 0, flags as one hex digit. Flags: 0x01 sampled, 0x02 debug (only with sampled),
0x04 unused, 0x08 firehose. Source: Jaeger's client libraries page ("Propagation Format"), and the
codecs of its clients where that page says nothing.
"""

from __future__ import annotations

import re
import struct
from binascii import unhexlify
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, unquote_plus

from tracekit._context import CARRIED, DEBUG, LOW_64_BITS
from tracekit._protocols import MARKS_SHIFT
from tracekit.propagation._baggage import encoded, is_token, members, percent, within_limits
from tracekit.propagation._headers import MAX_VALUE_BYTES, ignore
from tracekit.propagation._remote import NO_BAGGAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from tracekit.propagation._headers import Note
    from tracekit.propagation._remote import ExtractedFields


class Names(NamedTuple):
    """Header names, in lower case; ``jaeger_client``'s config could change each of them."""

    trace_id: str = "uber-trace-id"
    baggage_prefix: str = "uberctx-"
    debug_id: str = "jaeger-debug-id"
    baggage: str = "jaeger-baggage"

    def lowered(self) -> Names:
        """Return the names as codecs compare them."""
        return Names(*(name.lower() for name in self))


NAMES = Names()

_SAMPLED = 0x01
# Debug means something only beside sampled: Go's client writes 3, and a lone 2 forces nothing.
_FORCED = _SAMPLED | DEBUG
_KEPT = _SAMPLED | CARRIED
"""What goes into ``Remote.trace_flags``, where 0x02 is W3C's; debug has a field of its own."""
_MARKS = DEBUG | CARRIED
_DENY, _ACCEPT, _DEBUG = (False, False, 0), (True, False, 1), (True, True, 1)
_ENDINGS = {
    f":{no_parent}:{zero}{flags}": meaning
    for no_parent in ("0", "0" * 16)
    for zero in ("", "0")
    for flags, meaning in (("0", _DENY), ("1", _ACCEPT), ("3", _DEBUG))
}
"""What stands behind the ids of a span whose parent is not told."""
_ROOT = tuple(f":0:{flags:x}" for flags in range(16))
"""What stands behind the ids of a root."""
_from_bytes = int.from_bytes
_pack = struct.Struct(">QQ").pack
_VALUE = "([0-9a-fA-F]{1,32}):([0-9a-fA-F]{1,16}):([0-9a-fA-F]{1,16}):0*([0-9a-fA-F]{1,2})"


def decode(
    headers: Mapping[str, str], note: Note = ignore, names: Names = NAMES
) -> ExtractedFields | None:
    """Read Jaeger's headers. A debug id counts only where no trace context stands beside it."""
    value = headers.get(names[0])
    ids = None if value is None else decode_ids(value, note)
    if ids is not None:
        # Most carriers hold no baggage: one look for the prefix in all names is the cheapest no.
        if len(headers) == 1 or (names[1] not in "\n".join(headers) and names[3] not in headers):
            return ids
        baggage = _decode_baggage(headers, note, names)
        return (*ids[:6], baggage, "", ids[8]) if baggage else ids
    # Baggage without ids belongs to the root that is yet to begin (Go, Java), and so does what
    # `curl -H jaeger-debug-id:…` asks for: a trace that is kept, and found by that text.
    baggage = _decode_baggage(headers, note, names)
    debug_id = headers.get(names.debug_id)
    if debug_id and (debug_id := debug_id.strip(" \t")):
        if len(debug_id) <= MAX_VALUE_BYTES:
            return 0, 0, None, True, True, unquote(debug_id), baggage, "", 0
        note("too_long")
    return (0, 0, None, None, False, None, baggage, "", 0) if baggage else None


def decode_ids(value: str, note: Note = ignore) -> ExtractedFields | None:
    """Read ``uber-trace-id``."""
    # The two forms that today's clients send; every other legal one takes the slow road. (An
    # ending begins with a colon, so what stands before it has the length that is asked for.)
    flags = _ENDINGS.get(value[33:])
    if flags is not None and value[16] == ":":
        digits = value[:16] + value[17:33]
    else:
        flags = _ENDINGS.get(value[49:])
        if flags is None or value[32] != ":":
            return _decode_any_ids(value, note)
        digits = value[:32] + value[33:49]
    try:
        both = _from_bytes(unhexlify(digits), "big")
    except ValueError:
        note("malformed")
        return None
    trace_id, span_id = both >> 64, both & LOW_64_BITS
    if not trace_id or not span_id:
        note("zero_id")
        return None
    sampled, debug, bits = flags
    return trace_id, span_id, None, sampled, debug, None, NO_BAGGAGE, "", bits


def _decode_any_ids(value: str, note: Note) -> ExtractedFields | None:
    # Python's client wrote ids without leading zeros, others percent-encoded the colons; ids longer
    # than theirs may be (Python took any) are no ids.
    match = re.fullmatch(_VALUE, unquote(value) if "%" in value else value)
    if match is None:
        note("malformed")
        return None
    trace, span, parent, flags = match.groups()
    trace_id, span_id, parent_id, bits = (
        int(trace, 16),
        int(span, 16),
        int(parent, 16),
        int(flags, 16),
    )
    if not trace_id or not span_id:
        note("zero_id")
        return None
    sampled, debug = bits & _SAMPLED != 0, bits & _FORCED == _FORCED
    return (
        trace_id,
        span_id,
        parent_id or None,
        sampled,
        debug,
        None,
        NO_BAGGAGE,
        "",
        bits & _KEPT,
    )


def _decode_baggage(headers: Mapping[str, str], note: Note, names: Names) -> Mapping[str, str]:
    prefix = names.baggage_prefix
    manual = headers.get(names.baggage)
    if manual is None and prefix not in "\n".join(headers):
        return NO_BAGGAGE
    own = [name for name in headers if name.startswith(prefix)]

    def entries() -> Iterator[tuple[str, str]]:
        # Go and Java write a blank as "+"; no client leaves a plus unescaped.
        for name in own:
            if len(value := headers[name]) > MAX_VALUE_BYTES:
                note("too_long")
            else:
                yield name[len(prefix) :], unquote_plus(value)
        if manual is not None and len(manual) > MAX_VALUE_BYTES:
            note("too_long")
        elif manual is not None:
            # Every client decodes the list before it splits it, and drops an entry with two "=".
            for key, value in members(unquote_plus(manual), note):
                yield "" if "=" in value else key, value

    found: dict[str, str] = {}
    for key, value in within_limits(entries(), note):
        if key:
            found[key] = value
        else:
            note("baggage")
    return found


def text(trace_id: int, span_id: int, bits: int, parent_id: int | None) -> str:
    """Return ``uber-trace-id``.

    OpenTelemetry's flag 0x02 (random trace id) stays out of it; debug and firehose come from
    the marks. A deferred decision has no sign here and goes as *not sampled*.
    """
    # One digit, as `%x` writes it: Go's client reads the field as a decimal number.
    flags = bits & _SAMPLED | bits >> MARKS_SHIFT & _MARKS
    # A 64-bit id goes in 16 digits, which is all that peers with ids of that length can hold.
    if trace_id > LOW_64_BITS:
        ids = f"{trace_id.to_bytes(16, 'big').hex()}:{span_id.to_bytes(8, 'big').hex()}"
    else:
        ids = _pack(trace_id, span_id).hex(":", 8)
    return f"{ids}:{parent_id:016x}:{flags:x}" if parent_id else ids + _ROOT[flags]


def write_baggage(
    into: MutableMapping[str, str],
    baggage: Mapping[str, object],
    note: Note = ignore,
    names: Names = NAMES,
) -> None:
    """Write one ``uberctx-`` header per entry, values percent-encoded (a blank is ``%20``)."""

    def entries() -> Iterator[tuple[str, str]]:
        for key, value in encoded(baggage, note):
            if is_token(key):
                yield key, value
            else:
                note("baggage")

    prefix = names.baggage_prefix
    for key, value in within_limits(entries(), note):
        into[prefix + key] = value


def write_debug_id(into: MutableMapping[str, str], debug_id: str, names: Names = NAMES) -> None:
    """Write ``jaeger-debug-id``, for a request that passes through without a span."""
    into[names.debug_id] = percent(debug_id)
