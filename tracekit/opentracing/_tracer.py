"""``opentracing.Tracer`` over a handle: finds the parent, starts OpenTelemetry's span, shows it."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, TypeAlias

import opentracing
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT
from opentracing.ext import tags as ext

from tracekit._assembly.handle import HasTracing, Tracing, resolve
from tracekit._context import (
    DEBUG,
    FORWARDED_KEY,
    ROOT_HINT_KEY,
    SPAN_KEY,
    Decision,
    forwarded_headers,
    get_current,
    root_hint,
)
from tracekit._protocols import REF_TYPE
from tracekit.opentracing import _carriers, _tags
from tracekit.opentracing._scopes import ContextScopeManager, MirroredScopeManager
from tracekit.opentracing._span import Span, nanoseconds
from tracekit.opentracing._span_context import (
    BAGGAGE_KEY,
    NO_BAGGAGE,
    SpanContext,
    baggage_of,
)
from tracekit.sampling._parent import priority
from tracekit.tracing import Span as RecordingSpan
from tracekit.tracing import Tracer as RecordingTracer
from tracekit.tracing import TracerProvider, Unrecorded, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tracekit._context import Headers
    from tracekit.opentracing._scopes import Scope

    Parent: TypeAlias = (
        "opentracing.Span | opentracing.SpanContext | trace.Span | trace.SpanContext"
    )

_log = logging.getLogger("tracekit")
_NO_SCOPE = InstrumentationScope("")
"""OpenTracing has no instrumentation scopes, so none stands on the spans (see the rationale)."""


class Tracer(opentracing.Tracer):
    """OpenTracing's tracer on a handle's pipeline. Any thread may use it.

    ``tracing`` is the handle, which every edge's ``tracing=`` finds when it is given this tracer.
    """

    def __init__(
        self,
        tracing: Tracing | HasTracing | None = None,
        scope_manager: opentracing.ScopeManager | None = None,
        values: _tags.ValueRules = _tags.AS_THEY_ARE,
    ) -> None:
        if tracing is not None:
            resolve(tracing)  # TypeError now, not at the first span
        super().__init__(_manager(scope_manager).show_by(self.span_of))
        self._given = tracing
        self.values = values
        self._bound: tuple[Tracing, trace.Tracer] | None = None
        self._shown: weakref.WeakValueDictionary[int, Span] = weakref.WeakValueDictionary()

    @property
    def tracing(self) -> Tracing:
        """The handle that spans go to now."""
        return resolve(self._given)

    def start_span(
        self,
        operation_name: str | None = None,
        child_of: Parent | None = None,
        references: opentracing.Reference | Sequence[opentracing.Reference] | None = None,
        tags: Mapping[str, object] | None = None,
        start_time: float | None = None,
        ignore_active_span: bool = False,
    ) -> Span:
        """Start a span, below ``child_of``, the first of ``references``, or the active span.

        ``child_of`` may be a span or span context of either API; what is none of them counts as
        no parent. ``start_time`` in seconds since the epoch (None: now).
        """
        linked = linked_to(references) if references else []
        parent = self._parent(child_of, linked, ignore_active_span)
        base = self._base(parent, ignore_active_span)
        above = _current_context(base)
        tags = _prioritised(tags, parent)
        kind, attributes = _tags.at_start(tags, self.values)
        links = [
            trace.Link(context.otel, {REF_TYPE: ref_type})
            for ref_type, context in linked
            if context.has_trace
        ]
        name, start_ns = _tags.text(operation_name or ""), nanoseconds(start_time)
        tracer = self.recorder()
        otel = tracer.start_span(name, base, kind, attributes or None, links, start_ns)
        unrecorded = hint = None
        if isinstance(otel, UnsampledSpan):
            if isinstance(tracer, RecordingTracer):
                unrecorded = Unrecorded.of(tracer, base, above, name, kind, links, start_ns)
        elif not isinstance(otel, RecordingSpan):  # tracing is disabled: what arrived goes on
            hint = root_hint(base)
        if ext.ERROR in attributes:
            _tags.mark(otel, attributes[ext.ERROR])
        forwarded: Headers = base.get(FORWARDED_KEY, ())  # type: ignore[assignment] # our own key
        context = SpanContext.of(otel, baggage_of(base), forwarded, hint, above.span_id or None)
        return self._show(otel, context, unrecorded)

    def start_active_span(
        self,
        operation_name: str | None = None,
        child_of: Parent | None = None,
        references: opentracing.Reference | Sequence[opentracing.Reference] | None = None,
        tags: Mapping[str, object] | None = None,
        start_time: float | None = None,
        ignore_active_span: bool = False,
        finish_on_close: bool = True,
    ) -> Scope:
        """Start a span as ``start_span`` does and make it active until the scope is closed."""
        span = self.start_span(
            operation_name, child_of, references, tags, start_time, ignore_active_span
        )
        scope: Scope = self.scope_manager.activate(span, finish_on_close)
        return scope

    def inject(self, span_context: Parent, format: object, carrier: object) -> None:  # noqa: A002 (OpenTracing's word)
        """Write a span or span context into ``carrier``: TEXT_MAP, HTTP_HEADERS or BINARY.

        Raises UnsupportedFormatException, and InvalidCarrierException for a carrier that does not
        go with its format. What is no span of ours writes nothing.
        """
        context = context_of(span_context) or SpanContext(None, None)
        _carriers.inject(self.tracing, context, format, carrier)

    def extract(self, format: object, carrier: object) -> SpanContext | None:  # noqa: A002 (likewise)
        """Return the span context in ``carrier``; None if there is none, or a malformed one.

        Raises as ``inject`` does.
        """
        return _carriers.extract(self.tracing, format, carrier)

    def span_of(self, span: trace.Span, context: Context | None = None) -> Span:
        """Return the OpenTracing span that shows ``span``: always the same one while it is held.

        ``context`` is where the span's baggage stands (None: in the current one, if the span is
        the current one there).
        """
        known = self._shown.get(id(span))
        if known is not None:
            return known
        held = get_current() if context is None else context
        if context is None and held.get(SPAN_KEY) is not span:
            return self._show(span, SpanContext.of(span))
        return self._show(span, SpanContext.of(span, baggage_of(held), forwarded_headers(held)))

    def _show(
        self,
        otel: trace.Span,
        context: SpanContext,
        unrecorded: Unrecorded | None = None,
    ) -> Span:
        span = self._make(otel, context, unrecorded)
        if otel is not trace.INVALID_SPAN:
            self.remember(span)
        return span

    def remember(self, span: Span) -> None:
        """Let ``span_of`` answer with ``span`` for what it shows, while somebody holds it."""
        # The span holds ``otel``: while this entry lives, its id belongs to no other object.
        self._shown[id(span.otel)] = span

    def _parent(
        self,
        child_of: Parent | None,
        linked: list[tuple[str, SpanContext]],
        ignore_active_span: bool,
    ) -> SpanContext | None:
        """Return what a new span is the child of, active one included."""
        explicit = context_of(child_of)
        if explicit is not None:
            return explicit
        if linked:
            return linked[0][1]
        return None if ignore_active_span else self._active_context()

    def _active_context(self) -> SpanContext | None:
        active = self.active_span
        return None if active is None else context_of(active)

    def _base(self, parent: SpanContext | None, ignore_active_span: bool) -> Context:
        """Return the OpenTelemetry context in which a span below ``parent`` starts."""
        current = get_current()
        if parent is not None:
            return parent.enter(current)
        if ignore_active_span or _current_context(current).is_valid:
            # There is a current span, and somebody says that it is not the parent.
            left_out = (SPAN_KEY, BAGGAGE_KEY, ROOT_HINT_KEY)
            return Context({key: it for key, it in current.items() if key not in left_out})
        return current

    def recorder(self) -> trace.Tracer:
        """Return OpenTelemetry's tracer on which the spans of this one are started."""
        handle, bound = self.tracing, self._bound
        if bound is None or bound[0] is not handle:
            provider = handle.provider
            made = (
                provider.tracer_class(provider, _NO_SCOPE)
                if isinstance(provider, TracerProvider)
                else provider.get_tracer("opentracing")
            )
            bound = self._bound = (handle, made)
        return bound[1]

    def _make(self, otel: trace.Span, context: SpanContext, unrecorded: Unrecorded | None) -> Span:
        """Make what shows ``otel``; a tracer with spans of its own kind makes one of those."""
        return Span(self, otel, context, unrecorded)


