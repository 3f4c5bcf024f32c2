"""Nothing, and what does nothing: the floor under what tracing adds."""

from __future__ import annotations

import grpc
import grpc.aio


class Nothing(
    grpc.ServerInterceptor, grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor
):
    """An interceptor of both ends that only hands on."""

    def intercept_service(self, continuation, details):
        return continuation(details)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details, request)

    intercept_unary_stream = intercept_unary_unary


class AioNothing(
    grpc.aio.ServerInterceptor,
    grpc.aio.UnaryUnaryClientInterceptor,
    grpc.aio.UnaryStreamClientInterceptor,
):
    """The same on asyncio."""

    async def intercept_service(self, continuation, details):
        return await continuation(details)

    async def intercept_unary_unary(self, continuation, details, request):
        return await continuation(details, request)

    intercept_unary_stream = intercept_unary_unary


class Side:
    """See ``measure.py`` for what each method is asked for."""

    def __init__(self, name, ports, **_options):
        pass

    def queued(self):
        return 0

    def flush(self, timeout_s=10.0):
        pass

    def flask(self, app):
        inner = app.wsgi_app
        app.wsgi_app = lambda environ, start: inner(environ, start)  # noqa: PLW0108 - it is the point
        app.before_request(lambda: None)
        app.after_request(lambda response: response)

    def grpc_server(self):
        return [Nothing()]

    def grpc_channel(self, channel):
        return grpc.intercept_channel(channel, Nothing())

    def aio_server(self):
        return [AioNothing()]

    def aio_channel(self, make):
        return make([AioNothing()])

    def requests(self, session):
        send = session.send
        session.send = lambda *args, **kwargs: send(*args, **kwargs)  # noqa: PLW0108 - likewise

    def logging(self):
        pass
