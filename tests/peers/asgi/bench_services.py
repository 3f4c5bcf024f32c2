"""What tracing adds to a request of FastAPI and of Django, beside contrib and FastAPI's own spans.

    make bench-services

Applications are called in process, without a server.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import types
from pathlib import Path

import django
import fastapi
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

import tracekit.fastapi

sys.path.insert(0, str(Path(__file__).parents[1]))
from paired import BARE, CONTRIB, OURS, Row, compare, tell
from pipelines import Pipelines

OWN = "FastAPI's own"
ASKED = {
    ("fastapi", "sampled"): 0.30,
    ("fastapi", "not sampled"): 0.25,
    ("django", "sampled"): 0.35,
    ("django", "not sampled"): 0.35,
}


def fastapi_app(**options):
    app = fastapi.FastAPI(**options)

    @app.get("/users/{user}")
    async def user(user: str):
        return {"user": user}

    return app


def fastapi_sides(pipelines):
    off = {"telemetry": {"tracing": False, "metrics": False, "logs": False}}
    own = {"tracer_provider": pipelines.theirs, "metrics": False, "logs": False}
    apps = {BARE: fastapi_app(**off), OURS: fastapi_app(**off), CONTRIB: fastapi_app(**off)}
    tracekit.fastapi.init_app(apps[OURS], pipelines.ours)
    FastAPIInstrumentor.instrument_app(apps[CONTRIB], tracer_provider=pipelines.theirs)
    apps[OWN] = fastapi_app(telemetry=own)
    return {side: asking_asgi(app) for side, app in apps.items()}


def asking_asgi(app):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        pass

    async def ask(count):
        for _ in range(count):
            await app(
                {
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
                },
                receive,
                send,
            )

    return ask


def django_sides(pipelines):
    urls = sys.modules["bench_urls"] = types.ModuleType("bench_urls")
    urls.urlpatterns = [path("users/<user>", lambda _, user: HttpResponse(user))]
    settings.configure(
        ROOT_URLCONF="bench_urls",
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="x",
        MIDDLEWARE=[],
        LOGGING_CONFIG=None,
    )
    django.setup()
    handlers = {BARE: WSGIHandler()}
    ours = {"MIDDLEWARE": ["tracekit.django.Middleware"], "TRACEKIT": {"tracing": pipelines.ours}}
    with override_settings(**ours):
        handlers[OURS] = WSGIHandler()
    DjangoInstrumentor().instrument(tracer_provider=pipelines.theirs)
    handlers[CONTRIB] = WSGIHandler()
    return {side: asking_wsgi(handler) for side, handler in handlers.items()}


def asking_wsgi(app):
    async def ask(count):
        for _ in range(count):
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

    return ask


def measure(kind, which):
    """Compare the sides of one framework; contrib patches Django's settings for good."""
    pipelines = Pipelines(sampled=which == "sampled")
    sides = (fastapi_sides if kind == "fastapi" else django_sides)(pipelines)
    title = {"fastapi": "FastAPI", "django": "Django"}[kind] + f", {which}"
    asked = ASKED[kind, which]
    return asyncio.run(compare(title, asked, sides, pipelines.flush, count=100))


def main():
    if len(sys.argv) == 3:
        print(json.dumps(measure(*sys.argv[1:])), flush=True)
        return
    rows = []
    for kind, which in ASKED:
        ran = subprocess.run(
            [sys.executable, __file__, kind, which], check=True, capture_output=True, text=True
        )
        rows.append(Row(*json.loads(ran.stdout.splitlines()[-1])))
    tell("services", rows)


if __name__ == "__main__":
    main()
