"""A receiver that is not there: who says so, when, and what the end of a program costs then."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys

import pytest
from ports import free_port
from waiting import eventually

import tracekit
from tracekit._causes import Cause
from tracekit._protocols import SendResult
from tracekit.local import Receiver
from tracekit.reporting._outage import PAUSE_S, Outage
from tracekit.testing import FakeClock

SOON = 20.0


def environ(**others):
    return {
        "JAEGER_SERVICE_NAME": "shop",
        "JAEGER_SAMPLER_TYPE": "const",
        "JAEGER_SAMPLER_PARAM": "1",
        "JAEGER_REPORTER_FLUSH_INTERVAL": "20ms",
    } | others


WIRES = {
    "udp": lambda port: {"JAEGER_AGENT_HOST": "127.0.0.1", "JAEGER_AGENT_PORT": str(port)},
    "http": lambda port: {"JAEGER_ENDPOINT": f"http://127.0.0.1:{port}/api/traces"},
    "otlp-http": lambda port: {
        "TRACEKIT_TRANSPORT": "otlp-http",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
    },
    "otlp-grpc": lambda port: {
        "TRACEKIT_TRANSPORT": "otlp-grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
    },
}


@pytest.mark.parametrize("wire", sorted(WIRES))
def test_the_first_failure_is_one_warning(wire, caplog):
    """With address, cause and remedy: before any span is lost, without a flush, and only once."""
    port = free_port(socket.SOCK_DGRAM if wire == "udp" else socket.SOCK_STREAM)
    tracing = tracekit.init(environ=environ(**WIRES[wire](port)), set_global=False)
    try:
        tracing.tracer("t").start_span("work").end()
        eventually(lambda: caplog.records, SOON)
        eventually(lambda: tracing.stats().retries > 2, SOON)
        (record,) = caplog.records
        said = record.getMessage()
        assert record.levelno == logging.WARNING
        assert str(port) in said
        assert "refuse" in said.lower()
        assert Cause.NOBODY_HERE.remedy in said
        assert str(port) in tracing.stats().last_problem
        assert tracing.stats().as_dict()["last_problem"] == tracing.stats().last_problem
    finally:
        tracing.shutdown(0.1)


def test_an_agent_that_comes_back_is_told(caplog):
    """How long it was away, and that nothing was lost."""
    with Receiver() as receiver:
        port = receiver.port
    tracing = tracekit.init(environ=environ(**WIRES["udp"](port)), set_global=False)
    try:
        tracing.tracer("t").start_span("work").end()
        eventually(lambda: caplog.records, SOON)
        with Receiver(port=port) as receiver:
            receiver.wait(1, timeout_s=SOON)
            eventually(lambda: len(caplog.records) == 2, SOON)
        said = caplog.records[1].getMessage()
        assert re.search(r"sent again, after \d+\.\d s; 0 were dropped", said)
    finally:
        tracing.shutdown()


@pytest.fixture
def outage():
    clock = FakeClock()
    return Outage(clock), clock


REFUSED_HERE = SendResult.retry("refused").because(Cause.NOBODY_HERE)


def test_a_stumbling_receiver_is_told_rarely(outage, caplog):
    """Twice a minute at most: a further outage within the pause costs a figure, and no line."""
    it, clock = outage
    for _ in range(100):
        it.note(REFUSED_HERE, 0)
        it.tell(told=False)
        it.note(SendResult.sent(), 0)
        clock.advance(PAUSE_S / 60)
    told = [each.getMessage() for each in caplog.records]
    assert len([each for each in told if "cannot be sent" in each]) == 2
    assert len([each for each in told if "sent again" in each]) == 2


def test_a_told_loss_tells_of_the_outage(outage, caplog):
    """Who has read why spans were dropped need not read it twice."""
    it, _ = outage
    it.note(SendResult.failed("401"), 5)
    it.tell(told=True)
    it.tell(told=False)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("results", "in_vain"),
    [
        ([], False),
        ([REFUSED_HERE], True),
        ([REFUSED_HERE, REFUSED_HERE], True),
        ([REFUSED_HERE, SendResult.sent()], False),
        ([SendResult.sent(), REFUSED_HERE], False),
        ([SendResult.retry("far").because(Cause.REFUSED)], False),
        ([REFUSED_HERE, SendResult.retry("slow").because(Cause.TIMED_OUT)], False),
    ],
)
def test_only_an_absent_host_is_in_vain(outage, results, in_vain):
    """Where nobody ever listened. A success, another host or trouble is worth the whole budget."""
    it, _ = outage
    for result in results:
        it.note(result, 0)
    assert it.in_vain is in_vain


ENDS = """
import atexit, time
atexit.register(lambda: print(time.monotonic() - began, flush=True))  # the last to be called
import tracekit
tracing = tracekit.init()
tracing.tracer("t").start_span("work").end()
{middle}
began = time.monotonic()
"""
"""A program that prints how long its end took, in seconds."""


def test_without_an_agent_a_script_ends_soon():
    """After a quarter of the budget; the span is counted, the advice is not to wait longer."""
    done = subprocess.run(
        [sys.executable, "-c", ENDS.format(middle="")],
        env=os.environ
        | environ(**WIRES["udp"](free_port(socket.SOCK_DGRAM)), TRACEKIT_EXIT_BUDGET="4s"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert 0.6 < float(done.stdout) < 3.0
    assert "1 spans dropped (shutdown: 1)" in done.stderr
    assert Cause.NOBODY_HERE.remedy in done.stderr
    assert "a quarter of the exit budget" in done.stderr
    assert "raise TRACEKIT_EXIT_BUDGET" not in done.stderr


def test_a_known_agent_is_waited_for():
    """It may be restarting, so the whole budget is used."""
    middle = """
assert tracing.flush(20)
print("flushed", flush=True)
input()
tracing.tracer("t").start_span("late").end()
"""
    with Receiver() as receiver:
        program = subprocess.Popen(
            [sys.executable, "-c", ENDS.format(middle=middle)],
            env=os.environ | environ(**WIRES["udp"](receiver.port), TRACEKIT_EXIT_BUDGET="1s"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert program.stdout.readline() == "flushed\n"
    out, said = program.communicate("\n", timeout=60)
    assert float(out) > 0.7
    assert "1 spans dropped (shutdown: 1)" in said
    assert "quarter" not in said
