"""``instrument()`` over and under the patches of Elastic APM, Sentry, ddtrace and OpenTelemetry."""

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("beside.py")
# Of each style: unary, future and stream, twice, blocking; unary and stream, twice, on asyncio.
CALLS = 4 * (6 + 4)


@functools.cache
def run(tool, order):
    done = subprocess.run(
        [sys.executable, PROGRAM, tool, order],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith("FOUND "):
            return json.loads(line.removeprefix("FOUND "))
    raise AssertionError(done.stdout + done.stderr)


TOOLS = {
    "elastic": "elasticapm",
    "sentry": "sentry_sdk",
    "ddtrace": "ddtrace",
    "opentelemetry": "opentelemetry.instrumentation.grpc",
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("order", ["ours-first", "theirs-first"])
def test_with_both_it_sees_what_theirs_shows(tool, order):
    """Every style of construction, each interceptor once, and two spans of ours for each call."""
    if importlib.util.find_spec(TOOLS[tool]) is None:
        pytest.skip(f"{TOOLS[tool]} is not installed: make test-peers")
    alone, both = run(tool, "alone"), run(tool, order)
    assert both["found"] == alone["found"]
    assert both["open"] == 0
    assert both["spans"] == 2 * CALLS
