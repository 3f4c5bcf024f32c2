"""A provider whose spans are no spans: what stands in when tracing is switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanKind

from tracekit._context import SPAN_KEY, attach, get_current, with_span
from tracekit.propagation._extracted import IDLE, enter
from tracekit.tracing._scope import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes

    from tracekit.propagation._remote import Extracted
    from tracekit.tracing._begin import Arguments

_INTERNAL = SpanKind.INTERNAL
_EMPTY = Context()


class PassingSpan(Scope):
    """Makes a span that records nothing current, which it nearly always is already."""

    __slots__ = ("_context", "_token")
    _context: Context | None
    _token: Token[Context] | None

    def __enter__(self) -> trace.Span:
        if self._context is None:
            held: Any = get_current().get(SPAN_KEY)
            if held is None or type(held) in IDLE:
                self._token = None
                return INVALID_SPAN if held is None else held
        span = passing(self._context)
        self._token = attach(with_span(span, get_current()))
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            otel_context.detach(self._token)

    def _again(self) -> Scope:
        again = PassingSpan()
        again._context = self._context
        return again


def passing(context: Context | None) -> trace.Span:
    """Return a span that records nothing and has its parent's ids: they go on to the wire."""
    parent = trace.get_current_span(context)
    if isinstance(parent, NonRecordingSpan):
        return parent
    return NonRecordingSpan(parent.get_span_context())


class LedPassingSpan(PassingSpan):
    """One whose decorators ask, at every call, the tracer that follows the handle."""

    __slots__ = ("_start",)
    _start: Callable[[], Scope]

    def _again(self) -> Scope:
        return self._start()


class DisabledTracer(trace.Tracer):
    """Hands the parent's context on: what came from the wire goes on to the wire."""

    def led_by(self, leader: trace.Tracer) -> DisabledTracer:
        """Return the same tracer, whose decorators start their spans with ``leader``."""
        return LedDisabledTracer(leader)

    @staticmethod
    def begin(arguments: Arguments, _parent: object) -> trace.Span:
        """``start_span`` for edges, see ``Tracer.begin``."""
        return passing(arguments[2])

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
        """Return a span that records nothing and has its parent's ids."""
        return passing(context)

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
    ) -> PassingSpan:
        """Return a context manager, or decorator, that makes such a span current."""
        made = PassingSpan()
        made._context = context
        return made

    def join(
        self,
        extracted: Extracted,
        name: str,
        kind: SpanKind,
        attributes: Callable[..., object] | None = None,
        base: Context = _EMPTY,
        start_time: int | None = None,
        subject: object = None,
    ) -> tuple[trace.Span, Context]:
        """Return a span that records nothing and has the ids that arrived, and its context."""
        context = enter(extracted, base)
        span = passing(context)
        return span, with_span(span, context)


class LedDisabledTracer(DisabledTracer):
    """One whose decorators follow ``leader``: they may be made before tracing is set up."""

    def __init__(self, leader: trace.Tracer) -> None:
        self._leader = leader

    def start_as_current_span(  # type: ignore[override]  # ours is no contextlib generator
        self,
        name: str,
        context: Context | None = None,
        *rest: Any,  # noqa: ANN401 (the arguments of the API's method)
        **named: Any,  # noqa: ANN401
    ) -> PassingSpan:
        """Return a context manager, or decorator, that makes such a span current."""
        leader = self._leader
        made = LedPassingSpan()
        made._context = context
        made._start = lambda: cast(
            "Scope", leader.start_as_current_span(name, context, *rest, **named)
        )
        return made


class DisabledTracerProvider(trace.TracerProvider):
    """Gives disabled tracers; takes span processors and never shows them a span."""

    samples_by_operation = False

    def __init__(self, resource: Resource | None = None) -> None:
        self.resource = Resource.get_empty() if resource is None else resource
        self._tracer = DisabledTracer()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> DisabledTracer:
        """Return the one tracer."""
        return self._tracer

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Do nothing: there will be no span to see."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return True: nothing is left."""
        return True

    def kept(self) -> None:
        """Return None: nothing is kept."""

    def draw_afresh(self) -> None:
        """Do nothing: no ids are made."""

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Do nothing."""
