"""Forks in every generation: each process reports its own spans, once, and keeps its own law."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter

import pytest
from accounting import lawful
from waiting import eventually

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


@pytest.fixture
def run(agent, tmp_path):
    """Run a program to its end; return what it printed."""

    def run_program(source, **environ):
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(script)],
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

    return run_program


GENERATIONS = """
    import atexit, ctypes, json, os, signal, sys, time, traceback
    import tracekit

    plain = ctypes.PyDLL(None).fork
    fork = {{"os.fork": os.fork, "fork(2)": plain}}[{how!r}]
    tracekit.init("family")
    tracer = tracekit.get_tracer("t")

    def spans(name):
        for number in range(100):
            tracer.start_span(f"{{name}}/{{number}}").end()

    def wait_for(pid):
        end = time.monotonic() + 20  # without hooks a child may hang whatever we do: bounded
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
        assert ended[1] == 0, ended

    def live(name, generation):
        inherited = tracer.start_span("inherited")
        spans(name)
        for child in range(4) if generation < 3 else ():
            pid = fork()
            if pid == 0:
                code = 1
                try:
                    assert tracekit.stats().started == 0
                    inherited.end()
                    live(f"{{name}}.{{child}}", generation + 1)
                    code = 0
                    if fork is not plain:
                        atexit._run_exitfuncs()  # what the interpreter does at its end
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            wait_for(pid)
        inherited.end()
        assert tracekit.flush(10.0)
        told = tracekit.stats().as_dict()
        os.write(1, (json.dumps([name, told]) + "\\n").encode())

    live("0", 0)
"""


@pytest.mark.parametrize("how", ["os.fork", "fork(2)"])
def test_three_generations_send_all_once(agent, run, how):
    """Four children each, a hundred spans each; queued and open spans stay with their process."""
    told = [json.loads(line) for line in run(GENERATIONS.format(how=how)).splitlines()]
    processes = dict(told)
    assert len(told) == len(processes) == 1 + 4 + 16 + 64
    for name, stats in processes.items():
        assert lawful(stats)
        assert (stats["started"], stats["sent"]) == (101, 101)
        assert stats["foreign"] == (name != "0")
    spans = agent.wait(101 * len(processes))
    names = Counter(span.operation for span in spans)
    assert names.pop("inherited") == len(processes)
    assert names == Counter(f"{name}/{n}" for name in processes for n in range(100))
    assert len({span.span_id for span in spans}) == len(spans)


def test_no_held_lock_blocks_a_child(agent, run):
    """Whatever another thread was doing at that moment, the child traces, flushes and ends."""
    run(
        """
        import gc, logging, os, signal, sys, threading, time
        import tracekit
        from tracekit._assembly.handle import slot

        tracing = tracekit.init("locked", sampler_type="remote", sampler_param=1)
        tracer = tracekit.get_tracer("t")
        tracer.start_span("parent").end()
        kinds = type(threading.Lock()), type(threading.RLock())
        ours = [logging.lastResort.lock]  # logging takes its other one itself before a fork
        seen, left = set(), [tracing, slot]
        while left:  # every lock that can be reached from the handle
            thing = left.pop()
            if id(thing) in seen or isinstance(thing, (type, type(sys), type(len))):
                continue
            seen.add(id(thing))
            if isinstance(thing, kinds):
                ours.append(thing)
            if type(thing).__module__.startswith(("tracekit", "builtins", "collections", "thread")):
                left += gc.get_referents(thing)
        held, free = threading.Event(), threading.Event()

        def hold():
            taken = [lock for lock in ours if lock.acquire(blocking=False)]
            assert len(taken) >= 5
            held.set()
            free.wait()
            for lock in taken:
                lock.release()

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            logging.getLogger("tracekit").warning("the child logs")
            for number in range(100):
                tracer.start_span(str(number)).end()
            done = tracekit.flush(10.0)
            stats = tracekit.stats()
            os._exit(0 if done and stats.sent == stats.started == 100 else 1)
        end = time.monotonic() + 20
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
        free.set()
        holder.join()
        assert ended[1] == 0, ended
        """
    )
    assert len(agent.wait(101)) == 101


POOL = """
    import multiprocessing, sys
    import tracekit

    def work(number):
        tracekit.init("pool")
        tracekit.get_tracer("t").start_span(str(number)).end()
        return number

    if __name__ == "__main__":
        tracekit.init("pool")
        tracekit.get_tracer("t").start_span("parent").end()
        {pool}
