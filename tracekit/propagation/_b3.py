"""Zipkin's B3, both spellings: ``b3`` and ``X-B3-*`` (openzipkin/b3-propagation).

Four sampling states, in both spellings: accept ``1``, deny ``0``, debug ``d`` (multi:
``X-B3-Flags: 1``, which implies accept), defer (nothing). A state may arrive without ids.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING

from tracekit._context import DEBUG, DEFER, Decision
from tracekit.propagation._headers import ignore
from tracekit.propagation._remote import NO_BAGGAGE, Remote

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from tracekit.propagation._headers import Note

SINGLE = "b3"
TRACE_ID = "x-b3-traceid"
SPAN_ID = "x-b3-spanid"
PARENT_ID = "x-b3-parentspanid"
SAMPLED = "x-b3-sampled"
FLAGS = "x-b3-flags"
MULTI = (TRACE_ID, SPAN_ID, PARENT_ID, SAMPLED, FLAGS)

_STATES = {"0": (False, False), "1": (True, False), "d": (True, True)}
# "true" and "false" are what old Brave wrote; receivers were told to be lenient for ever.
_SAMPLED = {"0": False, "1": True, "false": False, "true": True, "d": True}


def decode(headers: Mapping[str, str], note: Note = ignore) -> Remote | None:
    """Read B3. The single header wins over the others, unless it cannot be read."""
    single = headers.get(SINGLE)
    if single is not None:
        remote = _decode_single(single, note)
        if remote is not None:
            return remote
    return _decode_multi(headers, note)


def _decode_single(text: str, note: Note) -> Remote | None:
    parts = _first(text).split("-")
    count = len(parts)
    if count == 1:
        state = _STATES.get(parts[0])
        if state is None:
            note("malformed")
            return None
        return Remote(sampled=state[0], debug=state[1])
    state = _STATES.get(parts[2]) if count > 2 else (None, False)
    if state is None or count > 4 or len(parts[1]) != 16 or len(parts[0]) not in (16, 32):
        note("malformed")
        return None
    return _with_ids(parts[0], parts[1], parts[3] if count == 4 else None, *state, note)


def _decode_multi(headers: Mapping[str, str], note: Note) -> Remote | None:
    trace, span = headers.get(TRACE_ID), headers.get(SPAN_ID)
    sampled: bool | None = None
    debug = False
    text = headers.get(SAMPLED)
    if text is not None:
        sampled = _SAMPLED.get(text)
        if sampled is None and (sampled := _SAMPLED.get(_first(text).lower())) is None:
            note("malformed")
    flags = headers.get(FLAGS)
    if flags is not None and _first(flags) == "1":
        sampled = debug = True
    if trace is None or span is None:
        if trace is not span:
            note("malformed")
        return None if sampled is None else Remote(sampled=sampled, debug=debug)
    if len(span) != 16 or len(trace) not in (16, 32):
        trace, span = _first(trace), _first(span)
        if len(span) != 16 or len(trace) not in (16, 32):
            note("malformed")
            return None
    parent = headers.get(PARENT_ID)
    return _with_ids(trace, span, None if parent is None else _first(parent), sampled, debug, note)


def _with_ids(
    trace: str, span: str, parent: str | None, sampled: bool | None, debug: bool, note: Note
) -> Remote | None:
    # unhexlify takes hex digits and nothing else; int(text, 16) takes blanks, signs and "_" too.
    try:
        trace_id = int.from_bytes(unhexlify(trace), "big")
        span_id = int.from_bytes(unhexlify(span), "big")
        parent_id = int.from_bytes(unhexlify(parent), "big") if parent else None
    except ValueError:
        note("malformed")
        return None
    if not trace_id or not span_id:
        note("zero_id")
        return None
    if parent_id is not None and parent_id >> 64:
        parent_id = None
    return Remote(trace_id, span_id, parent_id or None, sampled, debug, None, NO_BAGGAGE, "", 0)


def _first(text: str) -> str:
    """Return the first of repeated values: B3 names no rule, its implementations take that."""
    return text.partition(",")[0].strip(" \t") if "," in text else text


def write_single(
    into: MutableMapping[str, str],
    trace_id: int,
    span_id: int,
    parent_id: int | None,
    trace_flags: int,
    marks: int,
) -> None:
    """Write ``b3: {trace}-{span}[-{state}[-{parent}]]``; a parent needs a state before it."""
    ids = (
        f"{trace_id.to_bytes(16, 'big').hex()}-{span_id.to_bytes(8, 'big').hex()}"
        if trace_id >> 64
        else f"{trace_id.to_bytes(8, 'big').hex()}-{span_id.to_bytes(8, 'big').hex()}"
    )
    if marks & (DEBUG | DEFER):
        if not marks & DEBUG:
            into[SINGLE] = ids
            return
        state = "d"
    else:
        state = "1" if trace_flags & 1 else "0"
    into[SINGLE] = f"{ids}-{state}-{parent_id:016x}" if parent_id else f"{ids}-{state}"


def write_multi(
    into: MutableMapping[str, str],
    trace_id: int,
    span_id: int,
    parent_id: int | None,
    trace_flags: int,
    marks: int,
) -> None:
    """Write ``x-b3-*``. An empty parent is never written: Envoy drops the trace over one."""
    into[TRACE_ID] = trace_id.to_bytes(16 if trace_id >> 64 else 8, "big").hex()
    into[SPAN_ID] = span_id.to_bytes(8, "big").hex()
    if parent_id:
        into[PARENT_ID] = f"{parent_id:016x}"
    if not marks & (DEBUG | DEFER):
        into[SAMPLED] = "1" if trace_flags & 1 else "0"
    elif marks & DEBUG:
        into[FLAGS] = "1"  # implies sampled, which "should not" be sent beside it


def write_single_decision(into: MutableMapping[str, str], decision: Decision) -> None:
    """Write a decision without ids as ``b3``."""
    if decision is not Decision.DEFER:
        into[SINGLE] = _STATE_OF[decision]


def write_multi_decision(into: MutableMapping[str, str], decision: Decision) -> None:
    """Write a decision without ids as ``x-b3-sampled`` or ``x-b3-flags``."""
    if decision is Decision.DEBUG:
        into[FLAGS] = "1"
    elif decision is not Decision.DEFER:
        into[SAMPLED] = _STATE_OF[decision]


_STATE_OF = {Decision.DENY: "0", Decision.ACCEPT: "1", Decision.DEBUG: "d"}
