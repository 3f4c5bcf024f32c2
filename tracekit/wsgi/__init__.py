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

from tracekit._assembly.handle import later
from tracekit._calls.http_server import DEFAULT_EXCLUDE, Server
from tracekit._context import attach, detach
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
    return Middleware(app, server, Exchange.start)


class Middleware:
    """A WSGI application around another one. ``start`` (None: nobody yet) begins a span."""

    def __init__(
        self,
        app: WSGIApplication,
        server: Server,
        start: Callable[[Exchange, WSGIEnvironment], None] | None,
    ) -> None:
        self._app = app
        self._server = server
        self._start = start

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        outer = environ.get(KEY)
        if outer is not None and not outer.finished:
            return self._app(environ, start_response)
        try:
            exchange = environ[KEY] = Exchange.of(self._server, environ, start_response)
            if self._start is None or exchange.excluded:
                exchange.pass_on()
            else:
                self._start(exchange, environ)
        except Exception:
            self._server.complain("tracing a request failed; it is served untraced")
            environ.pop(KEY, None)
            return self._app(environ, start_response)
        context = exchange.context
        token = attach(context)
        try:
            result = self._app(environ, exchange)  # type: ignore[arg-type] # it is one
        except BaseException as error:
            exchange.leave(token)
            exchange.over(error)
            raise
        if exchange.context is context:
            exchange.leave(token)
        else:  # only a view is traced, and has begun its span meanwhile
            detach(token)
        return followed(result, exchange, environ)
