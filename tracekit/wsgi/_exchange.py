"""One request of a WSGI server: what its environ says, and how it was answered."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from opentelemetry.context import Context

from tracekit._calls import http
from tracekit._calls.http_server import HttpExchange, trace_headers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from tracekit._calls.http_server import Describe, Server
    from tracekit._calls.semconv import Semconv

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
    Headers = list[tuple[str, str]]

KEY = "tracekit.trace_id"
"""Where an environ holds its ``Exchange``, whose text is the trace id: access logs can name it."""

PROXY_FIXED = "werkzeug.proxy_fix.orig"
"""Where werkzeug's ``ProxyFix`` keeps what it replaced."""
EMPTY = Context()
_STATUSES = {str(code): code for code in range(100, 1000)}
_DESCRIBE: dict[Semconv, Describe] = {
    semconv: functools.partial(http.server_attributes, semconv=semconv)
    for semconv in ("both", "old")
} | {"current": http.server_attributes}


class Exchange(HttpExchange):
    """One request and its response; it is the ``start_response`` that the application is given.

    The environ holds it, so it must not hold the environ, and the server's ``start_response``,
    which often leads back there, only until the request is ``over``.
    """

    left_bytes: int | None = None
    """Of the body, where its length is declared."""
    quiet = False
    """Whether nobody will ask how it ended: only what is current matters."""
    _proxy_fixed = False
    _upgrades = False
    """Whether the client asked for another protocol: a websocket."""

    def __init__(
        self, server: Server, environ: WSGIEnvironment, start_response: StartResponse | None
    ) -> None:
        """Read what the request's headers say; no span yet.

        Nothing of what the thread holds: that may still be another request's.
        """
        get = environ.get
        handle, bound = server.handle(), server.bound
        if bound is None or bound.handle is not handle:
            bound = server.bind(handle)
        self.bound = bound
        self.answers = server.answers
        self.extracted = bound.propagator.read_environ(environ)
        self._start_response = start_response
        method, scheme, path = get("REQUEST_METHOD"), get("wsgi.url_scheme"), get("PATH_INFO")
        self.method: str = method if type(method) is str else ""
        self.scheme: str = scheme if type(scheme) is str else "http"
        if type(path) is str and path in server.exclude:
            self.excluded = True
        if PROXY_FIXED in environ:
            self._proxy_fixed = True
        if "HTTP_UPGRADE" in environ:
            self._upgrades = True

    def start(
        self,
        environ: WSGIEnvironment,
        name: str | None = None,
        context: Context | None = None,
    ) -> None:
        """Start the span, in ``context`` (None: below what arrived)."""
        if name is None:
            name = self.method if self.method in http.METHODS else "HTTP"
        self.begin(name, _DESCRIBE[self.bound.semconv], environ, context)

    def describe_behind_proxy(self, environ: WSGIEnvironment) -> None:
        """Describe it again when a ProxyFix further in has found out who the client is."""
        if not self._proxy_fixed:
            self._proxy_fixed = True
            self.span.set_attributes(_DESCRIBE[self.bound.semconv](environ))

    def __call__(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Note the status on its way to the server's ``start_response``."""
        start_response = self._start_response
        if start_response is None:
            raise RuntimeError("start_response was called after the end of its request")
        if type(status) is str:
            self.status = _STATUSES.get(status[:3], 0)
        self.left_bytes = _length(headers)
        if self.answers and self.begun:
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
        if self.heard and not self.finished:
            self.finish(error, aborted=aborted)
        self.finished = True
        self._start_response = None
        self.context = EMPTY


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
