"""The tracer: OpenTelemetry's two methods, and nothing between them and the hot path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from tracekit._context import SPAN_KEY, get_current
from tracekit.tracing._begin import begin
from tracekit.tracing._scope import CurrentSpan
from tracekit.tracing._span import UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes

    from tracekit.propagation._remote import Extracted
    from tracekit.tracing._provider import TracerProvider

_INTERNAL = SpanKind.INTERNAL
_NO_STATE = trace.DEFAULT_TRACE_STATE
_RANDOM = 0x02
"""The trace flag that is no decision."""


class Tracer(trace.Tracer):
    """Starts the spans of one instrumentation scope. Any thread may use it."""

    def __init__(self, provider: TracerProvider, scope: InstrumentationScope) -> None:
        self.scope = scope
        self.leader: trace.Tracer | None = None
        """Who starts the spans of a decorator when its function is called; None: this one."""
        self._provider = provider
        self._limits = provider._limits
        self._lives = provider._lives

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
        led = Tracer(self._provider, self.scope)
        led.leader = leader
        return led

    def passes_on(self, arrival: Extracted) -> bool:
        """Return whether all that is to be done below what arrived is to ``pass_on``.

        If so the parent, and it alone, has decided: that nobody is to hear of this, and it says no
        more than its ids. Otherwise ``start_span`` knows what to do. For edges that look before
        they begin a call.
        """
        parts = arrival[0]
        if parts is None or not self._provider._inline:
            return False
        trace_id, _, _, sampled, _, _, _, tracestate, bits = parts
        return sampled is False and trace_id != 0 and not tracestate and not bits & ~_RANDOM

    def pass_on(self, arrival: Extracted) -> UnsampledSpan:
        """Return a new unsampled span below what arrived; for which ``passes_on`` was True."""
        parts = arrival[0]
        assert parts is not None  # noqa: S101 (as ``passes_on`` has found)
        life = self._lives.now()
        life.joined[0] += 1
        span: UnsampledSpan = UnsampledSpan()
        span._trace_id = parts[0]
        span._span_id = life.draw()
        span._bits = parts[8]
        span._state = _NO_STATE
        span._made = None
        return span
