"""One request on the server side: what arrived, its span, and how it was answered."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from opentelemetry import trace

from tracekit._calls import http
from tracekit._calls.lifecycle import Call, Step, message_of
from tracekit._calls.semconv import semconv_of
from tracekit._context import DEFER, Decision, RootHint, marks_of, with_root_hint, with_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from opentelemetry.context import Context

    from tracekit._assembly.handle import Tracing
    from tracekit._calls.semconv import Semconv

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
    Headers = list[tuple[str, str]]

_log = logging.getLogger("tracekit")

KEY = "tracekit.exchange"
"""Where an environ holds its ``Exchange``."""

_PROXY_FIXED = "werkzeug.proxy_fix.orig"  # where ProxyFix keeps what it replaced
_NOT_ERRORS = (GeneratorExit, StopIteration)  # StopIteration: how flask-sock leaves under gunicorn


class Server:
    """The settings of one edge, and how a request becomes an exchange. Any thread may use it."""

    def __init__(
        self,
        handle: Callable[[], Tracing],
        exclude: Iterable[str],
        response_headers: bool,
        semconv: str | None,
    ) -> None:
        self._handle = handle
        self._exclude = frozenset((exclude,) if isinstance(exclude, str) else exclude)
        self._semconv = None if semconv is None else semconv_of(semconv)
        self._tracer: tuple[Tracing, str, trace.Tracer] | None = None
        self._complained = False
        self.answers = response_headers
        """Whether responses name their trace."""

    def complain(self, message: str) -> None:
        """Log the current exception; of one edge once, or every request would repeat it."""
        if not self._complained:
            self._complained = True
            _log.exception(message)

    def receive(self, environ: WSGIEnvironment) -> Exchange:
        """Read what the request's headers say; no span yet."""
        handle = self._handle()
        # An empty context to begin with: what a thread may still hold is another request's.
        context = handle.propagator.extract_environ(environ)
        excluded = environ.get("PATH_INFO", "") in self._exclude
        if excluded:
            context = with_root_hint(RootHint(Decision.DENY), context)
        return Exchange(self, handle, environ, context, excluded)

    def tracer(self, handle: Tracing, scope: str) -> trace.Tracer:
        """Return the handle's tracer; looking it up costs as much as starting a span."""
        known = self._tracer
        if known is None or known[0] is not handle or known[1] != scope:
            known = self._tracer = (handle, scope, handle.tracer(scope))
        return known[2]

    def semconv(self, handle: Tracing) -> Semconv:
        """Return which names the attributes have."""
        return self._semconv or handle.settings.semconv


