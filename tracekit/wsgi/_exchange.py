"""One request of a WSGI server: what its environ says, and how it was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracekit._calls import http
from tracekit._calls.http_server import HttpExchange, Server, trace_headers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
    Headers = list[tuple[str, str]]

KEY = "tracekit.trace_id"
"""Where an environ holds its ``Exchange``, whose text is the trace id: access logs can name it."""

_PROXY_FIXED = "werkzeug.proxy_fix.orig"  # where ProxyFix keeps what it replaced


class Exchange(HttpExchange):
    """One request and its response; it is the ``start_response`` that the application is given.

    The environ holds it, so it must not hold the environ, and the server's ``start_response``,
    which often leads back there, only until the request is ``over``.
    """

    left_bytes: int | None = None
    """Of the body, where its length is declared."""
    _proxy_fixed = False
    _upgrades = False
    """Whether the client asked for another protocol: a websocket."""
    _start_response: StartResponse | None

    @classmethod
    def of(
        cls, server: Server, environ: WSGIEnvironment, start_response: StartResponse | None
    ) -> Exchange:
        """Read what the request's headers say; no span yet."""
        handle = server.handle()
        get = environ.get
        # Nothing of what the thread holds: that may still be another request's.
        exchange = cls(
            server,
            handle,
            handle.propagator.read_environ(environ),
            http.text(get("REQUEST_METHOD")),
            http.text(get("wsgi.url_scheme")) or "http",
        )
        exchange._start_response = start_response
        if _PROXY_FIXED in environ:
            exchange._proxy_fixed = True
        if "HTTP_UPGRADE" in environ:
            exchange._upgrades = True
        if http.text(get("PATH_INFO")) in server.exclude:
            exchange.excluded = True
        return exchange

    def start(
        self,
        environ: WSGIEnvironment,
        name: str | None = None,
        context: Any = None,  # noqa: ANN401
    ) -> None:
        """Start the span, in ``context`` (None: below what arrived)."""
        name = name or http.span_name(self.method)

        def attributes() -> http.Attributes:
            return http.server_attributes(environ, self.server.semconv(self.handle))

        if context is None:
            self.begin(name, attributes)
        else:
            self.begin_in(context, name, attributes)

    def describe_behind_proxy(self, environ: WSGIEnvironment) -> None:
        """Describe it again when a ProxyFix further in has found out who the client is."""
        if _PROXY_FIXED in environ and not self._proxy_fixed:
            self._proxy_fixed = True
            semconv = self.server.semconv(self.handle)
            self.span.set_attributes(http.server_attributes(environ, semconv))

    def __call__(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Note the status on its way to the server's ``start_response``."""
        start_response = self._start_response
        if start_response is None:
            raise RuntimeError("start_response was called after the end of its request")
        self.status = _status(status)
        self.left_bytes = _length(headers)
        if self.server.answers and self.begun:
            headers = [*headers, *trace_headers(self.span.get_span_context())]
        if exc_info is None:
            return start_response(status, headers)
        if isinstance(exc_info, tuple) and len(exc_info) == 3 and exc_info[1] is not None:
            self.error = exc_info[1]
        return start_response(status, headers, exc_info)

    def over(self, error: BaseException | None = None, *, aborted: bool = False) -> None:
        """``finish`` it, and let go of the server: no code of the application's will run again."""
        if self._upgrades and type(error) is ConnectionError and not error.args:
            error = None  # how websockets leave werkzeug's server, which knows no other way
        self.finish(error, aborted=aborted)
        self._start_response = None
        self.__dict__.pop("context", None)


def _status(line: object) -> int:
    if not isinstance(line, str):
        return 0
    head = line[:3]
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
    except Exception:
        return None
    return None
