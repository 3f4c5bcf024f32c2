"""The query API beside the real Jaeger 1.48: the same messages sent to both, the same answers.

Where ``make interop`` has put a Jaeger into the user's cache. What may differ is the table in
``docs/reference/local.md``: a tag of Jaeger's own, the order of lists, the clock's skew below a µs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest
import urllib3
from jaeger_batches import Batch, datagram
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from ports import free_ports
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TTransport import TMemoryBuffer
from waiting import eventually

from tracekit.local import Backend

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tracekit-interop"
BINARY = CACHE / "jaeger-all-in-one-1.48.0"
HTTP = urllib3.PoolManager()
FLAGS = {
    "compact": "processor.jaeger-compact.server-host-port",
    "binary": "processor.jaeger-binary.server-host-port",
    "old": "processor.zipkin-compact.server-host-port",
    "sampling": "http-server.host-port",
    "thrift": "collector.http-server.host-port",
    "collector": "collector.grpc-server.host-port",
    "otlp": "collector.otlp.http.host-port",
    "grpc": "collector.otlp.grpc.host-port",
    "zipkin": "collector.zipkin.host-port",
    "query": "query.http-server.host-port",
    "query_grpc": "query.grpc-server.host-port",
    "admin": "admin.http.host-port",
}
NOW = time.time_ns() // 1000


@pytest.fixture(scope="module")
def both():
    if not BINARY.exists():
        pytest.skip(f"no Jaeger at {BINARY}: make interop builds it")
    ports = dict(zip(FLAGS, free_ports(len(FLAGS)), strict=True))
    command = [
        str(BINARY),
        *(f"--{flag}=127.0.0.1:{ports[name]}" for name, flag in FLAGS.items()),
        f"--reporter.grpc.host-port=127.0.0.1:{ports['collector']}",
        "--log-level=error",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _until(lambda: _asked(ports["query"], "/api/services")[0] == 200)
            with Backend.on_free_ports() as backend:
                for target in (ports, backend.ports):
                    _send(target)
                _until(lambda: _count(ports["query"]) == backend.store.spans == SPANS)
                yield ports["query"], backend.ports["query"]
        finally:
            process.kill()


def _until(true, timeout_s=30):
    def condition():
        with contextlib.suppress(OSError, urllib3.exceptions.HTTPError):
            return true()
        return False

    eventually(condition, timeout_s, every_s=0.05)


def _asked(port, path):
    answer = HTTP.request("GET", f"http://127.0.0.1:{port}{path}", retries=False)
    return answer.status, answer.headers["Content-Type"], answer.data.decode()


def _count(port):
    services = json.loads(_asked(port, "/api/services")[2])["data"] or []
    found = {}
    for service in services:
        for trace in json.loads(_asked(port, f"/api/traces?service={service}")[2])["data"]:
            found[trace["traceID"]] = len(trace["spans"])
    return sum(found.values())


def _tag(key, value):
    kind = {str: 0, float: 1, bool: 2, int: 3}[type(value)]
    field = ("vStr", "vDouble", "vBool", "vLong")[kind]
    return jaeger.Tag(key=key, vType=kind, **{field: value})


def _span(trace, number, parent, name, start, lasted, *, tags=None, **fields):
    given = {"traceIdHigh": 0, "flags": 1, "references": None, "logs": None, **fields}
    return jaeger.Span(
        traceIdLow=trace,
        spanId=number,
        parentSpanId=parent,
        operationName=name,
        startTime=start,
        duration=lasted,
        tags=[_tag(key, value) for key, value in (tags or {}).items()],
        **given,
    )


def _ref(kind, trace, number):
    return jaeger.SpanRef(refType=kind, traceIdLow=trace, traceIdHigh=0, spanId=number)


def _batch(service, ip, *spans):
    tags = [_tag("zone", "z"), *([_tag("ip", ip)] if ip else []), _tag("a", 1)]
    return Batch(process=jaeger.Process(serviceName=service, tags=tags), spans=list(spans))


LOG = jaeger.Log(
    timestamp=NOW, fields=[_tag("zz", "1"), _tag("event", "hit"), _tag("aa", 4), _tag("aa", "x")]
)
TAGS = {
    "s": "ü<&>\u2028x",
    "yes": True,
    "ip": 0x0A000001,
    "big": 2**60,
    "f": 1.5,
    "whole": 2.0,
    "huge": 1e22,
    "tiny": 1e-7,
    "span.kind": "server",
}
BATCHES = [
    _batch(
        "front",
        "10.0.0.1",
        _span(1, 1, 0, "root", NOW, 100_000, tags=TAGS, logs=[LOG]),
        _span(1, 2, 1, "call", NOW + 10, 50_000, tags={"span.kind": "client"}),
    ),
    _batch(
        "back",
        "10.0.0.2",
        _span(1, 2, 1, "called", NOW - 500_000, 40_001, tags={"span.kind": "server"}),
        _span(1, 3, 2, "below", NOW + 20, 10, tags={"error": True}),
    ),
    _batch("front", "10.0.0.1", _span(-5, -6, 0, "negative", NOW, 0, flags=3, traceIdHigh=-9)),
    _batch(
        "front",
        "10.0.0.1",
        _span(7, 1, 99, "orphan", NOW, 5, references=[_ref(1, 7, 98), _ref(0, 8, 5)]),
        _span(7, 2, 0, "follows", NOW, 5, references=[_ref(1, 8, 5), _ref(1, 7, 1), _ref(0, 7, 1)]),
    ),
    _batch("", None, _span(9, 1, 0, "nameless", NOW, 7)),
    _batch(
        "svc",
        None,
        _span(10, 1, 0, "parent", NOW, 10),
        _span(10, 2, 1, "early", NOW - 1_000_000_000, 3),
        _span(10, 3, 1, "late", NOW + 7_000_000, 20),
    ),
    _batch("front", "10.0.0.1", _span(11, 1, 0, "backwards", NOW, -5)),
    _batch("front", "10.0.0.1", _span(12, 1, 0, "endless", NOW, 2**62)),
]


def _text(key, value):
    return {"key": key, "value": {"stringValue": value}}


def _list(*values):
    return {"arrayValue": {"values": list(values)}}


_MAP = {"kvlistValue": {"values": [{"key": "z", "value": {"doubleValue": 1e25}}, _text("b", "y")]}}
_OTHER = [{"stringValue": "a<"}, {"intValue": "1"}, {"doubleValue": 2.0}, {"bytesValue": "AAEC"}]
BARE = {"traceId": f"{66:032x}", "spanId": "4" * 16, "startTimeUnixNano": str(NOW * 1000)}
OTLP = {
    "resourceSpans": [
        {
            "resource": {
                "attributes": [
                    _text("service.name", "otel"),
                    {"key": "z", "value": {"intValue": "3"}},
                    {"key": "by", "value": {"bytesValue": "AAEC"}},
                ]
            },
            "scopeSpans": [
                {
                    "scope": {"name": "lib", "version": "1"},
                    "spans": [
                        {
                            "traceId": "0123456789abcdef0123456789abcdef",
                            "spanId": "1" * 16,
                            "name": "GET /<x>",
                            "kind": 2,
                            "traceState": "a=b",
                            "startTimeUnixNano": str(NOW * 1000 + 234),
                            "endTimeUnixNano": str(NOW * 1000 + 9_999_999),
                            "attributes": [
                                {"key": "list", "value": _list(*_OTHER, _MAP)},
                                {"key": "map", "value": _MAP},
                                {"key": "nothing"},
                                {"key": "d", "value": {"doubleValue": 0.1}},
                            ],
                            "events": [
                                {
                                    "timeUnixNano": str(NOW * 1000 + 5),
                                    "name": "seen",
                                    "attributes": [_text("x", "1")],
                                },
                                {"name": "seen", "attributes": [_text("event", "mine")]},
                                {"name": "", "attributes": []},
                            ],
                            "links": [
                                {"traceId": f"{7:032x}", "spanId": "2" * 16},
                                {
                                    "traceId": f"{7:032x}",
                                    "spanId": "3" * 16,
                                    "attributes": [_text("opentracing.ref_type", "child_of")],
                                },
                            ],
                            "status": {"code": 2, "message": "bad"},
                        },
                        {
                            "traceId": "0123456789abcdef0123456789abcdef",
                            "spanId": "3" * 16,
                            "parentSpanId": "1" * 16,
                            "name": "",
                            "startTimeUnixNano": str(NOW * 1000 + 5000),
                            "endTimeUnixNano": str(NOW * 1000 + 6000),
                            "status": {"code": 1},
                            "links": [{"traceId": "0123456789abcdef" * 2, "spanId": "1" * 16}],
                        },
                    ],
                }
            ],
        },
        {"resource": {}, "scopeSpans": [{"spans": [BARE]}]},
    ]
}
ZIPKIN = [
    {
        "traceId": f"{0xABC1:016x}",
        "id": f"{1:016x}",
        "name": "get",
        "kind": "CLIENT",
        "timestamp": NOW,
        "duration": 1000,
        "localEndpoint": {"serviceName": "zfront", "ipv4": "10.1.1.1", "port": 80},
        "remoteEndpoint": {"serviceName": "zback", "ipv4": "10.1.1.2", "port": 81},
        "tags": {"http.path": "/"},
        "annotations": [
            {"timestamp": NOW + 1, "value": "note"},
            {"timestamp": NOW + 2, "value": '{"k":"v","event":"e"}'},
        ],
    },
    {
        "traceId": f"{0xABC1:016x}",
        "id": f"{1:016x}",
        "name": "get",
        "kind": "SERVER",
        "shared": True,
        "timestamp": NOW + 100,
        "duration": 500,
        "localEndpoint": {"serviceName": "zback", "ipv4": "10.1.1.2"},
        "tags": {"error": "boom"},
    },
    {
        "traceId": f"{0xABC1:016x}",
        "id": f"{2:016x}",
        "parentId": f"{1:016x}",
        "name": "child",
        "timestamp": NOW + 200,
        "duration": 50,
        "localEndpoint": {"serviceName": "zback", "ipv4": "10.1.1.2"},
        "debug": True,
    },
    {
        "traceId": f"{0xABC3:016x}",
        "id": f"{3:016x}",
        "name": "nowhere",
        "timestamp": NOW,
        "duration": 7,
        "kind": "SERVER",
        "remoteEndpoint": {"ipv6": "2001:db8::2"},
    },
]
SPANS = sum(len(batch.spans) for batch in BATCHES) + 3 + len(ZIPKIN)


def _send(ports):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number, batch in enumerate(BATCHES):
            if number % 3 == 0:
                message = datagram(batch, TCompactProtocol)
                sender.sendto(message, ("127.0.0.1", ports["compact"]))
            elif number % 3 == 1:
                sender.sendto(datagram(batch, TBinaryProtocol), ("127.0.0.1", ports["binary"]))
            else:
                buffer = TMemoryBuffer()
                batch.write(TBinaryProtocol(buffer))
                _post(ports["thrift"], "/api/traces", buffer.getvalue(), "application/x-thrift")
            time.sleep(0.3)  # Jaeger's agent and collector keep no order between two of them
    _post(ports["otlp"], "/v1/traces", json.dumps(OTLP).encode(), "application/json")
    for span in ZIPKIN:
        _post(ports["zipkin"], "/api/v2/spans", json.dumps([span]).encode(), "application/json")
        time.sleep(0.3)


def _post(port, path, body, kind):
    url = f"http://127.0.0.1:{port}{path}"
    answer = HTTP.request("POST", url, body=body, headers={"Content-Type": kind})
    assert answer.status < 300, answer.data


def _comparable(value):
    if isinstance(value, list):
        return [_comparable(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _comparable(each) for key, each in value.items()}
    if isinstance(found.get("tags"), list):
        found["tags"] = [tag for tag in found["tags"] if tag["key"] != "internal.span.format"]
    if isinstance(found.get("data"), list):
        found["data"] = sorted(map(_comparable_trace, found["data"]), key=json.dumps)
    return found


def _comparable_trace(value):
    if not isinstance(value, dict) or "spans" not in value:
        return value
    names = {key: json.dumps(process) for key, process in value["processes"].items()}
    for span in value["spans"]:
        span["processID"] = names[span["processID"]]
    spans = sorted(value["spans"], key=lambda span: (span["operationName"], span["startTime"]))
    return {**value, "spans": spans, "processes": sorted(names.values())}


QUESTIONS = [
    "/api/services",
    "/api/services?prettyPrint=true",
    "/api/services/front/operations",
    "/api/services/nobody/operations",
    "/api/operations?service=back",
    "/api/operations?service=otel&spanKind=server",
    "/api/operations",
    "/api/traces",
    "/api/traces?service=nobody",
    "/api/traces?service=front&minDuration=abc",
    "/api/traces?service=front&minDuration=5",
    "/api/traces?service=front&minDuration=1x",
    "/api/traces?service=front&minDuration=10s&maxDuration=5s",
    "/api/traces?service=front&start=x",
    "/api/traces?service=front&limit=x",
    "/api/traces?service=front&tag=x",
    f"/api/traces?service=front&end={NOW - 10}",
    "/api/traces?service=front&minDuration=1ms&maxDuration=1h",
    "/api/traces?service=front&operation=negative",
    *(
        f"/api/traces?service=front&tag={tag}"
        for tag in ("yes:true", "whole:2", "huge:1e%2B22", "zone:z", "event:hit", "s:nothing")
    ),
    "/api/traces/zz",
    f"/api/traces/{'1' * 40}",
    "/api/traces/77",
    "/api/traces?traceID=zz",
    "/api/traces?traceID=77&traceID=7",
    *(f"/api/traces/{number:x}" for number in (1, 7, 9, 10, 11, 12, 66, 0xABC1, 0xABC3)),
    f"/api/traces/{(2**64 - 9) << 64 | (2**64 - 5):x}",
    "/api/traces/0123456789abcdef0123456789abcdef",
    "/api/traces/7?raw=true",
    "/api/metrics/calls?service=a",
    "/api/dependencies",
    "/api/dependencies?service=zback",
    "/api/dependencies?endTs=x",
    "/api/dependencies?lookback=q",
]


@pytest.mark.integration
@pytest.mark.parametrize(
    "question", QUESTIONS, ids=[q.replace(str(NOW - 10), "NOW") for q in QUESTIONS]
)
def test_answers_equal_jaegers(both, question):
    """Status, content type and every field."""
    theirs, ours = (_asked(port, question) for port in both)

    assert ours[:2] == theirs[:2]
    assert _comparable(json.loads(ours[2])) == _comparable(json.loads(theirs[2]))
    assert ("\n" in ours[2]) == ("\n" in theirs[2])


def test_the_difference_is_written_down():
    """The table of differences stands where the API is described."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "local.md"
    assert re.search(r"internal\.span\.format", page.read_text(encoding="utf-8"))
