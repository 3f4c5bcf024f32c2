"""``flask_opentracing``'s form: its arguments, and the tracer that it was given or is to make."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, cast

from flask import Flask

from tracekit._assembly.handle import HasTracing, Tracing, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry import trace

P = ParamSpec("P")


class OpenTracingTracer(HasTracing, Protocol):
    """A tracer of ``tracekit.opentracing``: built on a handle, it shows our spans as its own."""

    def start_span(self) -> object:
        """Start an ``opentracing.Span``."""

    def span_of(self, span: trace.Span) -> object:
        """Return the ``opentracing.Span`` that stands for ``span``."""


class TakesEither(Protocol):
    """A class with a constructor that takes both forms."""

    _old: OldForm | None


def either_form(init: Callable[P, None]) -> Callable[P, None]:
    """Have ``FlaskTracing.__init__`` understand ``flask_opentracing``'s arguments as well.

    To type checkers and to ``inspect`` it takes its own only: that form is for code which is there.
    """

    @functools.wraps(init)
    def either(self: TakesEither, *args: Any, **options: Any) -> None:  # noqa: ANN401
        if is_old(args, options):
            self._old, options = translated(*args, **options)
            args = ()
        init(self, *args, **options)  # type: ignore[arg-type] # P begins with ``self``

    return cast("Callable[P, None]", either)


def is_old(positional: Sequence[object], named: Mapping[str, object]) -> bool:
    """Whether ``FlaskTracing`` was called as ``flask_opentracing``'s, with a tracer in front."""
    if not named.keys().isdisjoint({"tracer", "trace_all_requests"}):
        return True
    first, second = (*positional[:2], None, None)[:2]
    return isinstance(second, bool) or not (first is None or isinstance(first, Flask))


def translated(
    tracer: OpenTracingTracer | Callable[[], OpenTracingTracer] | None = None,
    trace_all_requests: bool | None = None,
    app: Flask | None = None,
    traced_attributes: Iterable[str] = (),
    start_span_cb: Callable[..., object] | None = None,
    **options: object,
) -> tuple[OldForm, dict[str, object]]:
    """Return what the old form was given, and the arguments that now mean what it did."""
    if trace_all_requests and app is None:
        raise ValueError("trace_all=True requires an app object")
    old = OldForm(tracer)
    return old, {
        "app": app,
        "trace_all": app is not None if trace_all_requests is None else trace_all_requests,
        "traced_attributes": traced_attributes,
        "start_span_cb": start_span_cb,
        "exclude": (),
        "semconv": "old",
        **options,
    }


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
            return _global()
        if self._made is None:
            with self._lock:
                if self._made is None and callable(self._given):
                    made = self._given()
                    # ``Config.initialize_tracer`` gives None where it has been called before.
                    self._made = _global() if made is None else _checked(made)
        return cast("OpenTracingTracer", self._made)

    def handle(self) -> Tracing:
        """Return the handle that the tracer was built on."""
        return resolve(self.tracer)

    def shown(self, span: trace.Span) -> object:
        """Return the ``opentracing.Span`` that stands for ``span``."""
        tracer = self.tracer
        if hasattr(tracer, "span_of"):
            return tracer.span_of(span)
        return tracer.start_span()  # of OpenTracing's own tracer, which does nothing


def _global() -> OpenTracingTracer:
    import opentracing  # noqa: PLC0415 (an extra, which only this form needs)

    return _checked(opentracing.global_tracer())


def _checked(tracer: object) -> OpenTracingTracer:
    try:
        resolve(tracer)
    except TypeError:
        raise TypeError(
            f"FlaskTracing takes a tracer of tracekit.opentracing, not {type(tracer).__name__}"
        ) from None
    return cast("OpenTracingTracer", tracer)
