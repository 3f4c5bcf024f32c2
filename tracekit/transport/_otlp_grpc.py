"""OTLP over gRPC: one unary call on bytes, so no code is generated and no message is built.

Needs grpcio (``pip install 'tracekit-jaeger[otlp]'``); this module is imported for this wire only.
"""

from __future__ import annotations

import functools
import logging
import re
import time
import urllib.parse
from typing import TYPE_CHECKING

import grpc

from tracekit._causes import Cause
from tracekit._display import quoted
from tracekit._protocols import SendResult
from tracekit.transport._cause import cause_of
from tracekit.transport._grpc_line import READER_DRIVES, CallFailedError, Line
from tracekit.transport._http import MAX_BODY_BYTES, MAX_RETRY_S, Tls
from tracekit.transport._otlp import rejected, retry_delay_s
from tracekit.transport._probe import Finding, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit._protocols import Payload

_log = logging.getLogger("tracekit")

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DETAILS = "grpc-status-details-bin"
_CODES = grpc.StatusCode
_RETRYABLE = frozenset(
    (
        _CODES.CANCELLED,
        _CODES.DEADLINE_EXCEEDED,
        _CODES.ABORTED,
        _CODES.OUT_OF_RANGE,
        _CODES.UNAVAILABLE,
        _CODES.DATA_LOSS,
    )
)
"""RESOURCE_EXHAUSTED is another one, but only if the server says when to come back."""
_UNHEARD = frozenset((_CODES.CANCELLED, _CODES.DEADLINE_EXCEEDED))
"""Codes that our own end sets: the server may have taken the payload meanwhile."""
_BROKEN = re.compile(
    r"socket closed|stream removed|connection reset|broken pipe|goaway|transport closed|\bping|eof",
    re.IGNORECASE,
)
"""In gRPC's words for UNAVAILABLE when a connection broke that may have carried the payload; there
is no other sign. A server that says so by itself makes a twin possible that is none."""
_UNREACHED = re.compile(
    r"failed to connect to all addresses; last error|errors resolving |DNS resolution failed"
)
"""gRPC's own words when no connection came about; a server that uses them is looked for like one
that is away, at our pace."""
_TOO_LARGE = re.compile(
    r"larger than max|length too large|status: 413\b|"
    r"exceed(s|ed) (the )?(configured )?maximum (\w+ ){0,2}size",
    re.IGNORECASE,
)
"""What servers say of a message above their limit: Go's and gRPC's core; Rust's; a proxy, in the
words of gRPC's core; Java's, .NET's and Swift's. No code stands for it alone."""
_MAYBE_TOO_LARGE = frozenset((_CODES.RESOURCE_EXHAUSTED, _CODES.OUT_OF_RANGE, _CODES.UNKNOWN))
_PLAIN = grpc.Compression.NoCompression
_CAUSES = {
    _CODES.UNAUTHENTICATED: Cause.UNAUTHORIZED,
    _CODES.PERMISSION_DENIED: Cause.UNAUTHORIZED,
    _CODES.UNIMPLEMENTED: Cause.NO_COLLECTOR,
}
_PROBE_S = 2.0
_PROBE_EVERY_S = 30.0
_CONNECT_MS = 5000
"""How long a connection may take: round trips of TCP, of TLS and one of HTTP/2, and a SYN that was
lost. (gRPC takes the name of the option for this, too.)"""
_OPTIONS = (
    # gRPC's own back-off grows to two minutes; ours decides when to try again. It matters where a
    # name has several addresses, or a connection broke.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
    READER_DRIVES,
)


