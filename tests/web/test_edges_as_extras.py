"""The edges are extras: nothing is imported unasked, and what is missing is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.testing import FakeAgent

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def run(code, **environ):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environ or None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def program(page, name):
    """Return the code block of a how-to page that is marked as runnable."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return re.findall(rf"<!-- run: {name} -->\n```python\n(.*?)```", text, re.DOTALL)[0]


def test_import_tracekit_imports_no_edge():
    """The front door loads none of the libraries that edges are for, and no heavy module."""
    code = """
import sys, tracekit
libraries = {"flask", "werkzeug", "requests", "grpc", "opentracing", "multiprocessing", "urllib3"}
print(sorted(libraries & sys.modules.keys()))
"""
    assert run(code).stdout == "[]\n"


def test_a_udp_service_never_needs_urllib3():
    """Not at import and not later, remote sampler included: whatever others pin is well."""
    code = """
import sys
sys.modules["urllib3"] = None
import tracekit, tracekit.jaeger_client, tracekit.opentracing, tracekit.wsgi
tracing = tracekit.init("shop", sampler_param=1, sampling_endpoint="http://127.0.0.1:1/sampling")
tracing.tracer("test").start_span("op").end()
print(tracing.flush(10).sent)
"""
    with FakeAgent() as agent:
        done = run(code, JAEGER_AGENT_HOST="127.0.0.1", JAEGER_AGENT_PORT=str(agent.port))
        assert done.stdout == "1\n", done.stderr
        assert agent.wait(1)


@pytest.mark.parametrize(("edge", "library"), [("flask", "flask"), ("requests", "requests")])
def test_a_missing_library_names_the_extra(edge, library):
    """The error says what to install."""
    done = run(f"import sys; sys.modules[{library!r}] = None; import tracekit.{edge}")
    assert done.returncode == 1
    assert f"ImportError: tracekit.{edge} needs" in done.stderr
    assert f"pip install 'tracekit-jaeger[{edge}]'" in done.stderr


def test_the_flask_page_traces_a_request():
    """What the page shows gives the span that it promises."""
    code = program("instrument-flask.md", "flask")
    code += "\napp.test_client().get('/pulls/bob', buffered=True)\ntracekit.flush()\n"
    with FakeAgent() as agent:
        done = run(code, **agent.environ)
        assert done.returncode == 0, done.stderr
        (span,) = agent.wait(1)
    assert (span.service, span.operation, span.kind) == ("shop", "GET /pulls/<user>", "server")


def test_the_log_page_prints_the_line():
    """What the page shows writes the fields that it shows, in that order."""
    page = (HOW_TO / "correlate-logs.md").read_text(encoding="utf-8")
    shown = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    with FakeAgent() as agent:
        done = run(program("correlate-logs.md", "logs"), **agent.environ)
    line = json.loads(next(text for text in done.stderr.splitlines() if "car T7" in text))
    assert list(line) == list(shown)
    assert {name: len(line[name]) for name in ("@timestamp", "trace_id", "span_id")} == {
        "@timestamp": 24,
        "trace_id": 32,
        "span_id": 16,
    }
