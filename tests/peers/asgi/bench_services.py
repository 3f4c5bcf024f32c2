"""What tracing adds to a request of FastAPI and of Django, beside contrib and FastAPI's own spans.

    .build/peers/asgi/bin/python tests/peers/asgi/bench_services.py [REQUESTS]

Each side in a process of its own, in turns; the best of several runs, less the bare program.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

SIDES = ("bare", "tracekit", "contrib", "own")
KINDS = ("fastapi", "django")
RUNS = 3


def scope_of():
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/users/ada",
        "raw_path": b"/users/ada",
        "root_path": "",
        "query_string": b"page=2",
        "headers": [
            (b"host", b"shop:8000"),
            (b"user-agent", b"bench/1"),
            (b"accept", b"*/*"),
            (b"x-request-id", b"r-1"),
        ],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8000),
    }


def handle_of(sampled):
    import tracekit
    from tracekit.testing import MemoryTransport
    from tracekit.transport import SendResult

    class Nowhere(MemoryTransport):
        def send(self, payload, deadline_s):
            return SendResult.sent()

    return tracekit.init(
        "bench",
        environ={},
        sampler_type="const",
        sampler_param=int(sampled),
        queue_size=100_000,
        transport=Nowhere(),
    )


def otel_of(sampled):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider, sampling
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans):
            return SpanExportResult.SUCCESS

    provider = TracerProvider(
        sampler=sampling.ParentBased(sampling.ALWAYS_ON if sampled else sampling.ALWAYS_OFF)
    )
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    trace.set_tracer_provider(provider)


def fastapi_app(side, sampled):
    import fastapi

    app = fastapi.FastAPI()

    @app.get("/users/{user}")
    async def user(user: str):
        return {"user": user}

    if side == "tracekit":
        import tracekit.fastapi

        tracekit.fastapi.init_app(app, handle_of(sampled))
    elif side in {"contrib", "own"}:
        otel_of(sampled)
    if side == "contrib":
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        FastAPIInstrumentor.instrument_app(app)
    return app


def django_app(side, sampled):
    import types

    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    def user(request, user):
        return HttpResponse(user)

    urls = types.ModuleType("bench_urls")
    sys.modules["bench_urls"] = urls
    urls.urlpatterns = [path("users/<user>", user)]
    middleware = ["tracekit.django.Middleware"] if side == "tracekit" else []
    settings.configure(
        ROOT_URLCONF="bench_urls",
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="x",
        MIDDLEWARE=middleware,
        LOGGING_CONFIG=None,
    )
    if side == "tracekit":
        handle_of(sampled)
    elif side == "contrib":
        from opentelemetry.instrumentation.django import DjangoInstrumentor

        otel_of(sampled)
        DjangoInstrumentor().instrument()
    django.setup()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def ask_asgi(app, count):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        pass

    async def ask(times):
        for _ in range(times):
            await app(scope_of(), receive, send)

    async def timed():
        await ask(300)
        began = time.perf_counter()
        await ask(count)
        return (time.perf_counter() - began) / count

    return asyncio.run(timed())


def ask_wsgi(app, count):
    import io

    def ask(times):
        for _ in range(times):
            environ = {
                "REQUEST_METHOD": "GET",
                "PATH_INFO": "/users/ada",
                "SCRIPT_NAME": "",
                "QUERY_STRING": "page=2",
                "SERVER_NAME": "shop",
                "SERVER_PORT": "8000",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "HTTP_HOST": "shop:8000",
                "HTTP_USER_AGENT": "bench/1",
                "HTTP_X_REQUEST_ID": "r-1",
                "REMOTE_ADDR": "127.0.0.1",
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(),
            }
            response = app(environ, lambda *_: None)
            for _piece in response:
                pass
            response.close()

    ask(300)
    began = time.perf_counter()
    ask(count)
    return (time.perf_counter() - began) / count


def main():
    if len(sys.argv) == 5:
        kind, side, sampled, count = sys.argv[1:]
        make, ask = (fastapi_app, ask_asgi) if kind == "fastapi" else (django_app, ask_wsgi)
        print(ask(make(side, sampled == "1"), int(count)) * 1e6)
        sys.stdout.flush()
        return
    count = sys.argv[1] if len(sys.argv) > 1 else "4000"
    for kind in KINDS:
        for sampled in "10":
            sides = SIDES if kind == "fastapi" else SIDES[:3]
            best = dict.fromkeys(sides, float("inf"))
            for _ in range(RUNS):
                for side in sides:
                    ran = subprocess.run(
                        [sys.executable, __file__, kind, side, sampled, count],
                        check=True,
                        capture_output=True,
                        text=True,
                    )
                    best[side] = min(best[side], float(ran.stdout.split()[-1]))
            added = {side: best[side] - best["bare"] for side in sides[1:]}
            told = ", ".join(f"{side} {cost:.1f}" for side, cost in added.items())
            ratio = added["tracekit"] / added["contrib"]
            which = "sampled" if sampled == "1" else "unsampled"
            print(f"{kind} {which}: µs added: {told}; {ratio:.2f} x contrib")


if __name__ == "__main__":
    main()
