"""Guards of the speed of extract and inject by what can be counted. No seconds in here."""

from __future__ import annotations

import sys

import pytest
from opentelemetry import trace

import tracekit
from tracekit._process.tally import FREE_THREADED
from tracekit.propagation import Propagator
from tracekit.testing import MemoryTransport

TRACE, SPAN = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
CARRIERS = {
    "jaeger": {"uber-trace-id": f"{TRACE}:{SPAN}:0:1"},
    "b3": {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1"},
    "b3single": {"b3": f"{TRACE}-{SPAN}-1"},
    "w3c": {"traceparent": f"00-{TRACE}-{SPAN}-01"},
}
# What CPython 3.11 counts, calls and byte codes, and a little. When each made a SpanContext,
# B3's extract took 19 and 227.
EXTRACT = {"jaeger": (13, 200), "b3": (13, 186), "b3single": (15, 194), "w3c": (18, 230)}
INJECT = {"jaeger": (6, 120), "b3": (8, 117), "b3single": (6, 115), "w3c": (8, 110)}


@pytest.fixture
def sampled():
    """Return a context in which a sampled root of ours is current."""
    tracing = tracekit.init(
        "costs",
        environ={},
        set_global=False,
        transport=MemoryTransport(),
        sampler_type="const",
        sampler_param=1.0,
        flush_s=3600,
    )
    yield trace.set_span_in_context(tracing.tracer("x").start_span("client"))
    tracing.shutdown()


def calls(work):
    """Return the functions that are called, Python's and C's."""
    counted = 0

    def profile(_frame, event, _argument):
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted - 1  # the end of counting is a call, too


def byte_codes(work):
    """Return how many steps of the interpreter it takes."""
    counted = 0

    def local(_frame, event, _argument):
        nonlocal counted
        counted += event == "opcode"
        return local

    def enter(frame, _event, _argument):
        frame.f_trace_opcodes = True
        return local

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return counted


def least(count, work):
    for _ in range(5):
        work()
    return min(count(work) for _ in range(3))


def held_to(most, work):
    """Hold ``work`` to the calls, and where these can be counted to the byte codes, of ``most``."""
    assert least(calls, work) <= most[0]
    if sys.version_info < (3, 12) and not FREE_THREADED:  # later ones have others
        assert least(byte_codes, work) <= most[1]


@pytest.mark.parametrize("name", CARRIERS)
def test_what_an_extract_takes(name):
    """What most requests say is read in a few calls; nothing is made that nobody asks for."""
    propagator, carrier = Propagator((name,)), CARRIERS[name]
    held_to(EXTRACT[name], lambda: propagator.extract(carrier))


@pytest.mark.parametrize("name", CARRIERS)
def test_what_an_inject_takes(name, sampled):
    """A span of ours is read by its slots and written in one go."""
    propagator = Propagator((name,))
    held_to(INJECT[name], lambda: propagator.inject({}, sampled))
