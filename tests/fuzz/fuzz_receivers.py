"""Broken messages for every receiver of ``tracekit view``: refused, or taken and shown.

    python tests/fuzz/fuzz_receivers.py [--inputs 1000000] [--seed 1] [receiver …]

Each input is a real message of that wire, damaged: bytes flipped, cut, repeated, numbers made huge.
A receiver may raise ``ValueError`` and nothing else; what it takes must read, and be told as JSON.
Memory must not grow, and no input may take long.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import resource
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "local"))
from jaeger_batches import Batch, datagram
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TTransport import TMemoryBuffer

from tracekit.local import Backend, read_document
from tracekit.local._formats import READERS
from tracekit.local._go_json import dumps
from tracekit.local._http import (
    HttpServer,
    RefusedError,
    Request,
    Response,
    _Handler,
    inflated,
)
from tracekit.local._jaeger_json import to_json
from tracekit.local._jaeger_scan import scan_batch, scan_datagram
from tracekit.local._otlp_grpc import plain
from tracekit.local._otlp_json import scan_otlp_json
from tracekit.local._otlp_scan import scan_otlp
from tracekit.local._zipkin import scan_zipkin

MAX_S = 1.0
"""Longest time for one input of a few hundred bytes."""
INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff" * 9 + b"\x01",
    b"\x19\xfc",
    b"1e999",
    b"[",
)


def batch() -> Batch:
    tags = [
        jaeger.Tag(key="span.kind", vType=0, vStr="server"),
        jaeger.Tag(key="error", vType=2, vBool=True),
        jaeger.Tag(key="n", vType=3, vLong=-7),
        jaeger.Tag(key="f", vType=1, vDouble=0.5),
    ]
    spans = [
        jaeger.Span(
            traceIdLow=2**62,
            traceIdHigh=-1,
            spanId=number,
            parentSpanId=number - 1,
            operationName="GET /",
            flags=1,
            startTime=1_700_000_000_000_000,
            duration=12,
            tags=tags,
            references=[jaeger.SpanRef(refType=1, traceIdLow=1, traceIdHigh=0, spanId=5)]
            * (number > 1),
            logs=[jaeger.Log(timestamp=1, fields=tags[:2])],
        )
        for number in (1, 2)
    ]
    process = jaeger.Process(serviceName="shop", tags=[jaeger.Tag(key="ip", vType=0, vStr="::1")])
    return Batch(process=process, spans=spans, seq_no=3, stats=(1, 2, 3))


def struct() -> bytes:
    buffer = TMemoryBuffer()
    batch().write(TBinaryProtocol(buffer))
    return buffer.getvalue()


def otlp() -> bytes:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource_spans.scope_spans.add()
    scope.scope.name = "lib"
    span = scope.spans.add(
        trace_id=b"1" * 16,
        span_id=b"2" * 8,
        parent_span_id=b"3" * 8,
        name="GET /",
        kind=2,
        start_time_unix_nano=10**18,
        end_time_unix_nano=10**18 + 5,
        trace_state="a=b",
        flags=1,
        dropped_links_count=4,
    )
    value = span.attributes.add(key="list").value.array_value
    value.values.add().kvlist_value.values.add(key="k").value.int_value = -1
    value.values.add().bytes_value = b"\x00\xff"
    span.attributes.add(key="d").value.double_value = 1.5
    event = span.events.add(name="e", time_unix_nano=5)
    event.attributes.add(key="x").value.bool_value = True
    span.links.add(trace_id=b"4" * 16, span_id=b"5" * 8)
    span.status.code = 2
    span.status.message = "broken"
    return request.SerializeToString()


OTLP_JSON = json.dumps(
    {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": "a"}}]
                },
                "scopeSpans": [
                    {
                        "scope": {"name": "lib"},
                        "spans": [
                            {
                                "traceId": "0af7651916cd43dd8448eb211c80319c",
                                "spanId": "b7ad6b7169203331",
                                "name": "GET",
                                "kind": "SPAN_KIND_SERVER",
                                "startTimeUnixNano": "1700000000000000000",
                                "endTimeUnixNano": 1700000000000000100,
                                "attributes": [
                                    {
                                        "key": "a",
                                        "value": {"arrayValue": {"values": [{"intValue": "1"}]}},
                                    },
                                    {"key": "b", "value": {"doubleValue": 1.5}},
                                    {"key": "c", "value": {"bytesValue": "AAE="}},
                                ],
                                "events": [{"name": "e", "timeUnixNano": "1"}],
                                "links": [{"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1"}],
                                "status": {"code": 2, "message": "m"},
                            }
                        ],
                    }
                ],
            }
        ]
    }
).encode()
ZIPKIN = json.dumps(
    [
        {
            "traceId": "0af7651916cd43dd8448eb211c80319c",
            "id": "b7ad6b7169203331",
            "parentId": "b7ad6b7169203332",
            "name": "get",
            "kind": "CLIENT",
            "timestamp": 1700000000000000,
            "duration": 12,
            "localEndpoint": {"serviceName": "a", "ipv4": "10.0.0.1", "port": 80},
            "remoteEndpoint": {"serviceName": "b", "ipv6": "::1"},
            "annotations": [{"timestamp": 1, "value": '{"k":"v"}'}],
            "tags": {"error": "no", "http.path": "/"},
            "debug": True,
        }
    ]
).encode()


def _gzipped(data: bytes) -> list[object]:
    try:
        return scan_otlp(inflated(data, "gzip"))
    except RefusedError as refused:
        raise ValueError(refused.reason) from None


def _grpc(data: bytes) -> list[object]:
    return scan_otlp(plain(data))


def _document(data: bytes) -> list[object]:
    read_document(data)
    return []


def _requests() -> list[bytes]:
    """Return a request for each port, as one that is kept open would bring them."""

    def request(first: str, *more: str, body: bytes = b"") -> bytes:
        return "\r\n".join([f"{first} HTTP/1.1", "Host: localhost", *more, "", ""]).encode() + body

    def post(path: str, kind: str, body: bytes, *more: str) -> bytes:
        sized = f"Content-Type: {kind}", f"Content-Length: {len(body)}"
        return request(f"POST {path}", *sized, *more, body=body)

    packed = gzip.compress(otlp())
    tags = "%7B%22a%22%3A%22b%22%7D"
    chunked = "Content-Type: application/json", "Transfer-Encoding: chunked"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ZIPKIN), ZIPKIN)
    return [
        post("/v1/traces", "application/x-protobuf", packed, "Content-Encoding: gzip"),
        post("/v1/traces", "application/json; charset=utf-8", OTLP_JSON, "Expect: 100-continue"),
        post("/api/traces", "application/x-thrift", struct()),
        request("POST /api/v2/spans", *chunked, body=chunk),
        post("/view/sampling", "application/json", b'{"type":"probabilistic","param":0.5}'),
        request(f"GET /api/traces?service=shop&limit=20&tags={tags}&minDuration=1ms&start=17"),
        request("GET /api/traces/0af7651916cd43dd8448eb211c80319c?raw=true"),
        request("GET /sampling?service=shop", "Origin: http://localhost"),
        request("GET /index.html"),
    ]


class _Answer(io.BytesIO):
    """What was answered, which can be read after the handler has closed it."""

    def close(self) -> None:
        pass


class _Connection:
    """What a handler needs of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answer = _Answer()

    def makefile(self, mode: str, size: int = -1) -> io.BufferedIOBase:
        return self.answer if mode == "wb" else io.BufferedReader(io.BytesIO(self._data))

    def settimeout(self, seconds: float) -> None:
        pass

    def setsockopt(self, *option: int) -> None:
        pass


