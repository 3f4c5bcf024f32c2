"""One HTTP request as its client sees it, whichever library sends it.

An edge makes one ``HttpClient`` an ``instrument`` and asks it to ``begin`` each request on the
wire: that starts the span and says which headers go out. What comes back is a ``ClientExchange``,
whose ``finish`` ends it, once, on whatever thread. There is nothing in between.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, cast, overload

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
from tracekit._context import SPAN_KEY, SUPPRESSED_PLAINLY, get_current
from tracekit._protocols import PlainAttributes
from tracekit.propagation import merge_headers
from tracekit.propagation._forwarding import ForwardRule, changes
from tracekit.tracing import Span, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import TypeVar

    from tracekit._assembly.handle import Tracing
    from tracekit._calls.semconv import Semconv

    Hosts = Callable[[str], bool] | Sequence[str] | str | None
    V = TypeVar("V")
    E = TypeVar("E", bound="ClientExchange")

_log = logging.getLogger("tracekit")
_CLIENT = trace.SpanKind.CLIENT
_METHODS = {method: method for method in http.METHODS}
"""Each as a plain text of ours, whatever subclass of it somebody asks with."""
_put = dict.__setitem__
MAX_VERSION = 16
"""Characters of the HTTP version of an answer that is remembered."""
MAX_ANSWERS = 64
"""How many kinds of answers are remembered: of status, HTTP version and times it was sent."""

EXCHANGE = "_tracekit_exchange"
"""Where a response holds what ends its exchange when nobody reads or closes it."""


_SUPPRESSED = frozenset(
    {
        SUPPRESSED_PLAINLY,
        _SUPPRESS_INSTRUMENTATION_KEY,
        "suppress_http_instrumentation",
        _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    }
)


def _suppressed(context: Context) -> bool:
    """Whether somebody, an exporter say, wants what is sent in ``context`` untraced."""
    return not _SUPPRESSED.isdisjoint(context) and any(map(context.get, _SUPPRESSED))


class Bound:
    """A client's settings together with the handle that runs now: asked for once, not a request."""

    def __init__(
        self, handle: Tracing, scope: str, rule: ForwardRule, chosen: Semconv | None
    ) -> None:
        self.handle = handle
        self.start_span = handle.tracer(scope).start_span
        self.propagator = handle.propagator
        self.rule = rule
        self.semconv: Semconv = chosen or handle.settings.semconv
        self.answers: dict[tuple[int, str | None, int], PlainAttributes] = {}
        """What a span is told of its answer; of as many kinds of answers as a service gets."""
        if rule.allow:  # what is to go out must have been noted when the request came in
            self.propagator.forward(rule.allow)

    def answered(self, status: int, version: str | None, resent: int) -> PlainAttributes:
        """Return the attributes of what an answer's first line said."""
        found = PlainAttributes()
        if status:
            found.update(dict.fromkeys(http.STATUS_KEYS[self.semconv], status))
        if self.semconv != "old":
            if version:
                found["network.protocol.version"] = version
            if resent:
                found["http.request.resend_count"] = resent
        plain = type(status) is int and (not version or len(version) < MAX_VERSION)
        if plain and len(self.answers) < MAX_ANSWERS:
            self.answers[status, version, resent] = found
        return found


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
        self._bound: Bound | None = None
        self._complained = False
        if self._rule.allow:
            self._bind(handle())

    def complain(self, message: str) -> None:
        """Log the current exception; once, or every request would repeat it."""
        if not self._complained:
            self._complained = True
            _log.exception(message)

    @overload
    def begin(self, method: str, url: object) -> ClientExchange | None: ...
    @overload
    def begin(self, method: str, url: object, kind: type[E]) -> E | None: ...
    def begin(
        self, method: str, url: object, kind: type[ClientExchange] | None = None
    ) -> ClientExchange | None:
        """Start the span of one request on the wire, below the one that is current.

        ``url`` is asked for its text where that is told. ``kind`` is what an edge makes of an
        exchange. None where nothing is to be traced now.
        """
        around = get_current()
        if around and _suppressed(around):
            return None
        handle, bound = self._handle(), self._bound
        if bound is None or bound.handle is not handle:
            bound = self._bind(handle)
        return (kind or ClientExchange)(bound, method, url, around)

    def _bind(self, handle: Tracing) -> Bound:
        bound = self._bound = Bound(handle, self._scope, self._rule, self._semconv)
        return bound


class ClientExchange(BaseCall):
    """One request on the wire until its answer is read, closed or dropped."""

    recording = False
    host = ""
    """Only known where somebody wants to know it."""
    _told: PlainAttributes | None = None
    """What the span is told last."""

    def __init__(self, bound: Bound, method: str, url: object, around: Context) -> None:
        self.bound = bound
        known = _METHODS.get(method)
        self.span = span = bound.start_span(known or "HTTP", around, _CLIENT)
        self.context = context = Context(around)
        _put(context, SPAN_KEY, span)
        kind = type(span)
        if kind is Span or (kind is not UnsampledSpan and span.is_recording()):
            self.recording = self.live = True
        elif bound.rule.hosts is None:
            return
        try:
            text = str.__str__(str(url))
            self.host, port = http.server_of(text)
            if self.recording:
                found = http.client_attributes(known, method, text, self.host, port, bound.semconv)
                span.set_attributes(found)
        except Exception:
            span.end()
            raise

    def changes(self, names: Collection[str]) -> tuple[Collection[str], list[tuple[str, str]]]:
        """Return which of the caller's headers (``names`` in lower case) go, and which come."""
        bound = self.bound
        return changes(bound.propagator.outgoing(self.context, self.host, bound.rule), names)

    def headers(self, pairs: Iterable[tuple[str, V]]) -> list[tuple[str, V | str]]:
        """Return the caller's header ``pairs`` with those of the trace and of the mesh."""
        bound = self.bound
        outgoing = bound.propagator.outgoing(self.context, self.host, bound.rule)
        return merge_headers(outgoing, pairs)

    def answered(self, status: int, version: str | None = None, resent: int = 0) -> None:
        """Note what the answer's first line said."""
        self.status = status
        if self.recording:
            said = status, version, resent
            self._told = self.bound.answers.get(said) or self.bound.answered(*said)

    def finish(self, error: BaseException | None = None) -> None:
        """End the span, once. ``error`` is what was raised while it was on the wire."""
        try:
            del self.live  # ``claim``, without the call
        except AttributeError:
            return
        span, told = self.span, self._told
        kind = description = None
        if error is None and (self.status or 0) < 400:
            if told is None or not isinstance(span, Span):
                span.end()
            else:
                span.end(None, told)  # as nearly all do
            return
        if told:
            span.set_attributes(told)
        if error is not None:
            kind, description = http.error_type(error), redact_text(message_of(error))
            _record(span, error, description)
        else:
            kind = str(self.status)
        self.conclude(kind, description)


class Dropped:
    """Ends an exchange with the last reference to its response and to that one's body."""

    __slots__ = ("exchange",)

    def __init__(self, exchange: ClientExchange) -> None:
        self.exchange = exchange

    def __del__(self) -> None:
        if self.exchange.live:
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
