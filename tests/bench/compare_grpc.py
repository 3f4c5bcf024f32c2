"""Wall time of gRPC calls with this tree's tracekit and another's: medians of alternating pairs.

    git worktree add --detach ../before COMMIT
    .build/venv/bin/python tests/bench/compare_grpc.py ../before [pairs]

Each half of a pair is a process of its own, client and server in it, both traced. In it the best of
a few short rounds counts, and of the pairs the median ratio: so a busy machine is forgiven.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.aio

ROUNDS, CALLS, STREAMS, MESSAGES = 8, 40, 8, 50


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


def served(one, many):
    handlers = {
        "unary": grpc.unary_unary_rpc_method_handler(one),
        "stream": grpc.unary_stream_rpc_method_handler(many),
    }
    return [grpc.method_handlers_generic_handler("shop.Orders", handlers)]


def blocking(tracing):
    """Return the µs of a unary call, and of a streamed message."""
    import tracekit.grpc  # noqa: PLC0415 (of the tree that is measured)

    interceptors = [tracekit.grpc.server_interceptor(tracing)]
    server = grpc.server(ThreadPoolExecutor(2), served(unary, stream), interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    best = [float("inf")] * 2
    with tracekit.grpc.trace_channel(
        grpc.insecure_channel(f"127.0.0.1:{port}"), tracing
    ) as channel:
        call = channel.unary_unary("/shop.Orders/unary")
        read = channel.unary_stream("/shop.Orders/stream")
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            for _ in range(CALLS):
                call(b"x")
            between = time.perf_counter()
            for _ in range(STREAMS):
                for _ in read(b"x"):
                    pass
            better(best, begun, between)
    server.stop(0).wait(5)
    return best


async def on_asyncio(tracing):
    """The same with ``grpc.aio``."""
    import tracekit.grpc.aio  # noqa: PLC0415

    interceptors = [tracekit.grpc.aio.server_interceptor(tracing)]
    server = grpc.aio.server(handlers=served(aio_unary, aio_stream), interceptors=interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    best = [float("inf")] * 2
    async with tracekit.grpc.aio.trace_channel(
        grpc.aio.insecure_channel(f"127.0.0.1:{port}"), tracing
    ) as channel:
        call = channel.unary_unary("/shop.Orders/unary")
        read = channel.unary_stream("/shop.Orders/stream")
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            for _ in range(CALLS):
                await call(b"x")
            between = time.perf_counter()
            for _ in range(STREAMS):
                async for _ in read(b"x"):
                    pass
            better(best, begun, between)
    await server.stop(0)
    return best


def better(best, begun, between):
    ended = time.perf_counter()
    best[0] = min(best[0], (between - begun) / CALLS * 1e6)
    best[1] = min(best[1], (ended - between) / (STREAMS * MESSAGES) * 1e6)


def measure():
    import tracekit  # noqa: PLC0415
    from tracekit.testing import MemoryTransport  # noqa: PLC0415

    found = {}
    for how, share in (("sampled", 1.0), ("unsampled", 0.0)):
        for flavour, run in (("blocking", blocking), ("asyncio", on_asyncio)):
            tracing = tracekit.init(
                "bench",
                environ={},
                set_global=False,
                transport=MemoryTransport(),
                sampler_type="const",
                sampler_param=share,
            )
            both = run(tracing)
            both = asyncio.run(both) if asyncio.iscoroutine(both) else both
            tracing.shutdown()
            for what, each in zip(("unary", "streamed message"), both, strict=True):
                found[f"{flavour}, {how}, {what}"] = each
    print(json.dumps(found))


def half(tree):
    command = [sys.executable, __file__]
    environ = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main():
    if len(sys.argv) == 1:
        measure()
        return
    trees = Path(sys.argv[1]).resolve(), Path(__file__).resolve().parents[2]
    pairs = []
    for i in range(int(sys.argv[2]) if len(sys.argv) > 2 else 15):
        order = trees if i % 2 else trees[::-1]
        of = {tree: half(tree) for tree in order}
        pairs.append([of[tree] for tree in trees])
    for case in pairs[0][0]:
        before, now = ([pair[side][case] for pair in pairs] for side in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(before, now, strict=True))
        medians = statistics.median(before), statistics.median(now)
        print("{:38} {:7.1f} µs {:7.1f} µs   {:.3f}".format(case, *medians, ratio))


if __name__ == "__main__":
    main()
