"""gevent or eventlet patch after ``init``, as uWSGI has them do: nothing stands still."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from faults import slow, wire

from tracekit.testing import FakeAgent, FakeCollector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

PROGRAM = """
import os, time
import tracekit
tracekit.init("green", sampler_type=os.environ.get("SAMPLER", "const"), sampler_param=1)
if os.environ["WORLD"] == "gevent":
    from gevent import monkey; monkey.patch_all()
    import gevent as green; spawn = green.spawn
    wait = lambda made: green.joinall(made, timeout=20)
else:
    import warnings; warnings.simplefilter("ignore")
    import eventlet; eventlet.monkey_patch(); spawn = eventlet.spawn
    wait = lambda made: [each.wait() for each in made]
gaps = []
def ticker():
    last = time.monotonic()
    for _ in range(80):
        time.sleep(0.02)
        now = time.monotonic(); gaps.append(now - last); last = now
def work():
    for number in range(20):
        tracekit.get_tracer("t").start_span("b").end()
        time.sleep(0.04)
def flushing():
    for _ in range(5):
        time.sleep(0.1)
        tracekit.flush(1)
wait([spawn(each) for each in (ticker, work, flushing, flushing)])
ok = bool(tracekit.flush(5))
print(max(gaps), ok, tracekit.stats().sent, flush=True)
"""


def run(world, environ, program=PROGRAM):
    if importlib.util.find_spec(world) is None:
        pytest.skip(f"{world} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"WORLD": world, "PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Exception" not in done.stderr
    longest, ok, sent = done.stdout.split()[-3:]
    return float(longest), ok == "True", int(sent)


@pytest.mark.parametrize("world", ["gevent", "eventlet"])
@pytest.mark.parametrize("kind", ["udp", "http", "remote"])
def test_no_green_thread_stands_still(world, kind):
    """Spans arrive, and the loop is never held for long."""
    with FakeAgent() as agent, FakeCollector() as collector:
        environ = {"udp": agent.environ, "http": collector.environ, "remote": agent.environ}[kind]
        if kind == "remote":
            environ = {**environ, "SAMPLER": "remote"}
        longest, ok, sent = run(world, environ)
    assert ok
    assert sent == 20
    assert longest < 1.0


@pytest.mark.parametrize("world", ["gevent", "eventlet"])
def test_a_slow_collector_holds_no_loop(world):
    """What waits for an answer is a green thread, not all of them."""
    with slow(1.5) as port:
        longest, _, _ = run(world, wire("http", port))
    assert longest < 1.0


LATE = """
import os, sys, warnings
import tracekit
tracing = tracekit.init("green", sampler_type="const", sampler_param=1)
tracing.tracer("t").start_span("b").end()  # there is a real thread that waits now
if os.environ["WORLD"] == "gevent":
    from gevent import monkey; monkey.patch_all()
else:
    warnings.simplefilter("ignore")
    import eventlet; eventlet.monkey_patch()
if os.environ["ACT"] == "flush":
    tracing.flush(5)
else:
    tracing.shutdown(5)
print(0.0, True, tracing.stats().sent, flush=True)
"""


@pytest.mark.parametrize("world", ["gevent", "eventlet"])
@pytest.mark.parametrize("act", ["flush", "shutdown"])
def test_ended_before_the_patch_sent_after(world, act):
    """Who wants it sent does not wait for a thread of the other kind, which may wait for it."""
    for _ in range(4):
        with FakeAgent() as agent:
            _, _, sent = run(world, {**agent.environ, "ACT": act}, LATE)
        assert sent == 1
