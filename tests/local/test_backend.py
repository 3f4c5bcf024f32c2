"""The whole back end on real sockets, filled by clients that share no code with it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import time
import zlib

import grpc
import pytest
import urllib3
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from waiting import eventually

from tracekit.local import Backend, PortsTakenError, Strategies, TraceStore

HTTP = urllib3.PoolManager()


@pytest.fixture
def backend():
    with Backend.on_free_ports() as running:
        yield running


def get(backend, path, **headers):
    return HTTP.request("GET", backend.url + path, headers=headers or None, retries=False)


def data(backend, path):
    answer = get(backend, path)
    assert answer.status == 200, answer.data
    return json.loads(answer.data)["data"]


def post(backend, port, path, body, content_type, **headers):
    return HTTP.request(
        "POST",
        f"http://127.0.0.1:{backend.ports[port]}{path}",
        body=body,
        headers={"Content-Type": content_type, **headers},
        retries=False,
        timeout=20,
    )


def wait_for(backend, spans):
    eventually(lambda: backend.store.spans >= spans)
    assert backend.store.spans == spans


def key_values(pairs):
    return {each["key"]: (each["type"], each["value"]) for each in pairs}


JAEGER_PROGRAM = """
import asyncio, json, sys, time, jaeger_client
asyncio.set_event_loop(asyncio.new_event_loop())  # it takes for granted that there is one
config = jaeger_client.Config(
    config={
        "sampler": {"type": "const", "param": 1},
        "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": int(sys.argv[1])},
    },
    service_name="shop",
    validate=True,
)
tracer = config.new_tracer()
with tracer.start_active_span("outer") as outer:
    with tracer.start_active_span("inner") as inner:
        for key, value in {"text": "ü<&>", "yes": True, "n": 7, "f": 1.5}.items():
            inner.span.set_tag(key, value)
        inner.span.log_kv({"event": "hit", "b": 1, "a": 2})
closing = tracer.close()
while not closing.done():
    time.sleep(0.01)
