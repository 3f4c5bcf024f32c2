"""``start_as_current_span`` as one small object: a context manager and a decorator.

It does what ``opentelemetry.trace.use_span`` does, in the same order, without the generators of
``contextlib``, which cost more than the span. Contexts are attached through OpenTelemetry's
runtime context; where that is the standard one, straight through its context variable.
"""

from __future__ import annotations

import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import Status, StatusCode

from tracekit._context import SPAN_KEY, attach, detach, get_current
from tracekit.tracing._begin import begin
from tracekit.tracing._span import UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from types import TracebackType

    from opentelemetry import trace

    from tracekit.tracing._begin import Arguments

_log = logging.getLogger(__name__)
_F = TypeVar("_F", bound="Callable[..., Any]")


class Scope:
    """What makes a context manager a decorator, for plain and ``async def`` functions."""

    __slots__ = ()

    def __enter__(self) -> trace.Span:
        raise NotImplementedError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise NotImplementedError

    def _again(self) -> Scope:
        """Return a fresh one of the same kind, for one more call of the function."""
        raise NotImplementedError

    def __call__(self, function: _F) -> _F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def traced_async(*args: object, **kwargs: object) -> object:
                with self._again():
                    return await function(*args, **kwargs)

            return cast("_F", traced_async)

        @functools.wraps(function)
        def traced(*args: object, **kwargs: object) -> object:
            with self._again():
                return function(*args, **kwargs)

        return cast("_F", traced)


class CurrentSpan(Scope):
    """Starts a span on entry and makes it current; ends it on exit.

    Nothing happens before it is entered. As a decorator it starts a span at every call; of an
    ``async def`` function the span lasts until the coroutine is done.
    """

    __slots__ = ("_arguments", "_span", "_token")
    _arguments: Arguments  # all in one store
    _span: trace.Span
    _token: Token[Context]

    def __enter__(self) -> trace.Span:
        current = get_current()
        held = current.get(SPAN_KEY)
        arguments = self._arguments
        context = arguments[2]
        span = begin(arguments, held if context is None else context.get(SPAN_KEY))
        self._span = span
        try:
            if not current if held is None else len(current) == 1:  # nothing to copy: half the time
                self._token = attach(Context({SPAN_KEY: span}))
            else:
                self._token = attach(Context({**current, SPAN_KEY: span}))
        except BaseException:  # a signal handler's: nobody will call ``__exit__``
            if get_current() is not current:
                attach(current)
            raise
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            detach(self._token)
        except (ValueError, RuntimeError):  # attached in another context: OpenTelemetry logs it
            otel_context.detach(self._token)
        span = self._span
        if type(span) is UnsampledSpan:
            return  # it takes no error and has no end
        if error is not None and isinstance(error, Exception) and span.is_recording():
            self._record(span, error)
        if self._arguments[-1]:  # end_on_exit
            span.end()

    def _record(self, span: trace.Span, error: Exception) -> None:
        """Record an error of the block; GeneratorExit, KeyboardInterrupt and such are none."""
        record_exception, set_status, _ = self._arguments[-3:]
        try:
            if record_exception:
                span.record_exception(error)
            if set_status:
                description = f"{type(error).__name__}: {error}"
                span.set_status(Status(StatusCode.ERROR, description))
        except Exception:  # an exception whose __str__ raises must not replace itself
            _log.warning("An exception could not be recorded", exc_info=True)

    def _again(self) -> Scope:
        arguments = self._arguments
        leader = arguments[0].leader
        if leader is not None:
            return cast("Scope", leader.start_as_current_span(*arguments[1:]))
        again = CurrentSpan()
        again._arguments = arguments
        return again
