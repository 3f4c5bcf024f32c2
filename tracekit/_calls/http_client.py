"""One HTTP request as its client sees it, whichever library sends it.

An edge makes one ``HttpClient`` an ``instrument`` and asks it to ``begin`` each request on the
wire: that starts the span and says which headers go out. What comes back is a ``ClientExchange``,
whose ``finish`` ends it, once, on whatever thread. There is nothing in between.
"""

from __future__ import annotations

import logging
import traceback
import weakref
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import trace
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
    Context,
)

from tracekit._calls import http
from tracekit._calls.lifecycle import BaseCall, message_of
from tracekit._calls.redaction import redact_text
from tracekit._calls.semconv import semconv_of
from tracekit._context import SPAN_KEY, SUPPRESSED_PLAINLY, attach, detach, get_current
from tracekit._protocols import PlainAttributes
from tracekit.propagation import merge_headers
from tracekit.propagation._forwarding import ForwardRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextvars import Token
    from types import TracebackType
    from typing import TypeVar

    from tracekit._assembly.handle import Tracing
    from tracekit._calls.semconv import Semconv

    Hosts = Callable[[str], bool] | Sequence[str] | str | None
    V = TypeVar("V")

_log = logging.getLogger("tracekit")
_CLIENT = trace.SpanKind.CLIENT
_put = dict.__setitem__

EXCHANGE = "_tracekit_exchange"
"""Where a response holds what ends its exchange when nobody reads or closes it."""


_SUPPRESSED = (
    SUPPRESSED_PLAINLY,
    _SUPPRESS_INSTRUMENTATION_KEY,
    "suppress_http_instrumentation",
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
)


def suppressed() -> bool:
    """Whether somebody, an exporter say, wants what is sent here and now untraced."""
    return any(map(get_current().get, _SUPPRESSED))


class HttpClient:
    """The settings of one ``instrument``. Any thread may use it.

    ``handle`` returns the handle, ``scope`` names the spans' instrumentation scope, ``allow`` and
    ``hosts`` say what may go where (see ``ForwardRule``), ``semconv`` picks the attributes' names.
    """

    def __init__(
        self,
        handle: Callable[[], Tracing],
        scope: str,
        allow: Iterable[str],
        hosts: Hosts,
        semconv: str | None,
    ) -> None:
        self._handle = handle
        self._scope = scope
        self._rule = ForwardRule.of(allow, hosts)
        self._semconv = None if semconv is None else semconv_of(semconv)
        self._captures: weakref.WeakSet[Any] = weakref.WeakSet()
        self._known: tuple[Tracing, trace.Tracer] | None = None
        self._complained = False
        if self._rule.allow:
            self._captured(handle())

    def complain(self, message: str) -> None:
        """Log the current exception; once, or every request would repeat it."""
        if not self._complained:
            self._complained = True
            _log.exception(message)

    def begin(self, method: str, url: str) -> ClientExchange:
        """Start the span of one request on the wire, below the one that is current."""
        handle = self._handle()
        if self._rule.allow:
            self._captured(handle)
        known = self._known
        if known is None or known[0] is not handle:
            known = self._known = (handle, handle.tracer(self._scope))
        semconv = self._semconv or handle.settings.semconv
        host, port = http.server_of(url)
        context = get_current()
        span = known[1].start_span(http.span_name(method), context, _CLIENT)
        return ClientExchange(self._rule, handle, span, context, semconv, method, url, host, port)

    def _captured(self, handle: Tracing) -> None:
        # What is to go out must have been noted when the request came in.
        if handle not in self._captures:
            handle.propagator.forward(self._rule.allow)
            self._captures.add(handle)


class ClientExchange(BaseCall):
    """One request on the wire until its answer is read, closed or dropped.

    As a ``with`` block it makes its span current for the stretch of code that sends.
    """

    status: int | None = None
    _answered: PlainAttributes | None = None
    _token: Token[Context]

    def __init__(
        self,
        rule: ForwardRule,
        handle: Tracing,
        span: trace.Span,
        around: Context,
        semconv: Semconv,
        method: str,
        url: str,
        host: str,
        port: int,
    ) -> None:
        self.span = span
        self.context = context = Context(around)
        _put(context, SPAN_KEY, span)
        self.recording = span.is_recording()
        self.live = True
        self._semconv = semconv
        self._outgoing = (handle, host, rule)
        if self.recording:
            span.set_attributes(http.client_attributes(method, url, host, port, semconv))

    def headers(self, pairs: Iterable[tuple[str, V]]) -> list[tuple[str, V | str]]:
        """Return the caller's header ``pairs`` with those of the trace and of the mesh."""
        handle, host, rule = self._outgoing
        return merge_headers(handle.propagator.outgoing(self.context, host, rule), pairs)

    def __enter__(self) -> None:
        self._token = attach(self.context)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        detach(self._token)

    def answered(self, status: int, version: str | None = None, resent: int = 0) -> None:
        """Note what the answer's first line said."""
        self.status = status
        if not self.recording:
            return
        found = PlainAttributes()
        if status:
            found.update(dict.fromkeys(http.STATUS_KEYS[self._semconv], status))
        if self._semconv != "old":
            if version:
                found["network.protocol.version"] = version
            if resent:
                found["http.request.resend_count"] = resent
        self._answered = found

    def finish(self, error: BaseException | None = None) -> None:
        """End the span, once. ``error`` is what was raised while it was on the wire."""
        if not self.claim() or not self.recording:
            return
        kind = description = None
        if error is not None:
            kind, description = http.error_type(error), redact_text(message_of(error))
            _record(self.span, error, description)
        elif (self.status or 0) >= 400:
            kind = str(self.status)
        self.conclude(kind, description, None, self._answered)


class Dropped:
    """Ends an exchange with the last reference to its response and to that one's body."""

    __slots__ = ("exchange",)

    def __init__(self, exchange: ClientExchange) -> None:
        self.exchange = exchange

    def __del__(self) -> None:
        self.exchange.finish()


def _record(span: trace.Span, error: BaseException, message: str) -> None:
    """Add the exception event; clients quote the whole URL in what they raise."""
    try:
        stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # an exception that cannot be printed
        stack = ""
    span.record_exception(
        cast("Exception", error),
        {"exception.message": message, "exception.stacktrace": redact_text(stack)},
    )