class _Http:
    """Every port's application behind one handler, which is fed without a socket."""

    def __init__(self) -> None:
        self._backend = Backend()
        apps = {name: self._backend._app(name) for name in ("thrift", "otlp", "zipkin", "query")}
        self._apps = {
            "/v1/traces": apps["otlp"],
            "/api/traces": apps["thrift"],
            "/api/v2/spans": apps["zipkin"],
            "/sampling": self._backend.strategies,
        }
        self._query = apps["query"]
        self._server = HttpServer("127.0.0.1", 0, self._answer)

    def __call__(self, data: bytes) -> list[object]:
        connection = _Connection(data)
        _Handler(connection, ("127.0.0.1", 1), self._server._server)
        self._server._server.deadlines.clear()
        if self._backend.store.spans > 200:
            self._backend.store.clear()
        if not connection.answer.getvalue():
            raise ValueError("no answer")
        return []

    def _answer(self, request: Request) -> Response:
        app = self._apps.get(request.path, self._query)
        if request.method == "GET" and request.path == "/api/traces":
            app = self._query
        try:
            return app(request)
        except (RefusedError, ValueError):
            raise
        except Exception:
            traceback.print_exc()  # the handler would answer it with 500
            raise


RECEIVERS = {
    "compact": (lambda data: [scan_datagram(data)], datagram(batch(), TCompactProtocol)),
    "binary": (lambda data: [scan_datagram(data)], datagram(batch(), TBinaryProtocol)),
    "thrift": (lambda data: [scan_batch(data)], struct()),
    "otlp": (scan_otlp, otlp()),
    "otlp-json": (scan_otlp_json, OTLP_JSON),
    "zipkin": (scan_zipkin, ZIPKIN),
    "gzip": (_gzipped, gzip.compress(otlp())),
    "grpc": (_grpc, gzip.compress(otlp())),
    "document": (_document, OTLP_JSON),
    "http": (_Http(), *_requests()),
}


