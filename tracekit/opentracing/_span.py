"""An OpenTelemetry span as OpenTracing has it, with the helpers of ``jaeger_client``'s spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import opentracing
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentracing.ext import tags

from tracekit._context import DEBUG, SPAN_KEY, Decision, attach, get_current
from tracekit._protocols import UnnamedEvent
from tracekit.opentracing import _tags
from tracekit.opentracing._span_context import BAGGAGE_KEY, SpanContext, baggage_of
from tracekit.sampling._parent import priority
from tracekit.tracing import Span as RecordingSpan
from tracekit.tracing import UnsampledSpan
from tracekit.tracing._late import force

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry import trace
    from typing_extensions import Self

    from tracekit._assembly.handle import Tracing
    from tracekit.tracing import Unrecorded

SEEN_KEY = otel_context.create_key("tracekit-opentracing-baggage")
"""The baggage of the active span as it was when it was last put into the context."""

_NS_PER_US = 1_000


class Maker(Protocol):
    """The tracer of a span, as far as the span asks it."""

    def remember(self, span: Span) -> None:
        """Note which span shows the recording span that ``span`` shows."""

    @property
    def tracing(self) -> Tracing:
        """The handle that it is built on."""

    values: _tags.ValueRules
    """What becomes of values of tags and logs."""


class Span(opentracing.Span):
    """A span of ``tracekit.opentracing``. Every method may be called from any thread.

    ``otel`` is the OpenTelemetry span that it shows.
    """

    def __init__(
        self,
        tracer: Maker,
        otel: trace.Span,
        context: SpanContext,
        unrecorded: Unrecorded | None = None,
    ) -> None:
        super().__init__(tracer, context)
        self.otel = otel
        self._first = otel  # what stays in contexts when ``otel`` becomes a recording span
        self._unrecorded = unrecorded

    # --- what OpenTracing asks for ---

    @property
    def context(self) -> SpanContext:
        """What this span passes on, its baggage as it is seen from here."""
        held: SpanContext = self._context
        baggage = self._carried(held)
        return held if baggage is held.baggage else held.with_baggage(baggage)

    def set_operation_name(self, operation_name: str) -> Self:
        """Change the operation."""
        name = _tags.text(operation_name)
        if self._unrecorded is not None:
            self._unrecorded = self._unrecorded._replace(name=name)
        self.otel.update_name(name)
        return self

    def set_tag(self, key: str, value: object) -> Self:
        """Set a tag; of two under one key the last stays (see ``_tags`` for those that do more)."""
        name = _tags.text(key)
        if name == tags.SAMPLING_PRIORITY and not self._prioritise(value):
            return self
        if self.otel.is_recording():
            _tags.put(self.otel, name, self._values.plain(value))
        return self

    def log_kv(self, key_values: Mapping[str, object], timestamp: float | None = None) -> Self:
        """Log fields of any type, at ``timestamp`` (seconds since the epoch; None: now)."""
        if self.otel.is_recording():
            fields = self._values.fields(key_values)
            name = str(fields["event"]) if "event" in fields else UnnamedEvent("log")
            self.otel.add_event(name, fields, nanoseconds(timestamp))
        return self

    def finish(self, finish_time: float | None = None) -> None:
        """End the span at ``finish_time`` (seconds since the epoch; None: now)."""
        self.otel.end(nanoseconds(finish_time))

    def set_baggage_item(self, key: str, value: str | None) -> Self:
        """Set an item for this span and what is started below it from now on; None removes it.

        Where the span is current, OpenTelemetry's baggage has the item from here on, too.
        """
        before = self.get_baggage_item(key)
        self._context = changed = self.context.with_baggage_item(key, value)
        current = get_current()
        if self._is_current(current):
            # Whoever made the span current goes back to what was before it, and so past this.
            held = changed.baggage
            attach(Context({**current, BAGGAGE_KEY: held, SEEN_KEY: held}))
        fields: dict[str, object] = {"event": "baggage", "key": key, "value": value}
        if before:
            fields["override"] = "true"
        return self.log_kv(fields)

    def get_baggage_item(self, key: str) -> str | None:
        """Return one item, or None."""
        return self.context.baggage.get(key)

    # --- what services used of jaeger_client's spans ---

    @property
    def operation_name(self) -> str:
        """The operation; "" of an unsampled span of OpenTelemetry's, which does not keep it."""
        if self._unrecorded is not None:
            return self._unrecorded.name
        return str(getattr(self.otel, "name", ""))

    @property
    def start_time(self) -> float | None:
        """Seconds since the epoch; None if that is not kept (an unsampled one of OpenTelemetry)."""
        if self._unrecorded is not None:
            return _seconds(self._unrecorded.start_ns)
        return _seconds(getattr(self.otel, "start_time", None))

    @property
    def end_time(self) -> float | None:
        """Seconds since the epoch; None if the span is not recorded or not finished."""
        return _seconds(getattr(self.otel, "end_time", None))

    @property
    def finished(self) -> bool:
        """Whether the span was recorded and has ended."""
        return self.end_time is not None

    @property
    def trace_id(self) -> int | None:
        """The trace, 64 or 128 bits."""
        return self.context.trace_id

    @property
    def span_id(self) -> int | None:
        """This span."""
        return self.context.span_id

    @property
    def parent_id(self) -> int | None:
        """Its parent; None for a root."""
        return self.context.parent_id

    @property
    def flags(self) -> int:
        """Jaeger's: 1 sampled, 2 debug, 8 firehose."""
        return self.context.flags or 0

    def is_sampled(self) -> bool:
        """Whether the trace is sampled."""
        return bool(self.otel.get_span_context().trace_flags.sampled)

    def is_debug(self) -> bool:
        """Whether a person forced the trace."""
        return bool(self.flags & DEBUG)

    def is_rpc(self) -> bool:
        """Whether the span is one side of a call."""
        return self._kind() in ("CLIENT", "SERVER")

    def is_rpc_client(self) -> bool:
        """Whether the span is the calling side of a call."""
        return self._kind() == "CLIENT"

    def info(self, message: str, payload: object = None) -> Self:
        """Log ``message`` as an event."""
        fields: dict[str, object] = {"event": message}
        if payload:
            fields["payload"] = payload
        return self.log_kv(fields)

    def error(self, message: str, payload: object = None) -> Self:
        """Tag the span as failed and log ``message`` as an event."""
        return self.set_tag(tags.ERROR, True).info(message, payload)

    def __repr__(self) -> str:
        context = self.context
        ids = f"{context.trace_id or 0:x}:{context.span_id or 0:x}:{context.parent_id or 0:x}"
        service = self._tracer.tracing.settings.service_name
        return f"{ids}:{self.flags:x} {service}.{self.operation_name}"

    # --- inside ---

    @property
    def _values(self) -> _tags.ValueRules:
        rules: _tags.ValueRules = self._tracer.values
        return rules

    def _kind(self) -> str:
        kind: trace.SpanKind | None = getattr(self.otel, "kind", None)
        return "" if kind is None else kind.name

    def _carried(self, held: SpanContext) -> Mapping[str, str]:
        """Return the baggage, and what OpenTelemetry made of it where this span is current."""
        baggage = held.baggage
        current = get_current()
        if not self._is_current(current):
            return baggage
        here, seen = baggage_of(current), current.get(SEEN_KEY)
        if here is baggage or here is seen or here == baggage:
            return baggage
        return here if baggage is seen else {**baggage, **here}

    def _prioritise(self, value: object) -> bool:
        """Decide the trace anew; return whether that is to stand on the span as a tag."""
        decision = priority({tags.SAMPLING_PRIORITY: value})
        if decision is Decision.DEFER or (decision is Decision.DEBUG and self.is_debug()):
            return False
        otel, unrecorded = self.otel, self._unrecorded
        if decision is Decision.DEBUG and unrecorded and isinstance(otel, UnsampledSpan):
            self.otel = recorded = unrecorded.record(otel, decision)
            self._unrecorded = None
            self._context = self._context.with_span(recorded)  # it is what activations show now
            self._tracer.remember(self)
        elif isinstance(otel, RecordingSpan | UnsampledSpan):
            force(otel, decision)
        return decision is Decision.DEBUG

    def _is_current(self, context: Context) -> bool:
        held = context.get(SPAN_KEY)
        return held is self._first or held is self.otel


def nanoseconds(seconds: float | None) -> int | None:
    """Return a time as OpenTelemetry has it; None and 0 mean *now*, as in ``jaeger_client``.

    A float near the present holds a quarter of a microsecond at best, so whole ones are kept.
    """
    return int(seconds * 1_000_000) * _NS_PER_US if seconds else None


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
