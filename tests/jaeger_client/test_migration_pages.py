"""The programs in the pages about migration, run as they stand there, on real servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3
from json_answers import answering
from ports import free_port, until_listening

from tracekit.testing import FakeAgent

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
EVENTS = [{"type": "PullRequestEvent", "id": 1}, {"type": "PushEvent", "id": 2}]
STORE = """
class Redis:
    def __init__(self, host):
        self.host = host

    def ping(self):
        return True
"""
pytestmark = pytest.mark.integration


def program(page, name):
    """Return the code block of a page that is marked ``<!-- run: name -->``."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    (code,) = re.findall(rf"<!-- run: {re.escape(name)} -->\n```python\n(.*?)```", text, re.DOTALL)
    return code


@pytest.fixture
def agent():
    with FakeAgent() as agent:
        yield agent


@pytest.fixture
def github():
    """Answer the one question that the sample asks."""
    with answering(EVENTS) as server:
        yield server


def environ(agent, **more):
    """Return an environment with an agent in it, and nothing else about tracing."""
    given = {
        key: value for key, value in os.environ.items() if not key.startswith(("JAEGER", "OTEL"))
    }
    where = {"JAEGER_AGENT_HOST": "127.0.0.1", "JAEGER_AGENT_PORT": str(agent.port)}
    return {**given, **where, "JAEGER_REPORTER_FLUSH_INTERVAL": "50ms", **more}


@pytest.fixture
def service(agent, github, tmp_path):
    """Serve the sample with Flask's own server; return its base URL."""
    (tmp_path / "pulls.py").write_text(program("migrate-from-jaeger-client.md", "pulls.py"))
    (tmp_path / "store.py").write_text(STORE)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "pulls", "run", "--port", str(port)],
        cwd=tmp_path,
        env=environ(agent, GITHUB=f"http://127.0.0.1:{github.server_port}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_listening(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_two_lines_of_the_sample_are_new():
    """All else is as it was written for jaeger_client and flask_opentracing."""
    code = program("migrate-from-jaeger-client.md", "pulls.py")
    assert [line for line in code.splitlines() if "tracekit" in line] == [
        "from tracekit.flask import FlaskTracer",
        "from tracekit.jaeger_client import Config",
    ]


def test_the_sample_traces_probe_and_work(agent, github, service):
    """Both routes, each with the spans below it, arrive as the old libraries sent them."""
    get = urllib3.PoolManager(timeout=20, retries=False).request
    assert get("GET", f"{service}/ready").data == b"ok"
    assert json.loads(get("GET", f"{service}/pulls/alice").data) == EVENTS[:1]
    assert github.asked == ["/users/alice/events"]

    spans = {span.operation: span for span in agent.wait(5, timeout_s=20)}
    assert sorted(spans) == ["github-api", "parse-json", "pulls", "ready", "redis-ping"]
    assert {span.service for span in spans.values()} == {"hello-world"}
    ready, pulls = spans["ready"], spans["pulls"]
    assert spans["redis-ping"].parent_id == ready.span_id
    assert spans["github-api"].parent_id == spans["parse-json"].parent_id == pulls.span_id
    assert ready.parent_id is pulls.parent_id is None
    assert ready.trace_id != pulls.trace_id
    assert ready.kind == pulls.kind == "server"
    assert pulls.tags["component"] == "Flask"
    assert pulls.tags["url_rule"] == "/pulls/<user>"
    assert pulls.tags["http.url"] == f"{service}/pulls/alice"
    assert pulls.tags["sampler.type"] == "const"
    assert spans["redis-ping"].tags["redis-ping"] is True
    assert spans["github-api"].tags["http.status_code"] == 200
    assert spans["parse-json"].tags["events"] == 2


def run(code, agent, **more):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ(agent, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_service_off_contrib_keeps_spans(agent):
    """A request gives the server span of the new edge, and the service's own span below it."""
    code = program("migrate-from-opentelemetry-contrib.md", "contrib.py")
    code += "\napp.test_client().get('/pulls/bob', buffered=True)\n"
    code += "carrier = {}\nwith tracer.start_as_current_span('out'):\n"
    code += "    propagate.inject(carrier)\nprint(sorted(carrier))\n"
    done = run("from opentelemetry import propagate\n" + code, agent)
    assert done.stdout == "['traceparent']\n"
    spans = [span for span in agent.wait(3) if span.operation != "out"]
    inner, server = sorted(spans, key=lambda span: span.parent_id is None)
    assert (inner.operation, inner.tags["user"]) == ("look-up", "bob")
    assert server.operation == "GET /pulls/<user>"
    assert inner.parent_id == server.span_id


@pytest.mark.parametrize("name", ["orders.py", "old_names.py"])
def test_interceptors_around_a_tracer(agent, name):
    """Client, server and what the handler starts with the tracer are one trace."""
    code = program("migrate-from-grpcio-opentracing.md", name)
    code += """
def place(request, context):
    with tracer.start_active_span("store"):
        return request

method = grpc.unary_unary_rpc_method_handler(place)
orders = grpc.method_handlers_generic_handler("shop.Orders", {"Place": method})
server.add_generic_rpc_handlers((orders,))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = connect(f"127.0.0.1:{port}")
with tracer.start_active_span("checkout"):
    assert channel.unary_unary("/shop.Orders/Place")(b"apples", timeout=10) == b"apples"
channel.close()
server.stop(None).wait(5)
tracer.close().result(5)
"""
    run(code, agent)
    spans = {(span.operation, span.kind): span for span in agent.wait(4)}
    client = spans["shop.Orders/Place", "client"]
    server = spans["shop.Orders/Place", "server"]
    assert client.parent_id == spans["checkout", "internal"].span_id
    assert server.parent_id == client.span_id
    assert spans["store", "internal"].parent_id == server.span_id


def test_the_alias_serves_fixed_libraries(agent):
    """Those that cannot be edited, as the page shows it: the old names are ours from there on."""
    code = program("migrate.md", "alias.py")
    code += """
config = {"sampler": {"type": "const", "param": 1}}
tracer = Config(config, service_name="shop").initialize_tracer()
tracer.start_span(f"{Config.__module__} {FlaskTracing.__module__}").finish()
"""
    run(code, agent)
    (span,) = agent.wait(1)
    assert span.operation == "tracekit.jaeger_client.config tracekit.flask"
