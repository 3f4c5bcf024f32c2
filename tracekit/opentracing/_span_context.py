"""What an OpenTracing span passes on: ids, decision, baggage, and the mesh headers around it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import opentracing
from opentelemetry import trace
from opentelemetry.baggage import _BAGGAGE_KEY
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, TraceFlags

from tracekit import _context as own
from tracekit._context import (
    CARRIED,
    DEBUG,
    FORWARDED_KEY,
    LOW_64_BITS,
    ROOT_HINT_KEY,
    SPAN_KEY,
    Decision,
    RootHint,
    marks_of,
)
from tracekit.tracing import Span as RecordingSpan
from tracekit.tracing import UnsampledSpan
from tracekit.tracing._late import force, renumber, set_parent_id

if TYPE_CHECKING:
    from tracekit._context import Headers

BAGGAGE_KEY = _BAGGAGE_KEY
_SAMPLED = 0x01
_MAX_TRACE_ID = (1 << 128) - 1
NO_BAGGAGE: Mapping[str, str] = MappingProxyType({})


class SpanContext(opentracing.SpanContext):
    """OpenTracing's span context with the fields that ``jaeger_client``'s had.

    ``trace_id``, ``span_id``, ``parent_id`` and ``flags`` can be set, as there: for libraries that
    number spans themselves, before anything is started below. The ``baggage`` that it was made
    with is not copied. Of a span that lives here it shows the decision as it is now, also after a
    ``sampling.priority``. Without ids it can still hold baggage, a debug id or mesh headers.
    """

    __slots__ = ("_baggage", "_forwarded", "_hint", "_parent_id", "span")

    def __init__(
        self,
        trace_id: int | None,
        span_id: int | None,
        parent_id: int | None = None,
        flags: int | None = 0,
        baggage: Mapping[str, str] | None = None,
        debug_id: str | None = None,
    ) -> None:
        self.span: trace.Span = INVALID_SPAN
        if trace_id and span_id and flags is not None:
            sampled = flags & _SAMPLED
            context = own.SpanContext.marked(
                trace_id & _MAX_TRACE_ID,
                span_id,
                is_remote=True,
                trace_flags=TraceFlags(sampled),
                marks=flags & (DEBUG | CARRIED),
            )
            self.span = NonRecordingSpan(context)
            if parent_id:  # as of a span that has arrived with it: it is told again on the wire
                self.span.parent_id = parent_id  # type: ignore[attr-defined]
        self._parent_id = parent_id or None
        self._baggage = baggage or NO_BAGGAGE
        self._forwarded: Headers = ()
        self._hint = RootHint(Decision.DEBUG, debug_id) if debug_id else None

    @classmethod
    def of(
        cls,
        span: trace.Span,
        baggage: Mapping[str, str] = NO_BAGGAGE,
        forwarded: Headers = (),
        hint: RootHint | None = None,
        parent_id: int | None = None,
    ) -> SpanContext:
        """Return the context of an OpenTelemetry span; ``span`` may be one that is invalid."""
        made = cls.__new__(cls)
        made.span = span
        made._parent_id = parent_id
        made._baggage = baggage
        made._forwarded = forwarded
        made._hint = hint
        return made

    @classmethod
    def held_by(cls, context: Context) -> SpanContext | None:
        """Return what an OpenTelemetry context holds; None if that is nothing."""
        span, hint = trace.get_current_span(context), own.root_hint(context)
        baggage, forwarded = baggage_of(context), own.forwarded_headers(context)
        if not (span.get_span_context().is_valid or hint or baggage or forwarded):
            return None
        return cls.of(span, baggage, forwarded, hint)

    def enter(self, context: Context) -> Context:
        """Return ``context`` with this in it, and with nothing of another span."""
        return Context(self.entered(context))

    def entered(self, context: Context) -> dict[str, object]:
        """Return what ``enter`` does, for somebody who has more to put there."""
        entered = {**context, SPAN_KEY: self.span}
        for key, value in ((BAGGAGE_KEY, self._baggage), (ROOT_HINT_KEY, self._hint)):
            if value:
                entered[key] = value
            elif key in entered:
                del entered[key]
        if self._forwarded:
            entered[FORWARDED_KEY] = self._forwarded
        return entered

    @property
    def otel(self) -> trace.SpanContext:
        """OpenTelemetry's span context."""
        return self.span.get_span_context()

    @property
    def has_trace(self) -> bool:
        """Whether this names a span; if not, a child of it is the root of a new trace."""
        return self.otel.is_valid

    @property
    def trace_id(self) -> int | None:
        """64 or 128 bits."""
        return self.otel.trace_id or None

    @trace_id.setter
    def trace_id(self, trace_id: int | None) -> None:
        self._renumber((trace_id or 0) & _MAX_TRACE_ID, None)

    @property
    def span_id(self) -> int | None:
        """64 bits."""
        return self.otel.span_id or None

    @span_id.setter
    def span_id(self, span_id: int | None) -> None:
        self._renumber(None, (span_id or 0) & LOW_64_BITS)

    @property
    def parent_id(self) -> int | None:
        """The span's own parent, as far as it is known here."""
        if self._parent_id is None:
            parent: trace.SpanContext | None = getattr(self.span, "parent", None)
            return getattr(self.span, "parent_id", None) if parent is None else parent.span_id
        return self._parent_id

    @parent_id.setter
    def parent_id(self, parent_id: int | None) -> None:
        self._parent_id = parent_id or None
        if isinstance(self.span, RecordingSpan):
            set_parent_id(self.span, self._parent_id)
        elif isinstance(self.span, NonRecordingSpan) and self.span is not INVALID_SPAN:
            self.span.parent_id = self._parent_id  # type: ignore[attr-defined] # as in __init__

    @property
    def flags(self) -> int | None:
        """Jaeger's: 1 sampled, 2 debug, 8 firehose. None without ids."""
        context = self.otel
        if not context.is_valid:
            return None
        return context.trace_flags & _SAMPLED | marks_of(context) & (DEBUG | CARRIED)

    @flags.setter
    def flags(self, flags: int | None) -> None:
        flags = flags or 0
        if isinstance(self.span, RecordingSpan | UnsampledSpan):
            sampled = Decision.ACCEPT if flags & _SAMPLED else Decision.DENY
            force(self.span, Decision.DEBUG if flags & DEBUG else sampled)
        else:
            self._renumber(None, None, flags)

    @property
    def baggage(self) -> Mapping[str, str]:
        """All items; not to be modified."""
        return self._baggage or opentracing.SpanContext.EMPTY_BAGGAGE

    @property
    def forwarded(self) -> Headers:
        """The mesh headers that go on to whoever is called."""
        return self._forwarded

    @property
    def debug_id(self) -> str | None:
        """What ``jaeger-debug-id`` said, until a trace has been started from it."""
        return None if self._hint is None else self._hint.debug_id

    @property
    def is_debug_id_container_only(self) -> bool:
        """Whether there is a debug id and no trace."""
        return not self.has_trace and self.debug_id is not None

    def _renumber(
        self, trace_id: int | None, span_id: int | None, flags: int | None = None
    ) -> None:
        """Take other ids (None: as they are); they may come one after the other."""
        span = self.span
        if isinstance(span, RecordingSpan | UnsampledSpan):
            renumber(span, trace_id, span_id)
            return
        held = span.get_span_context()
        made = own.SpanContext.marked(
            held.trace_id if trace_id is None else trace_id,
            held.span_id if span_id is None else span_id,
            is_remote=True,
            trace_flags=held.trace_flags if flags is None else TraceFlags(flags & _SAMPLED),
            trace_state=held.trace_state,
            marks=marks_of(held) if flags is None else flags & (DEBUG | CARRIED),
        )
        parent_id = self.parent_id
        self.span = NonRecordingSpan(made)
        if parent_id:
            self.span.parent_id = parent_id  # type: ignore[attr-defined] # as in __init__

    def with_baggage_item(self, key: str, value: str | None) -> SpanContext:
        """Return this with one item more; None as value removes it."""
        baggage = {**self._baggage, key: value}
        return self.with_baggage({name: text for name, text in baggage.items() if text is not None})

    def with_baggage(self, baggage: Mapping[str, str]) -> SpanContext:
        """Return this with other baggage."""
        return self.of(self.span, baggage, self._forwarded, self._hint, self._parent_id)

    def with_span(self, span: trace.Span) -> SpanContext:
        """Return this of another object that stands for the same span."""
        return self.of(span, self._baggage, self._forwarded, self._hint, self._parent_id)

    @staticmethod
    def with_debug_id(debug_id: str) -> SpanContext:
        """Return a context that forces the next trace and puts ``debug_id`` on its root."""
        return SpanContext(None, None, debug_id=debug_id)


def baggage_of(context: Context) -> Mapping[str, str]:
    """Return the baggage of an OpenTelemetry context: the very object that it holds."""
    held = context.get(BAGGAGE_KEY)
    return held if isinstance(held, Mapping) else NO_BAGGAGE
