"""Trace any WSGI application: Django, Pyramid, Bottle, or a plain callable.

::

    application = tracekit.wsgi.middleware(application)

The span lives from the first line of the application until the server has taken, or closed, the
last piece of the body, so it covers what is sent and not only what is computed. The context is
attached for each stretch of the application's code and never in between: nothing is left behind
on a server's thread.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, cast

from opentelemetry import trace

from tracekit import _handle, _http
from tracekit._calls import Call, Step
from tracekit._context import DEFER, Decision, RootHint, marks_of, with_root_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from opentelemetry.context import Context

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
    Headers = list[tuple[str, str]]

__all__ = ["DEFAULT_EXCLUDE", "middleware"]

_log = logging.getLogger("tracekit")

DEFAULT_EXCLUDE = (
    "/health",
    "/healthz",
    "/livez",
    "/readyz",
    "/ready",
    "/live",
    "/alive",
    "/ping",
    "/metrics",
)
"""Paths of probes and scrapers, which would flood the traces. Whole paths: no prefix, no query."""

KEY = "tracekit.exchange"
"""Where an environ holds its ``Exchange``."""

_PROXY_FIXED = "werkzeug.proxy_fix.orig"  # where ProxyFix keeps what it replaced
_NOT_ERRORS = (GeneratorExit, StopIteration)  # StopIteration: how flask-sock leaves under gunicorn


def middleware(
    app: WSGIApplication,
    tracing: _handle.Tracing | _handle.HasTracing | None = None,
    *,
    exclude: Iterable[str] = DEFAULT_EXCLUDE,
    response_headers: bool = False,
    semconv: str | None = None,
) -> WSGIApplication:
    """Return ``app`` with a server span around each request.

    ``exclude`` lists paths that get no span, and under which none starts a trace.
    ``response_headers`` tells the client which trace it was (``traceresponse``,
    ``Server-Timing``). ``semconv`` picks the attributes' names: ``"current"``, ``"old"`` or
    ``"both"`` (None: as configured). A request that an outer edge traces is left to that one.
    """
    server = Server(handle_of(tracing), exclude, response_headers, semconv)
    return Middleware(app, server, _begin)


def handle_of(
    tracing: _handle.Tracing | _handle.HasTracing | None,
) -> Callable[[], _handle.Tracing]:
    """Return how to get the handle later: the process' one may start after the edge was made.

    Raises ``TypeError`` now for what ``tracing=`` does not take.
    """
    if tracing is not None:
        _handle.resolve(tracing)
    return functools.partial(_handle.resolve, tracing)


def _begin(exchange: Exchange) -> None:
    if not exchange.excluded:
        exchange.begin("tracekit.wsgi")


class Server:
    """The settings of one edge, and how a request becomes an exchange. Any thread may use it."""

    def __init__(
        self,
        handle: Callable[[], _handle.Tracing],
        exclude: Iterable[str],
        response_headers: bool,
        semconv: str | None,
    ) -> None:
        self._handle = handle
        self._exclude = frozenset((exclude,) if isinstance(exclude, str) else exclude)
        self._semconv = None if semconv is None else _http.semconv_of(semconv)
        self._tracer: tuple[_handle.Tracing, str, trace.Tracer] | None = None
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

    def tracer(self, handle: _handle.Tracing, scope: str) -> trace.Tracer:
        """Return the handle's tracer; looking it up costs as much as starting a span."""
        known = self._tracer
        if known is None or known[0] is not handle or known[1] != scope:
            known = self._tracer = (handle, scope, handle.tracer(scope))
        return known[2]

    def semconv(self, handle: _handle.Tracing) -> _http.Semconv:
        """Return which names the attributes have."""
        return self._semconv or cast("_http.Semconv", handle.settings.semconv)


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
        "named",
        "proxy_fixed",
        "recording",
        "server",
        "shown",
        "status",
        "step",
    )

    def __init__(
        self,
        server: Server,
        handle: _handle.Tracing,
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
        self.shown: object = None  # the span as another API shows it
        self.finished = False
        self.status = 0
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
        name = name or _http.span_name(environ.get("REQUEST_METHOD", ""))
        span = self.server.tracer(handle, scope).start_span(name, context, trace.SpanKind.SERVER)
        if span.is_recording():
            self.recording = True
            self._describe(span)
        self.call = call = Call(span, context, handle.call_observer, name=name)
        self.context = call.context
        self.step = call.step()
        return call

    def _describe(self, span: trace.Span) -> None:
        """Put on the span what the environ says."""
        found = _http.server_attributes(self.environ, self._semconv())
        for key, value in found.items():  # each is one store; set_attributes takes a lock
            span.set_attribute(key, value)

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
            if self.server.answers and self.call is not None:
                headers = _with_trace(headers, self.call.span.get_span_context())
            if exc_info is None:
                return start_response(status, headers)
            self.error = exc_info[1]
            return start_response(status, headers, exc_info)

        return respond

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
            kind, description = _http.error_type(error), _http.message_of(error)
        elif status >= 500:
            kind = str(status)
        if self.recording:
            if status:
                for key in _http.STATUS_KEYS[self._semconv()]:
                    call.span.set_attribute(key, status)
            if aborted and self._is_short():
                call.span.set_attribute("response.aborted", True)
        call.finish(error_type=kind, description=description, exception=error)

    def _semconv(self) -> _http.Semconv:
        return self.server.semconv(self.handle)

    def _is_short(self) -> bool:
        """Whether a body that was closed early was one: a HEAD response has none to send."""
        has_none = self.status in {204, 304} or 100 <= self.status < 200
        return not has_none and self.environ.get("REQUEST_METHOD") != "HEAD"


class Middleware:
    """A WSGI application around another one."""

    def __init__(
        self,
        app: WSGIApplication,
        server: Server,
        begin: Callable[[Exchange], None] | None,
    ) -> None:
        self._app = app
        self._server = server
        self._begin = begin

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        outer = environ.get(KEY)
        if outer is not None and not outer.finished:
            return self._app(environ, start_response)
        try:
            exchange = environ[KEY] = self._server.receive(environ)
            if self._begin is not None:
                self._begin(exchange)
        except Exception:
            self._server.complain("tracing a request failed; it is served untraced")
            environ.pop(KEY, None)
            return self._app(environ, start_response)
        try:
            with exchange.step:
                result = self._app(environ, exchange.respond(start_response))  # type: ignore[arg-type]
        except BaseException as error:
            exchange.finish(error)
            raise
        return _followed(result, exchange)


def _followed(result: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
    """Return the body so that its end is noticed, in the shape in which the server knows it."""
    wrapper = exchange.environ.get("wsgi.file_wrapper")
    if wrapper is not None and _is_file(result, wrapper):
        # The server looks for this very object, to send the file without reading it.
        try:
            result.close = _Closing(exchange, getattr(result, "close", None))  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            exchange.finish()
        return result
    return SizedBody(result, exchange) if hasattr(result, "__len__") else Body(result, exchange)


def _is_file(result: object, wrapper: object) -> bool:
    if isinstance(wrapper, type):
        return isinstance(result, wrapper)
    return hasattr(result, "fileno")  # uWSGI's is a function that hands the file itself back


class Body:
    """A response body that runs the application's code under its span, piece by piece."""

    __slots__ = ("_exchange", "_iterator", "_result", "_step")

    def __init__(self, result: Iterable[bytes], exchange: Exchange) -> None:
        self._result = result
        self._iterator: Iterator[bytes] | None = None
        self._exchange: Exchange | None = exchange
        self._step = exchange.step

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self._step:
                if self._iterator is None:
                    self._iterator = iter(self._result)
                return next(self._iterator)
        except StopIteration:
            self._end()
            raise
        except BaseException as error:
            self._end(error)
            raise

    def close(self) -> None:
        """Close the application's iterable as the server asks to (PEP 3333)."""
        close = getattr(self._result, "close", None)
        try:
            if close is not None:
                with self._step:
                    close()
        except BaseException as error:
            self._end(error)
            raise
        self._end(aborted=True)

    def __del__(self) -> None:
        # A server that drops the iterable without closing it must not cost us the span.
        self._end(aborted=True)

    def _end(self, error: BaseException | None = None, *, aborted: bool = False) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.finish(error, aborted=aborted)


class SizedBody(Body):
    """A body whose number of pieces is known: servers derive Content-Length from a single one."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._result)  # type: ignore[arg-type] # it has a length, or it were a Body


class _Closing:
    """The ``close`` of a file that the server sends: also the end of the exchange."""

    def __init__(self, exchange: Exchange, close: Callable[[], object] | None) -> None:
        self._exchange = exchange
        self._close = close

    def __call__(self) -> None:
        try:
            if self._close is not None:
                self._close()
        finally:
            self._exchange.finish()


def _status(line: object) -> int:
    head = str(line)[:3]
    return int(head) if head.isascii() and head.isdigit() else 0


def _with_trace(headers: Headers, context: trace.SpanContext) -> Headers:
    """Return ``headers`` that also name the trace, readable for scripts of other origins."""
    value = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"
    return [
        *headers,
        ("traceresponse", value),
        ("Server-Timing", f'traceparent;desc="{value}"'),
        ("Access-Control-Expose-Headers", "traceresponse, Server-Timing"),
    ]
