"""Where spans go without a collector: to standard output, or to nobody."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys

import pytest

import tracekit

ALL = {"JAEGER_SAMPLER_TYPE": "const", "JAEGER_SAMPLER_PARAM": "1"}


@pytest.fixture
def nobody(caplog):
    """Return a handle whose operator wants no exporter; nothing may be logged as a warning."""
    environ = {**ALL, "OTEL_TRACES_EXPORTER": "none"}
    with caplog.at_level(logging.INFO, "tracekit"):
        tracing = tracekit.init("shop", environ=environ, set_global=False)
        yield tracing
        tracing.shutdown()
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_traces_go_on_without_an_exporter(nobody):
    """Others may report their part: ids and decision are passed on."""
    headers = {}
    with nobody.tracer("t").start_as_current_span("work") as span:
        assert span.is_recording()
        nobody.propagator.inject(headers)
    assert headers["uber-trace-id"].endswith(":1")
    assert "spans to nobody" in nobody.settings.summary()


def test_spans_count_without_an_exporter(nobody):
    """They are no silent loss, nor worth a warning: the reason says nothing else was asked for."""
    for _ in range(1_000):
        nobody.tracer("t").start_span("work").end()
    assert nobody.flush(20.0)
    stats = nobody.stats()
    assert (stats.started, stats.finished, stats.sent, stats.payload_bytes) == (1_000, 1_000, 0, 0)
    assert {reason: n for reason, n in stats.dropped.items() if n} == {"no_exporter": 1_000}


def test_the_console_draws_trees():
    """``OTEL_TRACES_EXPORTER=console`` draws the spans of this process, a tree for each trace."""
    program = (
        "import tracekit\n"
        "tracekit.init('shop')\n"
        "tracer = tracekit.get_tracer('t')\n"
        "with tracer.start_as_current_span('work'):\n"
        "    tracer.start_span('part').end()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ALL, "OTEL_TRACES_EXPORTER": "console", "PYTHONIOENCODING": "utf-8"},
        timeout=60,
        check=True,
        capture_output=True,
        text=True,
    )
    header, root, child = done.stdout.rstrip("\n").splitlines()
    assert re.fullmatch(r"trace [0-9a-f]{16,32}  2 spans, 1 service, \S+ ms", header)
    assert root.startswith("shop work ")
    assert child.startswith("└─ shop part ")
    assert done.stderr == ""
