"""Guards of gRPC's speed by what can be counted of ours, on all threads. No seconds in here."""

import asyncio
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.aio
import pytest

import tracekit
import tracekit.grpc
import tracekit.grpc.aio
from tracekit.testing import MemoryTransport

ROOT = str(Path(tracekit.__file__).parent)
CALLS = 40
MESSAGES = 10


class Counter:
    """Counts the functions of ours that are called, those that they call, and their byte codes."""

    def __init__(self):
        self.calls = self.byte_codes = 0
        self.on = False

    def profile(self, frame, event, _):
        # (In C a call is one instruction of whoever makes it: ours if that is a function of ours.)
        if self.on and event in ("call", "c_call") and frame.f_code.co_filename.startswith(ROOT):
            self.calls += 1

    def trace(self, frame, _event, _argument):
        if not frame.f_code.co_filename.startswith(ROOT):
            return None
        frame.f_trace_opcodes = True
        return self.local

    def local(self, _frame, event, _argument):
        if self.on and event == "opcode":
            self.byte_codes += 1
        return self.local


@pytest.fixture
def counter():
    """Return a counter that sees this thread and every one that is started from now on."""
    counter = Counter()
    before = sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()
    threading.setprofile(counter.profile)
    threading.settrace(counter.trace)
    sys.setprofile(counter.profile)
    sys.settrace(counter.trace)
    yield counter
    sys.settrace(before[0])
    sys.setprofile(before[1])
    threading.settrace(before[2])
    threading.setprofile(before[3])


@pytest.fixture
def tracing(request):
    tracing = tracekit.init(
        "costs",
        environ={},
        set_global=False,
        transport=MemoryTransport(),
        sampler_type="const",
        sampler_param=float(request.param == "sampled"),
        flush_s=3600,
    )
    yield tracing
    tracing.shutdown()


def unary(request, context):
    return request


def stream(request, context):
    for _ in range(MESSAGES):
        yield request


async def aio_unary(request, context):
    return request


async def aio_stream(request, context):
    for _ in range(MESSAGES):
        yield request


def handlers(one, many):
    return grpc.method_handlers_generic_handler(
        "shop.Orders",
        {
            "unary": grpc.unary_unary_rpc_method_handler(one),
            "stream": grpc.unary_stream_rpc_method_handler(many),
        },
    )


def blocking(tracing, kind, counter):
    server = grpc.server(
        ThreadPoolExecutor(1),
        [handlers(unary, stream)],
        [tracekit.grpc.server_interceptor(tracing)],
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with tracekit.grpc.trace_channel(
        grpc.insecure_channel(f"127.0.0.1:{port}"), tracing
    ) as channel:
        method = getattr(channel, f"unary_{kind}")(f"/shop.Orders/{kind}")
        for i in range(CALLS + 5):
            if i == 5:
                settle(tracing, counter)
            response = method(b"x")
            if kind == "stream":
                list(response)
        settle(tracing, counter)
    server.stop(0).wait(5)


def settle(tracing, counter):
    """Wait until all calls are over on both sides, then turn the counter over."""
    end = time.monotonic() + 5
    while tracing.stats().open and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.05)
    counter.on = not counter.on


def on_asyncio(tracing, kind, counter):
    async def main():
        server = grpc.aio.server(
            handlers=[handlers(aio_unary, aio_stream)],
            interceptors=[tracekit.grpc.aio.server_interceptor(tracing)],
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with tracekit.grpc.aio.trace_channel(
            grpc.aio.insecure_channel(f"127.0.0.1:{port}"), tracing
        ) as channel:
            method = getattr(channel, f"unary_{kind}")(f"/shop.Orders/{kind}")
            for i in range(CALLS + 5):
                if i == 5:
                    await asyncio.sleep(0.1)
                    counter.on = True
                if kind == "unary":
                    await method(b"x")
                else:
                    async for _ in method(b"x"):
                        pass
            await asyncio.sleep(0.1)
            counter.on = False
        await server.stop(0)

    asyncio.run(main())


# What a stream of ten messages costs more is, for each of them, one look on either side.
MOST = {
    (blocking, "unary", "sampled"): (136, 2820),
    (blocking, "unary", "unsampled"): (65, 1300),
    (blocking, "stream", "sampled"): (240, 3980),
    (blocking, "stream", "unsampled"): (152, 2230),
    (on_asyncio, "unary", "sampled"): (176, 3250),
    (on_asyncio, "unary", "unsampled"): (88, 1630),
    (on_asyncio, "stream", "sampled"): (313, 5020),
    (on_asyncio, "stream", "unsampled"): (218, 3220),
}


@pytest.mark.parametrize(
    ("run", "kind", "tracing"),
    MOST,
    indirect=["tracing"],
    ids=lambda case: str(getattr(case, "__name__", case)),
)
def test_calls_and_byte_codes_of_an_rpc(run, kind, tracing, counter, request):
    """An RPC makes few calls of ours on both sides together, and executes few byte codes."""
    if run is on_asyncio and grpc.__version__ < "1.7":
        pytest.skip("older versions of grpc.aio make more of each message")
    most_calls, most_byte_codes = MOST[run, kind, request.node.callspec.params["tracing"]]
    run(tracing, kind, counter)
    assert counter.calls / CALLS <= most_calls
    if sys.version_info < (3, 12):  # the later ones see no byte codes of frames that run
        assert counter.byte_codes / CALLS <= most_byte_codes
