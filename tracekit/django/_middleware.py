"""The middleware: which edge's exchange a request has, and where that ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings

from tracekit._assembly.handle import later
from tracekit._calls import http
from tracekit._calls.http import DEFAULT_EXCLUDE
from tracekit._calls.http_server import HttpExchange, Server, trace_headers
from tracekit.asgi._exchange import KEY
from tracekit.asgi._exchange import Exchange as AsgiExchange
from tracekit.wsgi._exchange import Exchange as WsgiExchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_OPTIONS = frozenset({"tracing", "exclude", "response_headers", "semconv"})
_EXPOSE = "Access-Control-Expose-Headers"


class Middleware:
    """Sync and async, as the middleware around it are. ``settings.TRACEKIT`` holds its arguments.

    They are those of ``tracekit.wsgi.middleware``: ``tracing``, ``exclude``, ``response_headers``,
    ``semconv``. Raises ``TypeError`` for others, and ``ValueError`` for a bad ``semconv``. Where
    the server's application is traced as well (``tracekit.wsgi``, ``tracekit.asgi``) there is one
    span, which gets its name here.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        given = dict(getattr(settings, "TRACEKIT", None) or {})
        if unknown := given.keys() - _OPTIONS:
            raise TypeError(f"settings.TRACEKIT has no {', '.join(sorted(map(repr, unknown)))}")
        self._server = Server(
            later(given.get("tracing")),
            "tracekit.django",
            given.get("exclude", DEFAULT_EXCLUDE),
            given.get("response_headers", False),
            given.get("semconv"),
        )
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:  # noqa: ANN401 (Django has no types)
        """Serve one request; a coroutine of the response where the chain is async."""
        if self._is_async:
            return self._serve_async(request)
        exchange = self._begun(request)
        if exchange is None:
            return self._named(request, self._get_response(request))
        token = exchange.enter()
        try:
            response = self._get_response(request)
        except BaseException as error:
            exchange.finish(error)
            raise
        finally:
            exchange.leave(token)
        return self._answered(exchange, request, response)

    async def _serve_async(self, request: Any) -> Any:  # noqa: ANN401
        exchange = self._begun(request)
        if exchange is None:
            return self._named(request, await self._get_response(request))
        token = exchange.enter()
        try:
            response = await self._get_response(request)
        except asyncio.CancelledError:  # how Django tells that the client has left
            exchange.finish(aborted=True)
            raise
        except BaseException as error:
            exchange.finish(error)
            raise
        finally:
            exchange.leave(token)
        return self._answered(exchange, request, response)

    def process_exception(self, request: Any, exception: BaseException) -> None:  # noqa: ANN401
        """Note what a view has raised: Django makes a response of it before we hear of it."""
        exchange = _exchange_of(request)
        if exchange is not None:
            exchange.error = exception

    # -- one request -----------------------------------------------------------------------------

    def _begun(self, request: Any) -> HttpExchange | None:  # noqa: ANN401
        """Return a new exchange, or None where an outer edge has one, or none can be made."""
        try:
            outer = _exchange_of(request)
            if outer is not None and not outer.finished:
                return None
            scope = getattr(request, "scope", None)
            if scope is None:
                return self._under_wsgi(request)
            return self._under_asgi(scope, request)
        except Exception:
            self._server.complain("tracing a request failed; it is served untraced")
            return None

    def _under_wsgi(self, request: Any) -> HttpExchange:  # noqa: ANN401
        environ = request.environ
        exchange = environ[KEY] = WsgiExchange(self._server, environ, None)
        if exchange.excluded:
            exchange.pass_on()
        else:
            route = self._ahead(exchange, request)
            exchange.start(environ, http.span_name(exchange.method, route))
        return exchange

    def _under_asgi(self, scope: Any, request: Any) -> HttpExchange:  # noqa: ANN401
        exchange = scope[KEY] = AsgiExchange(self._server, scope)
        if exchange.excluded:
            exchange.pass_on()
        else:
            exchange.start(scope, self._ahead(exchange, request))
        return exchange

    def _ahead(self, exchange: HttpExchange, request: Any) -> str:  # noqa: ANN401
        """Return the route, where a sampler wants to know it before Django does."""
        if not exchange.sampled_by_operation():
            return ""
        from django.urls import Resolver404, resolve  # noqa: PLC0415 (wants settings)

        try:
            return http.text(resolve(request.path_info).route)
        except Resolver404:
            return ""

    def _named(self, request: Any, response: Any) -> Any:  # noqa: ANN401
        """Return the response, once the span that an outer edge has begun is named."""
        exchange = _exchange_of(request)
        if exchange is not None and exchange.begun and not exchange.finished:
            self._name(exchange, request)
        return response

    def _name(self, exchange: HttpExchange, request: Any) -> None:  # noqa: ANN401
        if not exchange.heard:
            return
        route = http.text(getattr(getattr(request, "resolver_match", None), "route", None))
        if not route:
            return
        exchange.named = True
        exchange.route = route
        exchange.name = http.span_name(exchange.method, route)
        if exchange.recording:
            exchange.span.update_name(exchange.name)
            exchange.span.set_attribute("http.route", route)

    def _answered(self, exchange: HttpExchange, request: Any, response: Any) -> Any:  # noqa: ANN401
        """Have the response end its exchange when it is closed."""
        try:
            if exchange.begun:
                self._name(exchange, request)
            exchange.status = response.status_code
            if self._server.answers and exchange.begun:
                _tell(response, exchange)
            streams = bool(getattr(response, "streaming", False))
            if getattr(response, "file_to_stream", None) is not None:
                streams = False  # its server sends the file itself, and closes it
            if streams:
                content = response.streaming_content
                response.streaming_content = (
                    _pieces_async(content, exchange)
                    if getattr(response, "is_async", False)
                    else _pieces(content, exchange)
                )
                # What it held is closed as before: Django has noted that when it was first set.
            response._resource_closers.append(_Closer(exchange, aborted=streams))
        except Exception:  # no response of Django's: it will complain
            exchange.finish()
        return response


