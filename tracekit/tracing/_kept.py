"""The span of a trace that nobody sampled and that may yet be wanted, and how it begins.

All roads of ``begin`` stay as they are: here stands what a provider with a rule does before and
after them, so a provider without one pays nothing.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from tracekit._context import DEFER, Decision, get_current, marks_of, root_hint
from tracekit._protocols import MARKS_SHIFT, PlainAttributes
from tracekit.sampling._parent import SAMPLING_PRIORITY
from tracekit.tracing._begin import begin, valid_links
from tracekit.tracing._local_trace import LocalTrace
from tracekit.tracing._locked_span import SPAN
from tracekit.tracing._make import recording
from tracekit.tracing._readable import SAMPLED
from tracekit.tracing._span import Span, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import Attributes, AttributeValue

    from tracekit.sampling._keep import KeepRule
    from tracekit.tracing._begin import Arguments
    from tracekit.tracing._keeping import KeepingTracerProvider
    from tracekit.tracing._life import Life

if TYPE_CHECKING:
    _Recording = Span
else:
    _Recording = SPAN
_DEFER_BIT = DEFER << MARKS_SHIFT
_COST = 8
"""Bytes of a value that is no text."""


class KeptSpan(_Recording):
    """A recording span whose trace is undecided until its local root ends; not sampled so far."""

    __slots__ = ("_local",)
    _local: LocalTrace

    def end(self, end_time: int | None = None) -> None:
        """End the span; with the local root its trace is decided. See ``Span.end``."""
        local = self._local
        mine = local.live.pop(self, False)
        if not mine and local.store.life.mark[0]:
            with local.store.lock:  # a verdict that samples this very span is waited for
                pass
        if not mine:
            super().end(end_time)
            return
        self._end_time = time_ns() if end_time is None else end_time
        del self._life
        guard = self._guard
        if guard is not None:
            with guard:  # as in ``Span.end``
                pass
        provider: KeepingTracerProvider = self._tracer._provider  # type: ignore[assignment]
        store = local.store
        if not store.life.mark[0]:
            provider._ended_abroad()
        elif store.finish(local, self, size_of(self)):
            provider._report(self)
        elif local.root is self:
            provider._judge(local, self)
        if store.parted:
            provider._tell(store)

    def _begin_sampled(self) -> None:
        """Be a sampled span from now on, while live; called under the buffer's lock."""
        self._settle(SAMPLED)
        self._tracer._provider.reporter.on_start(self)

    def _settle(self, bits: int = 0) -> None:
        """Say no longer that the decision is open, and set ``bits``."""
        self._bits = self._bits & ~_DEFER_BIT | bits
        self._made = None

    def _force(self, decision: Decision) -> None:
        """Change what was decided; of a local root, for its whole local trace."""
        local = self._local
        if decision in (Decision.ACCEPT, Decision.DEBUG) and local.store.life.mark[0]:
            if local.root is self:
                provider: KeepingTracerProvider = self._tracer._provider  # type: ignore[assignment]
                provider._promote(local, self, "forced", capped=False)
            elif local.live.pop(self, False):
                local.store.release()
                self._settle()
        super()._force(decision)


def size_of(span: KeptSpan) -> int:
    """Return about how many bytes the attributes of a span and of its events take."""
    size = _size(span._attrs)
    events = span._added_events
    if events:
        for _, _, (attributes, _) in events:
            size += _size(attributes)
    return size


def _size(attributes: Mapping[str, AttributeValue]) -> int:
    size = 2 * _COST * len(attributes)
    for value in attributes.values():
        if value.__class__ is str:
            size += len(value)
        elif value.__class__ is tuple:
            size += sum(len(each) if isinstance(each, str) else _COST for each in value)
    return size


