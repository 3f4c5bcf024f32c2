"""The span of a trace that nobody sampled and that may yet be wanted, and how it begins.

All roads of ``begin`` stay as they are: here stands what a provider with a rule does before and
after them, so a provider without one pays nothing.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace

from tracekit._context import DEFER, Decision, get_current, marks_of, root_hint
from tracekit._process.tally import DIVIDED
from tracekit._protocols import MARKS_SHIFT, PlainAttributes
from tracekit.sampling._parent import SAMPLING_PRIORITY
from tracekit.tracing._begin import begin, valid_links
from tracekit.tracing._local_trace import Buffer, LocalTrace
from tracekit.tracing._locked_span import SPAN
from tracekit.tracing._make import recording
from tracekit.tracing._readable import SAMPLED
from tracekit.tracing._shared import SharedState
from tracekit.tracing._span import Span, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import Attributes

    from tracekit.sampling._keep import KeepRule
    from tracekit.tracing._attributes import Bag
    from tracekit.tracing._begin import Arguments

if TYPE_CHECKING:
    _Recording = Span
else:
    _Recording = SPAN
_DEFER_BIT = DEFER << MARKS_SHIFT
_new = object.__new__
_COST = 16
"""Bytes of an attribute beside a text."""


class KeepingState(SharedState, Protocol):
    """A provider with a rule, as the spans know it. See ``KeepingTracerProvider``."""

    store: Callable[[], Buffer[KeptSpan]]

    def rule_of(self, operation: str) -> KeepRule | None:
        """Return the rule of a local root."""

    def _judge(self, local: LocalTrace[KeptSpan], root: KeptSpan) -> None:
        """Decide a trace whose local root has ended."""

    def _promote(
        self, local: LocalTrace[KeptSpan], root: KeptSpan, reason: str, *, capped: bool = True
    ) -> None:
        """Decide for a trace, and report what has ended of it."""

    def _report(self, span: KeptSpan) -> None:
        """Hand on a span that has ended and was promoted."""

    def _tell(self, store: Buffer[KeptSpan]) -> None:
        """Tell span processors of the end of spans that were discarded."""


class KeptSpan(_Recording):
    """A recording span whose trace is undecided until its local root ends; not sampled so far."""

    __slots__ = ("_local",)
    _local: LocalTrace[KeptSpan]

    def end(self, end_time: int | None = None) -> None:  # noqa: C901 - one road, see ``begin``
        """End the span; with the local root its trace is decided. See ``Span.end``."""
        local = self._local
        store = local.store
        if not local.live.pop(self, False):
            if store.process.mark[0]:
                with store.lock:  # a verdict that samples this very span is waited for
                    pass
            super().end(end_time)
            return
        self._end_time = time_ns() if end_time is None else end_time
        del self._process
        guard = self._guard
        if guard is not None:
            with guard:  # as in ``Span.end``
                pass
        if not store.process.mark[0]:
            self._tracer._provider._ended_abroad()
            return
        attributes = self._attrs
        size = _COST * len(attributes)
        for value in attributes.values():
            if value.__class__ is str:
                size += len(value)
            elif value.__class__ is tuple:
                size += _size(value)
        if self._added_events:
            size += size_of(self._added_events)
        if DIVIDED:
            store.charge(local, size)
        else:
            local.bytes += size
            store.bytes += size
        local.done.append(self)
        if local.root is self or local.decided or store.bytes > store.max_bytes or store.parted:
            self._over(local)

    def _over(self, local: LocalTrace[KeptSpan]) -> None:
        """Do what an end may bring about."""
        provider: KeepingState = self._tracer._provider  # type: ignore[assignment]
        store = local.store
        if local.decided:
            with store.lock:
                store.bytes -= local.bytes
                local.bytes = 0
            if store.ended_late(local, self):
                provider._report(self)
        else:
            if store.bytes > store.max_bytes:
                store.make_room()
            if local.root is self:
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
        if decision in (Decision.ACCEPT, Decision.DEBUG) and local.store.process.mark[0]:
            if local.root is self:
                provider: KeepingState = self._tracer._provider  # type: ignore[assignment]
                provider._promote(local, self, "forced", capped=False)
            elif local.live.pop(self, False):
                local.store.release()
                self._settle()
        super()._force(decision)


def size_of(events: list[tuple[str, int, Bag]]) -> int:
    """Return about how many bytes the attributes of events take."""
    return sum(
        _COST + (len(value) if isinstance(value, str) else _size(value))
        for _, _, (attributes, _) in events
        for value in attributes.values()
    )


def _size(value: object) -> int:
    if not isinstance(value, tuple):
        return 0
    return sum(len(each) if isinstance(each, str | bytes) else _COST for each in value)


def begin_kept(arguments: Arguments, parent: Any) -> trace.Span:  # noqa: ANN401, C901 - see ``begin``
    """Start a span below ``parent``, as ``begin``; if nobody samples it, a rule may want it yet."""
    if type(parent) is KeptSpan:
        local = parent._local
        store = local.store
        tracer, name, _, kind, attributes, links, start_time, record, set_status, _ = arguments
        process = tracer._states.current
        if not process.mark[0]:
            process = tracer._states.now()
        if store.process is process:
            provider = tracer._provider
            if local.decided or (attributes is not None and _has_priority(attributes)):
                return begin(arguments, parent)
            process.unsampled += 1
            if provider._own_ids:
                try:  # TracingState.draw(), without the call
                    span_id = process.stock.pop() or process.draw()
                except IndexError:
                    span_id = process.draw()
            else:
                span_id = provider.id_generator.generate_span_id()
            span = _new(KeptSpan)
            span._local = local
            span._trace_id = parent._trace_id
            span._state = parent._state
            span._source = parent._span_id
            span._tracer = tracer
            span._process = process
            span._name = name
            span._kind = kind
            span._span_id = span_id
            span._bits = parent._bits
            span._made = None
            span._guard = None
            span._end_time = None
            span._added_events = None
            span._attrs = {}
            if attributes or links or not record or not set_status:
                _complete(span, arguments)
            span._start_time = time_ns() if start_time is None else start_time
            store.recorded += 1
            local.live[span] = True
            if local.decided:
                store.begun_late(local, span)
            if store.recorded > store.full_at:
                store.make_room()
            if provider._processors:
                provider._notify_start(span, arguments[2])
                if store.parted:
                    provider._tell(store)  # type: ignore[attr-defined] # its own kind
            return span
    quiet = begin(arguments, parent)
    return _local_root(arguments, parent, quiet) if isinstance(quiet, UnsampledSpan) else quiet


def _local_root(arguments: Arguments, parent: Any, quiet: UnsampledSpan) -> trace.Span:  # noqa: ANN401
    """Return a local root in the place of ``quiet``, with its ids; or ``quiet`` if none may be."""
    tracer, name, context, _, attributes, _, _, _, _, _ = arguments
    provider: KeepingState = tracer._provider  # type: ignore[assignment]
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
    provider: KeepingState = tracer._provider  # type: ignore[assignment]
    store = provider.store()
    bits = quiet._bits | _DEFER_BIT if rule.defer else quiet._bits & ~_DEFER_BIT
    name, kind, start_time = arguments[1], arguments[3], arguments[6]
    moment = time_ns() if start_time is None else start_time
    trace_id, span_id, state = quiet._trace_id, quiet._span_id, quiet._state
    root: KeptSpan = recording(  # type: ignore[assignment] # of the class asked for
        tracer,
        store.process,
        trace_id,
        span_id,
        bits,
        state,
        above,
        name,
        kind,
        {},
        moment,
        KeptSpan,
    )
    _complete(root, arguments)
    local = root._local = LocalTrace(store, rule, partial)
    if not store.begin(local, root):
        return quiet
    if provider._processors:
        provider._notify_start(root, arguments[2])
    if store.parted:
        provider._tell(store)
    return root


def _complete(span: KeptSpan, arguments: Arguments) -> None:
    """Give a span what few have from the start."""
    tracer, _, _, _, attributes, links, _, record, set_status, _ = arguments
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