def _exchange_of(request: Any) -> HttpExchange | None:  # noqa: ANN401
    held = getattr(request, "scope", None) or getattr(request, "environ", None) or {}
    found: HttpExchange | None = held.get(KEY)
    return found


def _tell(response: Any, exchange: HttpExchange) -> None:  # noqa: ANN401
    for name, value in trace_headers(exchange.span.get_span_context()):
        had = response.get(name) if name == _EXPOSE else None
        response[name] = f"{had}, {value}" if had else value


class _Closer:
    """Ends an exchange when its response is closed, or was dropped for another one."""

    def __init__(self, exchange: HttpExchange, *, aborted: bool) -> None:
        self._exchange = exchange
        self._aborted = aborted

    def __call__(self) -> None:
        self._exchange.finish(aborted=self._aborted)

    def __del__(self) -> None:
        self._exchange.finish(aborted=self._aborted)


def _pieces(content: Iterator[bytes], exchange: HttpExchange) -> Iterator[bytes]:
    """Yield what is streamed, each piece made in the exchange's context."""
    while True:
        token = exchange.enter()
        try:
            piece = next(content)
        except StopIteration:
            exchange.leave(token)
            exchange.finish()
            return
        except BaseException as error:
            exchange.leave(token)
            exchange.finish(error)
            raise
        exchange.leave(token)
        yield piece


async def _pieces_async(
    content: AsyncIterator[bytes], exchange: HttpExchange
) -> AsyncIterator[bytes]:
    """Yield what is streamed, each piece made in the exchange's context."""
    iterator = content.__aiter__()
    while True:
        token = exchange.enter()
        try:
            piece = await iterator.__anext__()
        except StopAsyncIteration:
            exchange.leave(token)
            exchange.finish()
            return
        except BaseException as error:
            exchange.leave(token)
            exchange.finish(error)
            raise
        exchange.leave(token)
        yield piece
