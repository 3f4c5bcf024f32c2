"""The program that is traced: four kinds of calls, in three flavours, driven by their request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import NamedTuple

import grpc
import grpc.aio
import pytest

import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
NOT_FOUND, INTERNAL = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL


def encode(text):
    data = text if isinstance(text, bytes) else text.encode()  # grpc.aio encodes text by itself
    if data == b"unserializable":
        raise ValueError(text)
    return data


def decode(data):
    if data == b"unreadable":
        raise ValueError(data)
    return data.decode()


class RichStatus(NamedTuple):
    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple


class Blocking:
    """Handlers as blocking functions; what they do is written in the first request."""

    def __init__(self):
        self.waiting = threading.Event()
        self.closed = threading.Event()

    def act(self, command, context):  # noqa: C901 (a table in the form of a function)
        if command == "trailers":
            context.send_initial_metadata((("early", "1"),))
            context.set_trailing_metadata((("late", "2"), ("late", "3"), ("raw-bin", b"\x00\xff")))
        elif command == "set_code":
            context.set_code(NOT_FOUND)
            context.set_details("gone")
        elif command == "abort":
            context.abort(NOT_FOUND, "gone")
        elif command == "abort_internal":
            context.abort(INTERNAL, "broken")
        elif command == "abort_with_status":
            context.abort_with_status(RichStatus(NOT_FOUND, "gone", (("why", "sold"),)))
        elif command == "raise":
            raise ValueError("boom")
        elif command == "set_code_raise":
            context.set_code(NOT_FOUND)
            raise ValueError("boom")
        elif command == "context":
            context.disable_next_message_compression()
            context.set_compression(grpc.Compression.Gzip)
            assert context.peer().startswith("ipv4:127.0.0.1")
            assert dict(context.invocation_metadata())["user-agent"]
            assert context.peer_identities() is None
            assert context.auth_context() is not None
            assert context.time_remaining() > 1
        elif command == "wait":
            self.waiting.set()
            is_active = getattr(context, "is_active", None)  # not so on grpc.aio
            end = time.monotonic() + (3 if is_active else 0.3)
            while time.monotonic() < end and (is_active is None or is_active()):
                time.sleep(0.005)
        return "unserializable" if command == "bad_response" else f"did {command}"

    def unary_unary(self, request, context):
        return self.act(request, context)

    def stream_unary(self, requests, context):
        command = next(requests)
        return self.act(command, context) + "".join(f"+{r}" for r in requests if r != "drop")

    def unary_stream(self, request, context):
        try:
            if request.startswith("late_"):
                yield "first"
            yield self.act(request.removeprefix("late_"), context)
            yield "last"
        finally:
            self.closed.set()

    def stream_stream(self, requests, context):
        for request in requests:
            yield from self.unary_stream(request, context)


class Asyncio(Blocking):
    """The same handlers as coroutines and asynchronous generators."""

    async def act(self, command, context):
        if command == "trailers":
            await context.send_initial_metadata((("early", "1"),))
            context.set_trailing_metadata((("late", "2"), ("late", "3"), ("raw-bin", b"\x00\xff")))
            return "did trailers"
        if command == "abort":
            await context.abort(NOT_FOUND, "gone")
        elif command == "abort_internal":
            await context.abort(INTERNAL, "broken")
        elif command == "abort_with_status":
            await context.abort_with_status(RichStatus(NOT_FOUND, "gone", (("why", "sold"),)))
        elif command == "wait":
            self.waiting.set()
            await asyncio.sleep(3)
            return "did wait"
        return super().act(command, context)

    async def unary_unary(self, request, context):
        return await self.act(request, context)

    async def stream_unary(self, requests, context):
        command = await requests.__anext__()
        done = await self.act(command, context)
        return done + "".join([f"+{r}" async for r in requests if r != "drop"])

    async def unary_stream(self, request, context):
        try:
            if request.startswith("late_"):
                yield "first"
            yield await self.act(request.removeprefix("late_"), context)
            yield "last"
        finally:
            self.closed.set()

    async def stream_stream(self, requests, context):
        async for request in requests:
            async for response in self.unary_stream(request, context):
                yield response


class Streams(Asyncio):
    """Streaming handlers in the reader's and writer's way."""

    async def unary_stream(self, request, context):
        try:
            if request.startswith("late_"):
                await context.write("first")
            await context.write(await self.act(request.removeprefix("late_"), context))
            await context.write("last")
        finally:
            self.closed.set()

    async def stream_stream(self, requests, context):
        while (request := await context.read()) is not grpc.aio.EOF:
            await self.unary_stream(request, context)


def handlers_of(program):
    make = {kind: getattr(grpc, f"{kind}_rpc_method_handler") for kind in KINDS}
    return grpc.method_handlers_generic_handler(
        "shop.Orders",
        {kind: make[kind](getattr(program, kind), decode, encode) for kind in KINDS},
    )


class Seen(NamedTuple):
    """What a client saw of one call."""

    messages: tuple
    code: grpc.StatusCode | None
    details: str | None
    error: str | None
    initial: tuple = ()
    trailing: tuple = ()


def _own(metadata):
    names = ("early", "late", "raw-bin", "why")
    return tuple((key, value) for key, value in metadata or () if key in names)


def requests_for(command):
    yield command
    if command == "requests_fail":
        raise KeyError("no more")
    if command in ("ok", "context", "trailers"):
        # Not where the handler fails: on asyncio a write that meets the end of its call may make
        # the code INTERNAL, with or without tracing.
        yield "drop"


class BlockingClient:
    """Calls in the blocking way and tells what it saw."""

    def __init__(self, channel):
        self.channel = channel

    def method(self, kind):
        return getattr(self.channel, kind)(f"/shop.Orders/{kind}", encode, decode)

    def call(self, kind, command, program, end=None, timeout=5.0):
        """Call and see; ``end``: ``cancel`` or ``drop`` the call once the handler waits."""
        request = requests_for(command) if kind.startswith("stream_") else command
        method = self.method(kind)
        call, messages, error = None, [], None
        try:
            if end is None and kind.endswith("_unary"):
                response, call = method.with_call(request, timeout=timeout)
                messages.append(response)
            else:
                send = method.future if kind.endswith("_unary") else method
                call = send(request, timeout=timeout)
                if end is None:
                    messages.extend(call)
                else:
                    assert program.waiting.wait(3)
                    if end == "drop":
                        return Seen((), None, None, None)
                    call.cancel()
                    call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as raised:
            error = type(raised).__name__
            call = raised if call is None else call
        return Seen(
            tuple(messages),
            call.code(),
            call.details(),
            error,
            _own(call.initial_metadata()),
            _own(call.trailing_metadata()),
        )


class AioClient:
    """The same on asyncio, driven from the test's thread."""

    def __init__(self, channel, run):
        self.channel = channel
        self.run = run

    def method(self, kind):
        return getattr(self.channel, kind)(f"/shop.Orders/{kind}", encode, decode)

    def call(self, kind, command, program, end=None, timeout=5.0):
        return self.run(self._call(kind, command, program, end, timeout))

    async def _call(self, kind, command, program, end, timeout):
        request = requests_for(command) if kind.startswith("stream_") else command
        messages, error = [], None
        call = self.method(kind)(request, timeout=timeout)
        try:
            if end is not None:
                await asyncio.to_thread(program.waiting.wait, 3)
                call.cancel()
            if kind.endswith("_unary"):
                messages.append(await call)
            else:
                async for message in call:
                    messages.append(message)  # noqa: PERF401 (what came before a failure counts)
        except (grpc.RpcError, asyncio.CancelledError) as raised:
            error = type(raised).__name__
        return Seen(
            tuple(messages),
            await call.code(),
            await call.details(),
            error,
            _own(await call.initial_metadata()),
            _own(await call.trailing_metadata()),
        )


