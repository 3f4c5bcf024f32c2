"""A small HTTP server for loopback, hard on what it takes: the ports of ``tracekit view``.

On the standard library's ``http.server``, which parses; the limits are here. It is reached from
other processes and, through a browser, from pages of other people, so a ``Host`` that is no
address of this machine is refused (DNS rebinding), and so is an ``Origin`` that is not the host.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import ipaddress
import socket
import threading
import time
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_INFLATED_BYTES = 32 * 1024 * 1024
MAX_CONNECTIONS = 64
MAX_REQUEST_S = 30.0
"""Longest time for a request to come in whole, and for its answer to be taken."""
IDLE_S = 60.0
"""Longest silence on a connection that is kept open."""


class RefusedError(Exception):
    """A request that is answered with ``status`` and ``reason``."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Request(NamedTuple):
    """What was asked. ``body`` is inflated; ``query`` maps names to every value given."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    content_type: str
    """Without parameters, lower case."""
    body: bytes

    def first(self, name: str) -> str:
        """Return a parameter's first value, the empty text if there is none."""
        return self.query.get(name, [""])[0]


class Response(NamedTuple):
    """What is answered."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class HttpServer:
    """Answers with ``app`` on ``host:port``, in a thread for each connection; 0 takes a free port.

    ``hosts`` are names that ``Host`` may say beside addresses and localhost.
    """

    def __init__(
        self,
        host: str,
        port: int,
        app: Callable[[Request], Response],
        *,
        hosts: Iterable[str] = (),
        name: str = "http",
        max_connections: int = MAX_CONNECTIONS,
        max_request_s: float = MAX_REQUEST_S,
    ) -> None:
        self.app = app
        self.max_connections = max_connections
        self.max_request_s = max_request_s
        self._hosts = {"localhost", *(each.lower().strip("[]") for each in (*hosts, host))}
        self._server = _Server((host, port), self)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(0.1,),
            name=f"tracekit-view-{name}",
            daemon=True,
        )

    def start(self) -> None:
        """Start to answer; the port is bound already."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        self._server.end_all()

    def admits(self, host: str, origin: str | None, method: str) -> bool:
        """Tell whether a request for this ``Host``, from a page of this ``Origin``, is for us."""
        name = urlsplit(f"//{host}").hostname or ""
        if name not in self._hosts and not _is_address(name):
            return False
        return origin is None or method == "GET" or urlsplit(origin).netloc == host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], owner: HttpServer) -> None:
        self.owner = owner
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.deadlines: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The base asks DNS for this machine's name, which takes seconds on some.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        bound = self.socket.getsockname()
        self.server_address = bound
        self.server_name, self.server_port = str(bound[0]), int(bound[1])

    def verify_request(self, request: object, client_address: object) -> bool:
        return len(self.deadlines) < self.owner.max_connections

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type
        self.deadlines[request] = time.monotonic() + self.owner.max_request_s
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        self.deadlines.pop(request, None)  # type: ignore[call-overload]
        super().shutdown_request(request)  # type: ignore[arg-type]

    def service_actions(self) -> None:
        now = time.monotonic()
        for connection, deadline in list(self.deadlines.items()):
            if now > deadline:
                _end(connection)

    def end_all(self) -> None:
        for connection in list(self.deadlines):
            _end(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep the console clean: the other side went away."""


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "tracekit-view"
    sys_version = ""
    timeout = IDLE_S
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024

    def version_string(self) -> str:
        """Return the name alone: versions help attackers only."""
        return self.server_version

    def handle_one_request(self) -> None:
        """Answer a request, in bounded time from its first byte to the last of the answer."""
        self.server.deadlines[self.connection] = time.monotonic() + IDLE_S
        if not self.rfile.peek(1):  # type: ignore[attr-defined]
            self.close_connection = True
            return
        limit_s = self.server.owner.max_request_s
        self.server.deadlines[self.connection] = time.monotonic() + limit_s
        super().handle_one_request()

    def _answer(self) -> None:
        try:
            response = self.server.owner.app(self._request())
        except RefusedError as refused:
            self.close_connection = True  # what is left of the body is not read
            response = Response(f"{refused.reason}\n".encode(), refused.status)
        except Exception as error:
            self.close_connection = True
            response = Response(f"{type(error).__name__}: {error}\n".encode()[:500], 500)
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in response.headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def _request(self) -> Request:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not self.server.owner.admits(host, origin, self.command):
            raise RefusedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"not for host {host!r:.100} and origin {origin!r:.100}; see --allow-host",
            )
        target = urlsplit(self.path)
        try:
            query = parse_qs(target.query, keep_blank_values=True, max_num_fields=200)
        except ValueError:
            raise RefusedError(400, "too many parameters") from None
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Request(self.command, target.path, query, kind, self._body())

    def _body(self) -> bytes:
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if "Transfer-Encoding" in self.headers and not chunked:
            raise RefusedError(501, "a transfer encoding other than chunked")
        body = self._chunks() if chunked else self._sized()
        encoding = self.headers.get("Content-Encoding", "").strip().lower()
        return inflated(body, encoding)

    def _sized(self) -> bytes:
        said = self.headers.get("Content-Length", "0").strip()
        if not (said.isascii() and said.isdecimal() and len(said) < 20):
            raise RefusedError(400, "Content-Length is no number")
        if int(said) > MAX_BODY_BYTES:
            raise RefusedError(413, f"a body of more than {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(int(said))
        if len(body) < int(said):
            raise RefusedError(400, "the body ends early")
        return body

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := self._chunk_size():
            if len(body) + size > MAX_BODY_BYTES:
                raise RefusedError(413, f"a body of more than {MAX_BODY_BYTES} bytes")
            part = self.rfile.read(size)
            if len(part) < size or self.rfile.readline(3) not in (b"\r\n", b"\n"):
                raise RefusedError(400, "a chunk ends early")
            body += part
        for _ in range(20):  # trailers
            if self.rfile.readline(4096) in (b"\r\n", b"\n", b""):
                return bytes(body)
        raise RefusedError(400, "too many trailers")

    def _chunk_size(self) -> int:
        line = self.rfile.readline(100).partition(b";")[0].strip()
        if not line or len(line) > 8 or not set(line) <= set(b"0123456789abcdefABCDEF"):
            raise RefusedError(400, "a chunk without a size")
        return int(line, 16)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep the console clean."""


def inflated(body: bytes, encoding: str) -> bytes:
    """Return a body without its content encoding; never more than ``MAX_INFLATED_BYTES``."""
    if encoding in ("", "identity") or not body:
        return body
    try:
        if encoding in ("gzip", "x-gzip"):
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
                plain = file.read(MAX_INFLATED_BYTES + 1)
        elif encoding == "deflate":
            plain = zlib.decompressobj().decompress(body, MAX_INFLATED_BYTES + 1)
        else:
            raise RefusedError(415, f"content encoding {encoding!r:.60}")
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedError(400, f"the body does not inflate: {error}") from None
    if len(plain) > MAX_INFLATED_BYTES:
        raise RefusedError(413, f"a body that inflates to more than {MAX_INFLATED_BYTES} bytes")
    return plain
