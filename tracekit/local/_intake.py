"""What every receiver of ``tracekit view`` does with a message: cut it, keep it, count it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from tracekit.local._http import RefusedError, Request, Response
from tracekit.local._jaeger_scan import scan_batch, scan_datagram
from tracekit.local._otlp_json import scan_otlp_json
from tracekit.local._otlp_scan import scan_otlp
from tracekit.local._records import DecodeError
from tracekit.local._zipkin import scan_zipkin

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit.local._records import Arrival
    from tracekit.local._spans import ClientStats
    from tracekit.local._traces import TraceStore

MAX_JSON_BYTES = 8 * 1024 * 1024
MAX_CLIENTS = 1000
"""Processes whose own figures are remembered; the one that was silent longest goes first."""
_THRIFT = ("application/x-thrift", "application/vnd.apache.thrift.binary")


class Client(NamedTuple):
    """A process that reports its own losses: its last figures, and gaps in its numbers."""

    service: str
    stats: ClientStats | None
    seq_no: int
    missed: int
    """Messages of it that did not come, as the gaps in its numbers say."""


class Broken(NamedTuple):
    """The latest message of a wire that was no spans."""

    wire: str
    reason: str
    when: float
    """Seconds since 1970."""


class Intake:
    """Takes messages for a store. Any thread may call its methods."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._received: Counter[str] = Counter()
        self._malformed: Counter[str] = Counter()
        self._clients: OrderedDict[tuple[str, str], Client] = OrderedDict()
        self.broken: Broken | None = None

    def take(self, wire: str, scan: Callable[[bytes], list[Arrival]], data: bytes) -> int:
        """Keep the spans of a message and return their number; ``ValueError`` if it is none."""
        try:
            arrivals = scan(data)
        except Exception as error:
            with self._lock:
                self._malformed[wire] += 1
                self.broken = Broken(wire, str(error)[:300], time.time())
            if isinstance(error, ValueError):
                raise
            # A scan promises not to come here; if it breaks that, the receiver still lives.
            raise DecodeError(f"{type(error).__name__}: {error}") from error
        count = 0
        for arrival in arrivals:
            count += len(arrival.records)
            self._store.add(arrival.records)
            if arrival.seq_no is not None or arrival.stats is not None:
                self._note(arrival)
        with self._lock:
            self._received[wire] += count
        return count

    def received(self) -> dict[str, int]:
        """Return how many spans came by each wire."""
        with self._lock:
            return dict(self._received)

    def malformed(self) -> dict[str, int]:
        """Return how many messages of each wire were no spans."""
        with self._lock:
            return dict(self._malformed)

    def clients(self) -> list[Client]:
        """Return the processes that reported figures of their own, the latest last."""
        with self._lock:
            return list(self._clients.values())

    def datagram(self, data: bytes) -> None:
        """Take a datagram, compact or binary."""
        with contextlib.suppress(ValueError):  # counted; over UDP there is nobody to tell
            self.take("udp", _datagram, data)

    def collector(self, request: Request) -> Response:
        """Answer on port 14268 as Jaeger's collector does: Thrift over HTTP."""
        _only(request, "/api/traces")
        if request.content_type not in _THRIFT:
            raise RefusedError(400, f"Unsupported content type: {request.content_type:.100}")
        self._post("http-thrift", _batch, request.body)
        return Response(status=202)

    def otlp(self, request: Request) -> Response:
        """Answer on port 4318 as an OTLP receiver does: protobuf and JSON."""
        if request.path in ("/v1/metrics", "/v1/logs"):
            raise RefusedError(404, "only traces are shown: send metrics and logs elsewhere")
        _only(request, "/v1/traces")
        if request.content_type == "application/x-protobuf":
            self._post("otlp-http", scan_otlp, request.body)
            return Response(b"", 200, request.content_type)
        if request.content_type == "application/json":
            self._post("otlp-json", scan_otlp_json, _json_body(request))
            return Response(b'{"partialSuccess":{}}', 200, request.content_type)
        raise RefusedError(415, "application/x-protobuf or application/json")

    def zipkin(self, request: Request) -> Response:
        """Answer on port 9411 as Zipkin does: JSON, version 2."""
        _only(request, "/api/v2/spans")
        if request.content_type != "application/json":
            raise RefusedError(400, "Unsupported Content-Type")
        self._post("zipkin", scan_zipkin, _json_body(request))
        return Response(status=202)

    def _post(self, wire: str, scan: Callable[[bytes], list[Arrival]], body: bytes) -> None:
        try:
            self.take(wire, scan, body)
        except ValueError as error:
            raise RefusedError(400, f"Unable to process request body: {error}") from None

    def _note(self, arrival: Arrival) -> None:
        key = arrival.service, arrival.client
        with self._lock:
            known = self._clients.pop(key, None)
            stats = arrival.stats or (known.stats if known else None)
            number = arrival.seq_no if arrival.seq_no is not None else 0
            missed = known.missed if known else 0
            # Without an id, processes of one service cannot be told apart, nor can their numbers.
            if known and arrival.client and number > known.seq_no + 1:
                missed += number - known.seq_no - 1
            self._clients[key] = Client(arrival.service, stats, number, missed)
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)


def _json_body(request: Request) -> bytes:
    # As objects of Python, JSON takes up to thirty times its bytes.
    if len(request.body) > MAX_JSON_BYTES:
        raise RefusedError(413, f"JSON of more than {MAX_JSON_BYTES} bytes")
    return request.body


def _datagram(data: bytes) -> list[Arrival]:
    return [scan_datagram(data)]


def _batch(data: bytes) -> list[Arrival]:
    return [scan_batch(data)]


def _only(request: Request, path: str) -> None:
    if request.path.rstrip("/") != path:
        raise RefusedError(404, f"spans are taken at {path}")
    if request.method != "POST":
        raise RefusedError(405, f"spans are POSTed to {path}")
