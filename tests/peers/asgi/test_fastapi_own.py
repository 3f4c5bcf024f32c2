"""FastAPI's own telemetry (0.165 and later) beside ours, and what of it leaves the process."""

from __future__ import annotations

import os
import subprocess
import sys

import fastapi
import pytest

from tracekit.testing import FakeCollector

PROGRAM = """
import asyncio, sys
import fastapi, httpx
import tracekit, tracekit.fastapi

tracekit.init("shop")
app = fastapi.FastAPI()
background = []

@app.get("/users/{user}")
async def user(user: str, tasks: fastapi.BackgroundTasks, token: str = ""):
    tasks.add_task(background.append, user)
    return user

@app.get("/failing")
async def failing():
    raise RuntimeError("GET http://stock/?token=secret")

@app.get("/healthz")
async def healthz():
    return "ok"

if sys.argv[1] == "edge":
    tracekit.fastapi.init_app(app)
elif sys.argv[1] == "operations":
    tracekit.fastapi.init_app(app, operation_spans=True)

async def ask():
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        for path in ("/users/ada?token=secret&session_token=secret", "/healthz", "/failing"):
            print((await client.get(path)).status_code, path)

asyncio.run(ask())
"""
ANSWERS = ["200 /users/ada?token=secret&session_token=secret", "200 /healthz", "500 /failing"]
OPERATIONS = [
    "fastapi.background_task",
    "fastapi.dependencies",
    "fastapi.endpoint",
    "fastapi.serialization",
]
has_telemetry = pytest.mark.skipif(
    not hasattr(fastapi, "telemetry"), reason="this FastAPI has no telemetry"
)


def told(which):
    """Run the program; return the spans that a collector has got of it, and what it logged."""
    with FakeCollector() as collector:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, which],
            env={**os.environ, **collector.environ},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ANSWERS
        return collector.spans(), done.stderr


def servers(spans):
    return sorted(span.operation for span in spans if span.kind == "server")


def test_our_edge_makes_one_span_a_request():
    """It stands outside, and tells FastAPI that there is one already."""
    spans, _ = told("edge")
    assert sorted(span.operation for span in spans) == ["GET /failing", "GET /users/{user}"]
    assert "secret" not in repr(spans)


@has_telemetry
def test_operations_may_be_below_our_span():
    """Dependencies, endpoint, serialization and the background task: children of one span."""
    spans, logged = told("operations")
    assert servers(spans) == ["GET /failing", "GET /users/{user}"]
    [server] = [span for span in spans if span.operation == "GET /users/{user}"]
    below = [span for span in spans if span.trace_id == server.trace_id and span is not server]
    assert sorted({span.operation for span in below} & set(OPERATIONS)) == OPERATIONS
    ids = {span.span_id for span in (server, *below)}
    assert {span.parent_id for span in below} <= ids
    assert "operation spans need" not in logged


@pytest.mark.skipif(hasattr(fastapi, "telemetry"), reason="this FastAPI has telemetry")
def test_missing_operations_are_told_once():
    """The request is traced as without the option."""
    spans, logged = told("operations")
    assert servers(spans) == ["GET /failing", "GET /users/{user}"]
    assert logged.count("operation spans need FastAPI 0.165 or newer") == 1


@has_telemetry
def test_without_our_edge_the_rules_hold():
    """Its spans run on our tracer, so what holds for ours on the wire holds for them."""
    spans, _ = told("own")
    assert servers(spans) == ["GET /failing", "GET /users/{user}"]
    [server] = [span for span in spans if span.operation == "GET /users/{user}"]
    assert server.tags["url.query"] == "token=REDACTED&session_token=REDACTED"
    assert "secret" not in repr(spans)