def begin_kept(arguments: Arguments, parent: Any) -> trace.Span:  # noqa: ANN401 - see ``begin``
    """Start a span below ``parent``, as ``begin``; if nobody samples it, a rule may want it yet."""
    if type(parent) is KeptSpan:
        local = parent._local
        tracer, _, _, _, attributes, _, _, _, _, _ = arguments
        life = tracer._lives.now()
        if local.store.life is life:
            if local.promoted or local.verdict is not None or _has_priority(attributes):
                return begin(arguments, parent)
            life.unsampled += 1
            provider = tracer._provider
            own = provider._own_ids
            span_id = life.draw() if own else provider.id_generator.generate_span_id()
            child = _make(
                arguments, life, parent._trace_id, span_id, parent._bits, parent._state,
                parent._span_id,
            )  # fmt: skip
            child._local = local
            store = local.store
            store.add(local, child)  # (if it comes too late, it is an unsampled span)
            if store.parted:
                provider._tell(store)  # type: ignore[attr-defined]
            if provider._processors:
                provider._notify_start(child, arguments[2])
            return child
    quiet = begin(arguments, parent)
    return _local_root(arguments, parent, quiet) if isinstance(quiet, UnsampledSpan) else quiet


def _local_root(arguments: Arguments, parent: Any, quiet: UnsampledSpan) -> trace.Span:  # noqa: ANN401
    """Return a local root in the place of ``quiet``, with its ids; or ``quiet`` if none may be."""
    tracer, name, context, _, attributes, _, _, _, _, _ = arguments
    provider: KeepingTracerProvider = tracer._provider  # type: ignore[assignment]
    rule = provider.rule_of(name)
    if rule is None or not rule.conditions:
        return quiet
    above = _above(parent)
    partial = above is not None and not marks_of(above) & DEFER and type(parent) is not KeptSpan
    if partial and not rule.override:
        return quiet
    if type(parent) is UnsampledSpan or type(parent) is SPAN or _has_priority(attributes):
        return quiet  # decided in this process, by a rule or by somebody
    if above is None:
        hint = root_hint(get_current() if context is None else context)
        if hint is not None and hint.decision is Decision.DENY:
            return quiet
    return _root_of(arguments, rule, quiet, above, partial=partial)


def _root_of(
    arguments: Arguments,
    rule: KeepRule,
    quiet: UnsampledSpan,
    above: SpanContext | None,
    *,
    partial: bool,
) -> trace.Span:
    tracer = arguments[0]
    provider: KeepingTracerProvider = tracer._provider  # type: ignore[assignment]
    store = provider.store()
    bits = quiet._bits | _DEFER_BIT if rule.defer else quiet._bits & ~_DEFER_BIT
    root = _make(arguments, store.life, quiet._trace_id, quiet._span_id, bits, quiet._state, above)
    local = root._local = LocalTrace(store, rule, partial)
    if not store.begin(local, root):
        return quiet
    if provider._processors:
        provider._notify_start(root, arguments[2])
    if store.parted:
        provider._tell(store)
    return root


def _make(
    arguments: Arguments,
    life: Life,
    trace_id: int,
    span_id: int,
    bits: int,
    state: trace.TraceState,
    source: SpanContext | int | None,
) -> KeptSpan:
    tracer, name, _, kind, attributes, links, start_time, record, set_status, _ = arguments
    moment = time_ns() if start_time is None else start_time
    span: KeptSpan = recording(
        tracer, life, trace_id, span_id, bits, state, source, name, kind, {}, moment, KeptSpan
    )  # type: ignore[assignment]
    if attributes:
        rules = tracer._limits.span
        if (
            attributes.__class__ is PlainAttributes
            and rules.trusting
            and len(attributes) <= rules.room
        ):
            span._attrs = {**attributes}
        else:
            span._attrs, dropped = rules.clean(attributes)
            if dropped:
                span._dropped = dropped
    if links:
        span._added_links = valid_links(tracer, links)
    if not record:
        span._record_exception = False
    if not set_status:
        span._set_status_on_exception = False
    return span


def _above(parent: object) -> SpanContext | None:
    """Return what a parent that a context holds says of itself, if it is valid."""
    if parent is None or not isinstance(parent, trace.Span):
        return None
    found = parent.get_span_context()
    return found if found.is_valid else None


def _has_priority(attributes: Attributes) -> bool:
    try:
        return attributes is not None and SAMPLING_PRIORITY in attributes
    except Exception:  # no mapping, or one that raises: ``begin`` tells of it
        return True
