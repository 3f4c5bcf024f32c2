"""One request of an ASGI server: what its scope says, and what was sent in answer."""

from __future__ import annotations

import asyncio
from time import time_ns
from typing import TYPE_CHECKING, Any

from tracekit._calls import http
from tracekit._calls.http_server import HttpExchange, Server, trace_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[object]]
    Route = Callable[[Scope, str], str]

KEY = "tracekit.trace_id"
"""Where a scope holds its ``Exchange``, whose text is the trace id: access logs can name it."""

_BY_THE_SERVER = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
_LEAVES = (OSError, asyncio.CancelledError)
_GROUPS = frozenset({"ExceptionGroup", "BaseExceptionGroup"})
_SWITCHED = 101
_NORMAL, _NO_CODE = 1000, 1005
"""Close codes (RFC 6455, section 7.4.1): how one is closed, and that the other side gave none."""


class Exchange(HttpExchange):
    """One request and its response, or one websocket.

    The scope holds it, so it must not hold the scope.
    """

    gone = False
    """Whether the client has left."""
    _late = False
    """Whether it had when the response began, which then reached nobody."""
    _aborted = True
    """Whether no client was there for the whole of the response."""
    root = ""
    """The prefix below which the server, or a proxy before it, has put the application."""
    _trailers = False
    _received = _sent = 0
    """Messages of a websocket."""

    def __init__(self, server: Server, scope: Scope) -> None:
        """Read what the request's headers say; no span yet.

        Nothing of what the task holds: that may still be another request's.
        """
        get = scope.get
        handle, bound = server.handle(), server.bound
        if bound is None or bound.handle is not handle:
            bound = server.bind(handle)
        self.bound = bound
        self.answers = server.answers
        self.extracted = bound.propagator.read_raw(scope["headers"])
        websocket = scope["type"] == "websocket"
        self.method = "GET" if websocket else http.text(get("method"))
        self.scheme = http.text(get("scheme")) or ("ws" if websocket else "http")
        path = http.text(get("path"))
        root = get("root_path")
        if root:
            self.root = http.text(root).rstrip("/")
        if path in server.exclude or (root and path.removeprefix(self.root) in server.exclude):
            self.excluded = True

    def start(self, scope: Scope, route: str = "") -> None:
        """Start the span; ``route`` is the pattern, where it is known this early."""
        self.route, self.named = route, bool(route)
        self.begin(http.span_name(self.method, route), self._attributes, scope)

    def _attributes(self, scope: Scope) -> http.Attributes:
        found = http.arrived_attributes(_arrived(scope, self), self.bound.semconv)
        if self.route:
            found["http.route"] = self.route
        return found

    def name_by(self, scope: Scope, route: Route) -> None:
        """Name the span by the route that a framework has left in the scope, once it has."""
        if self.named or self.finished or not self.heard:
            return
        pattern = route(scope, self.root)
        if pattern:
            self.named = True
            self.route = pattern
            self.name = http.span_name(self.method, pattern)
            if self.recording:
                self.span.update_name(self.name)
                self.span.set_attribute("http.route", pattern)

    # -- what goes out ---------------------------------------------------------------------------

    def sends(self, message: Message) -> tuple[Message, bool]:
        """Return ``message`` as it is to be sent, and whether it is the last one."""
        kind = message["type"]
        if kind == "http.response.body":
            return message, not (message.get("more_body") or self._trailers)
        if kind == "http.response.start":
            self.status = _status(message["status"])
            self._late = self.gone
            self._trailers = bool(message.get("trailers"))
            return self._telling(message), False
        if kind == "http.response.trailers":
            return message, not message.get("more_trailers")
        if kind[:10] == "websocket.":
            return self._sends_on_websocket(kind, message)
        # Extensions: a file that the server sends itself, whole or in parts.
        last = kind in _BY_THE_SERVER and not message.get("more_body")
        return message, last and not self._trailers

    def _sends_on_websocket(self, kind: str, message: Message) -> tuple[Message, bool]:
        if kind == "websocket.send":
            self._sent += 1
        elif kind == "websocket.accept":
            self.status = _SWITCHED
            message = self._telling(message)
        elif kind == "websocket.http.response.start":
            self.status = _status(message["status"])
        elif kind == "websocket.close":
            self._closed(message.get("code") or _NORMAL)
            if not self.status:
                self.status = 403  # what the server makes of it before it was accepted
            return message, True
        return message, kind == "websocket.http.response.body" and not message.get("more_body")

    def _telling(self, message: Message) -> Message:
        if not (self.answers and self.begun):
            return message
        told = [
            (name.lower().encode(), value.encode())
            for name, value in trace_headers(self.span.get_span_context())
        ]
        return {**message, "headers": [*message.get("headers", ()), *told]}

    def received(self, message: Message) -> bool:
        """Note what has come in; returns whether it is the end of a websocket."""
        kind = message["type"]
        if kind == "websocket.receive":
            self._received += 1
        elif kind == "http.disconnect":
            self.gone = True
        elif kind == "websocket.disconnect":
            self.gone = True
            self._closed(message.get("code") or _NO_CODE)
            return True
        return False

    def _closed(self, code: object) -> None:
        """Note what a websocket has carried, and with which code (None: nobody's) it ended."""
        if not self.recording or self.finished:  # closed by the other side already
            return
        self.span.set_attributes(
            {
                "websocket.messages_received": self._received,
                "websocket.messages_sent": self._sent,
            }
        )
        if isinstance(code, int):
            self.span.set_attribute("websocket.close_code", int(code))

    # -- its end ---------------------------------------------------------------------------------

    def answered(self) -> None:
        """End it with the last part of the response.

        A failure is told by what the application raises once it has answered: it is waited for.
        """
        if (self.status or 0) < 500:
            self.finish(aborted=self.gone)
        else:
            self.ended_ns, self._aborted = time_ns(), self.gone

    def over(self, error: BaseException | None = None) -> None:
        """End what its last message has not: the application has returned, or raised."""
        if not self.finished:
            if self.status == _SWITCHED:  # nobody has closed it: the server will
                self._closed(None)
            if error is not None and self._left(error):
                error = None
                if self._late and (self.status or 0) >= 500:  # what a framework makes of it
                    self.status = None
            self.finish(error, aborted=self._aborted and error is None)
        self.__dict__.pop("context", None)

    def _left(self, error: BaseException) -> bool:
        """Whether that is how applications learn that the client has left.

        What a task group raises says so if nothing in it says otherwise.
        """
        try:
            return self.gone and all(map(_says_gone, _single(error)))
        except Exception:  # a group of somebody's own kind
            return False


