"""The end of a process: what was finished is sent, and the program ends as it would have."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tracekit.testing import FakeAgent

PROGRAM = """
import os, signal, sys, time
import tracekit
{before}
tracing = tracekit.init("worker")
tracer = tracekit.get_tracer("t")
{after}
for i in range(100):
    tracer.start_span(str(i)).end()
print("ready", flush=True)
{finally_}
"""
SLEEP = "while True: time.sleep(0.05)"


@contextlib.contextmanager
def started(environ: dict[str, str], before: str = "", after: str = "", finally_: str = SLEEP):
    program = PROGRAM.format(
        before=textwrap.dedent(before),
        after=textwrap.dedent(after),
        finally_=textwrap.dedent(finally_),
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PATH": "", "JAEGER_REPORTER_FLUSH_INTERVAL": "1m", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            assert child.stdout.readline() == "ready\n", child.communicate(timeout=10)[1]
            yield child
        finally:
            child.kill()


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


@pytest.mark.integration
def test_sigterm_without_a_handler_sends_every_span_and_kills_as_before(agent):
    """The exit status is still *killed by SIGTERM*."""
    with started(agent.environ) as child:
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM
        agent.wait(100)


@pytest.mark.integration
def test_a_program_with_a_handler_of_its_own_keeps_it(agent):
    """Its SIGTERM handler alone runs; leaving through ``sys.exit`` sends the spans."""
    with started(
        agent.environ, before="signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    ) as child:
        child.terminate()
        assert child.wait(10) == 7
        agent.wait(100)


@pytest.mark.integration
def test_drain_on_runs_before_the_programs_own_handler(agent):
    """``drain_on`` chains: the spans are out even if the handler ends the process at once."""
    with started(
        agent.environ,
        before="signal.signal(signal.SIGTERM, lambda *_: os._exit(9))",
        after="tracekit.drain_on(signal.SIGTERM); tracekit.drain_on(signal.SIGTERM)",
    ) as child:
        child.terminate()
        assert child.wait(10) == 9
        agent.wait(100)


@pytest.mark.integration
def test_a_program_that_ignores_the_signal_goes_on_ignoring_it(agent):
    """SIG_IGN is a handler of the program's own: nothing is installed over it."""
    with started(agent.environ, before="signal.signal(signal.SIGTERM, signal.SIG_IGN)") as child:
        child.terminate()
        time.sleep(0.2)
        assert child.poll() is None
        child.kill()
        child.wait(10)


@pytest.mark.integration
def test_a_signal_that_does_not_end_the_program_drains_every_time(agent):
    """SIGWINCH does nothing by default: after draining the handler is ready for the next."""
    with started(agent.environ, after="tracekit.drain_on(signal.SIGWINCH)") as child:
        child.send_signal(signal.SIGWINCH)
        agent.wait(100)
        assert child.poll() is None
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM


@pytest.mark.integration
@pytest.mark.parametrize("leave", ["sys.exit(3)", "raise SystemExit(3)"])
def test_exit_sends_every_span_and_keeps_the_exit_code(agent, leave):
    """At exit the queue is drained within the budget; the exit code is the program's."""
    with started(agent.environ, finally_=leave) as child:
        assert child.wait(10) == 3
        agent.wait(100)


@pytest.mark.integration
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_send_their_spans(agent, tmp_path, method):
    """They leave by ``os._exit``, without ``atexit``; their spans arrive all the same."""
    script = tmp_path / "pool.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing
            import tracekit

            def work(number):
                tracekit.init("pool")
                tracekit.get_tracer("t").start_span(str(number)).end()
                return number

            if __name__ == "__main__":
                tracekit.init("pool")
                tracekit.get_tracer("t").start_span("parent").end()
                context = multiprocessing.get_context({method!r})
                with context.Pool(2, maxtasksperchild=2) as pool:
                    assert pool.map(work, range(8), chunksize=1) == list(range(8))
                    pool.close()
                    pool.join()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PATH": "", "JAEGER_REPORTER_FLUSH_INTERVAL": "1m", **agent.environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = sorted(span.operation for span in agent.wait(9))
    assert found == sorted(["parent", *map(str, range(8))])
