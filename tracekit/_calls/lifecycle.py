"""The life of one call, RPC or HTTP, on either side: begin, step, finish once.

No grpc, no WSGI, no await in here: the edges drive it, so whatever could drift between their
flavours exists once. A context token is never held across a ``yield`` or an ``await`` of the
user's code: it is attached for a step and detached before control goes back.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace

from tracekit._context import attach, detach, get_current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    Labels = Callable[[], Mapping[str, AttributeValue]]
    """What OpenTelemetry's conventions tell calls apart by in metrics, made when asked for."""

_log = logging.getLogger("tracekit")


def message_of(error: BaseException) -> str:
    """Return what the exception says, also where its own ``__str__`` raises."""
    try:
        return str(error)
    except Exception:
        return ""


class CallObserver(Protocol):
    """Sees every finished server call, sampled or not (RPC metrics)."""

    def on_finish(self, call: BaseCall, error_type: str | None, labels: Labels | None) -> None:
        """Count one call; ``error_type`` is None when it succeeded. Must not raise.

        ``call.name`` is the operation, ``call.duration_s()`` how long it took, ``call.status``
        the HTTP or gRPC status number where the edge knows one, ``labels`` without ``error.type``.
        """


class BaseCall:
    """One call as one side sees it, once it has begun, and how it ends."""

    name: str
    span: trace.Span
    """May be unsampled."""
    context: Context
    """The one in which ``span`` is current."""
    status: int | None = None
    """The HTTP or gRPC status number, once there is one."""
    started_s = math.nan
    """When it began, by the clock of ``time.perf_counter``; only known where somebody observes."""
    live = False
    """Whether its end is still to come, and somebody will hear of that."""
    ended_ns: int | None = None
    """When it was over, where that was before it is concluded; nanoseconds since the epoch."""
    _observer: CallObserver | None = None

    def step(self) -> Step:
        """Return a ``with`` block in which the call's span is current; it may be entered again."""
        return Step(self.context)

    def duration_s(self) -> float:
        """Seconds since the call began."""
        return time.perf_counter() - self.started_s

    def claim(self) -> bool:
        """Take the duty to conclude; only the first who asks, on whatever thread, gets it."""
        try:
            del self.live  # atomic; what is left is the default
        except AttributeError:
            return False
        return True

    def conclude(
        self,
        error_type: str | None = None,
        description: str | None = None,
        exception: BaseException | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        labels: Labels | None = None,
        last: Callable[[], None] | None = None,
    ) -> None:
        """End the span; for the one whose ``claim`` was granted.

        ``error_type`` (semantic convention ``error.type``) makes the status ERROR with
        ``description``; ``exception`` adds one exception event. ``labels`` are for the observer.
        ``last`` is called with all that on the span, if it is recording.
        """
        span = self.span
        try:
            if span.is_recording():
                if error_type is not None:
                    span.set_attribute("error.type", error_type)
                    span.set_status(trace.StatusCode.ERROR, description)
                if attributes:
                    span.set_attributes(attributes)
                if exception is not None:
                    span.record_exception(exception)  # runs the exception's own __str__
                if last is not None:
                    last()
            if self._observer is not None:
                self._observer.on_finish(self, error_type, labels)
        except Exception:
            _log.warning("A span is incomplete: its call ended oddly", exc_info=True)
        finally:
            span.end(self.ended_ns)


class Call(BaseCall):
    """One that has begun. Any thread may ``finish`` it; the first one ends the span."""

    def __init__(
        self,
        span: trace.Span,
        context: Context,
        observer: CallObserver | None = None,
        *,
        name: str = "",
    ) -> None:
        self.span = span
        self.context = context
        self.name = name
        self.started_s = time.perf_counter()
        self._observer = observer
        self.live = True

    def finish(
        self,
        *,
        error_type: str | None = None,
        description: str | None = None,
        exception: BaseException | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        labels: Labels | None = None,
    ) -> None:
        """``claim`` and ``conclude``."""
        if self.claim():
            self.conclude(error_type, description, exception, attributes, labels)


class Step:
    """Attach a context for one stretch of the user's code, on one thread or task at a time.

    Entered again it goes on with what was current when it was left: a generator that holds a
    span open over its ``yield`` finds that span again, as it would without us.
    """

    __slots__ = ("_token", "context")

    def __init__(self, context: Context) -> None:
        self.context = context
        """What is attached when it is entered next."""

    def __enter__(self) -> None:
        self._token = attach(self.context)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.context = get_current()
        try:
            detach(self._token)
        except Exception:  # attached in another contextvars.Context: OpenTelemetry logs it
            otel_context.detach(self._token)
