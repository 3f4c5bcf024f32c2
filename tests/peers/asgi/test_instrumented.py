"""``tracekit.instrument()`` finds the edges of what services are written in today."""

from __future__ import annotations

import asyncio

import fastapi
import httpx

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
