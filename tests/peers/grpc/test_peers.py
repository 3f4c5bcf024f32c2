"""Beside other people's packages for gRPC: their interceptors, services, futures, event loops."""

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind

import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

grpc_testing = pytest.importorskip("grpc_testing", reason="make test-peers")
uvloop = pytest.importorskip("uvloop")
pubsub_v1 = pytest.importorskip("google.cloud.pubsub_v1")
types = pytest.importorskip("google.pubsub_v1.types")
transports = pytest.importorskip("google.pubsub_v1.services.subscriber.transports")
code_pb2 = pytest.importorskip("google.rpc.code_pb2")
error_details_pb2 = pytest.importorskip("google.rpc.error_details_pb2")
status_pb2 = pytest.importorskip("google.rpc.status_pb2")
health = pytest.importorskip("grpc_health.v1.health")
health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
health_pb2_grpc = pytest.importorskip("grpc_health.v1.health_pb2_grpc")
grpc_interceptor = pytest.importorskip("grpc_interceptor")
reflection = pytest.importorskip("grpc_reflection.v1alpha.reflection")
reflection_pb2 = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2")
reflection_pb2_grpc = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2_grpc")
rpc_status = pytest.importorskip("grpc_status.rpc_status")
prom_client = pytest.importorskip("py_grpc_prometheus.prometheus_client_interceptor")
prom_server = pytest.importorskip("py_grpc_prometheus.prometheus_server_interceptor")

# What these packages and their own dependencies are warned of is not ours to mend.
pytestmark = pytest.mark.filterwarnings("default")

CODE = "rpc.response.status_code"
UU = grpc.unary_unary_rpc_method_handler


@pytest.fixture
def tracing():
    tracing = tracekit.testing.tracing()
    yield tracing
    tracing.shutdown()


def settled(tracing):
    end = time.monotonic() + 5
    while tracing.stats().open and time.monotonic() < end:
        time.sleep(0.01)
    assert tracing.stats().open == 0
    return list(tracing.sink.spans)


class Served:
    def __init__(self, *interceptors, **methods):
        self.server = grpc.server(ThreadPoolExecutor(8), interceptors=interceptors)
        if methods:
            handlers = grpc.method_handlers_generic_handler("s.S", methods)
            self.server.add_generic_rpc_handlers((handlers,))
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(0).wait(5)


@pytest.mark.parametrize("ours_first", [True, False])
def test_exceptions_turned_into_codes(tracing, ours_first):
    """grpc-interceptor's own example: the code on the wire is on the span, on either side of it."""

    def fail(request, context):
        if request == b"x":
            raise grpc_interceptor.exceptions.NotFound("no such thing")
        raise KeyError("boom")

    theirs, ours = (
        grpc_interceptor.ExceptionToStatusInterceptor(),
        tracekit.grpc.server_interceptor(tracing),
    )
    order = (ours, theirs) if ours_first else (theirs, ours)
    seen = []
    for interceptors in ((theirs,), order):
        with Served(*interceptors, U=UU(fail)) as served:
            with grpc.insecure_channel(served.target) as channel:
                for request in b"x", b"y":
                    with pytest.raises(grpc.RpcError) as raised:
                        channel.unary_unary("/s.S/U")(request)
                    seen.append((raised.value.code(), raised.value.details()))
    assert seen[:2] == seen[2:]
    assert [span.attributes[CODE] for span in settled(tracing)] == ["NOT_FOUND", seen[1][0].name]


@pytest.mark.parametrize("ours_first", [True, False])
def test_prometheus_interceptors(tracing, ours_first):
    """py-grpc-prometheus wraps handlers and calls; all four kinds are as without us."""

    def many(request, context):
        yield request
        yield request

    methods = {
        "UU": UU(lambda request, _: request),
        "US": grpc.unary_stream_rpc_method_handler(many),
        "SU": grpc.stream_unary_rpc_method_handler(lambda requests, _: b"".join(requests)),
        "SS": grpc.stream_stream_rpc_method_handler(lambda requests, _: iter(list(requests))),
    }
    from prometheus_client import CollectorRegistry

    def calls(*, traced):
        server = [prom_server.PromServerInterceptor(registry=CollectorRegistry())]
        client = [prom_client.PromClientInterceptor(registry=CollectorRegistry())]
        if traced:
            server.insert(0 if ours_first else 1, tracekit.grpc.server_interceptor(tracing))
            ours = tracekit.grpc.client_interceptors(tracing)
            client = [*ours, *client] if ours_first else [*client, *ours]
        with Served(*server, **methods) as served, grpc.insecure_channel(served.target) as bare:
            channel = grpc.intercept_channel(bare, *client)
            yield channel.unary_unary("/s.S/UU")(b"a")
            yield list(channel.unary_stream("/s.S/US")(b"b"))
            yield channel.stream_unary("/s.S/SU")(iter([b"c", b"d"]))
            yield list(channel.stream_stream("/s.S/SS")(iter([b"e", b"f"])))

    assert list(calls(traced=True)) == list(calls(traced=False))
    spans = settled(tracing)
    assert [span.attributes[CODE] for span in spans] == ["OK"] * 8