"""
POOLS = {
    f"multiprocessing-{method}": f"""
        with multiprocessing.get_context({method!r}).Pool(2, maxtasksperchild=2) as pool:
            assert pool.map(work, range(8), chunksize=1) == list(range(8))
            pool.close()
            pool.join()
    """
    for method in ("fork", "spawn", "forkserver")
} | {
    f"futures-{method}": f"""
        from concurrent.futures import ProcessPoolExecutor
        context = multiprocessing.get_context({method!r})
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(work, range(8))) == list(range(8))
    """
    for method in ("fork", "spawn")
}
POOLS["terminated"] = """
        pool = multiprocessing.get_context("fork").Pool(2)
        assert pool.map(work, range(8), chunksize=1) == list(range(8))
        pool.terminate()  # SIGTERM to each worker
        pool.join()
"""


@pytest.mark.parametrize("kind", POOLS)
def test_workers_of_a_pool_send_their_spans(agent, run, kind):
    """They are recycled, leave by ``os._exit`` or are terminated; every span arrives once."""
    pool = textwrap.indent(textwrap.dedent(POOLS[kind]), " " * 8).strip()
    run(POOL.format(pool=pool))
    found = sorted(span.operation for span in agent.wait(9))
    assert found == sorted(["parent", *map(str, range(8))])


def test_a_grpc_server_may_fork_first(agent, run):
    """Each of its workers opens a server of its own and reports the calls that it served."""
    pytest.importorskip("grpc")
    run(
        """
        import os, sys
        from concurrent import futures
        import tracekit

        tracekit.init("forking")
        tracekit.get_tracer("t").start_span("parent").end()
        children = []
        for number in range(3):
            pid = os.fork()
            if pid == 0:
                import grpc
                import tracekit.grpc

                class Echo(grpc.GenericRpcHandler):
                    def service(self, details):
                        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)

                server = grpc.server(
                    futures.ThreadPoolExecutor(1), [Echo()],
                    interceptors=[tracekit.grpc.server_interceptor()],
                )
                port = server.add_insecure_port("127.0.0.1:0")
                server.start()
                with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                    for _ in range(5):
                        assert channel.unary_unary("/echo.Echo/Say")(b"x", timeout=10) == b"x"
                server.stop(None).wait()
                sys.exit(0)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
        """
    )
    spans = agent.wait(16)
    served = [span for span in spans if span.kind == "server"]
    assert len(served) == 15 == len(spans) - 1
    assert len({span.span_id for span in spans}) == 16


CELERY = """
    import os, sys
    import tracekit
    from celery import Celery

    tracekit.init("celery")
    app = Celery("program", broker="filesystem://")
    app.conf.broker_transport_options = dict.fromkeys(
        ("data_folder_in", "data_folder_out", "control_folder"), os.path.dirname(__file__)
    )
    tracekit.get_tracer("t").start_span(f"parent {os.getpid()}").end()

    @app.task
    def work(number):
        tracekit.get_tracer("t").start_span(f"task {number}").end()
        open(f"done-{number}", "w").close()

    if __name__ == "__main__":
        for number in range(6):
            app.tasks["program.work"].delay(number)
"""


def test_recycled_celery_workers_send_spans(agent, run, tmp_path):
    """They leave by ``os._exit``, after two tasks or at the end; each span is sent once."""
    if importlib.util.find_spec("celery") is None:
        pytest.skip("Celery is not installed")
    run(CELERY)
    options = "-A program worker -c 2 -P prefork --max-tasks-per-child 2 -l warning"
    lean = "--without-gossip --without-mingle --without-heartbeat"
    patient = {"JAEGER_REPORTER_FLUSH_INTERVAL": "1m", "TRACEKIT_EXIT_BUDGET": "30s"}
    log = tmp_path / "log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "celery", *options.split(), *lean.split()],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **patient, **agent.environ},
            stdout=out,
            stderr=out,
        )
    try:
        eventually(lambda: len(list(tmp_path.glob("done-*"))) >= 6, 40, log.read_text)
        worker.terminate()
        assert worker.wait(40) == 0
    finally:
        worker.kill()
        worker.wait()
    eventually(lambda: len(agent.spans()) >= 2 + 6, told=log.read_text)
    names = Counter(span.operation for span in agent.spans())
    assert set(names.values()) == {1}
    assert {f"task {number}" for number in range(6)} < set(names), log.read_text()
    assert len(names) == 8, (names, log.read_text())
