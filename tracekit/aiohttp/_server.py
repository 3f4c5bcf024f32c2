"""Server spans, by a middleware of ``aiohttp.web``."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tracekit._assembly.handle import later
from tracekit._calls import http
from tracekit._calls.http import DEFAULT_EXCLUDE
from tracekit._calls.http_server import HttpExchange, Server, trace_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tracekit._assembly.handle import HasTracing, Tracing

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

_RequestKey: Any = getattr(web, "RequestKey", None)
_HOOK = "_prepare_hook"
KEY: Any = (
    "tracekit.trace_id" if _RequestKey is None else _RequestKey("tracekit.trace_id", HttpExchange)
)
"""Where a request holds its exchange, whose text is the trace id: access logs can name it."""


def middleware(
    tracing: Tracing | HasTracing | None = None,
    *,
    exclude: Iterable[str] = DEFAULT_EXCLUDE,
    response_headers: bool = False,
    semconv: str | None = None,
) -> Middleware:
    """Return a middleware for ``web.Application(middlewares=[…])``; put it first.

    ``exclude`` lists paths that get no span, and under which none starts a trace.
    ``response_headers`` tells the client which trace it was (``traceresponse``,
    ``Server-Timing``), unless the handler has begun the response itself. ``semconv`` picks the
    attributes' names: ``"current"``, ``"old"`` or ``"both"`` (None: as configured). A request is
    traced once, also where applications are nested.
    """
    server = Server(later(tracing), "tracekit.aiohttp", exclude, response_headers, semconv)

    async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            exchange = None if KEY in request else _begun(server, request)
        except Exception:
            server.complain("tracing a request failed; it is served untraced")
            exchange = None
        if exchange is None:
            return await handler(request)
        token = exchange.enter()
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            exchange.status = answer.status
            _tell(exchange, answer)
            exchange.finish()
            raise
        except BaseException as error:
            _failed(exchange, request, error)
            raise
        finally:
            exchange.leave(token)
        _answered(exchange, response)
        return response

    marked: Middleware = web.middleware(traced)
    return marked


class Exchange(HttpExchange):
    """One request of aiohttp's server."""

    def __init__(self, server: Server, request: web.Request) -> None:
        """Read what the request's headers say; no span yet."""
        handle, bound = server.handle(), server.bound
        if bound is None or bound.handle is not handle:
            bound = server.bind(handle)
        self.bound = bound
        self.answers = server.answers
        self.extracted = bound.propagator.read_pairs(request.raw_headers)
        self.method = request.method
        self.scheme = request.scheme
        self.excluded = request.path in server.exclude

    def start(self, request: web.Request) -> None:
        """Start the span; aiohttp has found the route before its middlewares run."""
        self.route = route = _route(request)
        self.named = bool(route)
        self.begin(http.span_name(self.method, route), self._attributes, request)

    def _attributes(self, request: web.Request) -> http.Attributes:
        found = http.arrived_attributes(_arrived(request), self.bound.semconv)
        if self.route:
            found["http.route"] = self.route
        return found


def _begun(server: Server, request: web.Request) -> Exchange:
    exchange = Exchange(server, request)
    request[KEY] = exchange
    if exchange.excluded:
        exchange.pass_on()
    else:
        vars(request)[_HOOK] = _Prepared(exchange, request)
        exchange.start(request)
    return exchange


def _route(request: web.Request) -> str:
    """Return the pattern that matched; "" where none has."""
    resource = getattr(request.match_info.route, "resource", None)
    canonical = getattr(resource, "canonical", "")
    return canonical if type(canonical) is str else ""


def _arrived(request: web.Request) -> http.Arrived:
    version = request.version
    headers = request.headers
    return http.Arrived(
        request.method,
        request.scheme,
        request.path or "/",
        request.rel_url.raw_query_string,
        headers.get("Host", ""),
        "",
        0,
        http.text(request.remote),
        headers.get("User-Agent", ""),
        f"{version.major}.{version.minor}",
    )


def _failed(exchange: HttpExchange, request: web.Request, error: BaseException) -> None:
    """End it with what left the handler; that the client has left is no error."""
    if _has_left(request, error):
        exchange.finish(aborted=True)
        return
    if exchange.status is None:  # nothing was sent
        exchange.status = 504 if isinstance(error, asyncio.TimeoutError) else 500
    exchange.finish(error)


def _has_left(request: web.Request, error: BaseException) -> bool:
    """Whether that is how a handler learns that its client has left."""
    transport = request.transport
    gone = transport is None or transport.is_closing()
    return gone and isinstance(error, asyncio.CancelledError | OSError)


def _answered(exchange: HttpExchange, response: web.StreamResponse) -> None:
    """Have the response end its exchange when it is written."""
    try:
        exchange.status = response.status
        if response.prepared and not isinstance(response, web.Response):
            exchange.finish()  # a stream or a websocket, which the handler itself has served
            return
        _tell(exchange, response)
        for name in ("prepare", "write_eof"):
            setattr(response, name, _Sending(exchange, response, name))
    except Exception:  # no response: the server will complain
        exchange.status = 500
        exchange.finish()


def _tell(exchange: HttpExchange, response: web.StreamResponse) -> None:
    """Name the trace to the client, where that is asked for and can still be done."""
    if exchange.answers and exchange.begun and not response.prepared:
        response.headers.extend(trace_headers(exchange.span.get_span_context()))


class _Prepared:
    """What a request calls once the head of a response is known; in no circle of references."""

    def __init__(self, exchange: HttpExchange, request: web.Request) -> None:
        self._exchange = exchange
        self._request = weakref.ref(request)

    async def __call__(self, response: web.StreamResponse) -> None:
        request = self._request()
        await getattr(type(request), _HOOK)(request, response)
        # Of a file it is not known before; nor is any of what a handler sends itself.
        self._exchange.status = response.status


class _Sending:
    """A method of one response that sends some of it; it must not be part of a reference cycle.

    A file is sent by ``prepare``, all others by ``write_eof``, which ends each.
    """

    def __init__(self, exchange: HttpExchange, response: web.StreamResponse, name: str) -> None:
        self._exchange = exchange
        self._response = weakref.ref(response)
        self._name = name

    async def __call__(self, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 (aiohttp's own)
        response = self._response()
        try:
            sent = await getattr(type(response), self._name)(response, *args, **kwargs)
        except OSError:
            self._exchange.finish(aborted=True)
            raise
        except BaseException as error:
            if self._name == "prepare" and args and _has_left(args[0], error):
                self._exchange.finish(aborted=True)
            self._exchange.finish(error)
            raise
        if self._name == "write_eof":
            self._exchange.finish()
        return sent

    def __del__(self) -> None:
        self._exchange.finish(aborted=True)  # never sent
