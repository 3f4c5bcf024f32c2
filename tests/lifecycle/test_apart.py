"""Handles that are not global, locks that a fork inherits, modules that are half imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest
from accounting import lawful
from faults import silent

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


def run(source, timeout_s=30, **environ):
    """Run a program to its end; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)],
        env={"PATH": os.environ["PATH"], "JAEGER_REPORTER_FLUSH_INTERVAL": "1m", **environ},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_handles_not_global_drain_at_exit(agent):
    """Also one of which only a tracer is kept, beside a global one, and in a forked child."""
    out = run(
        """
        import atexit, json, os
        import tracekit

        def tell():  # registered before: runs after
            print(json.dumps(apart.stats().as_dict()), flush=True)

        atexit.register(tell)
        apart = tracekit.init("apart", set_global=False)
        tracer = tracekit.init("forgotten", set_global=False).tracer("t")
        tracekit.init("global")
        apart.tracer("t").start_span("apart").end()
        tracer.start_span("forgotten").end()
        tracekit.get_tracer("t").start_span("global").end()
        if os.fork() == 0:
            apart.tracer("t").start_span("child").end()
            raise SystemExit
        os.wait()
        """,
        **agent.environ,
    )
    names = sorted(span.operation for span in agent.wait(4))
    assert names == ["apart", "child", "forgotten", "global"]
    for line in out.splitlines():
        stats = json.loads(line)
        assert lawful(stats)
        assert stats["sent"] == stats["finished"] == 1


def test_all_handles_share_an_exit_budget():
    """Five that lead nowhere take as long as the longest budget among them."""
    with silent() as port:
        out = run(
            """
            import time, tracekit
            for number in range(5):
                handle = tracekit.init(f"shop {number}", set_global=False)
                handle.tracer("t").start_span("span").end()
                globals()[f"kept {number}"] = handle
            print(time.monotonic())  # one clock for all processes
            """,
            JAEGER_ENDPOINT=f"http://127.0.0.1:{port}/api/traces",
            JAEGER_SAMPLER_TYPE="const",
            JAEGER_SAMPLER_PARAM="1",
            TRACEKIT_EXIT_BUDGET="1.5s",
        )
        assert time.monotonic() - float(out) < 1.5 + 4.0  # 7.5 in a row


@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"])
def test_locks_held_at_a_fork_block_no_child(agent, fork):
    """While one thread starts a handle and one asks for a tracer, children trace and shut down."""
    run(
        f"""
        import ctypes, faulthandler, os, threading, time
        from opentelemetry import trace
        import tracekit
        from tracekit._assembly import handle as _handle

        tracekit.init("parent")
        held = threading.Barrier(3)

        def hold(lock):
            with lock:
                held.wait()
                time.sleep(20)

        for lock in (_handle.slot.lock, trace.get_tracer_provider()._lock.now()):
            threading.Thread(target=hold, args=(lock,), daemon=True).start()
        held.wait()
        time.sleep(0.3)  # a thread that waits for the GIL at a plain fork may stop Python itself
        pid = {fork}()
        if pid == 0:
            faulthandler.dump_traceback_later(10, exit=True)
            trace.get_tracer("t").start_span("child").end()
            tracekit.shutdown(5.0)
            os._exit(7)  # Python itself does not survive its own end after a plain fork
        assert os.waitpid(pid, 0)[1] == 7 << 8
        os._exit(0)
        """,
        **agent.environ,
    )
    assert [span.operation for span in agent.wait(1)] == ["child"]


one_sided = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="CPython itself aborts over hooks on one side only"
)


@pytest.mark.parametrize(
    "fork", ["os.fork", pytest.param("ctypes.PyDLL(None).fork", marks=one_sided)]
)
def test_prometheus_figures_survive_a_fork(tmp_path, fork):
    """Each child has its own copies, also where a fork's hooks run on one side, as in uWSGI."""
    pytest.importorskip("prometheus_client")
    run(
        f"""
        import ctypes, faulthandler, os, threading, time
        import prometheus_client
        import tracekit, tracekit.prometheus
        from tracekit.prometheus import _mirror

        tracekit.init("parent")
        mirror = tracekit.prometheus.collector()
        held = threading.Event()

        def hold():
            with _mirror._writing.now():
                held.set()
                time.sleep(1.0)

        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        time.sleep(0.3)
        pid = {fork}()
        if pid == 0:
            faulthandler.dump_traceback_later(10, exit=True)
            ctypes.pythonapi.PyOS_AfterFork_Child() if "PyDLL" in {fork!r} else None
            mirror.copy()
            os._exit(7)
        assert os.waitpid(pid, 0)[1] == 7 << 8
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )


def test_half_imported_celery_stops_nothing(agent):
    """What looks after the end of a process may fail; the end of a span does not raise."""
    out = run(
        """
        import sys, types
        sys.modules["celery.signals"] = types.ModuleType("celery.signals")
        import tracekit
        tracing = tracekit.init("shop")
        tracing.tracer("t").start_span("span").end()
        print(bool(tracing.flush(10.0)))
        """,
        **agent.environ,
    )
    assert out == "True\n"
    assert len(agent.wait(1)) == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="daemons are allowed everywhere before 3.12")
def test_a_subinterpreter_sends_at_flush(agent):
    """Without daemon threads it does without: look-ups, the worker, the sampler's questions."""
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    made = (
        "interpreters.create('isolated')" if module == "_interpreters" else "interpreters.create()"
    )
    inside = """
import tracekit
tracing = tracekit.init("inside", sampler_type="remote", sampler_param=1.0)
tracing.tracer("t").start_span("span").end()
print(bool(tracing.flush(10.0)), flush=True)
tracing.shutdown()
"""
    program = f"""
import os, {module} as interpreters
interpreters.run_string({made}, {inside!r})
os._exit(0)  # the end of subinterpreters crashes early releases
"""
    environ = {**agent.environ, "JAEGER_AGENT_HOST": "localhost"}
    assert run(program, **environ) == "True\n"
    assert len(agent.wait(1)) == 1


def test_lost_handles_give_all_back(agent):
    """Their spans are sent; no thread and no socket stays, however many there were."""
    out = run(
        """
        import gc, os, threading, time, tracekit
        def use(number):
            tracing = tracekit.init(
                "apart", set_global=False, sampler_type="remote" if number % 2 else "const",
                sampler_param=1, sampling_endpoint="http://127.0.0.1:9/sampling",
            )
            tracing.tracer("t").start_span(str(number)).end()
        for number in range(20):
            use(number)
        deadline = time.monotonic() + 20
        while threading.active_count() > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
            gc.collect()
        files = "/proc/self/fd"
        links = [f"{files}/{fd}" for fd in os.listdir(files)] if os.path.isdir(files) else []
        open_now = [os.readlink(each) for each in links if os.path.islink(each)]
        print(threading.active_count(), sum(each.startswith("socket:") for each in open_now))
        """,
        **{**agent.environ, "JAEGER_REPORTER_FLUSH_INTERVAL": "100ms"},
    )
    assert out.split() == ["1", "0"]
    assert len(agent.wait(20)) == 20
