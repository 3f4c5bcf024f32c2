"""``instrument()``: every way in which a program constructs servers and channels."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest

import tracekit.grpc
import tracekit.grpc.aio
import tracekit.testing

ECHO = "/shop.Orders/Echo"
NAMES = ("server", "insecure_channel", "secure_channel")


@pytest.fixture
def undo(tracing):
    undo = tracekit.grpc.instrument(tracing)
    yield undo
    undo()


class Noted(grpc.ServerInterceptor):
    """Notes that it was asked, and in which order."""

    def __init__(self, name, seen):
        self.name, self.seen = name, seen

    def intercept_service(self, continuation, details):
        self.seen.append(self.name)
        return continuation(details)


class NotedAio(grpc.aio.ServerInterceptor):
    def __init__(self, name, seen):
        self.name, self.seen = name, seen

    async def intercept_service(self, continuation, details):
        self.seen.append(self.name)
        return await continuation(details)


class NotedCall(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, seen):
        self.seen = seen

    async def intercept_unary_unary(self, continuation, details, request):
        self.seen.append("call")
        return await continuation(details, request)


def handlers():
    def echo(request, context):
        return request

    return (
        grpc.method_handlers_generic_handler(
            "shop.Orders", {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
        ),
    )


def aio_handlers():
    async def echo(request, context):
        return request

    return (
        grpc.method_handlers_generic_handler(
            "shop.Orders", {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
        ),
    )


LOCAL = pytest.mark.parametrize("secure", [False, True], ids=["insecure", "local"])


def listen(server, *, secure):
    if secure:
        return server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    return server.add_insecure_port("127.0.0.1:0")


@LOCAL
@pytest.mark.parametrize(
    "construct",
    [
        lambda given: grpc.server(ThreadPoolExecutor(2), handlers(), given),
        lambda given: grpc.server(ThreadPoolExecutor(2), handlers(), interceptors=given),
        lambda given: grpc.server(
            thread_pool=ThreadPoolExecutor(2), handlers=handlers(), interceptors=tuple(given)
        ),
        lambda given: grpc.server(ThreadPoolExecutor(2), handlers(), iter(given), None, 8),
    ],
    ids=["positional", "keyword", "tuple", "iterator"],
)
def test_blocking_parts_are_traced(tracing, undo, construct, secure):
    """However made, their interceptors run in order, behind ours; channels take every argument."""
    seen = []
    server = construct([Noted("a", seen), Noted("b", seen)])
    target = f"127.0.0.1:{listen(server, secure=secure)}"
    server.start()
    options = (("grpc.enable_retries", 0),)
    if secure:
        channel = grpc.secure_channel(target, grpc.local_channel_credentials(), options)
    else:
        channel = grpc.insecure_channel(target, options=options, compression=None)
    with channel:
        assert channel.unary_unary(ECHO)(b"x") == b"x"
    server.stop(0).wait(5)
    assert seen == ["a", "b"]
    client = next(s for s in tracing.sink.take_many(2) if s.kind.name == "CLIENT")
    assert client.attributes["server.address"] == "127.0.0.1"


@LOCAL
@pytest.mark.parametrize(
    "construct",
    [
        lambda given: grpc.aio.server(None, aio_handlers(), given),
        lambda given: grpc.aio.server(handlers=aio_handlers(), interceptors=given),
        lambda given: grpc.aio.server(handlers=aio_handlers(), interceptors=tuple(given)),
    ],
    ids=["positional", "keyword", "tuple"],
)
@pytest.mark.parametrize("shape", [list, tuple], ids=["list", "tuple"])
def test_asyncio_parts_are_traced(tracing, undo, run, construct, secure, shape):
    """However servers and channels of ``grpc.aio`` are made; own interceptors are kept."""
    seen = []

    async def scenario():
        server = construct([NotedAio("a", seen), NotedAio("b", seen)])
        target = f"127.0.0.1:{listen(server, secure=secure)}"
        await server.start()
        given = shape([NotedCall(seen)])
        if secure:
            channel = grpc.aio.secure_channel(
                target, grpc.local_channel_credentials(), None, None, given
            )
        else:
            channel = grpc.aio.insecure_channel(target, interceptors=given)
        async with channel:
            assert await channel.unary_unary(ECHO)(b"x") == b"x"
        await server.stop(None)

    run(scenario())
    assert seen == ["call", "a", "b"]
    client = next(s for s in tracing.sink.take_many(2) if s.kind.name == "CLIENT")
    assert client.attributes["server.address"] == "127.0.0.1"


def test_no_interceptors_may_be_said_any_way(tracing, undo, run):
    """A server or channel without interceptors, in whichever words, is traced."""

    async def scenario():
        for given in ((), [], None):
            server = grpc.aio.server(handlers=aio_handlers(), interceptors=given)
            target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            async with grpc.aio.insecure_channel(target, interceptors=given) as channel:
                assert await channel.unary_unary(ECHO)(b"x") == b"x"
            await server.stop(None)

    run(scenario())
    assert len(tracing.sink.take_many(6)) == 6


def test_nothing_is_traced_twice(tracing, undo, run):
    """Our interceptors and channels, given or made under ``instrument``, make one span a side."""

    async def scenario():
        server = grpc.aio.server(
            handlers=aio_handlers(), interceptors=[tracekit.grpc.aio.server_interceptor(tracing)]
        )
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        ours = tracekit.grpc.aio.client_interceptors(tracing)
        async with grpc.aio.insecure_channel(target, interceptors=ours) as channel:
            assert tracekit.grpc.aio.trace_channel(channel, tracing) is channel
            await channel.unary_unary(ECHO)(b"x")
        async with grpc.aio.insecure_channel(target) as channel:
            assert tracekit.grpc.aio.trace_channel(channel, tracing) is channel
            await channel.unary_unary(ECHO)(b"x")
        await server.stop(None)

    run(scenario())
    assert len(tracing.sink.take_many(4)) == 4


def test_undo_puts_back_all_and_works_once():
    """All six names are those from before; a later ``instrument`` works, with its own undo."""
    bare = {(module, name): getattr(module, name) for module in (grpc, grpc.aio) for name in NAMES}
    first = tracekit.grpc.instrument()
    assert tracekit.grpc.instrument() is first
    assert all(getattr(module, name) is not bare[module, name] for module, name in bare)
    first()
    second = tracekit.grpc.aio.instrument()
    first()  # belongs to what is over, and leaves the second alone
    assert tracekit.grpc.instrument() is second
    assert all(getattr(module, name) is not bare[module, name] for module, name in bare)
    second()
    assert all(getattr(module, name) is bare[module, name] for module, name in bare)


def test_undo_steps_aside_for_later_patches(monkeypatch, tracing):
    """Their patch stays in force and reaches the bare constructor through ours."""
    undo = tracekit.grpc.instrument(tracing)
    ours = grpc.insecure_channel
    monkeypatch.setattr(grpc, "insecure_channel", functools.partial(ours))
    undo()
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        assert type(channel).__module__ == "grpc._channel"
