"""Guards of gRPC's speed by what can be counted of ours, on all threads. No seconds in here.

Counted is in rounds, and the middle one of them speaks for all: what else a thread does now and
then (a clock that is compared, a queue that is looked at) is in one or the other.
"""

import asyncio
import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import allocations
import grpc
import grpc.aio
import pytest

import tracekit
import tracekit.grpc
import tracekit.grpc.aio
from tracekit.testing import MemoryTransport

ROOT = str(Path(tracekit.__file__).parent)
ROUNDS, CALLS = 5, 8
MESSAGES = 10
PAUSE_S = 0.002
"""Between two messages, for both sides to come to rest: then each takes the same way."""


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

    def turn(self, *, on):
        """Count from now on, or no more; return the calls and byte codes so far."""
        self.on = on
        return self.calls, self.byte_codes

    @contextlib.contextmanager
    def aside(self):
        """Leave out what this thread does meanwhile."""
        sys.setprofile(None)
        sys.settrace(None)
        yield
        sys.setprofile(self.profile)
        sys.settrace(self.trace)


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


def tracing_of(kind):
    return tracekit.init(
        "costs",
        environ={},
        set_global=False,
        transport=MemoryTransport(),
        sampler_type="const",
        sampler_param=float(kind == "sampled"),
        flush_s=3600,
    )


@pytest.fixture
def tracing(request):
    tracing = tracing_of(request.param)
    yield tracing
    tracing.shutdown()


def unary(request, context):
    return request


def stream(request, context):
    for _ in range(MESSAGES):
        yield request
        time.sleep(PAUSE_S)


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
    """Return what each round counted; without tracing, of gRPC alone."""
    ours = [] if tracing is None else [tracekit.grpc.server_interceptor(tracing)]
    server = grpc.server(ThreadPoolExecutor(1), [handlers(unary, stream)], ours)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    counted = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as bare:
        channel = bare if tracing is None else tracekit.grpc.trace_channel(bare, tracing)
        method = getattr(channel, f"unary_{kind}")(f"/shop.Orders/{kind}")
        for _ in range(1 + ROUNDS):  # the first one is to warm up
            before = counter.turn(on=True)
            for _ in range(CALLS):
                response = method(b"x")
                if kind == "stream":
                    list(response)
            end = time.monotonic() + 5
            while is_open(tracing, counter) and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.05)
            counted.append((before, counter.turn(on=False)))
    server.stop(0).wait(5)
    return counted[1:]


def is_open(tracing, counter):
    """Return whether a call is not over yet on both sides."""
    with counter.aside():
        return tracing is not None and tracing.stats().open


def on_asyncio(tracing, kind, counter):
    """The same with ``grpc.aio``."""

    async def main():
        ours = [] if tracing is None else [tracekit.grpc.aio.server_interceptor(tracing)]
        server = grpc.aio.server(handlers=[handlers(aio_unary, aio_stream)], interceptors=ours)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        counted = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as bare:
            channel = bare if tracing is None else tracekit.grpc.aio.trace_channel(bare, tracing)
            method = getattr(channel, f"unary_{kind}")(f"/shop.Orders/{kind}")
            for _ in range(1 + ROUNDS):
                before = counter.turn(on=True)
                for _ in range(CALLS):
                    if kind == "unary":
                        await method(b"x")
                    else:
                        async for _ in method(b"x"):
                            pass
                end = time.monotonic() + 5
                while is_open(tracing, counter) and time.monotonic() < end:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                counted.append((before, counter.turn(on=False)))
        await server.stop(0)
        return counted[1:]

    return asyncio.run(main())


def of_an_rpc(before_and_after):
    """Return what the middle round says of one call."""
    return statistics.median_low((after - before) / CALLS for before, after in before_and_after)


# What a stream of ten messages costs more is, for each of them, one look on either side. (Some
# interpreters count a call or two more on asyncio, where others have a type or an instruction.)
MOST = {
    (blocking, "unary", "sampled"): (83, 2280),
    (blocking, "unary", "unsampled"): (35, 950),
    (blocking, "stream", "sampled"): (201, 3650),
    (blocking, "stream", "unsampled"): (128, 1980),
    (on_asyncio, "unary", "sampled"): (89, 2420),
    (on_asyncio, "unary", "unsampled"): (39, 1050),
    (on_asyncio, "stream", "sampled"): (195, 4000),
    (on_asyncio, "stream", "unsampled"): (124, 2400),
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
    rounds = run(tracing, kind, counter)
    calls = of_an_rpc((before[0], after[0]) for before, after in rounds)
    byte_codes = of_an_rpc((before[1], after[1]) for before, after in rounds)
    assert calls <= most_calls
    if sys.version_info < (3, 12):  # the later ones see no byte codes of frames that run
        assert byte_codes <= most_byte_codes


MOST_ALLOCATIONS = {
    (blocking, "unary", "sampled"): 130,
    (blocking, "unary", "unsampled"): 66,
    (blocking, "stream", "sampled"): 217,
    (blocking, "stream", "unsampled"): 131,
    (on_asyncio, "unary", "sampled"): 138,
    (on_asyncio, "unary", "unsampled"): 82,
    (on_asyncio, "stream", "sampled"): 243,
    (on_asyncio, "stream", "unsampled"): 184,
}
MAY_DIFFER = 3
"""Between interpreters of one version, and by what their free lists happen to hold."""


@functools.cache
def blocks_of_rpcs(attempt):
    """Return the blocks of each kind, counted in a process that has run no other test.

    What ran before decides how the instances of a class keep their attributes, for example.
    """
    del attempt  # each counts anew: on a busy machine another side may wait, for a few blocks more
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path)), **ALIKE},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(zip(MOST_ALLOCATIONS, json.loads(done.stdout), strict=True))


ALIKE = {"PYTHONHASHSEED": "0", "PYTHONDEVMODE": "", "PYTHONOPTIMIZE": ""}


def count_allocations():
    """Print what ``blocks_of_rpcs`` reads."""
    found = []
    for run, kind, how in MOST_ALLOCATIONS:
        tracing = tracing_of(how)
        with allocations.counting(allocations.library(), ROOT) as counter:
            found.append(of_an_rpc(run(tracing, kind, counter)))
        tracing.shutdown()
    print(json.dumps(found))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="allocates for each profile event itself")
@pytest.mark.skipif(allocations.library() is None, reason="no C compiler is here")
@pytest.mark.parametrize(
    ("run", "kind", "how"),
    MOST_ALLOCATIONS,
    ids=lambda case: str(getattr(case, "__name__", case)),
)
def test_allocations_of_an_rpc(run, kind, how):
    """Our code allocates few blocks for an RPC, on both sides together."""
    if run is on_asyncio and grpc.__version__ < "1.7":
        pytest.skip("older versions of grpc.aio make more of each message")
    counted = (blocks_of_rpcs(attempt)[run, kind, how] for attempt in range(3))
    most = MOST_ALLOCATIONS[run, kind, how] + MAY_DIFFER
    assert any(blocks <= most for blocks in counted)


if __name__ == "__main__":
    count_allocations()
