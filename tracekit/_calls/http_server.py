"""One HTTP request as its server sees it, however it came in: what WSGI and ASGI share.

An edge makes one ``HttpExchange`` a request (a subclass that knows its protocol) and drives it:
``begin`` starts the span straight from what the headers said, ``enter`` and ``leave`` stand around
each stretch of the application's code, ``finish`` ends it, once. There is nothing in between.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from tracekit._calls import http
from tracekit._calls.lifecycle import BaseCall, message_of
from tracekit._calls.semconv import semconv_of
from tracekit._context import (
    Decision,
    RootHint,
    attach,
    detach,
    get_current,
    with_root_hint,
    with_span,
)
from tracekit.propagation._extracted import enter
from tracekit.tracing import Span, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextvars import Token

    from tracekit._assembly.handle import Tracing
    from tracekit._calls.semconv import Semconv
    from tracekit.propagation._remote import Extracted

    Describe = Callable[[Any], http.Attributes]
    """Makes the attributes of a request's span out of what its protocol has for a request."""

_log = logging.getLogger("tracekit")

_EMPTY = Context()
_SERVER = trace.SpanKind.SERVER
_NOT_ERRORS = (GeneratorExit, StopIteration)  # StopIteration: how flask-sock leaves under gunicorn


class Joiner(Protocol):
    """A tracer of ours, running or disabled."""

    def join(
        self,
        extracted: Extracted,
        name: str,
        kind: trace.SpanKind,
        attributes: Describe | None = None,
        *,
        subject: object = None,
    ) -> tuple[trace.Span, Context]:
        """See ``tracing.Tracer.join``."""

    def start_span(self, name: str, context: Context, kind: trace.SpanKind) -> trace.Span:
        """See ``opentelemetry.trace.Tracer``."""


def trace_headers(context: trace.SpanContext) -> list[tuple[str, str]]:
    """Return what tells the client which trace it was, readable for scripts of other origins."""
    value = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"
    return [
        ("traceresponse", value),
        ("Server-Timing", f'traceparent;desc="{value}"'),
        ("Access-Control-Expose-Headers", "traceresponse, Server-Timing"),
    ]


class Bound:
    """A server's settings together with the handle that runs now: asked for once, not a request."""

    def __init__(self, handle: Tracing, scope: str, semconv: Semconv | None) -> None:
        self.handle = handle
        self.tracer: Joiner = handle.provider.get_tracer(scope)
        self.propagator = handle.propagator
        self.observer = handle.call_observer
        self.semconv: Semconv = semconv or handle.settings.semconv
        self._status_keys = http.STATUS_KEYS[self.semconv]
        self.statuses: dict[int, http.Attributes] = {}
        """What the span of a request of that status is told last, once one has ended so."""
        self.by_operation = handle.provider.samples_by_operation
        """Whether the sampler decides by operation, and so has to know it."""

    def answered(self, status: int) -> http.Attributes:
        """Return the attributes of a status, and remember those of one that HTTP knows."""
        status = int(status)  # a plain one: what is remembered is on other spans, too
        found: http.Attributes = dict.fromkeys(self._status_keys, status) if status else {}
        if 100 <= status < 600:
            self.statuses[status] = found
        return found


class Server:
    """The settings of one edge. Any thread may use it.

    ``handle`` returns the handle, ``scope`` names the edge's spans' instrumentation scope,
    ``exclude`` lists whole paths without a span, ``response_headers`` says whether responses name
    their trace, ``semconv`` picks the attributes' names (None: as configured).
    """

    def __init__(
        self,
        handle: Callable[[], Tracing],
        scope: str,
        exclude: Iterable[str],
        response_headers: bool,
        semconv: str | None,
    ) -> None:
        self.exclude = frozenset((exclude,) if isinstance(exclude, str) else exclude)
        self.answers = bool(response_headers)
        self.handle = handle
        self.bound: Bound | None = None
        """What is known of the handle of the last request, which nearly always runs still."""
        self._scope = scope
        self._semconv = None if semconv is None else semconv_of(semconv)
        self._complained = False

    def complain(self, message: str) -> None:
        """Log the current exception; of one edge once, or every request would repeat it."""
        if not self._complained:
            self._complained = True
            _log.exception(message)

    def bind(self, handle: Tracing) -> Bound:
        """Return what is to be known of a handle that runs since now, and remember it."""
        bound = self.bound = Bound(handle, self._scope, self._semconv)
        return bound


