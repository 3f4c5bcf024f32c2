"""FastAPI's own telemetry (0.165 and later) beside ours, under OpenTelemetry's global provider."""

from __future__ import annotations

import json
import subprocess
import sys

import fastapi
import pytest

PROGRAM = """
import asyncio, json, sys
import fastapi, httpx
import tracekit, tracekit.fastapi, tracekit.testing
from tracekit.testing import MemoryTransport

with tracekit.testing.recording() as spans:
    app = fastapi.FastAPI()

    @app.get("/users/{user}")
    async def user(user: str, token: str = ""):
        return user

    @app.get("/healthz")
    async def healthz():
        return "ok"

    if sys.argv[1] == "edge":
        tracekit.fastapi.init_app(app)

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            for path in ("/users/ada?token=secret&session_token=secret", "/healthz"):
                assert (await client.get(path)).status_code == 200

    asyncio.run(ask())
    print(json.dumps([
        [span.name, span.kind.name, dict(span.attributes)] for span in spans
    ], default=str))
"""


def told(which):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, which],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_with_our_edge_there_is_one_span():
    """It stands outside, and tells FastAPI that there is one already."""
    assert [name for name, _, _ in told("edge")] == ["GET /users/{user}"]


@pytest.mark.skipif(not hasattr(fastapi, "telemetry"), reason="this FastAPI has no telemetry")
def test_without_it_probes_are_excluded_and_nothing_secret_is_told():
    """Its spans run on our tracer, so what holds for ours holds for them."""
    servers = [each for each in told("own") if each[1] == "SERVER"]
    assert [name for name, _, _ in servers] == ["GET /users/{user}"]