def _current_context(context: Context) -> trace.SpanContext:
    """Return the span context that is current in ``context``; most roots start where none is."""
    if SPAN_KEY not in context:
        return INVALID_SPAN_CONTEXT
    return trace.get_current_span(context).get_span_context()


def _manager(given: opentracing.ScopeManager | None) -> ContextScopeManager:
    if given is None or type(given) is opentracing.ScopeManager:  # the latter does nothing
        return ContextScopeManager()
    return given if isinstance(given, ContextScopeManager) else MirroredScopeManager(given)


def context_of(given: object) -> SpanContext | None:
    """Return the context of a span or span context of either API; None for all else."""
    if isinstance(given, SpanContext):
        return given
    if isinstance(given, Span):
        return given.context
    if isinstance(given, trace.Span):
        current = get_current()
        baggage = baggage_of(current) if current.get(SPAN_KEY) is given else NO_BAGGAGE
        return SpanContext.of(given, baggage)
    if isinstance(given, trace.SpanContext):
        return SpanContext.of(trace.NonRecordingSpan(given))
    if given is not None:
        _log.debug("%s is no span context of tracekit's: no parent", type(given).__name__)
    return None


def linked_to(
    references: opentracing.Reference | Sequence[opentracing.Reference] | None,
) -> list[tuple[str, SpanContext]]:
    """Return the references that lead somewhere."""
    if isinstance(references, opentracing.Reference):
        references = [references]
    found = ((ref.type, context_of(ref.referenced_context)) for ref in references or ())
    return [(ref_type, context) for ref_type, context in found if context is not None]


def _prioritised(
    given: Mapping[str, object] | None, parent: SpanContext | None
) -> Mapping[str, object] | None:
    """Leave out a ``sampling.priority`` that says nothing, or what is decided already."""
    if not given or ext.SAMPLING_PRIORITY not in given:
        return given
    value = given[ext.SAMPLING_PRIORITY]
    decision = priority({ext.SAMPLING_PRIORITY: value})
    forced = parent is not None and bool((parent.flags or 0) & DEBUG)
    if decision is Decision.DEFER or (decision is Decision.DEBUG and forced):
        return {key: item for key, item in given.items() if key != ext.SAMPLING_PRIORITY}
    return given