class HttpExchange(BaseCall):
    """One request and its response. What most requests do not have is the class's default.

    It holds nothing of the server's or the application's, so it is in no circle of references with
    what holds it (an environ, a scope): a request is freed when the last of them lets go.
    """

    span: trace.Span = trace.INVALID_SPAN
    context: Context = _EMPTY
    begun = False
    """Whether there is a ``span``."""
    recording = False
    heard = False
    """Whether anybody will hear of its end: the span records, or calls are counted."""
    finished = False
    excluded = False
    """Whether there is to be no span, and no trace begun under this request."""
    named = False
    """Whether a framework has said which route it is."""
    route = ""
    """The pattern that matched, where there are such."""
    shown: object = None
    """The span as another API shows it."""
    error: BaseException | None = None
    """What an error handler has made a response of."""

    answers = False
    """Whether responses name their trace."""
    bound: Bound
    extracted: Extracted
    method: str
    scheme: str

    def __str__(self) -> str:
        """The trace id in hex, as Jaeger's search takes it; ``-`` where there is no trace."""
        trace_id = self.span.get_span_context().trace_id
        return f"{trace_id:032x}" if trace_id else "-"

    # -- its beginning ---------------------------------------------------------------------------

    def begin(
        self,
        name: str,
        attributes: Describe,
        subject: Any,  # noqa: ANN401
        context: Context | None = None,
    ) -> None:
        """Start the span; later steps run under it.

        ``attributes(subject)`` makes its attributes, if it records. ``context`` (None: what
        arrived) is where it is started when that is not the beginning of the request.
        """
        bound = self.bound
        if context is None:
            span, self.context = bound.tracer.join(
                self.extracted, name, _SERVER, attributes, subject=subject
            )
        else:
            span = bound.tracer.start_span(name, context, _SERVER)
            if span.is_recording():
                span.set_attributes(attributes(subject))
            self.context = with_span(span, context)
        self.span = span
        self.begun = True
        kind, observer = type(span), bound.observer
        if kind is Span or (kind is not UnsampledSpan and span.is_recording()):
            self.recording = True
        elif observer is None:
            return
        self.heard = self.live = True
        self.name = name
        if observer is not None:
            self._observer = observer
            self.started_s = perf_counter()

    def pass_on(self) -> None:
        """Have later steps run under what arrived, without a span."""
        context = enter(self.extracted, _EMPTY)
        if self.excluded:
            context = with_root_hint(RootHint(Decision.DENY), context)
        self.context = context

    def sampled_by_operation(self) -> bool:
        """Whether a sampler will decide, and wants to know the operation for that."""
        fields = self.extracted[0]
        return self.bound.by_operation and (fields is None or not fields[0] or fields[3] is None)

    # -- each stretch of the application's code --------------------------------------------------

    def enter(self) -> Token[Context]:
        """Make the exchange's context current on this thread or task; returns what ``leave`` needs.

        It is the one that was current when it was left: a generator that holds a span open over
        its ``yield`` finds that span again, as it would without us.
        """
        return attach(self.context)

    def leave(self, token: Token[Context]) -> None:
        """Give control back; never raises."""
        self.context = get_current()
        try:
            detach(token)
        except Exception:  # attached in another contextvars.Context: OpenTelemetry logs it
            otel_context.detach(token)

    # -- its end ---------------------------------------------------------------------------------

    def finish(self, error: BaseException | None = None, *, aborted: bool = False) -> None:
        """End the span, once. ``error`` is what left the application.

        ``aborted``: nobody took the body to its end.
        """
        self.finished = True
        try:
            del self.live  # ``claim``, without the call
        except AttributeError:
            return  # over, untraced, or nobody will hear of it
        status, span = self.status or 0, self.span
        told: http.Attributes | None = None
        if self.recording:
            bound = self.bound
            told = bound.statuses.get(status) or bound.answered(status)
            if aborted and self._has_body(status):
                told = {**told, "response.aborted": True}
        if error is None and 0 < status < 500 and self._observer is None:
            if told is None or not isinstance(span, Span):
                span.end(self.ended_ns)
            else:
                span.end(self.ended_ns, told)  # as nearly all do
            return
        if told:
            span.set_attributes(told)
        self._conclude(error, status)

    def _conclude(self, error: BaseException | None, status: int) -> None:
        handled, self.error = self.error, None
        if isinstance(error, _NOT_ERRORS):
            error = None
        if error is None and (status >= 500 or not status):
            error = handled
        kind = description = None
        if error is not None:
            kind, description = http.error_type(error), message_of(error)
        elif status >= 500:
            kind = str(status)
        self.conclude(kind, description, error, None, self._labels)

    def _labels(self) -> http.Attributes:
        return http.server_labels(self.method, self.scheme, self.route, self.status or 0)

    def _has_body(self, status: int) -> bool:
        """Whether a body that was closed early was one: a HEAD response has none to send."""
        return status not in {204, 304} and not 100 <= status < 200 and self.method != "HEAD"
