"""Ids are random, never twice the same, and a fork draws its own."""

import subprocess
import sys
import threading
from collections import Counter

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from tracekit._process.fork import PidMark, fork_mark
from tracekit.tracing._process_state import TracingState, TracingStates

FORKS = """
import ctypes, os, sys
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from tracekit.sampling import ParentRule
from tracekit.tracing import TracerProvider

class Told:
    ended = 0
    def on_start(self, span, parent_context=None): pass
    def on_end(self, span): self.ended += 1

fork = os.fork if sys.argv[1] == "os" else ctypes.CDLL(None).fork
told = Told()
provider = TracerProvider(ParentRule(ALWAYS_ON), told, Resource({}))
tracer = provider.get_tracer("x")
inherited = tracer.start_span("begun before")
ids = lambda: [tracer.start_span("x").get_span_context().span_id for _ in range(400)]
for span_id in ids()[:100]:
    os.write(1, b"%x\\n" % span_id)

def generation(depth):
    if depth == 0:
        return
    pid = fork()
    if pid == 0:
        inherited.end()
        assert told.ended == 0 and provider.counts().foreign == 1, provider.counts()
        for span_id in ids():
            os.write(1, b"%x\\n" % span_id)
        tracer.start_span("own").end()
        assert told.ended == 1 and provider.counts().foreign == 1
        told.ended = 0
        generation(depth - 1) if depth > 1 else None
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

inherited.set_attribute("a", 1)
generation(1)
generation(1)
inherited.end()
assert told.ended == 1
"""


@pytest.mark.parametrize("how", ["os", "libc"])
def test_forks_share_no_ids(how):
    """Children of any fork(2) draw ids anew, and what they inherit is foreign to them."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, how],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    assert len(ids) == 100 + 2 * 400
    assert [count for count in Counter(ids).values() if count > 1] == []


def test_grandchild_draws_anew():
    """A mark that was set again in the child is wiped in the grandchild, too."""
    program = """
import os
from tracekit.tracing._process_state import TracingStates
states = TracingStates()
def draw(): return [states.now().draw() for _ in range(3)]
first = draw()
read, write = os.pipe()
if os.fork() == 0:
    second = draw()
    if os.fork() == 0:
        os.write(write, repr((second, draw())).encode())
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
second, third = eval(os.read(read, 9999))
assert len({*first, *second, *third, *draw()}) == 12
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("make", [fork_mark, PidMark])
def test_a_mark_holds_in_its_own_process(make):
    """A mark reads 0 until it is set; the portable one behaves as the page does."""
    mark = make()
    assert mark[0] == 0
    mark[0] = 1
    assert mark[0] == 1


def test_threads_never_draw_the_same_number():
    """Racing threads draw distinct numbers across many refills."""
    process = TracingState()
    drawn = [[] for _ in range(4)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(
                target=lambda mine=mine: mine.extend(process.draw() for _ in range(3000))
            )
            for mine in drawn
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(switch)
    numbers = [number for mine in drawn for number in mine]
    assert len(numbers) == len(set(numbers)) == 12_000
    assert all(0 < number < 1 << 64 for number in numbers)


def test_zero_is_drawn_again():
    """A zero, which would be an invalid id, is thrown away."""
    process = TracingState()
    process.stock[:] = [7, 0]
    assert process.draw() == 7


def test_state_stays_the_same_without_a_fork():
    """One process has one state."""
    states = TracingStates()
    assert states.now() is states.now()


@pytest.mark.parametrize(("wide", "bits"), [(False, 64), (True, 128)])
def test_trace_ids_have_the_width_asked_for(provider_of, wide, bits):
    """Trace ids have 64 random bits, or 128."""
    tracer = provider_of(ALWAYS_ON, traceid_128bit=wide).get_tracer("x")
    widest = max(tracer.start_span("x").get_span_context().trace_id for _ in range(64))
    assert bits - 10 < widest.bit_length() <= bits