def damaged(random_: random.Random, seed: bytes) -> bytes:
    """Return ``seed`` with one to four wounds."""
    data = bytearray(seed)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(data) + 1)
        match random_.randrange(6):
            case 0 if at < len(data):
                data[at] = random_.randrange(256)
            case 1:
                del data[at : at + random_.randint(1, 20)]
            case 2:
                data[at:at] = random_.choice(INTERESTING)
            case 3:
                size = random_.randint(1, 60)
                start = random_.randrange(len(data) + 1)
                data[at:at] = data[start : start + size] * random_.choice((1, 1, 1, 30))
            case 4:
                del data[at:]
            case 5 if at < len(data):
                data[at] ^= 1 << random_.randrange(8)
    return bytes(data)


def fuzz(name: str, inputs: int, seed: int) -> None:
    scan, *messages = RECEIVERS[name]
    random_ = random.Random(seed)
    taken = spans = 0
    began = time.monotonic()
    grown_from = 0
    for number in range(inputs):
        data = damaged(random_, random_.choice(messages))
        start = time.thread_time()
        try:
            arrivals = scan(data)
        except ValueError:
            arrivals = []
        else:
            taken += 1
        for arrival in arrivals:
            records = arrival.records
            spans += len(records)
            whole = [READERS[record.source.format](record.raw, record.source) for record in records]
            if whole and number % 4 == 0:
                dumps(to_json(whole))
        if time.thread_time() - start > MAX_S:
            print(f"slow: {time.thread_time() - start:.2f} s for {data!r}")
        if number == inputs // 10:
            grown_from = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown_from
    print(
        f"{name:<10} {inputs:,} inputs in {time.monotonic() - began:.0f} s: {taken:,} taken,"
        f" {spans:,} spans, memory grew by {grown} kB",
        flush=True,
    )
    assert grown < 20_000, "memory grows"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("receivers", nargs="*", default=list(RECEIVERS))
    options = parser.parse_args()
    for name in options.receivers:
        fuzz(name, options.inputs, options.seed)


if __name__ == "__main__":
    main()
