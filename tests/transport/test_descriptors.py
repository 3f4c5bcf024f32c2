"""Descriptors above 1 024, and those that a program takes away from us."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import tracekit
from tracekit.testing import FakeAgent, FakeCollector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

MANY = """
import os, resource, sys, tracekit
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if hard != resource.RLIM_INFINITY and hard < 2000:
    sys.exit("too few")
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
tracing = tracekit.init("many", flush_s=60)
for number in range(5):
    tracing.tracer("t").start_span("a").end()
    assert tracing.flush(50), tracing.stats()
stats = tracing.stats()
assert (stats.sent, stats.payloads, stats.retries) == (5, 5, 0), stats
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_high_descriptors_are_watched(receiver):
    """One connection serves all above 1024, where ``select`` would take it for a closed one."""
    done = subprocess.run(
        [sys.executable, "-c", MANY],
        env={"PATH": os.environ["PATH"], **receiver.environ},
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    if "too few" in done.stderr:
        pytest.skip("this system allows too few descriptors")
    assert done.returncode == 0, done.stderr
    assert len(receiver.spans) == 5
    if receiver.protocol != "grpc":
        assert receiver.connections == 1


LISTED = Path("/proc/self/fd")


def descriptors():
    return {int(each.name) for each in LISTED.iterdir()}


@pytest.fixture(params=["udp", "http", "otlp"])
def far(request):
    """Return the variables of a receiver in a process of its own, and its spans."""
    with FakeAgent() as agent, FakeCollector() as collector:
        environ, at = {
            "udp": (agent.environ, agent),
            "http": (collector.environ, collector),
            "otlp": (collector.otlp_environ, collector),
        }[request.param]
        yield environ, at


@pytest.mark.skipif(not LISTED.is_dir(), reason="descriptors are not listed")
@pytest.mark.parametrize("taken_by", ["a datagram socket", "a file", "nobody"])
def test_a_reused_number_gets_no_span(far, taken_by, tmp_path):
    """No span is sent there, none is lost, and the program's descriptor stays open."""
    environ, at = far
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    other.setblocking(False)
    with mine, other, (tmp_path / "file").open("w+b", buffering=0) as file:
        tracing = tracekit.init("taken", environ=environ, set_global=False)
        try:
            tracing.tracer("t").start_span("one").end()
            assert tracing.flush(20)
            ours = [each for each in descriptors() if is_connected_to(each, environ)]
            assert len(ours) == 1
            source = {"a datagram socket": mine, "a file": file}.get(taken_by)
            if source is None:
                os.close(ours[0])
            else:
                os.dup2(source.fileno(), ours[0])
            for name in ("two", "three"):
                tracing.tracer("t").start_span(name).end()
                assert tracing.flush(20)
            stats = tracing.stats()
            assert (stats.sent, stats.resent) == (3, 0)
        finally:
            tracing.shutdown(20)
        assert sorted(span.operation for span in at.wait(3)) == ["one", "three", "two"]
        if source is not None:
            assert os.fstat(ours[0]).st_ino == os.fstat(source.fileno()).st_ino
            os.close(ours[0])
        assert (tmp_path / "file").read_bytes() == b""
        with pytest.raises(BlockingIOError):
            other.recv(1)


def is_connected_to(number, environ):
    try:
        copy = os.dup(number)
    except OSError:  # the list's own
        return False
    try:
        with socket.socket(fileno=copy) as opened:
            peer = opened.getpeername()
    except OSError:
        with contextlib.suppress(OSError):
            os.close(copy)
        return False
    return isinstance(peer, tuple) and any(str(peer[1]) in each for each in environ.values())
