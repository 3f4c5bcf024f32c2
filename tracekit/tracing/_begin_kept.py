"""How a span begins whose trace nobody sampled and a rule may yet want.

All roads of ``begin`` stay as they are: here stands what a provider with a rule does before and
after them, so a provider without one pays nothing.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from tracekit._context import DEFER, ROOT_HINT_KEY, Decision, get_current, marks_of, root_hint
from tracekit._protocols import PlainAttributes
from tracekit.sampling._parent import SAMPLING_PRIORITY
from tracekit.tracing._begin import begin, valid_links
from tracekit.tracing._kept import DEFER_BIT, UNCOUNTED, KeptSpan
from tracekit.tracing._local_trace import LocalTrace
from tracekit.tracing._locked_span import SPAN
from tracekit.tracing._make import recording
from tracekit.tracing._span import UnsampledSpan

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import Attributes

    from tracekit.sampling._keep import KeepRule
    from tracekit.tracing._begin import Arguments
    from tracekit.tracing._kept import KeepingState

_new = object.__new__


def begin_kept(arguments: Arguments, parent: Any) -> trace.Span:  # noqa: ANN401, C901 - see ``begin``
    """Start a span below ``parent``, as ``begin``; if nobody samples it, a rule may want it yet."""
    if type(parent) is KeptSpan:
        local = parent._local
        store = local.store
        tracer, name, _, kind, attributes, links, start_time, record, set_status, _ = arguments
        process = tracer._states.current
        if store.process is process and process.mark[0]:  # of this provider, and of this process
            provider = tracer._provider
            if local.decided or (attributes is not None and _has_priority(attributes)):
                return begin(arguments, parent)
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
            span._texts = 0
            if attributes or links or not record or not set_status:
                _complete(span, arguments)
            span._start_time = time_ns() if start_time is None else start_time
            store.recorded += 1
            local.spans.append(span)
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
    name, context, attributes = arguments[1], arguments[2], arguments[4]
    provider: KeepingState = arguments[0]._provider  # type: ignore[assignment]
    rule = provider.rule_of(name)
    if rule is None or not rule.conditions:
        return quiet
    above, partial = None, False
    if parent is not None:
        above = _above(parent)
        partial = above is not None and not marks_of(above) & DEFER and type(parent) is not KeptSpan
        if partial and not rule.override:
            return quiet
        if type(parent) is UnsampledSpan or type(parent) is SPAN:
            return quiet  # decided in this process
    if attributes is not None and _has_priority(attributes):
        return quiet  # decided by somebody
    if above is None:
        held = get_current() if context is None else context
        if ROOT_HINT_KEY in held:
            hint = root_hint(held)
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
    tracer, name, _, kind, attributes, links, start_time, record, set_status, _ = arguments
    provider: KeepingState = tracer._provider  # type: ignore[assignment]
    store = provider.store()
    bits = quiet._bits | DEFER_BIT if rule.defer else quiet._bits & ~DEFER_BIT
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
    if attributes or links or not record or not set_status:
        _complete(root, arguments)
    root._texts = UNCOUNTED
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
        span._texts = UNCOUNTED
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
