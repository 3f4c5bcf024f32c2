"""A process that has run out of file descriptors at its first batch: spans wait for better days."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
from faults import wire
from otlp_grpc import collecting

from tracekit.testing import FakeAgent, FakeCollector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

WIRES = ["udp", "http", "otlp", "otlp-grpc"]

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


JAIL = """
import os, sys, tracekit
tracing = tracekit.init("jailed")
os.chroot(sys.argv[1])
os.chdir("/")
tracing.tracer("t").start_span("a").end()
assert tracing.flush(10), tracing.stats()
"""


@contextlib.contextmanager
def receiving(kind):
    """Have a receiver of ``kind``; yield the variables of who sends to it."""
    with FakeAgent() as agent, FakeCollector() as collector, collecting() as port:
        yield {
            "udp": agent.environ,
            "http": collector.environ,
            "otlp": collector.otlp_environ,
            "otlp-grpc": wire("otlp-grpc", port),
        }[kind]


def run(program, environ, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize("kind", WIRES)
def test_no_descriptor_at_the_first_batch(kind):
    """Nothing is lost; all is sent once there are descriptors again. The log says what lacks."""
    with receiving(kind) as environ:
        said = run(PROGRAM, environ)
    assert "ulimit -n" in said
    assert "certificate" not in said


@pytest.mark.skipif(not hasattr(os, "chroot") or os.geteuid(), reason="who is not root has no jail")
@pytest.mark.parametrize("kind", WIRES)
def test_a_jail_without_files(kind, tmp_path):
    """A program may change its root before the first batch: nothing is opened for it."""
    with receiving(kind) as environ:
        run(JAIL, environ, str(tmp_path))
