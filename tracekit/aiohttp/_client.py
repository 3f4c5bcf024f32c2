"""Client spans, by the signals that a session sends of each request (``aiohttp.TraceConfig``)."""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any

from aiohttp import (
    ClientConnectionError,
    ClientResponseError,
    ClientSession,
    HttpVersion11,
    TraceConfig,
)
from yarl import URL

from tracekit._assembly.handle import HasTracing, Tracing, later
from tracekit._calls.http_client import EXCHANGE, ClientExchange, Dropped, HttpClient
from tracekit._calls.patch import Patch, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import SimpleNamespace

    from aiohttp import (
        ClientResponse,
        TraceRequestEndParams,
        TraceRequestExceptionParams,
        TraceRequestRedirectParams,
        TraceRequestStartParams,
    )

    from tracekit._calls.http_client import Hosts

_MARK = "_tracekit_client"
_VERSIONS = {HttpVersion11: "1.1"}
_STOPS = (asyncio.CancelledError, asyncio.TimeoutError)
_BECOMES_GET = {301: {"POST"}, 302: {"POST"}}


def trace_config(
    *,
    tracing: Tracing | HasTracing | None = None,
    allow: Iterable[str] = (),
    hosts: Hosts = None,
    semconv: str | None = None,
) -> TraceConfig:
    """Return a ``TraceConfig`` for ``ClientSession(trace_configs=[…])``; any sessions may share it.

    The arguments are those of ``instrument``.
    """
    return _Client(later(tracing), "tracekit.aiohttp", allow, hosts, semconv).config()


def instrument(
    session: ClientSession | None = None,
    *,
    tracing: Tracing | HasTracing | None = None,
    allow: Iterable[str] = (),
    hosts: Hosts = None,
    semconv: str | None = None,
) -> Callable[[], None]:
    """Trace ``session`` (None: every one that is made from now on); return the undo.

    ``hosts``, a predicate over host names or patterns like ``*.svc.cluster.local``, says where
    trace headers may go (default: everywhere). Baggage and the application headers that ``allow``
    lists go only where ``hosts`` says so. ``semconv`` picks the attributes' names: ``"current"``,
    ``"old"`` or ``"both"`` (None: as configured). Sessions that the undo finds are traced no more.
    What is traced already stays as it is, and the undo returned then does nothing.
    """
    client = _Client(later(tracing), "tracekit.aiohttp", allow, hosts, semconv)
    config = client.config()
    config.freeze()
    with lock:
        if session is not None:
            return _one(session, client, config)
        if _MARK in vars(ClientSession):
            return _nothing
        setattr(ClientSession, _MARK, client)
        patch = Patch(ClientSession, "__init__", functools.partial(_making, client, config))

    def undo() -> None:
        with lock:
            client.active = False
            if vars(ClientSession).get(_MARK) is client:
                delattr(ClientSession, _MARK)
                patch.undo()

    return undo


def _one(session: ClientSession, client: _Client, config: TraceConfig) -> Callable[[], None]:
    held = session._trace_configs
    if any(isinstance(getattr(each, _MARK, None), _Client) for each in held):
        return _nothing
    session._trace_configs = [*held, config]

    def undo() -> None:
        client.active = False
        session._trace_configs = [each for each in session._trace_configs if each is not config]

    return undo


def _nothing() -> None:
    """Undo nothing."""


def _making(
    client: _Client, config: TraceConfig, original: Callable[..., None]
) -> Callable[..., None]:
    """Return ``ClientSession.__init__`` that gives each session our signals as well."""

    @functools.wraps(original)
    def __init__(self: ClientSession, *args: Any, **kwargs: Any) -> None:  # noqa: N807, ANN401
        given = kwargs.get("trace_configs")
        try:
            ours = any(isinstance(getattr(each, _MARK, None), _Client) for each in given or ())
            if client.active and not ours:
                kwargs["trace_configs"] = [*(given or ()), config]
        except TypeError:  # no list: the session will complain
            pass
        original(self, *args, **kwargs)

    return __init__


