"""``init`` with any environment: it starts, reports once, and a disabled one costs nothing."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracekit
from tracekit._config import variables
from tracekit.testing import MemoryTransport

VALUES = st.sampled_from([row.example for row in variables.ROWS]) | st.text(
    st.characters(exclude_categories=()), max_size=30
)
NAMES = [row.name for row in variables.ROWS if row.wire != "otlp"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8))
def test_no_environment_makes_init_raise(environ):
    """Whatever the variables say, the program gets a handle that makes spans and ends."""
    environ["JAEGER_SAMPLING_ENDPOINT"] = "http://127.0.0.1:1/sampling"  # nobody: nothing leaves
    tracing = tracekit.init(environ=environ, set_global=False, transport=MemoryTransport())
    try:
        with tracing.tracer("test").start_as_current_span("a") as span:
            span.set_attribute("b", "c")
            tracing.propagator.inject({})
    finally:
        tracing.shutdown(0.5)


def test_each_bad_variable_is_one_log_line(caplog):
    """The line says name, value, reason, and what is used instead; good ones say nothing."""
    environ = {
        "JAEGER_SERVICE_NAME": "shop",
        "JAEGER_AGENT_PORT": "sixty",
        "JAEGER_SAMPLER_TYPE": "all",
    }
    with caplog.at_level(logging.WARNING, "tracekit"):
        tracekit.init(environ=environ, set_global=False).shutdown()
    sampler, port, started = (record.getMessage() for record in caplog.records)
    assert sampler.startswith("JAEGER_SAMPLER_TYPE='all': is none of const, probabilistic")
    assert sampler.endswith("; using 'remote'")
    assert port == "JAEGER_AGENT_PORT='sixty': is not a whole number; using 6831"
    assert started.startswith("tracing shop:")  # a warning, for no sampler was chosen


def test_strict_raises_all_problems_together():
    """A deployment that would rather not start gets the whole list at once."""
    environ = {"JAEGER_AGENT_PORT": "sixty", "JAEGER_SAMPLER_TYPE": "all"}
    with pytest.raises(tracekit.ConfigError) as caught:
        tracekit.init(environ=environ, strict=True, set_global=False)
    assert {problem.name for problem in caught.value.problems} == set(environ)


def test_transport_names_a_wire_or_is_one():
    """``transport="http"`` is the setting, an object replaces what the settings say."""
    named = tracekit.init(environ={}, set_global=False, transport="http")
    given_ = tracekit.init(environ={}, set_global=False, transport=MemoryTransport())
    assert named.settings.transport.kind == "http"
    assert given_.settings.transport.kind == "udp"
    named.shutdown()
    given_.shutdown()


DISABLED = """
import json, sys

import tracekit

events = []
sys.addaudithook(lambda event, _: events.append(event))
tracing = tracekit.init()
headers = {"uber-trace-id": "abc:def:0:3", "x-request-id": "r"}
context = tracing.propagator.extract(headers)
with tracing.tracer("test").start_as_current_span("a", context) as span:
    out = {}
    tracing.propagator.inject(out)
print(json.dumps({
    "touched": [e for e in events if e.startswith(("socket", "_thread"))],
    "recording": span.is_recording(),
    "trace": out["uber-trace-id"].split(":")[0].lstrip("0"),
}))
tracing.shutdown()
"""


def test_disabled_beats_bad_values():
    """No thread, no socket, no span, no log line; the caller's context still passes through."""
    done = subprocess.run(
        [sys.executable, "-c", DISABLED],
        env={"JAEGER_DISABLED": "true", "JAEGER_AGENT_PORT": "sixty", "JAEGER_ENDPOINT": "?"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"touched": [], "recording": False, "trace": "abc"}
