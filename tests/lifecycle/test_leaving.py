"""Children that leave by ``os._exit``, and what the figures say of a process that has ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time

import pytest

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


def run(source, agent, **environ):
    """Run a program to its end; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)],
        env={
            "PATH": os.environ["PATH"],
            "JAEGER_REPORTER_FLUSH_INTERVAL": "1m",
            **agent.environ,
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SPAN = 'tracekit.get_tracer("t").start_as_current_span("job").__enter__().end()'

HORSE = f"""
    import os, sys
    {{before}}
    for number in range(4):
        child = os.fork()
        if not child:
            try:
                {{inside}}
                {SPAN}
            finally:
                {{leave}}
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
"""
INIT = 'import tracekit; tracekit.init("work")'


@pytest.mark.parametrize("leave", ["os._exit(3)", "sys.modules['os']._exit(status=3)"])
@pytest.mark.parametrize("set_up", ["before", "inside"])
def test_jobs_of_leaving_children_arrive(agent, set_up, leave):
    """RQ's work horse forks, runs a job and leaves; tracing may be set up by the job's module."""
    parts = {"before": "pass", "inside": "pass", set_up: INIT}
    assert run(HORSE.format(leave=leave, **parts), agent).split() == ["3"] * 4
    assert len(agent.wait(4)) == 4


def test_leaving_is_bounded(agent):
    """A child with a collector that hangs leaves within its exit budget, with its own status."""
    program = HORSE.format(before=INIT, inside="pass", leave="os._exit(7)")
    began = time.monotonic()
    said = run(
        program,
        agent,
        JAEGER_ENDPOINT="http://127.0.0.1:9/api/traces",
        TRACEKIT_EXIT_BUDGET="300ms",
    )
    assert said.split() == ["7"] * 4
    assert time.monotonic() - began < 20


def test_a_started_program_leaves_as_bare(agent):
    """``os._exit`` of a process that was not forked from Python is nobody's to change."""
    said = run(f"import os; before = os._exit\n{INIT}\n{SPAN}\nprint(os._exit is before)", agent)
    assert said.strip() == "True"


FORKING = """
    import os, signal, socket, threading, urllib.request
    import werkzeug.serving, flask, tracekit, tracekit.flask
    tracekit.init("forking")
    app = flask.Flask("forking")
    app.route("/")(lambda: str(os.getpid()))
    tracekit.flask.init_app(app)
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, processes=4)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pids = {urllib.request.urlopen(f"http://127.0.0.1:{server.port}/").read() for _ in range(4)}
    print(len(pids), len(pids - {str(os.getpid()).encode()}))
    server.shutdown()
"""


def test_a_process_a_request_loses_none(agent):
    """Werkzeug with ``processes=``: each request's span leaves with its process."""
    assert run(FORKING.replace("{{", "{").replace("}}", "}"), agent).split() == ["4", "4"]
    assert [span.operation for span in agent.wait(4)] == ["GET /"] * 4


FIGURES = """
    import multiprocessing, os, time, tracekit, tracekit.prometheus
    from prometheus_client import REGISTRY

    def collect():
        REGISTRY.register(tracekit.prometheus.collector())

    def work():
        for _ in range(5):
            tracekit.get_tracer("x").start_span("s").end()

    first, second = (collect, lambda: tracekit.init("w"))[::{order}]
    first()
    second()
    {leave}
"""
LEAVE = {
    "exit": "work()",
    "after a second": "work(); time.sleep(1.3)",
    "shutdown": "work(); tracekit.shutdown(); time.sleep(1.3)",
    "shutdown and collect": "work(); tracekit.shutdown(); list(REGISTRY.collect())",
    "forked": "child = os.fork(); child and os.waitpid(child, 0) or (work(), os._exit(0))",
    "multiprocessing": "p = multiprocessing.get_context('fork').Process(target=work)"
    "; p.start(); p.join()",
}
READ = """
    from prometheus_client import CollectorRegistry, generate_latest, multiprocess
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    print(generate_latest(registry).decode())
"""


@pytest.mark.parametrize("order", [1, -1], ids=["collector first", "init first"])
@pytest.mark.parametrize("leave", LEAVE)
def test_an_ended_processs_files_are_final(agent, leave, order, tmp_path):
    """They say what became of its spans, however it ends: nothing queued for ever, or forgotten."""
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    run(FIGURES.format(order=order, leave=LEAVE[leave]), agent, **environ)
    text = run(READ, agent, **environ)
    figures = {key: float(value) for key, value in re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE)}
    assert figures['jaeger_tracer_finished_spans_total{sampled="y"}'] == 5
    assert figures['jaeger_tracer_reporter_spans_total{result="ok"}'] == 5
    assert len(agent.wait(5)) == 5


def test_figures_outlive_their_handle():
    """Counters do not fall back to 0 at ``shutdown``; a new handle begins its own."""
    program = """
        import tracekit, tracekit.prometheus
        from prometheus_client import CollectorRegistry
        from tracekit.testing import MemoryTransport
        registry = CollectorRegistry()
        registry.register(tracekit.prometheus.collector())
        finished = lambda: registry.get_sample_value(
            "jaeger_tracer_finished_spans_total", {"sampled": "y"})
        said = [finished()]
        for _ in range(2):
            tracekit.init("w", transport=MemoryTransport())
            said.append(finished())
            tracekit.get_tracer("x").start_span("s").end()
            tracekit.shutdown()
            said.append(finished())
        print(said)
    """
    with FakeAgent() as agent:
        assert run(program, agent).strip() == "[0, 0, 1, 0, 1]"