class _Client(HttpClient):
    """The settings of one ``instrument``, and what they do to a session's requests."""

    active = True

    def config(self) -> TraceConfig:
        made = TraceConfig()
        setattr(made, _MARK, self)
        made.on_request_start.append(self._start)
        made.on_request_redirect.append(self._redirect)
        made.on_request_end.append(self._end)
        made.on_request_exception.append(self._exception)
        return made

    async def _start(
        self, _: ClientSession, ctx: SimpleNamespace, params: TraceRequestStartParams
    ) -> None:
        if not self.active:
            return
        try:
            self._send(ctx, params.method, params.url, params.headers)
        except Exception:  # a request of somebody's own kind, which is then sent as it is
            self._give_up(ctx)

    async def _redirect(
        self, _: ClientSession, ctx: SimpleNamespace, params: TraceRequestRedirectParams
    ) -> None:
        exchange: ClientExchange | None = getattr(ctx, "_tracekit", None)
        if exchange is None:
            return
        try:
            response, headers = params.response, params.headers
            _answered(exchange, response)
            exchange.finish()
            gone, added = ctx._tracekit_changes
            for name, _value in added:
                headers.popall(name, None)
            headers.extend(gone)
            target = response.headers.get("Location") or response.headers.get("URI")
            if target is None:
                return
            try:
                url = response.url.join(URL(target))
            except ValueError:  # the session will say so
                return
            self._send(ctx, _method_after(response.status, params.method), url, headers)
        except Exception:
            self._give_up(ctx)

    async def _end(
        self, _: ClientSession, ctx: SimpleNamespace, params: TraceRequestEndParams
    ) -> None:
        exchange: ClientExchange | None = getattr(ctx, "_tracekit", None)
        if exchange is None or not exchange.live:
            return
        try:
            response = params.response
            _answered(exchange, response)
            connection = response.connection
            if connection is None or response.status == 101:
                exchange.finish()  # read to its end already, or another protocol from now on
                return
            setattr(response, EXCHANGE, ctx.__dict__.pop(EXCHANGE))
            handled = id(sys.exc_info()[1])
            released = functools.partial(_released, exchange, response.content, handled)
            connection.add_callback(released)
        except Exception:
            exchange.finish()

    async def _exception(
        self, _: ClientSession, ctx: SimpleNamespace, params: TraceRequestExceptionParams
    ) -> None:
        exchange: ClientExchange | None = getattr(ctx, "_tracekit", None)
        if exchange is None:
            return
        error = params.exception
        if isinstance(error, ClientResponseError):  # of ``raise_for_status``
            exchange.answered(error.status)
        exchange.finish(error)

    def _send(self, ctx: SimpleNamespace, method: str, url: URL, headers: Any) -> None:  # noqa: ANN401
        """Begin an exchange and have ``headers`` speak of it, until a redirect takes that back."""
        ctx._tracekit = exchange = self.begin(method, url)
        if exchange is None:
            return
        if exchange.live:  # signals of somebody else's may fail before the last of ours is sent
            setattr(ctx, EXCHANGE, Dropped(exchange))
        names, added = exchange.changes([name.lower() for name in headers])
        gone = [(name, value) for name in names for value in headers.popall(name)]
        headers.extend(added)
        ctx._tracekit_changes = gone, added

    def _give_up(self, ctx: SimpleNamespace) -> None:
        self.complain("tracing a request failed; it is sent untraced")
        exchange: ClientExchange | None = getattr(ctx, "_tracekit", None)
        if exchange is not None:
            exchange.finish()


def _answered(exchange: ClientExchange, response: ClientResponse) -> None:
    version = response.version
    exchange.answered(
        response.status,
        None if version is None else _VERSIONS.get(version) or f"{version.major}.{version.minor}",
    )


def _released(exchange: ClientExchange, content: Any, handled: int) -> None:  # noqa: ANN401
    """End an exchange whose connection is given back: its body is over, whichever way.

    ``content`` is of the connector's choice. It is told that its connection is closed when the
    program closes the response, which is no error, and when the program was stopped while it read:
    that is what is being handled now, and was not (``handled``, an ``id``) when the answer came.
    """
    failed = content.exception()
    if type(failed) is ClientConnectionError and str(failed) == "Connection closed":
        failed = sys.exc_info()[1]
        if id(failed) == handled or not isinstance(failed, _STOPS):
            failed = None
    exchange.finish(failed if isinstance(failed, BaseException) else None)


def _method_after(status: int, method: str) -> str:
    """Return the method of the request that a redirect leads to (RFC 9110, section 15.4)."""
    if (status == 303 and method != "HEAD") or method in _BECOMES_GET.get(status, ()):
        return "GET"
    return method
