"""What tracing adds to gRPC: CPU of a unary call with both ends instrumented, and of a stream.

    python tests/bench/bench_grpc.py [rounds]
    python tests/bench/bench_grpc.py --cold

Each variant is a process of its own with client and server in it; the rounds of all variants
interleave, so a busy machine slows them alike, and the best round of each counts. Both SDKs encode
their spans (OpenTelemetry to OTLP, tracekit to Jaeger compact) and throw the bytes away. The
do-nothing interceptors are the floor: gRPC's own price for looking at a call.

``--cold`` shows what the client's half of tracing costs by itself, the channel below it being a
function, when nothing happens between two calls, when other memory is read, and when a bare gRPC
call is made: what the processor has learned of the code is gone by then.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Instrument = tuple[list[grpc.ServerInterceptor], Callable[[grpc.Channel], grpc.Channel]]

CALLS, MESSAGES = 300, 1000
VARIANTS = ("bare", "nothing", "otel", "otel-unsampled", "tracekit", "tracekit-unsampled")


class NothingServer(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):
        return continuation(details)


class NothingClient(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details, request)

    intercept_unary_stream = intercept_unary_unary


def opentelemetry(*, sampled: bool) -> Instrument:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415
    from opentelemetry.instrumentation.grpc import client_interceptor, server_interceptor  # noqa: PLC0415
    from opentelemetry.instrumentation.grpc.grpcext import intercept_channel  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider, sampling  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult  # noqa: PLC0415

    class Discard(SpanExporter):
        def export(self, spans):
            encode_spans(spans).SerializeToString()
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=sampling.ALWAYS_ON if sampled else sampling.ALWAYS_OFF)
    provider.add_span_processor(BatchSpanProcessor(Discard()))
    return [server_interceptor(tracer_provider=provider)], lambda channel: intercept_channel(
        channel, client_interceptor(tracer_provider=provider)
    )


def tracekit(*, sampled: bool) -> Instrument:
    import tracekit  # noqa: PLC0415
    import tracekit.grpc  # noqa: PLC0415
    import tracekit.testing  # noqa: PLC0415

    class Discard(tracekit.testing.MemoryTransport):
        def send(self, payload, deadline):
            result = super().send(payload, deadline)
            self.payloads.clear()
            return result

    tracing = tracekit.init(
        "bench",
        environ={},
        set_global=False,
        transport=Discard(),
        sampler_type="const",
        sampler_param=int(sampled),
    )
    return [tracekit.grpc.server_interceptor(tracing)], lambda channel: tracekit.grpc.trace_channel(
        channel, tracing
    )


def instrument(variant: str) -> Instrument:
    name, _, unsampled = variant.partition("-")
    if name == "nothing":
        return [NothingServer()], lambda channel: grpc.intercept_channel(channel, NothingClient())
    if name == "otel":
        return opentelemetry(sampled=not unsampled)
    if name == "tracekit":
        return tracekit(sampled=not unsampled)
    return [], lambda channel: channel


def stream(request, context):
    for _ in range(MESSAGES):
        yield request


@contextlib.contextmanager
def served(
    interceptors: list[grpc.ServerInterceptor], trace: Callable[[grpc.Channel], grpc.Channel]
) -> Iterator[grpc.Channel]:
    """Serve the two methods; yield a channel to them."""
    handlers = grpc.method_handlers_generic_handler(
        "bench.Echo",
        {
            "Unary": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
            "Stream": grpc.unary_stream_rpc_method_handler(stream),
        },
    )
    server = grpc.server(ThreadPoolExecutor(4), (handlers,), interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = trace(grpc.insecure_channel(f"127.0.0.1:{port}"))
    yield channel
    channel.close()
    server.stop(0)


def child(variant: str) -> None:
    """Answer each line on stdin with one round: microseconds of CPU a call and a message."""
    with served(*instrument(variant)) as channel:
        unary = channel.unary_unary("/bench.Echo/Unary")
        streaming = channel.unary_stream("/bench.Echo/Stream")
        for _ in sys.stdin:
            start = time.process_time()
            for _ in range(CALLS):
                unary(b"x" * 64)
            middle = time.process_time()
            for _ in streaming(b"x" * 64):
                pass
            end = time.process_time()
            print((middle - start) / CALLS * 1e6, (end - middle) / MESSAGES * 1e6, flush=True)


class FakeChannel:
    """What ``trace_channel`` needs of a channel; a call answers its request."""

    _target = "127.0.0.1:50051"

    def unary_unary(self, method, serializer=None, deserializer=None):
        def call(request, timeout=None, metadata=None):
            request = serializer(request) if serializer else request
            return deserializer(request) if deserializer else request

        return call


def cold() -> None:
    """Print the client's own microseconds of CPU by what happens between two calls."""
    other = memoryview(bytearray(8 << 20))
    with served([], lambda channel: channel) as channel:
        bare = channel.unary_unary("/bench.Echo/Unary")
        between = {
            "nothing": lambda: None,
            "1 MiB of memory is read": lambda: bytes(other[: 1 << 20 : 64]),
            "8 MiB of memory are read": lambda: bytes(other[::64]),
            "a bare gRPC call": lambda: bare(b"x" * 64),
        }
        calls = []
        for sampled in (True, False):
            traced = tracekit(sampled=sampled)[1](FakeChannel())
            traced._plan.below = frozenset()  # as of gRPC's own: nothing of others is below it
            calls.append(traced.unary_unary("/bench.Echo/Unary"))
        print(f"{'between two calls':26}{'sampled':>9}{'unsampled':>11}")
        for name, happen in between.items():
            took = ([], [])
            for _ in range(1500):
                for call, us in zip(calls, took, strict=True):
                    happen()
                    start = time.thread_time_ns()
                    call(b"x" * 64)
                    us.append((time.thread_time_ns() - start) / 1000)
            print(f"{name:26}{statistics.median(took[0]):9.1f}{statistics.median(took[1]):11.1f}")


def main(rounds: int) -> None:
    best = {variant: [float("inf"), float("inf")] for variant in VARIANTS}
    with contextlib.ExitStack() as stack:
        children = {}
        for variant in VARIANTS:
            children[variant] = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, "--child", variant],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for number in range(rounds + 1):
            for variant, process in children.items():
                process.stdin.write("\n")
                process.stdin.flush()
                figures = [float(figure) for figure in process.stdout.readline().split()]
                if number:  # the first round warms up
                    best[variant] = [
                        min(*pair) for pair in zip(best[variant], figures, strict=True)
                    ]
        for process in children.values():
            process.stdin.close()
            process.wait(10)
    (bare, message), (peer, _) = best["bare"], best["otel"]
    print(f"{'':20}{'us/call':>9}{'added':>8}{'of otel':>9}{'us/message':>12}{'of bare':>9}")
    for variant, (call, each) in best.items():
        added = call - bare
        share = added / (peer - bare)
        print(f"{variant:20}{call:9.1f}{added:8.1f}{share:9.2f}{each:12.2f}{each / message:9.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
    elif sys.argv[1:2] == ["--cold"]:
        cold()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