def test_a_rich_status(tracing):
    """grpcio-status: code, message and details arrive, and the code is on the span."""
    why = error_details_pb2.DebugInfo(detail="sold out")
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="later")
    status.details.add().Pack(why)

    def fail(request, context):
        context.abort_with_status(rpc_status.to_status(status))

    ours = tracekit.grpc.server_interceptor(tracing)
    with Served(ours, U=UU(fail)) as served, grpc.insecure_channel(served.target) as bare:
        channel = tracekit.grpc.trace_channel(bare, tracing)
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary("/s.S/U")(b"")
        assert rpc_status.from_call(raised.value) == status
    assert {span.attributes[CODE] for span in settled(tracing)} == {"FAILED_PRECONDITION"}


@pytest.mark.parametrize("asked_for", [False, True], ids=["by default", "asked for"])
@pytest.mark.parametrize("flavour", ["blocking", "aio"])
def test_health_and_reflection(tracing, flavour, asked_for):
    """They answer as they do, and are traced only where that is asked for."""
    options = {"exclude": ()} if asked_for else {}

    def ask(channel):
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (answer,) = stub.ServerReflectionInfo(iter([request]))
        names = [service.name for service in answer.list_services_response.service]
        assert "grpc.health.v1.Health" in names

    def call(target):
        with grpc.insecure_channel(target) as bare:
            ask(tracekit.grpc.trace_channel(bare, tracing, **options))

    names = ("grpc.health.v1.Health", reflection.SERVICE_NAME)
    if flavour == "blocking":
        with Served(tracekit.grpc.server_interceptor(tracing, **options)) as served:
            health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), served.server)
            reflection.enable_server_reflection(names, served.server)
            call(served.target)
    else:

        async def serve():
            ours = tracekit.grpc.aio.server_interceptor(tracing, **options)
            server = grpc.aio.server(interceptors=[ours])
            servicer = health.aio.HealthServicer()
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
            reflection.enable_server_reflection(names, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
            await asyncio.to_thread(call, f"127.0.0.1:{port}")
            await server.stop(0)

        asyncio.run(serve())
    spans = settled(tracing)
    assert [span.attributes[CODE] for span in spans] == ["OK"] * (4 if asked_for else 0)


def test_a_scripted_channel_of_grpc_testing(tracing):
    """Its futures and streams are followed to the end that the test scripts."""
    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    scripted = grpc_testing.channel([service], grpc_testing.strict_real_time())
    channel = tracekit.grpc.trace_channel(scripted, tracing, exclude=())
    stub = health_pb2_grpc.HealthStub(channel)
    method = service.methods_by_name["Check"]
    future = stub.Check.future(health_pb2.HealthCheckRequest())
    _, _, call = scripted.take_unary_unary(method)
    answer = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    call.terminate(answer, (), grpc.StatusCode.OK, "")
    assert future.result() == answer
    failing = stub.Check.future(health_pb2.HealthCheckRequest())
    _, _, call = scripted.take_unary_unary(method)
    call.terminate(None, (), grpc.StatusCode.ABORTED, "why")
    with pytest.raises(grpc.RpcError):
        failing.result()
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    _, stream = scripted.take_unary_stream(service.methods_by_name["Watch"])[1:]
    stream.send_response(answer)
    stream.terminate((), grpc.StatusCode.OK, "")
    assert list(watch) == [answer]
    assert [span.attributes[CODE] for span in settled(tracing)] == ["OK", "ABORTED", "OK"]


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_on_uvloop(tracing, kind):
    """Server and client on uvloop, a start-up span current: roots, codes, cancellation."""

    async def unary(request, context):
        if request == b"abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        return request

    async def stream(request, context):
        yield request
        yield await unary(request, context)

    async def main():
        handler = UU(unary) if kind == "unary" else grpc.unary_stream_rpc_method_handler(stream)
        handlers = grpc.method_handlers_generic_handler("s.S", {"M": handler})
        ours = tracekit.grpc.aio.server_interceptor(tracing)
        server = grpc.aio.server(handlers=[handlers], interceptors=[ours])
        port = server.add_insecure_port("127.0.0.1:0")
        with tracing.tracer("app").start_as_current_span("start-up"):
            await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as bare:
            codes = []
            for channel in bare, tracekit.grpc.aio.trace_channel(bare, tracing):
                for request in b"x", b"abort":
                    call = getattr(channel, f"unary_{kind}")("/s.S/M")(request)
                    with contextlib.suppress(grpc.RpcError):
                        [m async for m in call] if kind == "stream" else await call
                    codes.append((await call.code()).name)
        await server.stop(0)
        return codes

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        codes = runner.run(main())
    assert codes == ["OK", "NOT_FOUND"] * 2
    spans = settled(tracing)
    servers = [span for span in spans if span.kind is SpanKind.SERVER]
    assert [span.attributes[CODE] for span in servers] == ["OK", "NOT_FOUND"] * 2
    assert [span.parent is None for span in servers] == [True, True, False, False]


class PubSub:
    """The subscriber's side of Pub/Sub: streams messages, takes what is acknowledged."""

    def __init__(self, messages):
        self.messages = messages
        self.acknowledged = set()
        self.lock = threading.Lock()

    def pull(self, requests, context):
        stop = threading.Event()
        context.add_callback(stop.set)

        def read():
            try:
                for request in requests:
                    self.take(request.ack_ids)
            except Exception:
                stop.set()

        threading.Thread(target=read, daemon=True).start()
        yield types.StreamingPullResponse(
            received_messages=[
                types.ReceivedMessage(
                    ack_id=f"ack-{n}", message=types.PubsubMessage(data=b"x", message_id=str(n))
                )
                for n in range(self.messages)
            ]
        )
        stop.wait(20)

    def acknowledge(self, request, context):
        from google.protobuf import empty_pb2

        self.take(request.ack_ids)
        return empty_pb2.Empty()

    def take(self, ids):
        with self.lock:
            self.acknowledged.update(ids)


def test_a_real_pubsub_subscriber(tracing):
    """StreamingPull, twice thirty messages: all handled and acknowledged, no span left open."""
    from google.protobuf import empty_pb2

    service = PubSub(30)
    handlers = grpc.method_handlers_generic_handler(
        "google.pubsub.v1.Subscriber",
        {
            "StreamingPull": grpc.stream_stream_rpc_method_handler(
                service.pull,
                types.StreamingPullRequest.deserialize,
                types.StreamingPullResponse.serialize,
            ),
            "Acknowledge": UU(
                service.acknowledge,
                types.AcknowledgeRequest.deserialize,
                empty_pb2.Empty.SerializeToString,
            ),
            "ModifyAckDeadline": UU(
                lambda request, context: empty_pb2.Empty(),
                types.ModifyAckDeadlineRequest.deserialize,
                empty_pb2.Empty.SerializeToString,
            ),
        },
    )
    server = grpc.server(
        ThreadPoolExecutor(8), (handlers,), [tracekit.grpc.server_interceptor(tracing)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    got = []
    for _ in range(2):
        channel = tracekit.grpc.trace_channel(grpc.insecure_channel(f"127.0.0.1:{port}"), tracing)
        client = pubsub_v1.SubscriberClient(
            transport=transports.SubscriberGrpcTransport(channel=channel)
        )
        service.acknowledged.clear()
        path = client.subscription_path("project", "subscription")

        def handle(message):
            got.append(message.message_id)
            message.ack()

        pulling = client.subscribe(path, callback=handle)
        end = time.monotonic() + 15
        while len(service.acknowledged) < 30 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(service.acknowledged) == 30
        pulling.cancel()
        pulling.result(10)
        client.close()
    server.stop(0).wait(5)
    assert sorted(got, key=int) == sorted([str(n) for n in range(30)] * 2, key=int)
    spans = settled(tracing)
    streams = [span for span in spans if span.name.endswith("StreamingPull")]
    assert sum(span.kind is SpanKind.CLIENT for span in streams) == 2
    assert sum(span.kind is SpanKind.SERVER for span in streams) == 2
