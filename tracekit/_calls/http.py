"""What an HTTP span is called and what it carries, either side, as tables and pure functions.

Source: OpenTelemetry semantic conventions for HTTP spans, the current names and the ones that were
in use before them (``http.method``, ``http.target``, ``net.*``).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from tracekit._calls.redaction import redact_query, redact_url
from tracekit._protocols import PlainAttributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from tracekit._calls.semconv import Semconv

    Attributes = dict[str, AttributeValue]

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
_PROBES = frozenset(DEFAULT_EXCLUDE)

METHODS = frozenset(
    "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split()  # noqa: SIM905 (a table)
)
_OTHER = "_OTHER"
_TEXT_OR_NONE = frozenset((str, type(None)))
_SAID = (
    "REQUEST_METHOD",
    "wsgi.url_scheme",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "HTTP_HOST",
    "SERVER_NAME",
    "REMOTE_ADDR",
    "HTTP_USER_AGENT",
    "SERVER_PROTOCOL",
)
"""What of an environ becomes attributes, each text where it is there."""
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# Current name, older name: where only the name changed.
_RENAMED = {
    "http.request.method": "http.method",
    "url.scheme": "http.scheme",
    "url.full": "http.url",
    "client.address": "http.client_ip",
    "network.protocol.version": "http.flavor",
    "user_agent.original": "http.user_agent",
}
_RENAMED_SERVER = _RENAMED | {"server.address": "net.host.name", "server.port": "net.host.port"}
_RENAMED_CLIENT = _RENAMED | {"server.address": "net.peer.name", "server.port": "net.peer.port"}
STATUS_KEYS: dict[str, tuple[str, ...]] = {
    "current": ("http.response.status_code",),
    "both": ("http.response.status_code", "http.status_code"),
    "old": ("http.status_code",),
}
"""Names of the response's status."""
# What the older conventions say in another way or not at all.
_CURRENT_ONLY = frozenset({"url.path", "url.query", "http.request.method_original"})


def span_name(method: str, route: str | None = None) -> str:
    """Return ``GET /users/<id>``, or ``GET``; an unknown method counts as ``HTTP``.

    Only a route's pattern may stand in a name: paths are as many as there are users.
    """
    method = method if method in METHODS else "HTTP"
    return f"{method} {route}" if route else method


class Arrived(NamedTuple):
    """What a server knows of a request, whatever interface told it; empty where it does not."""

    method: str
    scheme: str
    path: str
    query: str
    authority: str
    """The ``Host`` header."""
    server: str
    server_port: int
    client: str
    user_agent: str
    version: str
    """Of HTTP: ``1.1``, ``2``."""


Fields = tuple[str, str, str, str, str, str, object, str, str, str]
"""The fields of an ``Arrived``, the port as it came; making the plain tuple costs a quarter."""


def server_attributes(environ: Mapping[str, Any], semconv: Semconv = "current") -> Attributes:
    """Return what a WSGI ``environ`` (PEP 3333) says about the request; secrets are redacted."""
    get = environ.get
    said = list(map(get, _SAID))
    if not _TEXT_OR_NONE.issuperset(map(type, said)):  # somebody put something else there
        said = list(map(text, said))
    method, scheme, mount, below, query, authority, server, client, agent, protocol = said
    path = f"{mount}{below or ''}" if mount else below or "/"
    return arrived_attributes(
        (
            method or "",
            scheme or "http",
            path if path.isascii() else _text(path),
            query or "",
            authority or "",
            server or "",
            get("SERVER_PORT"),
            client or "",
            agent or "",
            protocol[5:] if protocol and protocol[:5] == "HTTP/" else "",
        ),
        semconv,
    )


def arrived_attributes(arrived: Arrived | Fields, semconv: Semconv) -> Attributes:
    """Return a server span's attributes; secrets are redacted.

    Of the peer's address only the client's is told: behind a proxy the two are mixed up anyway.
    """
    method, scheme, path, query, authority, server, server_port, client, agent, version = arrived
    found: Attributes = {
        "http.request.method": method if method in METHODS else _OTHER,
        "url.scheme": scheme,
        "url.path": path,
    }
    if method not in METHODS:
        found["http.request.method_original"] = method
    if query:
        found["url.query"] = redact_query(query)
    host, port = "", 0
    if authority:
        host, port = (_known_host if len(authority) < 256 else split_host)(authority)
    if not host:
        host, port = server, number(server_port)
    if host:
        found["server.address"] = host
        if port or (port := _DEFAULT_PORTS.get(scheme, 0)):
            found["server.port"] = port
    if client:
        found["client.address"] = client
    if agent:
        found["user_agent.original"] = agent
    if version:
        found["network.protocol.version"] = version
    return found if semconv == "current" else _server_in(found, semconv, authority)


