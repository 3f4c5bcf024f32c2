"""The traced application behind real servers, beside the bare one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from ports import free_port, until_listening
from waiting import eventually

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

HERE = Path(__file__).parent
GUNICORN = [sys.executable, "-m", "gunicorn", "served:application", "--graceful-timeout=1", "-b"]
WAITRESS = [sys.executable, "-m", "waitress"]
SERVERS = {
    "werkzeug": [sys.executable, "served.py", "{port}"],
    "werkzeug-debug": [sys.executable, "-m", "flask", "--app=served", "run", "--debug", "-p{port}"],
    "gunicorn-sync-preload": [*GUNICORN, "127.0.0.1:{port}", "--preload"],
    "gunicorn-gthread": [*GUNICORN, "127.0.0.1:{port}", "-k=gthread", "--threads=2"],
    "gunicorn-gevent": [*GUNICORN, "127.0.0.1:{port}", "-k=gevent"],
    "waitress": [
        sys.executable,
        "-m",
        "waitress",
        "--listen=127.0.0.1:{port}",
        "served:application",
    ],
}
VOLATILE = {"date", "etag", "last-modified", "server", "connection"}


@pytest.fixture(params=SERVERS)
def served(request, tmp_path):
    """Start one server; return the URL of the traced application and the agent it reports to."""
    port = free_port()
    with FakeAgent() as agent, (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [part.format(port=port) for part in SERVERS[request.param]],
            cwd=HERE,
            env={**os.environ, **agent.environ, "JAEGER_REPORTER_FLUSH_INTERVAL": "20ms"},
            stdout=log,
            stderr=log,
            start_new_session=True,  # a reloader has a child: both are ended as one group
        )
        try:
            url = f"http://127.0.0.1:{port}"
            until_listening(port, server, (tmp_path / "log").read_text)
            requests.get(f"{url}/pulls/ready", timeout=20)
            agent.wait(2)
            yield url, agent, request.param
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(10)


def answer(session, method, url):
    response = session.request(method, url, timeout=5)
    headers = {n.lower(): v for n, v in response.headers.items() if n.lower() not in VOLATILE}
    body = response.content if response.ok else b""  # a debugger's page has secrets of its own
    if not response.ok:
        headers.pop("content-length", None)
    return response.status_code, headers, body


def test_a_real_server_serves_as_before(served):
    """Answers equal the bare application's; each request is one trace, over reused connections."""
    url, agent, kind = served
    asked = ["/pulls/bob", "/stream", "/file", "/pulls/bob", "/nowhere", "/boom"]
    with requests.Session() as session:
        for path in asked:
            for method in ("GET", "HEAD"):
                got = answer(session, method, url + path)
                assert got == answer(session, method, f"{url}/bare{path}"), (path, method)
    with requests.get(f"{url}/endless", stream=True, timeout=5) as response:
        assert response.raw.read(10)  # and gone

    spans = wait_until(agent, lambda spans: any(s.operation == "GET /endless" for s in spans))
    roots = [span for span in spans if span.kind == "server"]
    assert {span.parent_id for span in roots} == {None}
    names = [span.operation for span in roots if span.tags["url.path"] != "/pulls/ready"]
    assert sorted(name for name in names if name.startswith("GET")) == sorted(
        ["GET /pulls/<user>"] * 2 + ["GET /stream", "GET /file", "GET", "GET /boom", "GET /endless"]
    )
    assert len({span.trace_id for span in roots}) == len(roots)
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        if span.operation == "child" and span.parent_id:
            assert by_id[span.parent_id].operation.endswith("/pulls/<user>")
        if span.operation.startswith("piece") and span.parent_id:
            assert by_id[span.parent_id].operation.endswith("/stream")
    (endless,) = (span for span in roots if span.operation == "GET /endless")
    assert not endless.error
    (boom,) = (span for span in roots if span.operation == "GET /boom")
    assert boom.tags["error.type"] == "ValueError"
    assert kind == "werkzeug-debug" or boom.tags["http.response.status_code"] == 500


def wait_until(agent, enough):
    def told():
        return [span.operation for span in agent.spans()]

    eventually(lambda: enough(agent.spans()), told=told, every_s=0.01)
    time.sleep(0.1)
    return agent.spans()
