"""The end of a program: within its budget whatever the collector does, with its own exit code."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time

import pytest
from accounting import lawful
from faults import FAULTS, IDLE, SIGTERM, black_holed, end_of, silent, slow, started, wire

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

BUDGET_S = 0.5
SLACK_S = 8.0
"""For a busy machine; ``make bench-reliability`` prints the real figures."""
UNBOUNDED = {"JAEGER_REPORTER_TIMEOUT": "1m", "OTEL_EXPORTER_OTLP_TIMEOUT": "1m"}
"""What would hold an exit up for longer than that, if its budget did not."""
SPANS = 300


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


@pytest.mark.parametrize("kind", ["udp", "http", "otlp-http", "otlp-grpc"])
def test_a_failing_collector_holds_no_exit(kind):
    """Refused, silent, black-holed: the program ends in time, each span in one figure."""
    if kind == "otlp-grpc":
        pytest.importorskip("grpc")
    names = ["refused"] if kind == "udp" else ["refused", "silent", "black_holed"]
    with contextlib.ExitStack() as stack:
        running = {}
        for name in names:  # at the same time: each only waits
            environ = {
                **wire(kind, stack.enter_context(FAULTS[name]())),
                "TRACEKIT_EXIT_BUDGET": f"{BUDGET_S}s",
                "JAEGER_REPORTER_FLUSH_INTERVAL": "100ms",
                **UNBOUNDED,
            }
            exits = "time.sleep(0.3); sys.exit(3)"
            for how, then in (("exit", exits), ("SIGTERM", IDLE)):
                running[name, how] = stack.enter_context(started(environ, spans=SPANS, then=then))
        for (name, how), child in running.items():
            began = time.monotonic()
            end = end_of(child, SIGTERM if how == "SIGTERM" else None)
            assert time.monotonic() - began < BUDGET_S + SLACK_S, (name, how)
            assert end.code == (3 if how == "exit" else -SIGTERM), end.stderr
            assert "Traceback" not in end.stderr
            told = re.findall(r"(\d+) spans (?:dropped|are still|could not)", end.stderr)
            assert sum(map(int, told)) == SPANS, end.stderr
            if how == "exit":
                stats = end.stats
                assert lawful(stats)
                assert (stats["finished"], stats["sent"]) == (SPANS, 0)
                assert stats["dropped"]["shutdown"] + stats["in_flight"] == SPANS


@pytest.mark.parametrize("kind", ["http", "otlp-http"])
def test_a_slow_collector_is_waited_for(kind):
    """An answer that comes within the budget is waited for."""
    with (
        slow(0.5) as port,
        started(wire(kind, port), spans=SPANS, then="sys.exit(3)") as child,
    ):
        end = end_of(child)
    assert (end.code, end.stats["sent"]) == (3, SPANS), end.stderr


def test_a_hung_sampling_server_adds_no_time():
    """The budget is one: for the drain, the wire and the sampler's thread together."""
    with silent() as sampling, black_holed() as collector:
        environ = {
            **wire("http", collector),
            **UNBOUNDED,
            "JAEGER_SAMPLER_TYPE": "remote",
            "JAEGER_SAMPLING_ENDPOINT": f"http://127.0.0.1:{sampling}/sampling",
            "JAEGER_SAMPLER_REFRESH_INTERVAL": "100ms",
            "TRACEKIT_EXIT_BUDGET": f"{BUDGET_S}s",
        }
        then = "time.sleep(0.3); sys.exit(3)"
        with started(environ, spans=SPANS, then=then) as child:
            end = end_of(child)
    assert (end.code, lawful(end.stats)) == (3, True)
    assert end.took_s < 0.3 + BUDGET_S + SLACK_S


