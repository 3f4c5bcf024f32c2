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
        """The tracer; TypeError when it turns out to be none of tracekit's."""
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = _checked(self._make())
        return self._made

    def _make(self) -> object:
        if callable(self._given):
            return self._given()
        import opentracing  # noqa: PLC0415 (an extra, which only this form needs)

        return opentracing.global_tracer()

    def handle(self) -> _handle.Tracing:
        """Return the handle that the tracer was built on."""
        return _handle.resolve(self.tracer)


def _checked(tracer: object) -> OpenTracingTracer:
    if not hasattr(tracer, "tracing") or not hasattr(tracer, "span_of"):
        raise TypeError(
            f"FlaskTracing takes a tracer of tracekit.opentracing, not {type(tracer).__name__}"
        )
    return cast("OpenTracingTracer", tracer)
