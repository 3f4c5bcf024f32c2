"""``tracekit.instrument()`` finds the edges of what services are written in today."""

from __future__ import annotations

import asyncio

import fastapi
import httpx
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from starlette.applications import Starlette

import tracekit


def test_instrument_traces_app_and_client(tracing):
    """One trace through both; undone, nothing is traced any more."""
    instrumented = tracekit.instrument(only=["fastapi", "httpx"], tracing=tracing)
    try:
        assert not instrumented.failed
        assert set(instrumented.done) == {"fastapi", "httpx"}
        app = fastapi.FastAPI()

        @app.get("/users/{user}")
        async def user(user: str):
            return {"user": user}

        async def ask():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                return (await client.get("/users/ada")).json()

        assert asyncio.run(ask()) == {"user": "ada"}
        server, client = tracing.sink.spans
        assert (server.name, client.name) == ("GET /users/{user}", "GET")
        assert server.parent.span_id == client.context.span_id
    finally:
        instrumented.undo()
    asyncio.run(ask())
    assert len([span for span in tracing.sink.spans if span.kind.name == "CLIENT"]) == 1


def test_an_older_application_is_found(tracing):
    """Contrib puts a subclass into the class's place; what is older than that is traced, too."""
    app = fastapi.FastAPI(telemetry={"tracer_provider": tracing.provider})  # from 0.165 on
    FastAPIInstrumentor().instrument()
    instrumented = tracekit.instrument(only=["fastapi", "starlette"], tracing=tracing)
    try:
        assert not instrumented.failed
        for each in (app, Starlette()):
            asyncio.run(asked(each))
    finally:
        instrumented.undo()
        FastAPIInstrumentor().uninstrument()
    asyncio.run(asked(fastapi.FastAPI()))
    names = [(span.instrumentation_scope.name, span.kind.name) for span in tracing.sink.spans]
    assert names == [("tracekit.fastapi", "SERVER")] * 2


async def asked(app):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        await client.get("/nowhere")