def _single(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, or those of a group (of Python 3.11 or its backport)."""
    if type(error).__name__ not in _GROUPS:
        yield error
        return
    for each in error.exceptions:  # type: ignore[attr-defined] # not on 3.10
        yield from _single(each)


def _says_gone(error: BaseException) -> bool:
    name = type(error).__name__
    return isinstance(error, _LEAVES) or "Disconnect" in name or name == "Cancelled"


def _arrived(scope: Scope, exchange: Exchange) -> http.Arrived:
    get = scope.get
    authority = agent = b""
    for name, value in scope["headers"]:
        if name == b"host":
            authority = value
        elif name == b"user-agent":
            agent = value
    path = http.text(get("path"))
    if exchange.root and not path.startswith(exchange.root):
        path = exchange.root + path
    server, client = get("server"), get("client")
    query = get("query_string")  # text in the scopes of Django's ``AsyncClient``
    return http.Arrived(
        exchange.method,
        exchange.scheme,
        path or "/",
        query if type(query) is str else (query or b"").decode("latin-1"),
        authority.decode("latin-1"),
        http.text(server[0]) if server else "",
        http.number(server[1]) if server else 0,
        http.text(client[0]) if client else "",
        agent.decode("latin-1"),
        http.text(get("http_version")),
    )


def _status(value: object) -> int:
    return int(value) if isinstance(value, int) else 0
