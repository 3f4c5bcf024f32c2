"""Several formats on one request: whose ids count, and what the others still have to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._context import LOW_64_BITS
from tracekit.propagation._remote import Remote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.propagation._counters import Counters
    from tracekit.propagation._remote import ExtractedFields


def merge(
    preferred: ExtractedFields,
    preferred_name: str,
    other: ExtractedFields,
    other_name: str,
    counters: Counters,
) -> tuple[ExtractedFields, str]:
    """Return what two formats say together, and whose ids these are.

    Ids win over a decision alone. Of two that name the same span, each adds what the other's
    format cannot say. Of two that name different spans the preferred one wins, and it is counted.
    Baggage adds up; the preferred format's entry wins.
    """
    held, found = Remote._make(preferred), Remote._make(other)
    baggage = _union(found.baggage, held.baggage)
    if not held.has_ids:
        if found.has_ids:
            return found._replace(baggage=baggage), other_name
        # The strongest of two lone decisions, the preferred one of equals.
        if found.decision > held.decision and (found.debug or held.sampled is None):
            return found._replace(baggage=baggage), other_name
        return held._replace(baggage=baggage), preferred_name
    if not found.has_ids:
        return held._replace(baggage=baggage), preferred_name
    if not _same_span(held, found):
        counters.conflict(preferred_name, other_name)
        return held._replace(baggage=baggage), preferred_name
    return _complete(held, found)._replace(baggage=baggage), preferred_name


def _same_span(left: Remote, right: Remote) -> bool:
    """Whether both name one span; a 64-bit peer may have cut the trace id."""
    if left.span_id != right.span_id:
        return False
    if left.trace_id == right.trace_id:
        return True
    cut = left.trace_id <= LOW_64_BITS or right.trace_id <= LOW_64_BITS
    return cut and left.trace_id & LOW_64_BITS == right.trace_id & LOW_64_BITS


def _complete(held: Remote, found: Remote) -> Remote:
    """Return ``held`` with the debug, defer, parent, flags and state that only ``found`` has."""
    debug = held.debug or found.debug
    sampled = held.sampled
    if debug:
        sampled = True
    elif found.sampled is None and not sampled:
        sampled = None  # W3C and Jaeger have no sign for "defer": their 0 may stand for it
    elif sampled is None:
        sampled = found.sampled or None
    # The longer id is the whole one (see ``_same_span``). Flags of both formats have bits of their
    # own: see ``Remote.trace_flags``.
    return held._replace(
        trace_id=max(held.trace_id, found.trace_id),
        parent_id=held.parent_id or found.parent_id,
        sampled=sampled,
        debug=debug,
        tracestate=held.tracestate or found.tracestate,
        trace_flags=held.trace_flags | found.trace_flags,
    )


def _union(base: Mapping[str, str], over: Mapping[str, str]) -> Mapping[str, str]:
    if not base:
        return over
    return {**base, **over} if over else base
