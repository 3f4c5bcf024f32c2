"""The tracer: OpenTelemetry's two methods, and nothing between them and the hot path."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from tracekit._context import SPAN_KEY, get_current, with_span
from tracekit._context import SpanContext as Remote
from tracekit.propagation._extracted import enter, trace_state
from tracekit.tracing._begin import begin
from tracekit.tracing._make import recording, root, unsampled
from tracekit.tracing._readable import SAMPLED
from tracekit.tracing._scope import CurrentSpan
from tracekit.tracing._span import UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext
    from opentelemetry.util.types import Attributes, AttributeValue

    from tracekit.propagation._remote import Extracted
    from tracekit.tracing._shared import SharedState
    from tracekit.tracing._span import Span

    Describe = Callable[..., dict[str, AttributeValue]]

_INTERNAL = SpanKind.INTERNAL
_SERVER = SpanKind.SERVER
_INSTRUMENTATIONS = ("opentelemetry.instrumentation.", "fastapi")
"""How the scopes begin whose server spans are of HTTP, and leave probes out as our edges do."""
_NO_STATE = trace.DEFAULT_TRACE_STATE
_RANDOM = 0x02
"""The trace flag that is no decision."""
_PLAIN_BITS = _RANDOM | SAMPLED
_TRACE_FLAGS = tuple(map(trace.TraceFlags, range(4)))
EMPTY = Context()
_tuple = tuple.__new__  # SpanContext's own would check the ranges that decoders have checked


class Tracer(trace.Tracer):
    """Starts the spans of one instrumentation scope. Any thread may use it."""

    def __init__(self, provider: SharedState, scope: InstrumentationScope) -> None:
        self.scope = scope
        self.leader: trace.Tracer | None = None
        """Who starts the spans of a decorator when its function is called; None: this one."""
        self._provider = provider
        self._limits = provider._limits
        self._states = provider._states
        self._leaves_probes = scope.name.startswith(_INSTRUMENTATIONS)

    begin = staticmethod(begin)
    """``start_span`` for edges: a tuple of all its arguments, and the span of the context."""

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span without making it current; see ``opentelemetry.trace.Tracer``.

        ``start_time`` in ns since the epoch. Never raises: a sampler or processor that does is
        logged and counted.
        """
        parent = (get_current() if context is None else context).get(SPAN_KEY)
        if (
            kind is _SERVER
            and self._leaves_probes
            and (left := self._left(parent, attributes)) is not None
        ):
            return left
        arguments = (
            self,
            name,
            context,
            kind,
            attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
            True,
        )
        return begin(arguments, parent)

    def _left(self, parent: object, attributes: Attributes) -> trace.Span | None:
        """Return the span for a health probe that another instrumentation serves, None for others.

        Our own edges record no probe, so neither is this one: the span is not recorded, and spans
        below it become children of the caller.
        """
        try:
            from tracekit._calls.http import asks_for_probe  # noqa: PLC0415 - few tracers ever ask

            if not attributes or not asks_for_probe(attributes):
                return None
            if isinstance(parent, trace.Span) and parent.get_span_context().is_valid:
                return trace.NonRecordingSpan(parent.get_span_context())
        except Exception:  # attributes, or a span, of somebody else's
            return None
        process = self._states.now()
        process.roots[0] += 1
        trace_id = process.draw_trace_id(self._provider._wide)
        return unsampled(trace_id, process.draw(), self._provider._random_bit, _NO_STATE)

    def start_as_current_span(  # type: ignore[override]  # ours is no contextlib generator
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Return a context manager, or decorator, that starts a span and makes it current."""
        made = CurrentSpan()
        made._arguments = (
            self,
            name,
            context,
            kind,
            attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
            end_on_exit,
        )
        return made

    def led_by(self, leader: trace.Tracer) -> Tracer:
        """Return the same tracer, whose decorators start their spans with ``leader``."""
        led = type(self)(self._provider, self.scope)
        led.leader = leader
        return led

    def passes_on(self, extracted: Extracted) -> bool:
        """Return whether all that is to be done below what arrived is to ``pass_on``.

        If so the parent, and it alone, has decided: that nobody is to hear of this, and it says no
        more than its ids. Otherwise ``start_span`` knows what to do. For edges that look before
        they begin a call.
        """
        fields = extracted[0]
        if fields is None or fields[3] is not False or not self._provider._inline:
            return False
        return fields[0] != 0 and not fields[7] and not fields[8] & ~_RANDOM

    def pass_on(self, extracted: Extracted) -> UnsampledSpan:
        """Return a new unsampled span below what arrived; for which ``passes_on`` was True."""
        fields = extracted[0]
        assert fields is not None  # noqa: S101 (as ``passes_on`` has found)
        process = self._states.current
        if not process.mark[0]:
            process = self._states.now()
        process.joined[0] += 1
        try:  # TracingState.draw(), without the call
            span_id = process.stock.pop() or process.draw()
        except IndexError:
            span_id = process.draw()
        span: UnsampledSpan = UnsampledSpan()  # ``unsampled``, without the call
        span._trace_id = fields[0]
        span._span_id = span_id
        span._bits = fields[8]
        span._state = _NO_STATE
        span._made = None
        return span

    def join(  # noqa: C901, PLR0912 - one road, see ``begin``
        self,
        extracted: Extracted,
        name: str,
        kind: SpanKind,
        attributes: Describe | None = None,
        base: Context = EMPTY,
        start_time: int | None = None,
        subject: object = None,
    ) -> tuple[trace.Span, Context]:
        """Start the span that answers what arrived; return it, and ``base`` with it as current.

        For edges: as ``start_span`` in the context that ``enter(extracted, base)`` makes, without
        making what nobody would look at. ``attributes(subject)``, without one ``attributes()``, is
        asked for the start attributes if the span records; its dictionary is taken over and must
        not be kept, but for ``PlainAttributes``, which are copied.
        ``start_time`` in ns since the epoch. Never raises, but what ``attributes`` raises.
        """
        provider = self._provider
        fields, captured = extracted
        process = self._states.current
        if not process.mark[0]:
            process = self._states.now()
        found: Mapping[str, AttributeValue] | None = None
        source: SpanContext | None = None
        baggage: Mapping[str, str] | None = None
        if not provider._inline:
            return self._join_by_rule(extracted, name, kind, attributes, base, start_time, subject)
        if fields is not None and fields[0]:
            trace_id, parent_id, _, sampled, debug, _, baggage, tracestate, bits = fields
            if sampled is None or debug or bits & ~_PLAIN_BITS:  # undecided, or marked
                return self._join_by_rule(
                    extracted, name, kind, attributes, base, start_time, subject
                )
            state = trace_state(tracestate) if tracestate else _NO_STATE
            bits &= _RANDOM  # a header of Jaeger's says by a bit of its own that it is sampled
            if sampled:
                bits |= SAMPLED
                flags = _TRACE_FLAGS[bits]
                source = _tuple(Remote, (trace_id, parent_id, True, flags, state, True))
            process.joined[sampled] += 1
        elif (
            base or provider._decide_root is None or (fields is not None and fields[3] is not None)
        ):
            # Below a span of this process, a sampler that wants to know all, a lone decision.
            return self._join_by_rule(extracted, name, kind, attributes, base, start_time, subject)
        else:
            if fields is not None:
                baggage = fields[6]
            trace_id, bits, state, found, sampled = root(provider, process, name, None)
        try:  # TracingState.draw(), without the call
            span_id = process.stock.pop() or process.draw()
        except IndexError:
            span_id = process.draw()
        span: Span | UnsampledSpan
        if sampled:
            if attributes is None:
                attrs: dict[str, AttributeValue] = {}
            else:
                attrs = attributes() if subject is None else attributes(subject)
            if found:
                attrs = {**found, **attrs}
            span = recording(
                self,
                process,
                trace_id,
                span_id,
                bits,
                state,
                source,
                name,
                kind,
                attrs,
                time_ns() if start_time is None else start_time,
            )
            if bits & SAMPLED:
                count_started = process.intake.started  # as in ``begin``
                if count_started is None:
                    provider._on_start(span, None)
                else:
                    for _ in count_started:
                        break
            if provider._processors:
                provider._notify_start(span, enter(extracted, base))
        else:
            span = unsampled(trace_id, span_id, bits, state)
        if base or captured or baggage:
            return span, enter(extracted, base, span)
        return span, Context({SPAN_KEY: span})

    def _join_by_rule(
        self,
        extracted: Extracted,
        name: str,
        kind: SpanKind,
        attributes: Describe | None,
        base: Context,
        start_time: int | None,
        subject: object,
    ) -> tuple[trace.Span, Context]:
        """``join`` by the road that the SDK takes, whose sampler may look at everything."""
        context = enter(extracted, base)
        given = _described(attributes, subject)
        span = self.start_span(name, context, kind, given, None, start_time)
        return span, with_span(span, context)


def _described(attributes: Describe | None, subject: object) -> dict[str, AttributeValue]:
    if attributes is None:
        return {}
    return attributes() if subject is None else attributes(subject)