def asks_for_probe(attributes: Mapping[str, object]) -> bool:
    """Whether a server span of any instrumentation, by its start attributes, is of a probe."""
    path = attributes.get("url.path")
    if path is None:
        path = text(attributes.get("http.target")).partition("?")[0]
    return path in _PROBES


def server_labels(method: str, scheme: str, route: str, status: int) -> Attributes:
    """Return what tells requests apart in metrics; ``route`` and ``status`` only if known."""
    found: Attributes = {
        "http.request.method": method if method in METHODS else _OTHER,
        "url.scheme": scheme,
    }
    if route:
        found["http.route"] = route
    if status:
        found["http.response.status_code"] = status
    return found


def _server_in(found: Attributes, semconv: Semconv, authority: str) -> Attributes:
    older = _renamed(found, _RENAMED_SERVER)
    query = found.get("url.query")
    older["http.target"] = f"{found['url.path']!s}?{query!s}" if query else found["url.path"]
    if authority:
        older["http.host"] = authority
    return older if semconv == "old" else found | older


def client_attributes(
    known: str | None, method: str, url: str, host: str, port: int, semconv: Semconv
) -> Attributes:
    """Return what is known before the request leaves; secrets in ``url`` are redacted.

    ``known`` is ``method`` where that is one of ``METHODS``, else None.
    """
    found: Any = PlainAttributes()
    if known is None:
        found["http.request.method"] = _OTHER
        found["http.request.method_original"] = str.__str__(method)
    else:
        found["http.request.method"] = known
    found["url.full"] = redact_url(url)
    if host:
        found["server.address"] = host
        if port:
            found["server.port"] = port
    if semconv == "current":
        return found  # type: ignore[no-any-return]
    older = _renamed(found, _RENAMED_CLIENT)
    return older if semconv == "old" else found | older


def error_type(error: BaseException) -> str:
    """Return the exception's type as ``error.type`` and exception events write it."""
    kind = type(error)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def split_host(authority: str) -> tuple[str, int]:
    """Return host (IPv6 without brackets) and port (0: none given) of ``host[:port]``."""
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, number(rest[1:])
    host, _, port = authority.partition(":")
    return host, number(port)


_known_host = functools.lru_cache(maxsize=64)(split_host)
"""A service is asked by few names; whoever makes up others costs 64 of at most 255 characters."""


def server_of(url: str) -> tuple[str, int]:
    """Return host and port, given or the scheme's, of an absolute URL; ``("", 0)`` if none."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "", 0
    authority = rest.partition("/")[0]
    plain = len(scheme) + len(authority) < 256 and "@" not in authority
    return (_known_server if plain else _server)(scheme, authority)


def _server(scheme: str, rest: str) -> tuple[str, int]:
    end = min((at for at in map(rest.find, "?#\\") if at >= 0), default=len(rest))
    host, port = split_host(rest[:end].rpartition("@")[2])
    return host, port or _DEFAULT_PORTS.get(scheme.lower(), 0)


_known_server = functools.lru_cache(maxsize=64)(_server)
"""A service asks few others; no password is kept."""


def _renamed(found: Attributes, renamed: Mapping[str, str]) -> Attributes:
    return {
        renamed.get(name, name): value for name, value in found.items() if name not in _CURRENT_ONLY
    }


def text(value: object) -> str:
    """Return what an environ holds if it is text; a subclass of it may do anything."""
    return value if type(value) is str else ""


def _text(path: str) -> str:
    """Return the text of a path whose UTF-8 bytes PEP 3333 disguises as latin-1."""
    try:
        return path.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return path


def number(value: object) -> int:
    """Return a port, of a number or of digits; 0 for anything else."""
    if type(value) is int:
        return value
    digits = text(value)
    return int(digits) if len(digits) <= 5 and digits.isascii() and digits.isdigit() else 0