@pytest.mark.parametrize("kind", ["udp", "http"])
def test_a_hung_name_server_holds_no_exit(kind):
    """A look-up is not waited for beyond the budget, not even where threads cannot start."""
    environ = {**wire(kind, 6831), "TRACEKIT_EXIT_BUDGET": f"{BUDGET_S}s"}
    environ = {name: value.replace("127.0.0.1", "agent.test") for name, value in environ.items()}
    hang = "import socket; socket.getaddrinfo = lambda *_, **__: time.sleep(30)"
    with started(environ, before=hang, spans=SPANS, then="sys.exit(3)") as child:
        end = end_of(child)
    assert (end.code, lawful(end.stats)) == (3, True)
    assert end.took_s < BUDGET_S + SLACK_S


def test_the_agents_name_is_found_at_exit(agent):
    """A program that ends before its first interval finds an agent that has a name."""
    environ = {**agent.environ, "JAEGER_AGENT_HOST": "localhost"}
    with started(environ, spans=SPANS, then="sys.exit(3)") as child:
        assert end_of(child).code == 3
    assert len(agent.wait(SPANS)) == SPANS


LEAVES = {
    "sys.exit": ("sys.exit(3)", 3),
    "SystemExit in a thread": (
        "thread = threading.Thread(target=sys.exit, args=(9,)); thread.start(); thread.join()",
        0,
    ),
    "an exception": ("1 / 0", 1),
    "a thread that goes on after the main one": (
        "threading.Timer(0.2, lambda: tracer.start_span('late').end()).start()",
        0,
    ),
    "a span at exit": ("atexit.register(lambda: tracer.start_span('late').end()); sys.exit(4)", 4),
}


@pytest.mark.parametrize("how", LEAVES)
def test_every_way_to_leave_sends_every_span(agent, how):
    """The exit code is the program's own."""
    then, code = LEAVES[how]
    with started(agent.environ, then=then) as child:
        end = end_of(child)
    assert end.code == code, end.stderr
    late = "late" in then
    assert len(agent.wait(100 + late)) == 100 + late
    assert lawful(end.stats)


def test_the_first_span_may_come_at_exit(agent):
    """From Python 3.12 on nobody can start a thread then: the drain runs on the main thread."""
    then = "atexit.register(lambda: tracer.start_span('only').end()); sys.exit(4)"
    with started(agent.environ, spans=0, then=then) as child:
        end = end_of(child)
    assert (end.code, end.stderr) == (4, "")
    assert [span.operation for span in agent.wait(1)] == ["only"]
    assert end.stats["sent"] == 1


def test_an_interrupt_sends_every_span(agent):
    """The first Ctrl-C ends the program as ever."""
    with started(agent.environ, then=IDLE) as child:
        end = end_of(child, signal.SIGINT)
    assert end.code == -signal.SIGINT
    assert "KeyboardInterrupt" in end.stderr
    assert len(agent.wait(100)) == 100


def test_a_second_interrupt_cuts_it_short():
    """Who presses Ctrl-C again does not wait for the budget."""
    with silent() as port:
        environ = {**wire("http", port), "TRACEKIT_EXIT_BUDGET": "60s"}
        with started(environ, then=IDLE) as child:
            child.send_signal(signal.SIGINT)
            time.sleep(1.0)
            end = end_of(child, signal.SIGINT, timeout_s=20)
    assert end.code == -signal.SIGINT


def test_os_exit_sends_what_a_flush_has_sent(agent):
    """``os._exit`` runs nothing: flush before it."""
    then = "done = tracekit.flush(); tracer.start_span('lost').end(); os._exit(0 if done else 1)"
    with started(agent.environ, then=then) as child:
        assert end_of(child).code == 0
    assert len(agent.wait(100)) == 100


def test_a_crash_keeps_its_signal(agent):
    """A process that the kernel kills dies as it would without tracing."""
    with started(agent.environ, then="tracekit.flush(); os.abort()") as child:
        assert end_of(child).code == -signal.SIGABRT
    assert len(agent.wait(100)) == 100


def test_without_spans_it_ends_at_once():
    """No thread, no socket, no wait."""
    with black_holed() as port:
        program = (
            "import tracekit, threading; tracekit.init('idle'); print(threading.active_count())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=wire("http", port),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    assert done.stdout == "1\n"