print(json.dumps([outer.span.trace_id, inner.span.span_id, inner.span.start_time]))
"""


def test_jaeger_client_over_udp(backend):
    """Ids, names, tags of every type, logs and process of jaeger-client 4.8 come back as sent."""
    program = [sys.executable, "-c", JAEGER_PROGRAM, str(backend.ports["compact"])]
    said = subprocess.run(program, capture_output=True, timeout=60, check=True).stdout
    trace_id, span_id, start_s = json.loads(said)
    wait_for(backend, 2)

    (trace,) = data(backend, "/api/traces?service=shop")

    spans = {span["operationName"]: span for span in trace["spans"]}
    assert int(trace["traceID"], 16) == trace_id
    assert int(spans["inner"]["spanID"], 16) == span_id
    assert spans["inner"]["references"] == [
        {
            "refType": "CHILD_OF",
            "traceID": trace["traceID"],
            "spanID": spans["outer"]["spanID"],
        }
    ]
    assert spans["inner"]["startTime"] == int(start_s * 1e6)
    assert spans["inner"]["flags"] == 1
    tags = key_values(spans["inner"]["tags"])
    assert (tags["text"], tags["yes"]) == (("string", "ü<&>"), ("bool", True))
    assert (tags["n"], tags["f"]) == (("int64", 7), ("float64", 1.5))
    (log,) = spans["inner"]["logs"]
    assert [(each["key"], each["value"]) for each in log["fields"]] == [
        ("event", "hit"),
        ("a", 2),
        ("b", 1),
    ]
    (process,) = trace["processes"].values()
    assert process["serviceName"] == "shop"
    assert [each["key"] for each in process["tags"]] == sorted(key_values(process["tags"]))
    assert {"hostname", "ip", "jaeger.version"} <= set(key_values(process["tags"]))


def _finished():
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "otel", "zone": 3}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("lib", "1.2")
    link = Link(SpanContext(5 << 70, 7, is_remote=True, trace_flags=TraceFlags(1)))
    with (
        tracer.start_as_current_span("parent", kind=SpanKind.SERVER),
        tracer.start_as_current_span("child", kind=SpanKind.CLIENT, links=[link]) as child,
    ):
        child.set_attributes(
            {"s": "x" * 300, "i": 2**60, "f": -0.5, "b": False, "list": ["a", "b"], "n": [1.5]}
        )
        child.add_event("retry", {"attempt": 2})
        child.set_status(Status(StatusCode.ERROR, "it broke"))
    return memory.get_finished_spans()


def _assert_shown(backend, spans):
    child, parent = spans
    (trace,) = data(backend, "/api/traces?service=otel")
    shown = {span["operationName"]: span for span in trace["spans"]}
    got = shown["child"]
    assert trace["traceID"] == f"{child.context.trace_id:032x}"
    assert got["spanID"] == f"{child.context.span_id:016x}"
    assert got["startTime"] == child.start_time // 1000
    assert got["duration"] == (child.end_time - child.start_time) // 1000
    assert got["references"] == [
        {
            "refType": "CHILD_OF",
            "traceID": trace["traceID"],
            "spanID": f"{parent.context.span_id:016x}",
        },
        {"refType": "FOLLOWS_FROM", "traceID": f"{5 << 70:032x}", "spanID": f"{7:016x}"},
    ]
    assert [(each["key"], each["value"]) for each in got["tags"]] == [
        ("otel.library.name", "lib"),
        ("otel.library.version", "1.2"),
        ("s", "x" * 300),
        ("i", str(2**60)),
        ("f", -0.5),
        ("b", False),
        ("list", '["a","b"]'),
        ("n", "[1.5]"),
        ("span.kind", "client"),
        ("otel.status_code", "ERROR"),
        ("error", True),
        ("otel.status_description", "it broke"),
    ]
    assert "flags" not in got
    (log,) = got["logs"]
    assert log["timestamp"] == child.events[0].timestamp // 1000
    assert key_values(log["fields"]) == {"event": ("string", "retry"), "attempt": ("int64", 2)}
    (process,) = trace["processes"].values()
    assert key_values(process["tags"])["zone"] == ("int64", 3)


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_otlp_over_http(backend, compression):
    """OpenTelemetry's own exporter, plain and compressed, is understood field by field."""
    spans = _finished()
    exporter = OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{backend.ports['otlp']}/v1/traces",
        compression={"none": None}.get(compression, _compression(compression)),
    )

    assert exporter.export(spans).name == "SUCCESS"

    _assert_shown(backend, spans)


def _compression(name):
    return {"gzip": Compression.Gzip, "deflate": Compression.Deflate}.get(name)


@pytest.mark.parametrize("compression", list(grpc.Compression))
def test_otlp_over_grpc(backend, compression):
    """The generated stub's call is answered, compressed or not."""
    spans = _finished()
    with grpc.insecure_channel(f"127.0.0.1:{backend.ports['grpc']}") as channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(channel)
        stub.Export(encode_spans(spans), timeout=20, compression=compression)

    _assert_shown(backend, spans)


