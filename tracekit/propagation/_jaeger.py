"""Jaeger's own headers: ``uber-trace-id``, ``uberctx-*``, ``jaeger-baggage``, ``jaeger-debug-id``.

Accepts what any of the official clients accepted, emits what all of them read: ids of 16 or 32
digits, parent 0, flags as one hex digit. Flags: 0x01 sampled, 0x02 debug (only with sampled),
0x04 unused, 0x08 firehose.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from tracekit.propagation._baggage import is_token, members, within_limits
from tracekit.propagation._headers import ignore, sendable
from tracekit.propagation._remote import NO_BAGGAGE, Remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from tracekit.propagation._headers import Note


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

_SAMPLED, _DEBUG, _KNOWN = 0x01, 0x02, 0x0F
_VALUE = re.compile(
    "([0-9a-fA-F]{1,32}):([0-9a-fA-F]{1,16}):([0-9a-fA-F]{1,16}):([0-9a-fA-F]{1,2})"
).fullmatch


def decode(headers: Mapping[str, str], note: Note = ignore, names: Names = NAMES) -> Remote | None:
    """Read Jaeger's headers. A debug id counts only where no trace context stands beside it."""
    value = headers.get(names.trace_id)
    ids = None if value is None else _decode_ids(value, note)
    baggage = _decode_baggage(headers, note, names) if len(headers) > 1 or not ids else NO_BAGGAGE
    if ids is not None:
        trace_id, span_id, parent_id, flags = ids
        sampled = flags & _SAMPLED != 0
        debug = sampled and flags & _DEBUG != 0
        bits = flags & _KNOWN & ~_DEBUG
        return Remote(trace_id, span_id, parent_id or None, sampled, debug, None, baggage, "", bits)
    debug_id = headers.get(names.debug_id)
    if debug_id:
        return Remote(sampled=True, debug=True, debug_id=debug_id, baggage=baggage)
    return Remote(baggage=baggage) if baggage else None


def _decode_ids(value: str, note: Note) -> tuple[int, int, int, int] | None:
    match = _VALUE(unquote(value) if "%" in value else value)
    if match is None:
        note("malformed")
        return None
    trace, span, parent, flags = match.groups()
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        note("zero_id")
        return None
    return trace_id, span_id, int(parent, 16), int(flags, 16)


def _decode_baggage(headers: Mapping[str, str], note: Note, names: Names) -> Mapping[str, str]:
    prefix = names.baggage_prefix
    own = [name for name in headers if name.startswith(prefix)]
    manual = headers.get(names.baggage)
    if not own and manual is None:
        return NO_BAGGAGE

    def entries() -> Iterator[tuple[str, str]]:
        for name in own:
            yield name[len(prefix) :], headers[name]
        if manual is not None:
            yield from members(manual, note)

    found: dict[str, str] = {}
    for key, value in within_limits(entries(), note):
        if key:
            # "+" stays: Go and Java mean a blank by it, Python and Node a plus, and we send %20.
            found[key] = unquote(value) if "%" in value else value
        else:
            note("baggage")
    return found


def write(
    into: MutableMapping[str, str],
    trace_id: int,
    span_id: int,
    parent_id: int | None,
    trace_flags: int,
    marks: int,
    names: Names = NAMES,
) -> None:
    """Write ``uber-trace-id``.

    OpenTelemetry's flag 0x02 (random trace id) stays out of it; debug and firehose come from
    ``marks``. A deferred decision has no sign here and goes as *not sampled*.
    """
    flags = (trace_flags & _SAMPLED) | (marks & (_KNOWN - _SAMPLED))
    trace = trace_id.to_bytes(16 if trace_id >> 64 else 8, "big").hex()
    into[names.trace_id] = (
        f"{trace}:{span_id.to_bytes(8, 'big').hex()}:{parent_id or 0:x}:{flags:x}"
    )


def write_baggage(
    into: MutableMapping[str, str],
    baggage: Mapping[str, object],
    note: Note = ignore,
    names: Names = NAMES,
) -> None:
    """Write one ``uberctx-`` header per entry, values percent-encoded (a blank is ``%20``)."""

    def entries() -> Iterator[tuple[str, str]]:
        for key, value in baggage.items():
            name = str(key)
            if is_token(name):
                yield name, quote(str(value))
            else:
                note("baggage")

    prefix = names.baggage_prefix
    for key, value in within_limits(entries(), note):
        into[prefix + key] = value


def write_debug_id(
    into: MutableMapping[str, str], debug_id: str, note: Note = ignore, names: Names = NAMES
) -> None:
    """Write ``jaeger-debug-id``, for a request that passes through without a span."""
    if sendable(debug_id):
        into[names.debug_id] = debug_id
    else:
        note("debug_id")
