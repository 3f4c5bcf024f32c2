"""A process that has run out of file descriptors at its first batch: spans wait for better days."""

from __future__ import annotations

import subprocess
import sys

import pytest
from faults import wire
from otlp_grpc import collecting

from tracekit.testing import FakeAgent, FakeCollector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

PROGRAM = """
import os, resource, time, tracekit
tracing = tracekit.init("full", flush_s=0.1)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(100):
    tracing.tracer("t").start_span("a").end()
time.sleep(0.5)
before = tracing.stats()
assert before.queued + before.in_flight == 100, before
for each in held:
    os.close(each)
assert tracing.flush(10), tracing.stats()
assert tracing.stats().sent == 100
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize("kind", ["udp", "http", "otlp", "otlp-grpc"])
def test_no_descriptor_at_the_first_batch(kind):
    """Nothing is lost; all is sent once there are descriptors again."""
    with FakeAgent() as agent, FakeCollector() as collector, collecting() as port:
        environ = {
            "udp": agent.environ,
            "http": collector.environ,
            "otlp": collector.otlp_environ,
            "otlp-grpc": wire("otlp-grpc", port),
        }[kind]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PATH": "/usr/bin:/bin", **environ},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.returncode == 0, done.stderr
