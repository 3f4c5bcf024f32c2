"""``keep`` behind a real server: a FastAPI application in uvicorn, asked over a socket."""

from __future__ import annotations

import contextlib
import threading
import time

import fastapi
import httpx
import pytest
import uvicorn

import tracekit.fastapi
import tracekit.testing


@pytest.fixture
def keeping():
    handle = tracekit.testing.tracing(sampler_type="const", sampler_param=0.0, keep="errors")
    yield handle
    handle.shutdown()


def application(tracing):
    """Return one whose requests end well, with a 503, or with an exception."""
    app = fastapi.FastAPI()
    tracer = tracing.tracer("inner")

    @app.get("/pay/{how}")
    async def pay(how: str):
        with tracer.start_as_current_span("query"):
            pass
        if how == "busy":
            raise fastapi.HTTPException(503)
        if how == "broken":
            raise ZeroDivisionError
        return how

    tracekit.fastapi.init_app(app, tracing)
    return app


@contextlib.contextmanager
def served(app):
    """Serve ``app`` on a free port; afterwards all its requests have ended."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.mark.parametrize(("how", "code"), [("well", 200), ("busy", 503), ("broken", 500)])
def test_only_a_failing_request_is_kept(keeping, how, code):
    """With what was done for it, under the name of its route."""
    with served(application(keeping)) as address:
        assert httpx.get(f"{address}/pay/{how}", timeout=20).status_code == code
    keeping.flush()
    kept = {span.name for span in keeping.sink.spans}
    assert kept == (set() if code == 200 else {"GET /pay/{how}", "query"})
    stats = keeping.stats()
    assert stats.recorded == stats.promoted + sum(stats.discarded.values()) == 2
