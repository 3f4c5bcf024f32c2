"""Who decides about a span: the person who debugs, the parent, or the sampler of roots.

DEBUG goes before an explicit decision, and that before DEFER, which leaves it to the sampler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import get_current
from opentelemetry.sdk.trace import sampling as otel
from opentelemetry.trace import get_current_span

from tracekit import _context
from tracekit.sampling._sampler import RootSampler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState
    from opentelemetry.util.types import Attributes


class Forced(otel.SamplingResult):
    """Sampled because a person wants to see the trace; tracekit's tracer takes the ``marks``."""

    marks = _context.DEBUG


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

    Works in any OpenTelemetry provider. A start attribute ``sampling.priority`` overrides
    everybody, as it did in the Jaeger clients; a decision that arrived without ids (a lone
    ``b3: 0``, a ``jaeger-debug-id``) binds the roots of its context. The answers carry
    ``sampler.*`` only where ``root`` decided; ``debug_id_tag`` is what holds a debug id.
    """

    follows_parents = True
    """Tells tracekit's tracer that it may follow a local parent by itself, without asking, unless
    a start attribute ``sampling.priority`` is there."""

    def __init__(self, root: otel.Sampler, *, debug_id_tag: str = DEBUG_ID) -> None:
        self.root = root
        self.by_operation = root.by_operation if isinstance(root, RootSampler) else True
        """Whether the operation's name can change the answer about a root."""
        self._debug_id_tag = debug_id_tag
        self.decide_root = root.decide if isinstance(root, RootSampler) else None
        """For tracekit's tracer: what ``root`` says of a trace id and an operation. Where this
        class' ``should_sample`` is not overridden, it may be asked at once about a root for which
        neither a start attribute ``sampling.priority`` nor a decision that arrived speaks."""

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
        context = get_current() if parent_context is None else parent_context
        if (told := self._told(context, attributes)) is not None:
            return told
        return self.root.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def _told(self, context: Context, attributes: Attributes) -> otel.SamplingResult | None:
        """Return what a person or the parent decided; None if it is up to the root sampler."""
        parent = get_current_span(context).get_span_context()
        state = parent.trace_state if parent.is_valid else None
        decision = priority(attributes) if attributes else _context.Decision.DEFER
        if decision is _context.Decision.DEFER:
            if parent.is_valid:
                decision = _decision_of(parent)
            elif (hint := _context.root_hint(context)) is not None:
                decision = hint.decision
                if hint.debug_id is not None:
                    attributes = {**(attributes or {}), self._debug_id_tag: hint.debug_id}
        if decision is _context.Decision.DEFER:
            return None
        if decision is _context.Decision.DENY:
            return otel.SamplingResult(otel.Decision.DROP, None, state) if state else _DENY
        if decision is _context.Decision.DEBUG:
            return Forced(otel.Decision.RECORD_AND_SAMPLE, attributes, state)
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


def state_of(sampler: otel.Sampler) -> dict[str, object]:
    """Return what ``sampler`` does now, as plain values for a person to read.

    Each of ours says so itself: to import another one's module takes a descriptor, and who asks may
    have none left.
    """
    if isinstance(sampler, ParentRule):
        return state_of(sampler.root)
    if isinstance(sampler, RootSampler):
        return sampler.figures()
    return {"type": sampler.get_description()}