def test_otlp_in_json(backend):
    """OTLP's JSON, its ids in hexadecimal, says the same."""
    spans = _finished()
    request = MessageToDict(encode_spans(spans))
    for span in request["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for holder in (span, *span.get("links", ())):
            for key in {"traceId", "spanId", "parentSpanId"} & set(holder):
                holder[key] = base64.b64decode(holder[key]).hex()

    answer = post(backend, "otlp", "/v1/traces", json.dumps(request), "application/json")

    assert answer.status == 200
    _assert_shown(backend, spans)


ZIPKIN_PROGRAM = """
import json, sys, urllib.request
from py_zipkin import Encoding, Kind
from py_zipkin.zipkin import zipkin_span

def transport(message):
    url = f"http://127.0.0.1:{sys.argv[1]}/api/v2/spans"
    headers = {"Content-Type": "application/json"}
    message = message if isinstance(message, bytes) else message.encode()
    urllib.request.urlopen(urllib.request.Request(url, message, headers)).close()

with zipkin_span(
    service_name="zip",
    span_name="get",
    kind=Kind.CLIENT,
    transport_handler=transport,
    sample_rate=100.0,
    encoding=Encoding.V2_JSON,
    use_128bit_trace_id=True,
    binary_annotations={"http.path": "/x", "error": "no car"},
) as span:
    span.add_annotation("seen")
    span.add_sa_binary_annotation(port=80, host="10.0.0.1", service_name="other")
    attrs = span.zipkin_attrs
print(json.dumps([attrs.trace_id, attrs.span_id]))
"""


def test_py_zipkin(backend):
    """Zipkin's names, kinds, endpoints, tags and annotations arrive as Jaeger shows them."""
    # In a process of its own: newer interpreters warn of what stands in the package.
    program = [sys.executable, "-W", "ignore", "-c", ZIPKIN_PROGRAM, str(backend.ports["zipkin"])]
    said = subprocess.run(program, capture_output=True, timeout=60, check=True).stdout
    trace_id, span_id = json.loads(said)

    (trace,) = data(backend, "/api/traces?service=zip")
    (got,) = trace["spans"]
    assert trace["traceID"] == trace_id
    assert (got["spanID"], got["operationName"]) == (span_id, "get")
    tags = key_values(got["tags"])
    assert tags["http.path"] == ("string", "/x")
    assert tags["error"] == ("bool", True)
    assert tags["error.message"] == ("string", "no car")
    assert tags["span.kind"] == ("string", "client")
    assert tags["peer.service"] == ("string", "other")
    assert tags["peer.ipv4"] == ("string", "10.0.0.1")
    assert tags["peer.port"] == ("int64", 80)
    assert got["logs"][0]["fields"] == [{"key": "event", "type": "string", "value": "seen"}]


def test_searches_find_what_jaegers_find(backend):
    """Service, operation, tags, durations and time each narrow the search; errors are Jaeger's."""
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{backend.ports['otlp']}/v1/traces")
    spans = _finished()
    exporter.export(spans)

    def found(question):
        return len(data(backend, f"/api/traces?{question}"))

    assert data(backend, "/api/services") == ["otel"]
    assert data(backend, "/api/services/otel/operations") == ["child", "parent"]
    assert data(backend, "/api/operations?service=otel&spanKind=client") == [
        {"name": "child", "spanKind": "client"}
    ]
    assert found("service=otel") == 1
    assert found("service=other") == 0
    assert found("service=otel&operation=child") == 1
    assert found("service=otel&operation=nobody") == 0
    assert found("service=otel&minDuration=1h") == 0
    assert found("service=otel&maxDuration=1h") == 1
    assert found("service=otel&end=1") == 0
    assert found("service=otel&tag=attempt:2&tag=zone:3&tag=span.kind:client") == 1
    assert found("service=otel&tags=%7B%22b%22%3A%22false%22%7D") == 1
    assert found("service=otel&tag=b:true") == 0
    assert found(f"traceID={spans[0].context.trace_id:032x}") == 1
    for path, status, message in [
        ("/api/traces", 400, "parameter 'service' is required"),
        (
            "/api/traces?service=a&minDuration=5",
            400,
            "unable to parse param 'minDuration': time: missing unit in duration \"5\"",
        ),
        (
            "/api/traces?service=a&start=x",
            400,
            "unable to parse param 'start': strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        ("/api/traces/abc", 404, "trace not found"),
        ("/api/traces/xyz", 400, 'strconv.ParseUint: parsing "xyz": invalid syntax'),
    ]:
        answer = get(backend, path)
        assert answer.status == status
        assert json.loads(answer.data)["errors"] == [{"code": status, "msg": message}]


def test_dependencies_count_calls(backend):
    """A child in another service than its parent is a call."""
    request = {"resourceSpans": []}
    for number, service in enumerate(["front", "back", "back"], 1):
        span = {
            "traceId": "1" * 32,
            "spanId": f"{number:016x}",
            "parentSpanId": "" if number == 1 else f"{1:016x}",
            "name": "x",
            "startTimeUnixNano": str(time.time_ns() - 10**9),
            "endTimeUnixNano": str(time.time_ns()),
        }
        attribute = {"key": "service.name", "value": {"stringValue": service}}
        request["resourceSpans"].append(
            {"resource": {"attributes": [attribute]}, "scopeSpans": [{"spans": [span]}]}
        )
    post(backend, "otlp", "/v1/traces", json.dumps(request), "application/json")

    assert data(backend, "/api/dependencies") == [
        {"parent": "front", "child": "back", "callCount": 2}
    ]
    assert data(backend, "/api/dependencies?service=nobody") == []
    assert data(backend, "/api/dependencies?endTs=1000&lookback=1000") == []


def test_a_broken_message_is_refused(backend):
    """400 and the reason to the sender; the wire, the reason and the number to who looks."""
    for port, path, kind in [
        ("otlp", "/v1/traces", "application/x-protobuf"),
        ("otlp", "/v1/traces", "application/json"),
        ("thrift", "/api/traces", "application/x-thrift"),
        ("zipkin", "/api/v2/spans", "application/json"),
    ]:
        assert post(backend, port, path, b"\xffnonsense", kind).status == 400

    assert sum(backend.intake.malformed().values()) == 4
    state = json.loads(get(backend, "/view/state").data)
    assert state["broken"]["wire"] == "zipkin"
    assert state["spans"] == 0


def test_bodies_are_bounded_both_ways(backend):
    """Inflating to too much, badly compressed, of an unknown encoding: each has its status."""
    big = zlib.compress(b"\0" * 40_000_000)
    path = "/v1/traces"
    kind = "application/x-protobuf"

    def status(body, **headers):
        return post(backend, "otlp", path, body, kind, **headers).status

    assert status(b"", **{"Content-Encoding": "gzip"}) == 200
    assert status(big, **{"Content-Encoding": "deflate"}) == 413
    assert status(gzip.compress(b"\0" * 40_000_000), **{"Content-Encoding": "gzip"}) == 413
    assert status(b"nonsense", **{"Content-Encoding": "gzip"}) == 400
    assert status(b"x", **{"Content-Encoding": "br"}) == 415
    with grpc.insecure_channel(f"127.0.0.1:{backend.ports['grpc']}") as channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(channel)
        bomb = ExportTraceServiceRequest()
        bomb.resource_spans.add().schema_url = "\0" * 40_000_000
        with pytest.raises(grpc.RpcError):
            stub.Export(bomb, timeout=20, compression=grpc.Compression.Gzip)
    assert backend.store.spans == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:16686"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example:16686"}, 421),
        ({"Host": "friend.example"}, 200),
    ],
)
def test_a_host_that_is_not_ours_is_refused(headers, status):
    """A page whose name was pointed at this machine learns nothing."""
    with Backend.on_free_ports(hosts=["friend.example"]) as backend:
        assert get(backend, "/api/services", **headers).status == status


