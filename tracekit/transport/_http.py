"""Payloads by HTTP POST to a collector: keep-alive, gzip, TLS, and what each status means."""

from __future__ import annotations

import email.utils
import errno
import gzip
import http.client
import logging
import select
import ssl
import time
import urllib.parse
from typing import TYPE_CHECKING, NamedTuple

from tracekit._causes import Cause
from tracekit._display import masked, quoted
from tracekit._protocols import SendResult
from tracekit.transport._deadline import Connection
from tracekit.transport._http_cause import cause_of_request
from tracekit.transport._resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit._protocols import Payload

_log = logging.getLogger("tracekit")

THRIFT = "application/vnd.apache.thrift.binary"
MAX_BODY_BYTES = 1 << 20
"""What the Java client puts into one request."""
MAX_RETRY_S = 60.0
MAX_RETRY_AFTER_S = 60.0
"""A longer ``Retry-After`` would be a typing error, or an attack."""
_MAX_ANSWER_BYTES = 64 * 1024
_ENCODING = "Content-Encoding"

RETRYABLE = frozenset((408, 429, 500, 502, 503, 504))
_UNREADABLE = frozenset((400, 415))
"""What collectors answer that read a compressed body as if it were not: Jaeger's before version 2
take gzip for OTLP only."""


class Tls(NamedTuple):
    """Files in PEM form; None: the system's authorities, no client certificate."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context from the files as they are now, so a renewed certificate is used."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


class Answer(NamedTuple):
    """What a collector answered."""

    status: int
    retry_after: str | None
    body: bytes


class HttpTransport:
    """POSTs each payload to ``endpoint``. Connects at the first send. One thread at a time.

    ``headers`` go with each request, credentials among them. One attempt takes ``timeout_s`` at
    most, from the look-up of the name to the last byte of the answer; one payload is tried for
    ``max_retry_s``. ``rejected`` reads from the body of a success how many spans were refused
    for good, and why. ValueError for an endpoint that is no HTTP URL.

    With ``gzipped``, a body that is answered by 400 or 415 is sent once more as it is. If that is
    taken, it was the compression that was not, and there is none from then on.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        content_type: str = THRIFT,
        headers: Mapping[str, str] | None = None,
        gzipped: bool = False,
        tls: Tls = Tls(),  # noqa: B008 (immutable)
        timeout_s: float = 10.0,
        max_bytes: int = MAX_BODY_BYTES,
        max_retry_s: float | None = MAX_RETRY_S,
        retryable: frozenset[int] = RETRYABLE,
        rejected: Callable[[bytes], tuple[int, str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        url = urllib.parse.urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"not the URL of an HTTP collector: {quoted(masked(endpoint))}")
        self.max_retry_s = max_retry_s
        self._max_bytes = max_bytes
        self._shown = quoted(masked(endpoint))
        self._path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
        self._headers = {"Content-Type": content_type, **(headers or {})}
        if gzipped:
            self._headers[_ENCODING] = "gzip"
        self._gzipped = gzipped
        self._timeout_s = timeout_s
        self._retryable = retryable
        self._rejected = rejected
        self._clock = clock
        port = url.port or (443 if url.scheme == "https" else 80)
        self._resolver = Resolver(url.hostname, port, clock=clock)
        self._connection = Connection(
            url.hostname,
            port,
            resolver=self._resolver,
            tls=tls.context if url.scheme == "https" else None,
            clock=clock,
        )

    @property
    def max_bytes(self) -> int:
        """The largest body, before compression."""
        return self._max_bytes

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """POST ``payload`` once."""
        connection = self._connection
        connection.deadline.at_s = min(deadline, self._clock() + self._timeout_s)
        on_its_way = False
        try:
            self._connect()
            body = gzip.compress(payload.body, 6) if self._gzipped else payload.body
            on_its_way = True
            answer = self._exchange(body, self._headers)
            if self._gzipped and answer.status in _UNREADABLE:
                answer = self._exchange_plain(payload.body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            self._resolver.doubt()
            result = SendResult.retry(
                f"{self._shown}: {_said(error)}",
                doubt=[payload] if on_its_way else (),
                unreached=not connection.reached,
            )
            return result.because(cause_of_request(error, here=connection.here))
        return self._judge(answer)

    def close(self) -> None:
        """Close the connection; the next send opens one."""
        self._connection.close()

    def _connect(self) -> None:
        """See to a connection that is open as far as one can know. OSError: nobody is there."""
        connection = self._connection
        if connection.sock is not None and (not connection.is_ours or _is_stale(connection)):
            connection.close()
        if connection.sock is None:
            connection.connect()

    def _exchange_plain(self, body: bytes) -> Answer:
        """Send without compression what was refused with it, and learn from the answer."""
        self._connect()  # some hang up on what they could not read
        headers = {k: v for k, v in self._headers.items() if k != _ENCODING}
        answer = self._exchange(body, headers)
        if 200 <= answer.status < 300:
            self._headers, self._gzipped = headers, False
            _log.warning("%s takes no gzip: nothing is compressed from now on", self._shown)
        return answer

    def _exchange(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = self._connection
        connection.request("POST", self._path, body, headers)
        response = connection.getresponse()
        data = response.read(_MAX_ANSWER_BYTES)
        if not response.isclosed():  # more than anybody has to say about a payload
            connection.close()
        return Answer(response.status, response.headers.get("Retry-After"), data)

    def _judge(self, answer: Answer) -> SendResult:
        status = answer.status
        if 200 <= status < 300:
            if answer.body.lstrip()[:1] == b"<":  # a login page, or another web server
                reason = f"{self._shown} answers {status} with a web page: {quoted(answer.body)}"
                return SendResult.failed(reason).because(Cause.NO_COLLECTOR)
            rejected, why = self._rejected(answer.body) if self._rejected else (0, "")
            return SendResult.sent(rejected=rejected, reason=why)
        reason = f"{self._shown} answers {status}"
        if status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return SendResult.too_large(reason)
        if status in self._retryable:
            late = SendResult.retry(reason, after_s=_seconds(answer.retry_after))
            return late.because(Cause.of_status(status))
        plain_to_tls = status == 400 and b"HTTPS" in answer.body.upper()
        cause = Cause.TLS_ONLY if plain_to_tls else Cause.of_status(status)
        return SendResult.failed(f"{reason}: {quoted(answer.body)}").because(cause)


def _is_stale(connection: Connection) -> bool:
    """Return whether the peer has closed, or spoken out of turn, since the last answer."""
    try:
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([connection.sock], [], [], 0)[0])
        watch = select.poll()  # ``select`` cannot watch descriptors from 1024 on
        watch.register(connection.sock, select.POLLIN)
        return bool(watch.poll(0))
    except (OSError, ValueError):  # closed here
        return True


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "connection refused"
    return quoted(error)


def _seconds(retry_after: str | None) -> float | None:
    """Return what ``Retry-After`` asks for (RFC 9110: seconds or a date); None: nothing usable."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(retry_after)
            seconds = moment.timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S) if seconds == seconds else None  # noqa: PLR0124 (NaN)
