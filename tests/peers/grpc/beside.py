"""Beside another tool's patches of gRPC: ``beside.py TOOL alone|ours-first|theirs-first``.

It makes servers and channels in every style, calls, and prints what it saw as JSON.
"""

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio

import tracekit.grpc
import tracekit.testing


def elastic():
    import elasticapm

    elasticapm.Client(
        service_name="x", disable_send=True, metrics_interval="0s", central_config=False
    )
    elasticapm.instrument()


def sentry():
    import sentry_sdk
    from sentry_sdk.integrations.grpc import GRPCIntegration

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        integrations=[GRPCIntegration()],
        traces_sample_rate=1.0,
        transport=lambda event: None,
    )


def ddtrace():
    os.environ.update(
        DD_TRACE_AGENT_URL="http://127.0.0.1:1", DD_INSTRUMENTATION_TELEMETRY_ENABLED="0"
    )
    from ddtrace import patch

    patch(grpc=True)


def opentelemetry():
    from opentelemetry.instrumentation import grpc as otel

    otel.GrpcInstrumentorServer().instrument()
    otel.GrpcInstrumentorClient().instrument()
    otel.GrpcAioInstrumentorServer().instrument()
    otel.GrpcAioInstrumentorClient().instrument()


class Given(grpc.ServerInterceptor):
    seen = 0

    def intercept_service(self, continuation, details):
        Given.seen += 1
        return continuation(details)


class GivenAio(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, details):
        Given.seen += 1
        return await continuation(details)


UU, US = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler


def stream(request, context):
    yield request
    if request == b"abort":
        context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    yield request


async def aio_unary(request, context):
    return request


async def aio_stream(request, context):
    yield request
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    yield request


def handlers(unary, many):
    return [grpc.method_handlers_generic_handler("s.S", {"U": UU(unary), "M": US(many)})]


STYLES = {
    "handlers by name": lambda make, hs, given: make(handlers=hs),
    "empty list": lambda make, hs, given: make(handlers=hs, interceptors=[]),
    "a list": lambda make, hs, given: make(handlers=hs, interceptors=[given]),
    "options": lambda make, hs, given: make(handlers=hs, options=[("grpc.so_reuseport", 0)]),
}


def told(error):
    return [type(error).__name__, str(getattr(error, "code", lambda: "")())]


def blocking(style):
    try:
        server = STYLES[style](
            lambda **how: grpc.server(ThreadPoolExecutor(2), **how),
            handlers(lambda request, _: request, stream),
            Given(),
        )
    except Exception as error:
        return told(error)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    seen = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for request in b"x", b"abort":
            for call in (
                lambda r: channel.unary_unary("/s.S/U")(r, timeout=5).decode(),
                lambda r: channel.unary_unary("/s.S/U").future(r, timeout=5).result().decode(),
                lambda r: [m.decode() for m in channel.unary_stream("/s.S/M")(r, timeout=5)],
            ):
                try:
                    seen.append(call(request))
                except Exception as error:
                    seen.append(told(error))
    server.stop(0).wait(5)
    return seen


async def on_asyncio(style):
    try:
        server = STYLES[style](grpc.aio.server, handlers(aio_unary, aio_stream), GivenAio())
    except Exception as error:
        return told(error)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def many(request):
            return [m.decode() async for m in channel.unary_stream("/s.S/M")(request, timeout=5)]

        async def one(request):
            return (await channel.unary_unary("/s.S/U")(request, timeout=5)).decode()

        for request in b"x", b"abort":
            for call in one, many:
                try:
                    seen.append(await call(request))
                except Exception as error:
                    seen.append(told(error))
    await server.stop(0)
    return seen


def main(tool, order):
    install = {
        "elastic": elastic,
        "sentry": sentry,
        "ddtrace": ddtrace,
        "opentelemetry": opentelemetry,
    }
    tracing = tracekit.testing.tracing()
    if order == "ours-first":
        tracekit.grpc.instrument(tracing)
    install[tool]()
    if order == "theirs-first":
        tracekit.grpc.instrument(tracing)
    found = {}
    for style in STYLES:
        Given.seen = 0
        found[style] = [blocking(style), asyncio.run(on_asyncio(style)), Given.seen]
    stats = tracing.stats()
    print(
        "FOUND", json.dumps({"found": found, "spans": len(tracing.sink.spans), "open": stats.open})
    )
    sys.stdout.flush()
    os._exit(0)


main(*sys.argv[1:])