def test_another_pages_script_orders_nothing(backend):
    """A POST with a foreign Origin is refused; so is one of a kind that needs no preflight."""
    order = json.dumps({"service": "shop", "type": "ratelimiting", "param": 2})
    foreign = {"Origin": "http://evil.example"}

    def status(kind, **headers):
        return post(backend, "query", "/view/sampling", order, kind, **headers).status

    assert status("application/json", **foreign) == 421
    assert status("text/plain") == 405
    assert status("application/json") == 204

    sampling = f"http://127.0.0.1:{backend.ports['sampling']}/sampling?service="
    assert json.loads(HTTP.request("GET", sampling + "shop").data) == {
        "strategyType": "RATE_LIMITING",
        "rateLimitingSampling": {"maxTracesPerSecond": 2},
    }
    assert json.loads(HTTP.request("GET", sampling + "other").data)["probabilisticSampling"] == {
        "samplingRate": 1.0
    }


def test_strategies_come_from_a_file():
    """A file of Jaeger's format says what each service is told."""
    strategies = Strategies(
        json.dumps(
            {
                "default_strategy": {"type": "probabilistic", "param": 0.5},
                "service_strategies": [{"service": "a", "type": "ratelimiting", "param": 7}],
            }
        )
    )
    with Backend.on_free_ports(strategies=strategies) as backend:
        url = f"http://127.0.0.1:{backend.ports['sampling']}/sampling?service="
        assert json.loads(HTTP.request("GET", url + "a").data)["strategyType"] == "RATE_LIMITING"
        assert json.loads(HTTP.request("GET", url + "b").data)["probabilisticSampling"] == {
            "samplingRate": 0.5
        }
    assert strategies.asked() == ["a", "b"]


