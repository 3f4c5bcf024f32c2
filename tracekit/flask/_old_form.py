"""The tracer that ``flask_opentracing``'s form was given, or the function that makes it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, cast

from tracekit import _handle

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry import trace


class OpenTracingTracer(_handle.HasTracing, Protocol):
    """A tracer of ``tracekit.opentracing``: built on a handle, it shows our spans as its own."""

    def start_span(self) -> object:
        """Start an ``opentracing.Span``."""

    def span_of(self, span: trace.Span) -> object:
        """Return the ``opentracing.Span`` that stands for ``span``."""


class OldForm:
    """The tracer that the old form was given, made when it is first needed, once."""

    def __init__(self, given: OpenTracingTracer | Callable[[], OpenTracingTracer] | None) -> None:
        self._given = given
        self._lock = threading.Lock()
        self._made = None if given is None or callable(given) else _checked(given)

    @property
    def tracer(self) -> OpenTracingTracer:
        """The tracer (None was given: whichever is OpenTracing's global one now).

        TypeError when it turns out to be none of tracekit's.
        """
        if self._given is None:
            import opentracing  # noqa: PLC0415 (an extra, which only this form needs)

            return _checked(opentracing.global_tracer())
        if self._made is None:
            with self._lock:
                if self._made is None and callable(self._given):
                    self._made = _checked(self._given())
        return cast("OpenTracingTracer", self._made)

    def handle(self) -> _handle.Tracing:
        """Return the handle that the tracer was built on."""
        return _handle.resolve(self.tracer)

    def shown(self, span: trace.Span) -> object:
        """Return the ``opentracing.Span`` that stands for ``span``."""
        tracer = self.tracer
        if hasattr(tracer, "span_of"):
            return tracer.span_of(span)
        return tracer.start_span()  # of OpenTracing's own tracer, which does nothing


def _checked(tracer: object) -> OpenTracingTracer:
    try:
        _handle.resolve(tracer)
    except TypeError:
        raise TypeError(
            f"FlaskTracing takes a tracer of tracekit.opentracing, not {type(tracer).__name__}"
        ) from None
    return cast("OpenTracingTracer", tracer)
