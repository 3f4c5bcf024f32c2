"""Trace any ASGI application: FastAPI, Starlette, Quart, Litestar, Django, or a plain callable.

::

    application = tracekit.asgi.middleware(application)

One span a request, from the first line of the application until the server has taken the last
part of the body; one a websocket, until it is closed. What runs after the response (background
tasks) goes on in its context: its spans are children of the request that asked for them, so they
share its trace, its sampling decision and its mesh headers.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING

from tracekit._assembly.handle import later
from tracekit._calls.http import DEFAULT_EXCLUDE
from tracekit._calls.http_server import Server
from tracekit._context import attach, detach
from tracekit.asgi._exchange import KEY, Exchange
from tracekit.asgi._routes import Routes, ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tracekit._assembly.handle import HasTracing, Tracing
    from tracekit.asgi._exchange import App, Message, Receive, Scope, Send

__all__ = ["DEFAULT_EXCLUDE", "middleware"]

_log = logging.getLogger("tracekit")
_KINDS = frozenset({"http", "websocket"})
_FASTAPI_OWN = "fastapi.telemetry"
"""Where FastAPI keeps its own span; None keeps it from making one, here and in what is mounted."""


def middleware(
    app: App,
    tracing: Tracing | HasTracing | None = None,
    *,
    exclude: Iterable[str] = DEFAULT_EXCLUDE,
    response_headers: bool = False,
    semconv: str | None = None,
) -> App:
    """Return ``app`` with a server span around each request and each websocket.

    ``exclude`` lists paths that get no span, and under which none starts a trace.
    ``response_headers`` tells the client which trace it was (``traceresponse``,
    ``Server-Timing``). ``semconv`` picks the attributes' names: ``"current"``, ``"old"`` or
    ``"both"`` (None: as configured). A request that an outer edge traces is left to that one.
    What is no ASGI 3 application is returned as it is, with one warning.
    """
    if not _is_asgi_3(app):
        _log.warning(
            "tracekit.asgi traces ASGI 3 applications, called with scope, receive and send, not %s;"
            " it is served untraced",
            type(app).__name__,
        )
        return app
    return Middleware(
        app, Server(later(tracing), "tracekit.asgi", exclude, response_headers, semconv)
    )


def _is_asgi_3(app: object) -> bool:
    """Whether it can be called as servers call ASGI 3; what does not tell is believed.

    Neither ASGI 2 (called with the scope alone) nor WSGI: servers know both by their own looks,
    and would not know them behind ours. A class serves by its instances, which are awaited.
    """
    try:
        if not callable(app) or (isinstance(app, type) and not hasattr(app, "__await__")):
            return False
        inspect.signature(app, follow_wrapped=False).bind(None, None, None)
    except TypeError:
        return False
    except Exception:  # a signature that cannot be had
        return True
    return True


class Middleware:
    """An ASGI application around another one. Any event loop: it waits for nothing of its own."""

    def __init__(
        self,
        app: App,
        server: Server,
        owner: object = None,
        prepare: Callable[[Exchange], None] | None = None,
    ) -> None:
        """``prepare`` is told of each exchange that records, before the application is."""
        self.app = app
        self._prepare = prepare
        self._owner = app if owner is None else owner
        self._server = server
        self._routes = Routes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Serve one connection."""
        if type(scope) is not dict or scope.get("type") not in _KINDS:
            return await self.app(scope, receive, send)
        outer = scope.get(KEY)
        if outer is not None and not outer.finished:
            return await self.app(scope, receive, send)
        try:
            exchange = scope[KEY] = Exchange(self._server, scope)
            scope.setdefault(_FASTAPI_OWN, None)
            if exchange.excluded:
                exchange.pass_on()
            else:
                self._start(exchange, scope)
        except Exception:
            self._server.complain("tracing a request failed; it is served untraced")
            scope.pop(KEY, None)
            return await self.app(scope, receive, send)
        if not exchange.begun or not (exchange.heard or exchange.answers):
            return await self._untraced(exchange, scope, receive, send)
        return await self._traced(exchange, scope, receive, send)

    def _start(self, exchange: Exchange, scope: Scope) -> None:
        route = ""
        if exchange.sampled_by_operation():
            route = ahead(getattr(self._owner, "routes", None) or (), scope, exchange.root)
        exchange.start(scope, route)
        if self._prepare is not None and exchange.recording:
            self._prepare(exchange)

    async def _untraced(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> object:
        """Serve what nobody asks the end of: only what is current matters."""
        token = attach(exchange.context)
        try:
            return await self.app(scope, receive, send)
        finally:
            exchange.finished = True
            _leave(token)

    async def _traced(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> object:
        async def answer(message: Message) -> None:
            try:
                message, last = exchange.sends(message)
                exchange.name_by(scope, self._routes.of)
            except Exception:  # a message of the application's own making: the server will see
                last = False
            try:
                await send(message)
            except OSError:
                exchange.gone = True
                raise
            if last:
                exchange.answered()

        async def take() -> Message:
            message = await receive()
            try:
                if exchange.received(message):
                    exchange.name_by(scope, self._routes.of)
                    exchange.finish()
            except Exception:
                return message
            return message

        token = attach(exchange.context)
        try:
            result = await self.app(scope, take, answer)
        except BaseException as error:
            exchange.name_by(scope, self._routes.of)
            exchange.over(error)
            raise
        finally:
            _leave(token)
        exchange.over()
        return result


def _leave(token: object) -> None:
    try:
        detach(token)  # type: ignore[arg-type] # it is what attach gave
    except ValueError:
        return  # the coroutine was dropped, and is closed by whoever found it
