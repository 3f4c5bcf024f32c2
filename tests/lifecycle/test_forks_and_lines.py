"""A fork while our worker writes a log line: the child can write, and ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

PROGRAM = """
import io, logging, os, sys, threading, time, tracekit

class Slow(io.RawIOBase):
    '''A stream whose reader takes its time.'''
    def writable(self): return True
    def write(self, data):
        writing.set(); time.sleep(0.1); return len(data)

writing = threading.Event()
out = io.TextIOWrapper(io.BufferedWriter(Slow()), line_buffering=True)
logging.basicConfig(stream=out, level="WARNING")
tracing = tracekit.init("s", endpoint="http://127.0.0.1:9/x", sampler_type="const", sampler_param=1,
                        flush_s=0.02, exit_budget_s=0.3)
tracing.tracer("t").start_span("a").end()
assert writing.wait(10)
pid = os.fork()
if pid == 0:
    logging.warning("a line of the child's")
    tracing.tracer("t").start_span("b").end()
    sys.exit(0)
deadline = time.monotonic() + 10
while os.waitpid(pid, os.WNOHANG) == (0, 0):
    if time.monotonic() > deadline:
        os.kill(pid, 9)
        os._exit(7)
    time.sleep(0.02)
os._exit(0)
"""


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_no_half_written_line_is_inherited():
    """The lock of the stream is none that Python renews in a child."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
