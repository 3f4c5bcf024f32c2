"""Strategies from a Jaeger agent, collector or remote-sampling extension, over HTTP.

``http.client`` and not urllib3: the answer is read under one deadline, whatever the headers and
the body drip, and another thread can cut the read short; a connection pool would hide the socket.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from base64 import b64encode
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, unquote

from tracekit.errors import StrategyError
from tracekit.sampling._poller import MAX_ANSWER_BYTES, NOT_TRACED, TIMEOUT_S, Abortable, masked
from tracekit.sampling._strategy import parse_strategy

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from typing_extensions import Buffer

    from tracekit.sampling._strategy import AnyStrategy


class HttpSource(Abortable):
    """``GET <endpoint>?service=<name>``: Jaeger's agent, collector or remote-sampling extension."""

    def __init__(
        self,
        url: SplitResult,
        service: str,
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.name = masked(url)
        query = f"{url.query}&" if url.query else ""
        self._url = url
        self._target = f"{url.path or '/'}?{query}service={quote(service, safe='')}"
        self._timeout_s = timeout_s
        self._clock = clock

    def fetch(self) -> bytes:
        """Return the body of a 2xx answer."""
        deadline_s = self._clock() + self._timeout_s
        connection = self._connection()
        try:
            connection.connect()
            self._begin(lambda: _shut(connection))
            return self._exchange(connection, deadline_s)
        finally:
            self._finish()
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(
                host,
                self._url.port,
                timeout=self._timeout_s,
                context=ssl.create_default_context(),
            )
        return http.client.HTTPConnection(host, self._url.port, timeout=self._timeout_s)

    def _exchange(self, connection: http.client.HTTPConnection, deadline_s: float) -> bytes:
        connection.request("GET", self._target, headers=self._headers())
        timed = _TimedSocket(connection.sock, deadline_s, self._clock)
        with http.client.HTTPResponse(cast("socket.socket", timed), method="GET") as response:
            response.begin()
            if not 200 <= response.status < 300:
                raise StrategyError(f"the server answered with status {response.status}")
            body = response.read(MAX_ANSWER_BYTES + 1)
        if len(body) > MAX_ANSWER_BYTES:
            raise StrategyError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        return body

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Connection": "close"}
        headers.update([NOT_TRACED])
        if self._url.username is not None:
            pair = f"{unquote(self._url.username)}:{unquote(self._url.password or '')}"
            headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        return headers

    def parse(self, answer: bytes) -> AnyStrategy:
        """Read the JSON answer."""
        return parse_strategy(answer)


def _shut(connection: http.client.HTTPConnection) -> None:
    # A TLS socket's own ``shutdown`` would drop the session under the reader's feet.
    if isinstance(sock := connection.sock, socket.socket):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _TimedSocket(io.RawIOBase):
    """The reading side of a socket under one deadline, however slowly the bytes drip."""

    def __init__(self, sock: socket.socket, deadline_s: float, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._deadline_s = deadline_s
        self._clock = clock

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a buffered reader: all that ``HTTPResponse`` asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        left_s = self._deadline_s - self._clock()
        if left_s <= 0.0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left_s)
        return self._sock.recv_into(buffer)
