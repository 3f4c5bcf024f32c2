"""Trace any WSGI application: Django, Pyramid, Bottle, or a plain callable.

::

    application = tracekit.wsgi.middleware(application)

The span lives from the first line of the application until the server has taken, or closed, the
last piece of the body, so it covers what is sent and not only what is computed. The context is
attached for each stretch of the application's code and never in between: nothing is left behind
on a server's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import context as otel_context

from tracekit._assembly.handle import later
from tracekit._calls.http import DEFAULT_EXCLUDE
from tracekit._calls.http_server import Server
from tracekit._context import attach, detach, get_current
from tracekit.wsgi._body import followed
from tracekit.wsgi._exchange import KEY, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from tracekit._assembly.handle import HasTracing, Tracing

__all__ = ["DEFAULT_EXCLUDE", "middleware"]


def middleware(
    app: WSGIApplication,
    tracing: Tracing | HasTracing | None = None,
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
    server = Server(later(tracing), "tracekit.wsgi", exclude, response_headers, semconv)
    return Middleware(app, server)


class Middleware:
    """A WSGI application around another one.

    ``operation`` names a request that a sampler by operation is to decide about. ``is_passive``
    tells bodies that run no code of the application's (see ``followed``). Not ``begins``: somebody
    further in will start the span.
    """

    def __init__(
        self,
        app: WSGIApplication,
        server: Server,
        operation: Callable[[Exchange, WSGIEnvironment], str] | None = None,
        is_passive: Callable[[object], bool] | None = None,
        *,
        begins: bool = True,
    ) -> None:
        self._app = app
        self._server = server
        self._operation = operation
        self._is_passive = is_passive
        self._begins = begins

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        outer = environ.get(KEY)
        if outer is not None and not outer.finished:
            return self._app(environ, start_response)
        try:
            exchange = environ[KEY] = Exchange(self._server, environ, start_response)
            if exchange.excluded or not self._begins:
                exchange.pass_on()
            elif exchange.bound.by_operation and self._operation is not None:
                exchange.start(environ, self._operation(exchange, environ))
            else:
                exchange.start(environ)
        except Exception:
            self._server.complain("tracing a request failed; it is served untraced")
            environ.pop(KEY, None)
            return self._app(environ, start_response)
        context = exchange.context
        answer: StartResponse = exchange  # type: ignore[assignment] # it is one
        if exchange.excluded or (exchange.begun and not (exchange.heard or exchange.answers)):
            exchange.quiet, exchange._start_response = True, None
            answer = start_response  # nobody asks how it went, only what is current matters
        token = attach(context)
        try:
            result = self._app(environ, answer)
        except BaseException as error:
            exchange.leave(token)
            exchange.over(error)
            raise
        if exchange.context is context:
            exchange.context = get_current()  # ``leave``, without the call
        try:  # (else only a view is traced, and has begun its span meanwhile)
            detach(token)
        except Exception:  # attached in another contextvars.Context: OpenTelemetry logs it
            otel_context.detach(token)
        return followed(result, exchange, environ, self._is_passive)
