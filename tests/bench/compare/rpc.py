"""What instrumentation adds to gRPC: CPU of both ends in one process, blocking and on asyncio."""

from __future__ import annotations

import contextlib
import time

from pairs import beside

UNARY, STREAM = "/bench.Shop/Find", "/bench.Shop/List"
MESSAGES = 1000


@contextlib.contextmanager
def served(interceptors, around):
    """Serve the two methods; yield their two stubs."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    import grpc as lib  # noqa: PLC0415

    message = b"a driver who is near"
    handlers = lib.method_handlers_generic_handler(
        "bench.Shop",
        {
            "Find": lib.unary_unary_rpc_method_handler(lambda request, _context: request),
            "List": lib.unary_stream_rpc_method_handler(
                lambda _request, _context: iter([message] * MESSAGES)
            ),
        },
    )
    server = lib.server(ThreadPoolExecutor(1), interceptors=interceptors)
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = around(lib.insecure_channel(f"127.0.0.1:{port}", options))
    unary, stream = channel.unary_unary(UNARY), channel.unary_stream(STREAM)
    yield lambda: unary(message), lambda: sum(1 for _ in stream(message))
    channel.close()
    server.stop(None).wait()


def grpc(run, *, sampled=True, stream=False):
    """CPU of both ends in one process, until everything is handed over."""
    side = run.side(sampled=sampled)
    rounds, count = (16, 1) if stream else (12, 80)
    with served([], lambda channel: channel) as bare:
        # After the bare ones: one peer patches the constructors themselves.
        interceptors = side.grpc_server()
        with served(interceptors, side.grpc_channel) as traced:
            for call in (bare[stream], traced[stream]):
                for _ in range(2 if stream else 20):
                    call()
            figures = beside(bare[stream], traced[stream], side.flush, rounds, count,
                             clock=time.process_time_ns)  # fmt: skip
    if sampled and run.name != "bare":
        run.spans = 2 * (rounds * count + (2 if stream else 20))
    return figures


def grpc_unsampled(run):
    return grpc(run, sampled=False)


def grpc_stream(run):
    return to_bare(grpc(run, stream=True))


def grpc_aio(run, *, stream=False):
    """Do the same on one event loop; a block of unary calls for each entry of the loop."""
    import asyncio  # noqa: PLC0415

    side = run.side()
    loop = asyncio.new_event_loop()
    rounds, count, block = (16, 1, 1) if stream else (12, 4, 20)
    stop = []

    def calls(interceptors, around):
        unary, read, close = loop.run_until_complete(served_aio(interceptors, around))
        stop.append(close)

        async def many():
            for _ in range(block):
                await unary()

        return lambda: loop.run_until_complete(read() if stream else many())

    bare = calls([], lambda make: make())
    traced = calls(side.aio_server(), side.aio_channel)
    for call in (bare, traced):
        for _ in range(2):
            call()
    figures = beside(bare, traced, side.flush, rounds, count, clock=time.process_time_ns)
    for close in stop:
        loop.run_until_complete(close())
    if run.name != "bare":
        run.spans = 2 * block * (rounds * count + 2)
    return {name: value / block for name, value in figures.items()}


async def served_aio(interceptors, around):
    """Serve the two methods on this loop; return their two calls, and what ends it."""
    import grpc as lib  # noqa: PLC0415
    from grpc import aio  # noqa: PLC0415

    message = b"a driver who is near"

    async def find(request, _context):
        return request

    async def listed(_request, _context):
        for _ in range(MESSAGES):
            yield message

    handlers = lib.method_handlers_generic_handler(
        "bench.Shop",
        {
            "Find": lib.unary_unary_rpc_method_handler(find),
            "List": lib.unary_stream_rpc_method_handler(listed),
        },
    )
    server = aio.server(interceptors=interceptors)
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = around(
        lambda interceptors=None: aio.insecure_channel(
            f"127.0.0.1:{port}", options, interceptors=interceptors
        )
    )
    unary, stream = channel.unary_unary(UNARY), channel.unary_stream(STREAM)

    async def call():
        await unary(message)

    async def read():
        async for _ in stream(message):
            pass

    async def close():
        await channel.close()
        await server.stop(None)

    return call, read, close


def to_bare(figures):
    return {**figures, "ratio": 1 + figures["added"] / figures["bare"]}


def grpc_aio_stream(run):
    return to_bare(grpc_aio(run, stream=True))


CELLS = (grpc, grpc_unsampled, grpc_stream, grpc_aio, grpc_aio_stream)