class Exchange:
    """One request and its response: the call, the status, and the context of each step."""

    __slots__ = (
        "call",
        "context",
        "environ",
        "error",
        "excluded",
        "finished",
        "handle",
        "left_bytes",
        "named",
        "proxy_fixed",
        "recording",
        "route",
        "server",
        "shown",
        "status",
        "step",
    )

    def __init__(
        self,
        server: Server,
        handle: Tracing,
        environ: WSGIEnvironment,
        context: Context,
        excluded: bool,
    ) -> None:
        self.server = server
        self.handle = handle
        self.environ = environ
        self.excluded = excluded
        self.context = context
        self.step = Step(context)
        self.call: Call | None = None
        self.named = False
        self.proxy_fixed = _PROXY_FIXED in environ
        self.recording = False
        self.route = ""  # the pattern that matched, where there are such
        self.shown: object = None  # the span as another API shows it
        self.finished = False
        self.status = 0
        self.left_bytes: int | None = None  # of the body, where its length is declared
        self.error: BaseException | None = None  # what an error handler has made a response of

    @property
    def span(self) -> trace.Span | None:
        """The server span; None when the request is not traced."""
        return None if self.call is None else self.call.span

    def sampled_by_operation(self) -> bool:
        """Whether a sampler will decide, and wants to know the operation for that."""
        if self.handle.settings.sampler.type not in {"remote", "file"}:
            return False
        parent = trace.get_current_span(self.context).get_span_context()
        return not parent.is_valid or bool(marks_of(parent) & DEFER)

    def begin(self, scope: str, name: str | None = None, context: Context | None = None) -> Call:
        """Start the span, in ``context`` (None: what arrived); later steps run under it."""
        environ, handle = self.environ, self.handle
        context = self.context if context is None else context
        name = name or http.span_name(environ.get("REQUEST_METHOD", ""))
        span = self.server.tracer(handle, scope).start_span(name, context, trace.SpanKind.SERVER)
        if span.is_recording():
            self.recording = True
            self._describe(span)
        self.context = with_span(span, context)
        self.call = call = Call(span, self.context, handle.call_observer, name=name)
        self.step = call.step()
        return call

    def _describe(self, span: trace.Span) -> None:
        """Put on the span what the environ says."""
        span.set_attributes(http.server_attributes(self.environ, self._semconv()))

    def describe_behind_proxy(self) -> None:
        """Say it again when a ProxyFix further in has meanwhile found out who the client is."""
        if self.call is not None and _PROXY_FIXED in self.environ and not self.proxy_fixed:
            self.proxy_fixed = True
            self._describe(self.call.span)

    def respond(self, start_response: StartResponse) -> Callable[..., object]:
        """Return a ``start_response`` that notes the status on its way to the server's."""

        def respond(
            status: str, headers: Headers, exc_info: ExcInfo | None = None
        ) -> Callable[[bytes], object]:
            self.status = _status(status)
            self.left_bytes = _length(headers)
            if self.server.answers and self.call is not None:
                headers = _with_trace(headers, self.call.span.get_span_context())
            if exc_info is None:
                return start_response(status, headers)
            self.error = exc_info[1]
            return start_response(status, headers, exc_info)

        return respond

    def completed_by(self, piece: object) -> bool:
        """Count a piece of the body; whether that has its declared length now."""
        left = self.left_bytes
        if left is None or piece.__class__ is not bytes:
            return False
        self.left_bytes = left = left - len(piece)
        return left <= 0

    def finish(self, error: BaseException | None = None, *, aborted: bool = False) -> None:
        """End the span, once. ``error`` is what left the application."""
        call, handled, self.error = self.call, self.error, None
        self.finished = True
        if call is None:
            return
        if isinstance(error, _NOT_ERRORS):
            error = None
        status = self.status
        call.status = status or None
        if error is None and (status >= 500 or not status):
            error = handled
        kind = description = None
        if error is not None:
            kind, description = http.error_type(error), message_of(error)
        elif status >= 500:
            kind = str(status)
        if self.recording:
            if status:
                for key in http.STATUS_KEYS[self._semconv()]:
                    call.span.set_attribute(key, status)
            if aborted and self._is_short():
                call.span.set_attribute("response.aborted", True)
        call.finish(error_type=kind, description=description, exception=error, labels=self._labels)

    def _labels(self) -> http.Attributes:
        return http.server_labels(self.environ, self.route, self.status)

    def _semconv(self) -> Semconv:
        return self.server.semconv(self.handle)

    def _is_short(self) -> bool:
        """Whether a body that was closed early was one: a HEAD response has none to send."""
        has_none = self.status in {204, 304} or 100 <= self.status < 200
        return not has_none and self.environ.get("REQUEST_METHOD") != "HEAD"


def _status(line: object) -> int:
    head = str(line)[:3]
    return int(head) if head.isascii() and head.isdigit() else 0


def _length(headers: Headers) -> int | None:
    """Return what ``Content-Length`` declares, if it is there and a length.

    Headers that are none are for the server to complain about.
    """
    try:
        if isinstance(headers, list):  # nothing that reading uses up
            for name, value in headers:
                if len(name) == 14 and name.lower() == "content-length":
                    plain = len(value) < 19 and value.isascii() and value.isdigit()
                    return int(value) if plain else None
    except (TypeError, ValueError, AttributeError):
        pass
    return None


def _with_trace(headers: Headers, context: trace.SpanContext) -> Headers:
    """Return ``headers`` that also name the trace, readable for scripts of other origins."""
    value = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"
    return [
        *headers,
        ("traceresponse", value),
        ("Server-Timing", f'traceparent;desc="{value}"'),
        ("Access-Control-Expose-Headers", "traceresponse, Server-Timing"),
    ]
