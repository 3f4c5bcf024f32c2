"""What a start loads and what it leaves for later."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import opentelemetry.propagate
import opentelemetry.sdk.trace
before = set(sys.modules)
import tracekit
tracing = tracekit.init("lean", environ={}, sampler_type="const", sampler_param=1)
with tracing.tracer("lean").start_as_current_span("first"):
    pass
print(*set(sys.modules) - before)
"""
LATER = (
    # The standard library's, unless OpenTelemetry's SDK has loaded them.
    *("difflib", "http.client", "logging.config", "pathlib", "ssl", "tempfile", "email"),
    # Others' packages.
    *("google.protobuf", "grpc", "opentelemetry.exporter", "opentelemetry.sdk._logs", "requests"),
    *("opentelemetry.sdk.metrics", "opentelemetry.sdk.trace.export", "urllib3", "yaml"),
    # Our own.
    *("tracekit._calls.http", "tracekit._calls.metrics", "tracekit._config.file"),
    *("tracekit._config.jaeger_dictionary", "tracekit._instrument", "tracekit.metrics"),
    *("tracekit._protobuf", "tracekit.encoding._otlp", "tracekit.encoding._native_otlp"),
    *("tracekit.sampling._file", "tracekit.sampling._http", "tracekit.sampling._keep"),
    *("tracekit.sampling._limiter", "tracekit.sampling._operations", "tracekit.sampling._remote"),
    "tracekit.sampling._strategy",
    *("tracekit.tracing._begin_kept", "tracekit.tracing._keeping", "tracekit.tracing._late"),
    *("tracekit.transport._http", "tracekit.transport._otlp"),
)


def test_a_start_with_udp_loads_no_more():
    """A service that sends datagrams and samples by itself waits for nothing that it never uses."""
    command = [sys.executable, "-I", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = done.stdout.split()
    assert not [m for m in loaded if any(m == n or m.startswith(f"{n}.") for n in LATER)]
