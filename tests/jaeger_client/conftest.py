"""An oracle's interpreter, an agent to listen at, and a process in which nothing is initialized."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import opentracing
import pytest
from opentelemetry import context as otel_context

import tracekit
from tracekit.jaeger_client import Config
from tracekit.testing import FakeAgent

ROOT = Path(__file__).parents[2]
OWN_ENVIRONMENT = ROOT / ".build" / "jaeger-client" / "bin" / "python"
"""Made by ``make test``, with an interpreter that jaeger_client supports, if there is one."""


@pytest.fixture(scope="session")
def oracle():
    """Return the first interpreter on which jaeger_client can be imported."""
    for python in (OWN_ENVIRONMENT, sys.executable):
        check = [str(python), "-W", "ignore", "-c", "import jaeger_client"]
        if Path(python).exists():
            done = subprocess.run(check, check=False, capture_output=True, timeout=60)
            if done.returncode == 0:
                return str(python)
    pytest.skip("no interpreter at hand can import jaeger_client: nothing to compare with")


@pytest.fixture(scope="session")
def ask_both(oracle):
    """Run a script of this folder on ``jaeger_client`` and on tracekit; return both's answers.

    It is given the questions as JSON, and answers with a line of JSON each.
    """

    def ask(python, module, script, questions):
        bare = {key: it for key, it in os.environ.items() if not key.startswith(("JAEGER", "OTEL"))}
        done = subprocess.run(
            [python, "-W", "ignore", str(Path(__file__).with_name(script)), module],
            env={**bare, "PYTHONPATH": str(ROOT) if module.startswith("tracekit") else ""},
            input=json.dumps(questions),
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return lambda script, questions: (
        ask(oracle, "jaeger_client", script, questions),
        ask(sys.executable, "tracekit.jaeger_client", script, questions),
    )


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for key in os.environ:
        if key.startswith(("JAEGER_", "OTEL_", "TRACEKIT_")):
            monkeypatch.delenv(key)


@pytest.fixture(autouse=True)
def _nothing_active():
    otel_context.attach(otel_context.Context())
    yield
    otel_context.attach(otel_context.Context())


@pytest.fixture
def agent():
    with FakeAgent() as agent:
        yield agent


@pytest.fixture
def to_agent(agent):
    """Return the part of a configuration that leads to the agent."""
    return {
        "sampler": {"type": "const", "param": 1},
        "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": agent.port},
        "reporter_flush_interval": 0.02,
    }


@pytest.fixture
def uninitialized(monkeypatch):
    """Let ``initialize_tracer`` be called for the first time, and undo what it does."""
    monkeypatch.setattr(Config, "_initialized", False)
    monkeypatch.setattr(opentracing, "tracer", opentracing.Tracer())
    tracekit.shutdown()
    yield
    tracekit.shutdown()