@pytest.fixture(scope="session", autouse=True)
def _quiet():
    """Keep gRPC from logging the failures that these tests are about."""
    for name in ("grpc._server", "grpc._channel", "grpc._common", "grpc._cython.cygrpc"):
        logging.getLogger(name).disabled = True
    yield
    for name in ("grpc._server", "grpc._channel", "grpc._common", "grpc._cython.cygrpc"):
        logging.getLogger(name).disabled = False


@pytest.fixture(scope="session")
def run():
    """Run a coroutine on the one event loop of these tests and return its result."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture(scope="module")
def shared_tracing():
    """Return a handle with a sink for the whole file; each test takes what it made."""
    tracing = tracekit.testing.tracing()
    yield tracing
    tracing.shutdown()


@pytest.fixture
def tracing():
    """Return a handle with a sink of which the test takes every span."""
    tracing = tracekit.testing.tracing()
    yield tracing
    tracing.sink.assert_empty()
    tracing.shutdown()


@pytest.fixture
def stack():
    """Return what closes after the test whatever is entered into it."""
    with contextlib.ExitStack() as stack:
        yield stack


class Pair(NamedTuple):
    """A program and a client of it."""

    program: Blocking
    client: BlockingClient | AioClient

    def call(self, kind, command, **how):
        self.program.waiting.clear()
        self.program.closed.clear()
        return self.client.call(kind, command, self.program, **how)


def blocking_server(program, interceptors, stack):
    server = grpc.server(ThreadPoolExecutor(8), (handlers_of(program),), interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    # Where a client cancelled a call of many messages, gRPC waits for its end for good, bare too.
    stack.callback(lambda: server.stop(0).wait(1))
    return port


class Unjoined(Executor):
    """A daemon thread for each blocking handler on asyncio.

    Where the RPC of a blocking stream ends before its handler does, ``grpc.aio`` leaves the
    handler's thread waiting for good, with or without tracing. Python would wait for it at exit.
    """

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        future.set_running_or_notify_cancel()

        def work():
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future


def aio_server(program, interceptors, stack, run):
    async def start():
        server = grpc.aio.server(Unjoined(), (handlers_of(program),), interceptors)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = run(start())
    stack.callback(lambda: run(server.stop(0)))
    return port


def blocking_channel(port, stack, trace):
    channel = trace(grpc.insecure_channel(f"127.0.0.1:{port}"))
    stack.callback(channel.close)
    return BlockingClient(channel)


def aio_channel(port, stack, trace, run):
    async def make():
        return trace(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))

    channel = run(make())
    stack.callback(lambda: run(channel.close()))
    return AioClient(channel, run)


def make_pair(flavour, tracing, stack, run):
    """Start one flavour of the program and a client of it, bare if ``tracing`` is None."""
    program = {"blocking": Blocking, "aio": Asyncio, "aio_writer": Streams, "aio_threads": Blocking}
    program = program[flavour]()

    def trace(channel):
        if tracing is None:
            return channel
        library = tracekit.grpc.aio if isinstance(channel, grpc.aio.Channel) else tracekit.grpc
        return library.trace_channel(channel, tracing)

    if flavour == "blocking":
        interceptors = [tracekit.grpc.server_interceptor(tracing)] if tracing else None
        port = blocking_server(program, interceptors, stack)
    else:
        interceptors = [tracekit.grpc.aio.server_interceptor(tracing)] if tracing else None
        port = aio_server(program, interceptors, stack, run)
    if flavour in ("blocking", "aio_threads"):
        client = blocking_channel(port, stack, trace)
    else:
        client = aio_channel(port, stack, trace, run)
    return Pair(program, client)


@pytest.fixture(scope="module")
def pair_of(shared_tracing, run):
    """Return the started pair of a flavour, traced or bare; all are stopped at the end.

    ``sampled`` is whether the traced one samples; if not, nobody is to hear of its calls.
    """
    with contextlib.ExitStack() as stack:
        unsampled = tracekit.testing.tracing(sampler_param=0)
        stack.callback(unsampled.shutdown)

        @functools.cache
        def pair_of(flavour, *, traced, sampled=True):
            tracing = shared_tracing if sampled else unsampled
            return make_pair(flavour, tracing if traced else None, stack, run)

        yield pair_of
        assert unsampled.stats().started == 0


@pytest.fixture
def serve_on_asyncio(stack, run):
    """Return what serves one method of ``shop.Orders`` on asyncio; it gives the target."""

    def serve_on_asyncio(interceptor, method, handle=lambda request, context: request):
        handler = grpc.unary_unary_rpc_method_handler(handle)
        handlers = grpc.method_handlers_generic_handler("shop.Orders", {method: handler})

        async def start():
            server = grpc.aio.server(ThreadPoolExecutor(2), (handlers,), (interceptor,))
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            return server, port

        server, port = run(start())
        stack.callback(lambda: run(server.stop(0)))
        return f"127.0.0.1:{port}"

    return serve_on_asyncio
