"""Applications that say themselves how they are traced, under ``tracekit run``."""

from __future__ import annotations

import pytest

for name in ("fastapi", "httpx"):
    pytest.importorskip(name)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.mark.parametrize("kind", ["FastAPI", "Starlette"])
def test_what_init_app_says_holds(write, run, agent, kind):
    """``init_app`` with options: what it leaves out has no span, and nothing has two."""
    write(
        app=f"""
            import warnings
            warnings.simplefilter("ignore")
            from fastapi import FastAPI
            from starlette.applications import Starlette
            from starlette.responses import PlainTextResponse
            from starlette.testclient import TestClient
            import tracekit.fastapi

            async def answer(request):
                return PlainTextResponse("answer")

            app = {kind}()
            app.add_route("/a", answer)
            app.add_route("/quiet", answer)
            tracekit.fastapi.init_app(app, exclude=["/quiet"], response_headers=True)
            client = TestClient(app)
            client.get("/quiet")
            print("traceresponse" in client.get("/a").headers)
        """
    )
    done = run("python", "app.py", TRACEKIT_INSTRUMENT="fastapi,starlette")
    assert [(span.operation, span.kind) for span in agent.wait(1)] == [("GET /a", "server")]
    assert done.stdout == "True\n"