class OtlpGrpcTransport:
    """Calls ``Export`` at ``endpoint`` (``http://host:port``: plain text, ``https://``: TLS).

    Connects at the first send. One thread at a time. One call takes ``timeout_s`` at most, one
    payload is tried for ``max_retry_s``. ValueError for an endpoint of another form.
    """

    max_retry_s: float | None = MAX_RETRY_S

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        gzipped: bool = False,
        tls: Tls = Tls(),  # noqa: B008 (immutable)
        timeout_s: float = 10.0,
        max_bytes: int = MAX_BODY_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        url = urllib.parse.urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("not the URL of a gRPC collector")
        secure = url.scheme == "https"
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        self._host, self._port = url.hostname, url.port or (443 if secure else 80)
        self._target = f"{host}:{self._port}"
        self._finding: Finding | None = None
        self._look_again_s = 0.0
        self._tls = tls if secure else None
        self._metadata = tuple((name.lower(), value) for name, value in (headers or {}).items())
        self._compression = grpc.Compression.Gzip if gzipped else _PLAIN
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._line = Line(METHOD, self._open)

    @property
    def max_bytes(self) -> int:
        """The largest request, before compression."""
        return self._max_bytes

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Call ``Export`` once with ``payload``."""
        if self._line.cut:
            reason = f"{self._target}: forked in the midst of a call, gRPC cannot be used here"
            return SendResult.failed(reason).because(Cause.FORK)
        timeout_s = min(deadline - self._clock(), self._timeout_s)
        if timeout_s <= 0:
            return SendResult.retry(f"{self._target}: timed out")
        try:
            response = self._export(payload, timeout_s)
        except CallFailedError as error:
            return self._failed(payload, error, deadline)
        except OSError as error:  # certificates that are not there (yet), or no room
            return SendResult.retry(f"{self._target}: {quoted(error)}").because(cause_of(error))
        except (TypeError, ValueError):  # old gRPC's own words repeat the values
            names = quoted(", ".join(name for name, _ in self._metadata))
            return SendResult.failed(f"{self._target}: gRPC cannot send these headers: {names}")
        self._finding = None
        number, words = rejected(response)
        return SendResult.sent(rejected=number, reason=words)

    def _export(self, payload: Payload, timeout_s: float) -> bytes:
        call = functools.partial(
            self._line.call, payload.body, timeout_s=timeout_s, metadata=self._metadata
        )
        try:
            response = call(compression=self._compression)
        except CallFailedError as error:
            if self._compression is _PLAIN or error.code is not _CODES.UNIMPLEMENTED:
                raise
            # What a server without gzip answers, and one without this service.
            response = call(compression=_PLAIN)
            self._compression = _PLAIN
            _log.warning("%s takes no gzip: nothing is compressed from now on", self._target)
        return response

    def close(self) -> None:
        """Close the channel; the next send opens one."""
        self._line.close()

    def _open(self) -> grpc.Channel:
        """Open a channel with the certificates as they are now (no CA file: gRPC's own list)."""
        tls = self._tls
        if tls is None:
            return grpc.insecure_channel(self._target, _OPTIONS)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_content(tls.ca_file),
            private_key=_content(tls.key_file or tls.cert_file),
            certificate_chain=_content(tls.cert_file),
        )
        return grpc.secure_channel(self._target, credentials, _OPTIONS)

    def _failed(self, payload: Payload, error: CallFailedError, deadline: float) -> SendResult:
        if self._line.broken_off:
            reason = f"{self._target}: a fork came before its answer"
            return SendResult.retry(reason, doubt=[payload]).because(Cause.FORK)
        result = self._judge(payload, error, deadline)
        if result.unreached:
            self._line.drop()  # a channel that is kept has a back-off of its own, beside ours
        return result

    def _judge(self, payload: Payload, error: CallFailedError, deadline: float) -> SendResult:
        code, details = error.code, error.details
        reason = f"{self._target} answers {code.name}: {quoted(details)}"
        after_s = _retry_delay_s(error)
        if code in _MAYBE_TOO_LARGE and after_s is None and _TOO_LARGE.search(details):
            return SendResult.too_large(reason)
        if code is _CODES.RESOURCE_EXHAUSTED and after_s is None:
            return SendResult.failed(reason)
        if code in _RETRYABLE or code is _CODES.RESOURCE_EXHAUSTED:
            broken = code is _CODES.UNAVAILABLE and _BROKEN.search(details)
            doubt = [payload] if broken or code in _UNHEARD else ()
            result = SendResult.retry(
                reason, after_s=after_s, doubt=doubt, unreached=_is_unreached(error)
            )
            if code is _CODES.UNAVAILABLE:
                return self._explained(result, details, deadline - self._clock())
            return result.because(Cause.TIMED_OUT if code in _UNHEARD else Cause.BUSY)
        return SendResult.failed(reason).because(_CAUSES.get(code, Cause.OTHER))

    def _explained(self, result: SendResult, details: str, timeout_s: float) -> SendResult:
        """Return ``result`` with its cause: of several addresses gRPC names the last one's failure.

        It is looked into by hand, once in a while only, for that takes a connection.
        """
        now = self._clock()
        if self._finding is None or now >= self._look_again_s:
            self._look_again_s = now + _PROBE_EVERY_S
            if "DNS resolution" in details:
                self._finding = Finding(Cause.NO_ADDRESS, "")
            else:
                where = self._host, self._port, self._tls
                found = probe(*where, timeout_s=min(_PROBE_S, timeout_s), protocols=("h2",))
                self._finding = found or Finding(Cause.BUSY, "")
        cause, words = self._finding
        reason = f"{self._target} is UNAVAILABLE: {quoted(words)}" if words else result.reason
        return result._replace(reason=reason, cause=cause)


def _is_unreached(error: CallFailedError) -> bool:
    """Return whether no connection came about."""
    unavailable = error.code is _CODES.UNAVAILABLE
    return unavailable and _UNREACHED.match(error.details) is not None


def _content(file: str | None) -> bytes | None:
    if file is None:
        return None
    with open(file, "rb") as opened:  # noqa: PTH123 - a path as the user wrote it
        return opened.read()


def _retry_delay_s(error: CallFailedError) -> float | None:
    for name, value in error.trailers:
        if name == _DETAILS and isinstance(value, bytes):
            return retry_delay_s(value)
    return None
