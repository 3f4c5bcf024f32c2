"""Zipkin's B3, both spellings: ``b3`` and ``X-B3-*`` (openzipkin/b3-propagation).

Four sampling states, in both spellings: accept ``1``, deny ``0``, debug ``d`` (multi:
``X-B3-Flags: 1``, which implies accept), defer (nothing). A state may arrive without ids.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING

from tracekit._context import DEBUG, DEFER, LOW_64_BITS, Decision
from tracekit._protocols import MARKS_SHIFT
from tracekit.propagation._headers import ignore
from tracekit.propagation._remote import NO_BAGGAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from tracekit.propagation._headers import Note
    from tracekit.propagation._remote import ExtractedFields

SINGLE = "b3"
TRACE_ID = "x-b3-traceid"
SPAN_ID = "x-b3-spanid"
PARENT_ID = "x-b3-parentspanid"
SAMPLED = "x-b3-sampled"
FLAGS = "x-b3-flags"
MULTI = (TRACE_ID, SPAN_ID, PARENT_ID, SAMPLED, FLAGS)

_DENY, _ACCEPT, _DEBUG = (False, False), (True, False), (True, True)  # sampled, debug
_STATES = {"0": _DENY, "1": _ACCEPT, "d": _DEBUG}
# "true" and "false" are what old Brave wrote; receivers were told to be lenient for ever.
_SAMPLED = {"0": _DENY, "1": _ACCEPT, "false": _DENY, "true": _ACCEPT, "d": _ACCEPT}
_FORCED, _UNDECIDED = DEBUG << MARKS_SHIFT, DEFER << MARKS_SHIFT
_NOT_SAID_BY_SAMPLED = _FORCED | _UNDECIDED
_from_bytes = int.from_bytes


def decode(headers: Mapping[str, str], note: Note = ignore) -> ExtractedFields | None:
    """Read B3. The single header wins over the others, unless it cannot be read."""
    state: tuple[bool, bool] | None
    # What most requests say, in either spelling: one road, without a call of ours.
    try:
        if SAMPLED in headers and (
            len(headers) == 3 or not (FLAGS in headers or PARENT_ID in headers or SINGLE in headers)
        ):
            trace, span, state = headers[TRACE_ID], headers[SPAN_ID], _SAMPLED[headers[SAMPLED]]
        elif SINGLE in headers and len(fields := headers[SINGLE].split("-")) == 3:
            trace, span, said = fields
            state = _STATES.get(said)
        else:
            return _decode_rarer(headers, note)
        if state and len(span) == 16 and ((length := len(trace)) == 32 or length == 16):
            # unhexlify takes hex digits and nothing else; int(text, 16) takes blanks, signs, too.
            trace_id = _from_bytes(unhexlify(trace), "big")
            span_id = _from_bytes(unhexlify(span), "big")
            if trace_id and span_id:
                return trace_id, span_id, None, state[0], state[1], None, NO_BAGGAGE, "", 0
    except (KeyError, ValueError, TypeError, AttributeError):
        # A decision alone, no digits, or None where others have a text: the other road knows.
        return _decode_rarer(headers, note)
    return _decode_rarer(headers, note)


def _decode_rarer(headers: Mapping[str, str], note: Note) -> ExtractedFields | None:
    """Read B3 in all its forms, and say what is wrong with what cannot be read."""
    single = headers.get(SINGLE)
    if single is not None and (found := _decode_single(single, note)) is not None:
        return found
    # b3-propagation, "Single Header": whoever reads both prefers it; what cannot be read is as if
    # it had not come, so that one bad hop does not cut the trace of those that wrote both.
    trace, span, sampled = headers.get(TRACE_ID), headers.get(SPAN_ID), headers.get(SAMPLED)
    # No sampling state is not "no": the caller leaves the decision to us ("Defer").
    decision = None
    if sampled is not None:
        state = _SAMPLED.get(sampled) or _SAMPLED.get(_first(sampled).lower())
        if state is None:
            note("malformed")
        else:
            decision = state[0]
    flags = headers.get(FLAGS)
    debug = flags is not None and _first(flags) == "1"  # implies a decision to sample ("Debug")
    if trace is not None and span is not None:
        parent = headers.get(PARENT_ID)
        return _ids(trace, span, parent, True if debug else decision, debug, note)
    if trace is not span:  # one without the other (both None: there are none, which is no fault)
        note("malformed")
    # A decision without ids is a whole message: ``b3: 0`` denies a trace that is yet to begin.
    return _alone(decision or debug, debug) if debug or decision is not None else None


def _decode_single(text: str, note: Note) -> ExtractedFields | None:
    """Read ``{trace}-{span}[-{state}[-{parent}]]``, or the state alone ("Single Header")."""
    fields = text.split("-")
    count = len(fields)
    if count == 1 and (state := _STATES.get(text)) is not None:
        return _alone(*state)
    if count == 2:
        return _ids(fields[0], fields[1], None, None, False, note)
    if count == 3 and (state := _STATES.get(fields[2])) is not None:
        return _ids(fields[0], fields[1], None, *state, note)
    if count == 4 and (state := _STATES.get(fields[2])) is not None and len(fields[3]) == 16:
        return _ids(fields[0], fields[1], fields[3], *state, note)
    if "," in text:  # proxies join repeated headers so (RFC 9110, 5.3); the first hop's counts
        first = _first(text)
        return decode({SINGLE: first}, note)
    note("malformed")
    return None


def _alone(sampled: bool, debug: bool) -> ExtractedFields:
    return 0, 0, None, sampled, debug, None, NO_BAGGAGE, "", 0


def _ids(
    trace: str, span: str, parent: str | None, sampled: bool | None, debug: bool, note: Note
) -> ExtractedFields | None:
    # 16 or 32 hex digits ("TraceId"): ids of another length are not B3's, and are not padded.
    if len(span) != 16 or (len(trace) != 32 and len(trace) != 16):
        if trace.find(",") >= 0 and span.find(",") >= 0:
            return _ids(_first(trace), _first(span), parent, sampled, debug, note)
        note("malformed")
        return None
    # unhexlify takes hex digits and nothing else; int(text, 16) takes blanks, signs and "_" too.
    try:
        trace_id, span_id = (
            _from_bytes(unhexlify(trace), "big"),
            _from_bytes(unhexlify(span), "big"),
        )
        parent_id = _parent_id(parent) if parent else None
    except ValueError:
        note("malformed")
        return None
    if trace_id and span_id:
        return trace_id, span_id, parent_id, sampled, debug, None, NO_BAGGAGE, "", 0
    note("zero_id")
    return None


def _parent_id(text: str) -> int | None:
    """Return the parent's id (0: none), which some senders write without leading zeros.

    Nobody uses it but to write it again, so it is the one id that may be short.
    """
    digits = _first(text).zfill(16)
    if len(digits) > 16:
        raise ValueError("more than 64 bits")
    return _from_bytes(unhexlify(digits), "big") or None


def _first(text: str) -> str:
    """Return the first of repeated values: B3 names no rule, its implementations take that."""
    first, comma, _ = text.partition(",")
    return first.strip(" \t") if comma else text


def write_single(
    into: MutableMapping[str, str],
    trace_id: int,
    span_id: int,
    bits: int,
    parent_id: int | None,
) -> None:
    """Write ``b3: {trace}-{span}[-{state}[-{parent}]]``; a parent needs a state before it."""
    state = "-1" if bits & 1 else "-0"
    if bits & _FORCED:
        state = "-d"
    elif bits & _UNDECIDED:
        state, parent_id = "", None
    if parent_id:
        state = f"{state}-{parent_id:016x}"
    if trace_id > LOW_64_BITS:
        into[SINGLE] = (
            f"{trace_id.to_bytes(16, 'big').hex()}-{span_id.to_bytes(8, 'big').hex()}{state}"
        )
    else:
        into[SINGLE] = (trace_id << 64 | span_id).to_bytes(16, "big").hex("-", 8) + state


def write_multi(
    into: MutableMapping[str, str],
    trace_id: int,
    span_id: int,
    bits: int,
    parent_id: int | None,
) -> None:
    """Write ``x-b3-*``. An empty parent is never written: Envoy drops the trace over one."""
    into[TRACE_ID] = trace_id.to_bytes(16 if trace_id > LOW_64_BITS else 8, "big").hex()
    into[SPAN_ID] = span_id.to_bytes(8, "big").hex()
    if parent_id:
        into[PARENT_ID] = f"{parent_id:016x}"
    if not bits & _NOT_SAID_BY_SAMPLED:
        into[SAMPLED] = "1" if bits & 1 else "0"
        return
    if bits & _FORCED:
        into[FLAGS] = "1"  # implies sampled, which "should not" be sent beside it
    into.pop(SAMPLED, None)


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
