"""Strategies over gRPC and from a local file, and the samplers that follow a server or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from tracekit._display import cited, masked, quoted
from tracekit.errors import StrategyError, TracekitError
from tracekit.sampling._file import parse_strategies_file
from tracekit.sampling._http import HttpSource
from tracekit.sampling._poller import (
    MAX_ANSWER_BYTES,
    NOT_TRACED,
    TIMEOUT_S,
    Abortable,
    Poller,
)
from tracekit.sampling._protobuf import decode_response, encode_parameters
from tracekit.sampling._remote import RemoteSampler
from tracekit.sampling._sampler import INITIAL_RATE, MAX_OPERATIONS, Probabilistic

if TYPE_CHECKING:
    import grpc

    from tracekit.sampling._poller import Source
    from tracekit.sampling._strategy import AnyStrategy

_METHOD = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"
_MAX_FILE_AGE_S = 1.0


def following_server(
    endpoint: str,
    service: str,
    *,
    initial_rate: float = INITIAL_RATE,
    max_operations: int = MAX_OPERATIONS,
    interval_s: float = 60.0,
) -> RemoteSampler:
    """Return a sampler that asks the sampling server at ``endpoint`` every ``interval_s``.

    ``endpoint`` is a URL, taken verbatim: ``http``, ``https``, ``grpc`` or ``grpcs``. Until the
    first answer the share ``initial_rate`` of roots is sampled. Nothing runs before the first root.

    Raises:
        ValueError: an endpoint, a rate or an interval that cannot be.

    """
    sampler = RemoteSampler(Probabilistic(initial_rate), max_operations=max_operations)
    Poller(sampler, source_for(endpoint, service), interval_s=interval_s)
    return sampler


def following_file(
    path: str,
    service: str,
    *,
    initial_rate: float = INITIAL_RATE,
    max_operations: int = MAX_OPERATIONS,
    interval_s: float = 60.0,
) -> RemoteSampler:
    """Return a sampler that obeys the strategies file at ``path``, read at once.

    A change is seen after ``interval_s``, at most a second: looking costs one ``stat``, and the
    polling thread does it. A file that cannot be used leaves ``initial_rate`` in force.
    """
    sampler = RemoteSampler(Probabilistic(initial_rate), max_operations=max_operations)
    source = FileSource(path, service)
    Poller(sampler, source, interval_s=min(interval_s, _MAX_FILE_AGE_S)).poll()
    return sampler


def source_for(endpoint: str, service: str) -> Source:
    """Return the source that the scheme of ``endpoint`` names."""
    url = urlsplit(endpoint)
    port = url.port  # raises ValueError itself
    if url.scheme in {"grpc", "grpcs"} and url.hostname and port != 0:
        return GrpcSource(url, service)
    if url.scheme in {"http", "https"} and url.hostname and port != 0:
        return HttpSource(url, service)
    raise ValueError(f"no sampling endpoint: {cited(endpoint)}")


class GrpcSource(Abortable):
    """``jaeger.api_v2.SamplingManager/GetSamplingStrategy``; grpcio is imported when it is used.

    Each fetch opens a channel of its own: one a minute costs nothing, and none is there to be
    shared with a forked child.
    """

    def __init__(self, url: SplitResult, service: str, *, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__()
        self.name = quoted(masked(url.geturl()))
        self._secure = url.scheme in {"https", "grpcs"}
        host = url.hostname or ""
        host = f"[{host}]" if ":" in host else host
        self._target = f"{host}:{url.port or 14250}"
        self._request = encode_parameters(service)
        self._timeout_s = timeout_s

    def fetch(self) -> bytes:
        """Return the serialized answer."""
        try:
            import grpc  # noqa: PLC0415 - optional
        except ImportError:
            raise TracekitError(
                "gRPC sampling needs grpcio: pip install 'tracekit-jaeger[grpc]'"
            ) from None
        with self._channel(grpc.ssl_channel_credentials() if self._secure else None) as channel:
            call = channel.unary_unary(_METHOD, bytes, bytes).future(
                self._request, timeout=self._timeout_s, metadata=(NOT_TRACED,)
            )
            self._begin(call.cancel)
            try:
                answer: bytes = call.result()
            except grpc.RpcError:
                raise TracekitError(f"{call.code().name}: {call.details()}") from None
            finally:
                self._finish()
        return answer

    def _channel(self, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
        import grpc  # noqa: PLC0415 - optional

        options = [("grpc.max_receive_message_length", MAX_ANSWER_BYTES)]
        if credentials is None:
            return grpc.insecure_channel(self._target, options)
        return grpc.secure_channel(self._target, credentials, options)

    def parse(self, answer: bytes) -> AnyStrategy:
        """Read the protobuf answer."""
        return decode_response(answer)


class FileSource:
    """A strategies file; read again when its identity, size or time of change differ."""

    def __init__(self, path: str, service: str) -> None:
        self.name = quoted(path)
        self._path = Path(path)
        self._service = service
        self._seen: tuple[int, int, int] | None = None

    def fetch(self) -> bytes | None:
        """Return the file's bytes, or None while it is the one that was read last."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen == self._seen:
                return None
            with self._path.open("rb") as file:
                content = file.read(MAX_ANSWER_BYTES + 1)
        except OSError:
            self._seen = None
            raise
        self._seen = seen
        if len(content) > MAX_ANSWER_BYTES:
            raise StrategyError(f"the file is longer than {MAX_ANSWER_BYTES} bytes")
        return content

    def parse(self, answer: bytes) -> AnyStrategy:
        """Read what the file orders for this service."""
        return parse_strategies_file(answer, self._service)

    def abort(self) -> None:
        """Do nothing: a local read does not wait."""