def test_taken_ports_are_named_together(backend):
    """The message says which, who to ask, and what to say instead; none stays open."""
    taken = {name: backend.ports[name] for name in ("compact", "query", "grpc")}
    second = Backend(ports={**dict.fromkeys(backend.ports, 0), **taken})

    with pytest.raises(PortsTakenError) as caught:
        second.start()

    message = str(caught.value)
    for number in taken.values():
        assert f"  {number}/" in message
    if sys.platform == "linux":
        assert message.count(f"(process {os.getpid()}) has it") == len(taken)
    assert "ss -lntup" in message
    assert "--port-offset" in message
    assert second.ports.keys() >= {"otlp"}
    with Backend(ports={**dict.fromkeys(backend.ports), "otlp": second.ports["otlp"]}):
        pass  # what it had taken meanwhile is free again


def test_the_oldest_traces_make_room():
    """Held bytes stay below the limit; figures and lists of names shrink with what goes."""
    store = TraceStore(max_bytes=20_000)
    with Backend.on_free_ports(store=store) as backend:
        for number in range(50):
            span = {"traceId": f"{number + 1:032x}", "spanId": "1" * 16, "name": f"op{number}"}
            request = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
            post(backend, "otlp", "/v1/traces", json.dumps(request), "application/json")

        assert store.size_bytes <= 20_000
        assert store.spans + store.evicted_spans == 50
        names = data(backend, "/api/services/OTLPResourceNoServiceName/operations")
        assert len(names) == store.spans
        assert "op49" in names
        assert get(backend, f"/api/traces/{1:032x}").status == 404


def test_a_list_as_text_needs_no_browser(backend):
    """Before there is anything it says where to send spans; then a line a trace."""
    assert b"No trace yet" in get(backend, "/view/list").data
    assert f"{backend.ports['compact']}/udp".encode() in get(backend, "/view/list").data
    OTLPSpanExporter(endpoint=f"http://127.0.0.1:{backend.ports['otlp']}/v1/traces").export(
        _finished()
    )

    answer = get(backend, "/view/list")

    assert b"otel parent" in answer.data
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for path in ("/../_page.py", "/%2e%2e/_page.py", "/x.js", "/a/../b.js"):
        assert get(backend, path).status == 404


def test_it_listens_on_ipv6():
    """Every port of it, and its URL, on an address of the sixth version."""
    with Backend.on_free_ports(host="::1") as backend:
        url = f"http://[::1]:{backend.ports['otlp']}/v1/traces"
        OTLPSpanExporter(endpoint=url).export(_finished())
        with grpc.insecure_channel(f"[::1]:{backend.ports['grpc']}") as channel:
            stub = trace_service_pb2_grpc.TraceServiceStub(channel)
            stub.Export(encode_spans(_finished()), timeout=20)

        assert len(data(backend, "/api/traces?service=otel")) == 2


def test_the_page_gets_traces_in_short(backend):
    """A line a trace, of any service, narrowed by the words of Jaeger's search."""
    _, parent = spans = _finished()
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{backend.ports['otlp']}/v1/traces")
    exporter.export(spans)

    answer = json.loads(get(backend, "/view/traces?tag=zone:3").data)

    assert answer["traces"] == [
        {
            "traceID": f"{parent.context.trace_id:032x}",
            "service": "otel",
            "operation": "parent",
            "startTime": parent.start_time // 1000,
            "duration": answer["traces"][0]["duration"],
            "spans": 2,
            "errors": 1,
            "services": {"otel": 2},
        }
    ]
    lasted = (parent.end_time - parent.start_time) / 1000
    assert abs(answer["traces"][0]["duration"] - lasted) < 2  # of µs, each start is cut
    assert json.loads(get(backend, "/view/traces?tag=zone:4").data)["traces"] == []
    assert get(backend, "/view/traces?minDuration=x").status == 400
