"""Strategies from a Jaeger agent, collector or remote-sampling extension, over HTTP.

``http.client`` and not urllib3: the answer is read under one deadline, whatever the headers and
the body drip, and another thread can cut the read short; a connection pool would hide the socket.
"""

from __future__ import annotations

import socket
import ssl
import time
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from tracekit._display import masked, quoted
from tracekit.errors import StrategyError
from tracekit.sampling._poller import MAX_ANSWER_BYTES, NOT_TRACED, TIMEOUT_S, Abortable
from tracekit.sampling._strategy import parse_strategy
from tracekit.transport._deadline import Connection
from tracekit.transport._resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

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
        self.name = quoted(masked(url.geturl()))
        query = f"{url.query}&" if url.query else ""
        self._url = url
        self._target = f"{url.path or '/'}?{query}service={quote(service, safe='')}"
        self._timeout_s = timeout_s
        self._clock = clock
        self._default_port = 443 if url.scheme == "https" else 80
        self._resolver = Resolver(url.hostname or "", url.port or self._default_port, clock=clock)

    def fetch(self) -> bytes:
        """Return the body of a 2xx answer."""
        connection = Connection(
            self._url.hostname or "",
            self._url.port or self._default_port,
            resolver=self._resolver,
            tls=ssl.create_default_context if self._url.scheme == "https" else None,
            clock=self._clock,
        )
        connection.deadline.at_s = self._clock() + self._timeout_s
        try:
            self._connect(connection)
            sock = connection.sock
            self._begin(lambda: _shut(sock))
            return self._exchange(connection)
        finally:
            self._finish()
            connection.close()

    def _connect(self, connection: Connection) -> None:
        """Connect to the first of the name's addresses that takes the connection."""
        failures = 0
        while connection.sock is None:
            try:
                connection.connect()
            except OSError:  # noqa: PERF203 - once or twice
                failures += 1
                self._resolver.doubt()
                if failures >= self._resolver.count:
                    raise

    def _exchange(self, connection: Connection) -> bytes:
        connection.request("GET", self._target, headers=self._headers())
        with connection.getresponse() as response:
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


def _shut(sock: socket.socket) -> None:
    # A TLS socket's own ``shutdown`` would drop the session under the reader's feet.
    socket.socket.shutdown(sock, socket.SHUT_RDWR)
