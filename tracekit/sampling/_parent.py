"""Who decides about a span: the person who debugs, the parent, or the sampler of roots.

DEBUG goes before an explicit decision, and that before DEFER, which leaves it to the sampler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import sampling as otel
from opentelemetry.trace import get_current_span

from tracekit import _context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState
    from opentelemetry.util.types import Attributes

_ACCEPT = otel.SamplingResult(otel.Decision.RECORD_AND_SAMPLE)
_DENY = otel.SamplingResult(otel.Decision.DROP)

SAMPLING_PRIORITY = "sampling.priority"
DEBUG_ID = "jaeger-debug-id"


def priority(attributes: Mapping[str, object]) -> _context.Decision:
    """Return what OpenTracing's ``sampling.priority`` among ``attributes`` asks for.

    Above 0 forces the trace (DEBUG), 0 and below forbids it (DENY); absent, or anything that is
    no integer, says nothing (DEFER). Source: the Python client's ``int(value)``.
    """
    value = attributes.get(SAMPLING_PRIORITY)
    if not isinstance(value, str | bytes | int | float):
        return _context.Decision.DEFER
    try:
        level = int(value)
    except (ValueError, OverflowError):
        return _context.Decision.DEFER
    return _context.Decision.DEBUG if level > 0 else _context.Decision.DENY


class ParentRule(otel.Sampler):
    """Follows the parent's decision; asks ``root`` for roots and for parents that left it open.

    Works in any OpenTelemetry provider; tracekit's tracer takes the same steps inline. A start
    attribute ``sampling.priority`` overrides everybody, as it did in the Jaeger clients; a
    decision that arrived without ids (a lone ``b3: 0``, a ``jaeger-debug-id``) binds the roots of
    its context. The answers carry ``sampler.*`` only where ``root`` decided.
    """

    def __init__(self, root: otel.Sampler) -> None:
        self.root = root

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> otel.SamplingResult:
        """Return the decision with the caller's attributes and the parent's trace state."""
        parent = get_current_span(parent_context).get_span_context()
        state = parent.trace_state if parent.is_valid else None
        decision = priority(attributes) if attributes else _context.Decision.DEFER
        if decision is _context.Decision.DEFER:
            if parent.is_valid:
                decision = _decision_of(parent)
            elif (hint := _context.root_hint(parent_context)) is not None:
                decision = hint.decision
                if hint.debug_id is not None:
                    attributes = {**(attributes or {}), DEBUG_ID: hint.debug_id}
        if decision is _context.Decision.DEFER:
            return self.root.should_sample(
                parent_context, trace_id, name, kind, attributes, links, trace_state
            )
        if decision is _context.Decision.DENY:
            return otel.SamplingResult(otel.Decision.DROP, None, state) if state else _DENY
        if attributes or state:
            return otel.SamplingResult(otel.Decision.RECORD_AND_SAMPLE, attributes, state)
        return _ACCEPT

    def get_description(self) -> str:
        """Return the rule and the sampler of roots."""
        return f"ParentRule{{{self.root.get_description()}}}"


def _decision_of(parent: SpanContext) -> _context.Decision:
    if isinstance(parent, _context.SpanContext):
        return parent.decision
    return _context.Decision.ACCEPT if parent.trace_flags.sampled else _context.Decision.DENY
