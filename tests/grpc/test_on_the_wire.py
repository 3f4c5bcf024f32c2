"""What lies between client and server: compression, retries by gRPC, several servers, a fork."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest
from opentelemetry.trace import SpanKind

import tracekit.grpc
import tracekit.grpc.aio

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
CODE = "rpc.response.status_code"
TEXT = b"compress me " * 500


@pytest.fixture
def serve(stack):
    """Return what serves handlers by name on one or more ports, traced; it gives the ports."""

    def serve(tracing, *, ports=1, **methods):
        handlers = grpc.method_handlers_generic_handler("shop.Orders", methods)
        found = []
        for _ in range(ports):
            ours = [tracekit.grpc.server_interceptor(tracing)]
            server = grpc.server(ThreadPoolExecutor(4), (handlers,), ours)
            found.append(server.add_insecure_port("127.0.0.1:0"))
            server.start()
            stack.callback(lambda server=server: server.stop(0).wait(5))
        return found

    return serve


def echo_many(requests, context):
    context.set_compression(grpc.Compression.Gzip)
    got = list(requests) if not isinstance(requests, bytes) else [requests]
    yield from got


def echo_one(requests, context):
    context.set_compression(grpc.Compression.Deflate)
    return b"".join(requests) if not isinstance(requests, bytes) else requests


ECHO = {
    kind: getattr(grpc, f"{kind}_rpc_method_handler")(
        echo_many if kind.endswith("_stream") else echo_one
    )
    for kind in KINDS
}


@pytest.mark.parametrize("how", ["channel", "call"])
@pytest.mark.parametrize("kind", KINDS)
def test_compressed_messages_count_whole(tracing, serve, kind, how):
    """They arrive, compressed for the channel or the call; bytes are those before compression."""
    (port,) = serve(tracing, **ECHO)
    gzip = grpc.Compression.Gzip
    bare = grpc.insecure_channel(
        f"127.0.0.1:{port}", compression=gzip if how == "channel" else None
    )
    with tracekit.grpc.trace_channel(bare, tracing) as channel:
        method = getattr(channel, kind)(f"/shop.Orders/{kind}")
        request = iter([TEXT, TEXT]) if kind.startswith("stream_") else TEXT
        answer = method(request, compression=gzip if how == "call" else None)
        got = b"".join(answer) if kind.endswith("_stream") else answer
    sent = 2 * len(TEXT) if kind.startswith("stream_") else len(TEXT)
    assert len(got) == sent
    for span in tracing.sink.take_many(2):
        assert span.attributes["rpc.request.message_bytes"] == sent
        assert span.attributes[CODE] == "OK"


RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "shop.Orders"}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.01s",
                    "maxBackoff": "0.02s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "loadBalancingConfig": [{"round_robin": {}}],
    }
)


class Flaky:
    def __init__(self, failures):
        self.failures = failures
        self.headers = []

    def __call__(self, request, context):
        self.headers.append(dict(context.invocation_metadata()).get("uber-trace-id"))
        if self.failures:
            self.failures -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "come again")
        return request


@pytest.mark.parametrize("failures", [2, 9])
@pytest.mark.parametrize("flavour", ["blocking", "aio"])
def test_retries_by_grpc_itself_are_one_call(tracing, serve, run, flavour, failures):
    """A retry policy over two servers: one client's span, below it one of each attempt."""
    flaky = Flaky(failures)
    ports = serve(tracing, ports=2, Get=grpc.unary_unary_rpc_method_handler(flaky))
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    options = [("grpc.service_config", RETRIES), ("grpc.enable_retries", 1)]

    async def call_aio():
        async with grpc.aio.insecure_channel(target, options=options) as bare:
            channel = tracekit.grpc.aio.trace_channel(bare, tracing, target=target)
            return await channel.unary_unary("/shop.Orders/Get")(b"x", timeout=5)

    def call():
        if flavour == "aio":
            return run(call_aio())
        with grpc.insecure_channel(target, options=options) as bare:
            channel = tracekit.grpc.trace_channel(bare, tracing)
            return channel.unary_unary("/shop.Orders/Get")(b"x", timeout=5)

    if failures < 4:
        assert call() == b"x"
    else:
        with pytest.raises(grpc.RpcError) as raised:
            call()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    attempts = len(flaky.headers)
    assert attempts == min(failures + 1, 4)
    spans = tracing.sink.take_many(attempts + 1)
    (client,) = [span for span in spans if span.kind is SpanKind.CLIENT]
    served = [span for span in spans if span.kind is SpanKind.SERVER]
    assert client.attributes[CODE] == ("OK" if failures < 4 else "UNAVAILABLE")
    assert client.attributes["server.port"] == ports[0]
    assert {span.parent.span_id for span in served} == {client.context.span_id}
    assert len(set(flaky.headers)) == 1


FORKING = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
import grpc
import tracekit.grpc, tracekit.testing

TRACED = sys.argv[1] == "traced"
tracing = tracekit.testing.tracing() if TRACED else None
UU = grpc.unary_unary_rpc_method_handler


def served():
    handlers = grpc.method_handlers_generic_handler("s.S", {"M": UU(lambda r, c: r + b"!")})
    ours = [tracekit.grpc.server_interceptor(tracing)] if TRACED else []
    server = grpc.server(ThreadPoolExecutor(2), (handlers,), ours)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def call(port):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    if TRACED:
        channel = tracekit.grpc.trace_channel(channel, tracing)
    with channel:
        return channel.unary_unary("/s.S/M")(b"x", timeout=10).decode()


def spans():
    if not TRACED:
        return
    import time
    end = time.monotonic() + 5
    while tracing.stats().open and time.monotonic() < end:
        time.sleep(0.01)
    stats = tracing.stats()
    print("SPANS", stats.started, stats.finished, stats.open, stats.foreign, flush=True)


if sys.argv[2] == "call first":
    server, port = served()
    print(call(port), flush=True)
    server.stop(0).wait(5)
    spans()
pid = os.fork()
if pid == 0:
    server, port = served()
    print("child", call(port), flush=True)
    server.stop(0).wait(5)
    spans()
    os._exit(0)
_, status = os.waitpid(pid, 0)
print("child ended", os.waitstatus_to_exitcode(status), flush=True)
server, port = served()
print("parent", call(port), flush=True)
server.stop(0).wait(5)
spans()
os._exit(0)
"""


@pytest.mark.parametrize(
    ("support", "when"), [("0", "fork first"), ("1", "fork first"), ("1", "call first")]
)
def test_both_sides_work_across_a_fork(support, when):
    """With and without gRPC's own support: as bare, and each process counts its own spans."""

    def output(how):
        done = subprocess.run(
            [sys.executable, "-c", FORKING, how, when],
            env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": support, "GRPC_VERBOSITY": "none"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    try:
        bare = output("bare")
    except subprocess.TimeoutExpired:
        pytest.skip("gRPC itself does not come through this fork here")
    if "child ended 0" not in bare:
        pytest.skip("gRPC itself cannot call in this forked child")  # old versions
    traced = output("traced")
    assert [line for line in traced if not line.startswith("SPANS")] == bare
    figures = [line for line in traced if line.startswith("SPANS")]
    before = ["SPANS 2 2 0 0"] if when == "call first" else []
    after = "SPANS 4 4 0 0" if before else "SPANS 2 2 0 0"
    assert figures == [*before, "SPANS 2 2 0 0", after]
