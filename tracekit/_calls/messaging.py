"""What producers and consumers of messages have in common, whichever library carries them.

A producer's span is current while its message is handed over, and goes into the message's headers;
the consumer's span is its child, in whatever process that is. Names are those of OpenTelemetry's
messaging conventions; what is sent to, and told apart, is the task and not its queue.
"""

from __future__ import annotations

import functools
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, set_value

from tracekit._calls.lifecycle import Call, message_of
from tracekit._context import attach, detach, get_current
from tracekit.propagation import merge_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping
    from contextvars import Token

    from opentelemetry.util.types import AttributeValue

    from tracekit._assembly.handle import Tracing

    Attributes = Mapping[str, AttributeValue]

_log = logging.getLogger("tracekit")


class Messages:
    """What one ``instrument`` makes of messages. Any thread may use it.

    ``handle`` returns the handle, ``scope`` names the spans' instrumentation scope, ``system`` is
    the conventions' ``messaging.system``.
    """

    def __init__(self, handle: Callable[[], Tracing], scope: str, system: str) -> None:
        self._handle = handle
        self._scope = scope
        self._system = system
        self._complained = False

    def complain(self, message: str) -> None:
        """Log the current exception; once, or every message would repeat it."""
        if not self._complained:
            self._complained = True
            _log.exception(message)

    @contextmanager
    def sending(self, what: str) -> Iterator[None]:
        """Make a producer span current for the block that hands ``what`` over."""
        call = self._started("send", what, get_current(), trace.SpanKind.PRODUCER)
        if call is None:
            yield
            return
        token = attach(call.context)
        try:
            yield
        except BaseException as error:
            detach(token)
            fail(call, error)
            raise
        detach(token)
        call.finish()

    def put(self, headers: MutableMapping[str, object]) -> None:
        """Write what is current, and the headers of the mesh, into those of a message."""
        try:
            outgoing = self._handle().propagator.outgoing(get_current())
            headers.update(merge_headers(outgoing, ()))
        except Exception:
            self.complain("a message is sent without its trace")

    def begin(self, what: str, headers: Mapping[object, object] | None) -> Consuming | None:
        """Start and attach the span of a message that has arrived, on the thread that works on it.

        ``headers`` None: it never left this process, so its parent is what is current.
        """
        around = get_current() if headers is None else Context()
        try:
            if headers is not None:
                carrier = {
                    name: value
                    for name, value in headers.items()
                    if isinstance(name, str) and isinstance(value, str)
                }
                around = self._handle().propagator.extract(carrier, around)
        except Exception:
            self.complain("a message's trace could not be read")
        call = self._started("process", what, around, trace.SpanKind.CONSUMER)
        return None if call is None else Consuming(call)

    def _started(
        self, operation: str, what: str, around: Context, kind: trace.SpanKind
    ) -> Call | None:
        try:
            name = f"{operation} {what}"
            span = self._handle().tracer(self._scope).start_span(name, around, kind)
            span.set_attribute("messaging.system", self._system)
            span.set_attribute("messaging.operation.type", operation)
            span.set_attribute("messaging.operation.name", operation)
            return Call(span, trace.set_span_in_context(span, around), name=name)
        except Exception:
            self.complain("tracing a message failed; it goes on untraced")
            return None


def unheard() -> Context:
    """Return what is current, with nothing in it traced: a worker's own talk with its broker."""
    return set_value(_SUPPRESS_INSTRUMENTATION_KEY, True, get_current())


def quietly(original: Callable[..., object]) -> Callable[..., object]:
    """Return ``original``, a worker's own doing, with nothing in it traced; runs are all the same.

    A message that is worked on in it has a context of its own.
    """

    @functools.wraps(original)
    def call(*args: object, **named: object) -> object:
        token = attach(unheard())
        try:
            return original(*args, **named)
        finally:
            detach(token)

    return call


class Consuming:
    """One message that is worked on, from ``begin`` to ``finish`` on the same thread."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._token: Token[Context] = attach(call.context)

    @property
    def span(self) -> trace.Span:
        """The consumer's span."""
        return self._call.span

    @property
    def context(self) -> Context:
        """What its span is current in."""
        return self._call.context

    def finish(self, error: BaseException | None = None) -> None:
        """End the span; a second time does nothing."""
        if not self._call.live:
            return
        detach(self._token)
        if error is None:
            self._call.finish()
        else:
            fail(self._call, error)


def fail(call: Call, error: BaseException) -> None:
    """End the span of a call that ``error`` ended."""
    call.finish(error_type=type(error).__qualname__, description=message_of(error), exception=error)
