"""What interpreters do differently, and what a system may lack: tried on whichever runs this."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


def ran(agent, program, *flags, code=0, **environ):
    """Run ``program`` to its end; return what it said on standard error."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(program)],
        env={**os.environ, **agent.environ, "PYTHONWARNINGS": "", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


LIFE = """
    import threading
    import tracekit, tracekit.mesh
    from tracekit.testing import MemoryTransport

    tracing = tracekit.init("strict", sampler_type="const", sampler_param=1)
    tracer = tracekit.get_tracer("t")

    @tracer.start_as_current_span("decorated")
    def work():
        with tracer.start_as_current_span("inner") as span:
            span.set_attributes({"a": 1, "b": [1, 2]})
            span.add_event("e", {"c": 1.5})
            try:
                raise ValueError("no")
            except ValueError as error:
                span.record_exception(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert tracekit.flush(10.0)
    tracekit.shutdown()
"""


def test_development_mode_is_silent(agent):
    """No warning of any kind from start to end, with every warning an error, on bytes as well."""
    assert "Warning" not in ran(agent, LIFE, "-X", "dev", "-bb", "-W", "error")
    assert len(agent.wait(8)) == 8


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the JIT compiler came with 3.13")
def test_a_jit_build_counts_the_same(agent):
    """With the JIT on (where the build has one) a hot loop loses nothing."""
    program = """
        import tracekit
        tracing = tracekit.init("hot", sampler_type="const", sampler_param=1, queue_size=100_000)
        tracer = tracekit.get_tracer("t")
        with tracer.start_as_current_span("root"):
            for number in range(20_000):
                tracer.start_span("child", attributes={"n": number}).end()
        stats = tracekit.stats()
        assert (stats.started, stats.finished) == (20_001, 20_001), stats
        assert tracing.provider.counts().children == 20_000
        tracing.shutdown(0.0)
    """
    ran(agent, program, PYTHON_JIT="1")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="concurrent.interpreters came with 3.14")
def test_each_subinterpreter_has_a_handle(agent):
    """Two interpreters of one process trace apart: each sends and counts its own spans."""
    program = """
        from concurrent import interpreters

        import tracekit

        inner = '''if True:
            import tracekit
            tracekit.init("sub", sampler_type="const", sampler_param=1)
            tracekit.get_tracer("t").start_span("inner").end()
            assert tracekit.flush(10.0)
            assert tracekit.stats().sent == 1
            tracekit.shutdown()
        '''
        tracekit.init("main", sampler_type="const", sampler_param=1)
        each = [interpreters.create() for _ in range(2)]
        for one in each:
            one.exec(inner)
        assert tracekit.stats().started == 0
        tracekit.get_tracer("t").start_span("outer").end()
        assert tracekit.flush(10.0)
        for one in each:
            one.close()
    """
    ran(agent, program)
    names = sorted(span.operation for span in agent.wait(3))
    assert names == ["inner", "inner", "outer"]


NO_WIPING = """
    import mmap

    class Page(mmap.mmap):
        def madvise(self, *arguments):
            raise OSError(22, "Invalid argument")

    mmap.mmap = Page
"""
FORKS = """
    import ctypes, os, time
    fork = {"os": os.fork, "libc": ctypes.PyDLL(None).fork}[HOW]
    import tracekit
    tracekit.init("forks", sampler_type="const", sampler_param=1)
    tracer = tracekit.get_tracer("t")
    tracer.start_span("parent").end()
    pid = fork()
    if pid == 0:
        assert tracekit.stats().started == 0
        tracer.start_span("child").end()
        os._exit(0 if tracekit.flush(10.0) and tracekit.stats().sent == 1 else 1)
    end = time.monotonic() + 20
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(pid, 9)
        time.sleep(0.002)
    assert ended[1] == 0, ended
    assert tracekit.flush(10.0)
"""


@pytest.mark.parametrize("how", ["os", "libc"])
@pytest.mark.parametrize("kernel", ["", NO_WIPING], ids=["as it is", "wipes no page"])
def test_the_process_id_tells_of_a_fork(agent, how, kernel):
    """Where the kernel wipes no page: old ones and macOS lack MADV_WIPEONFORK."""
    ran(agent, f"{kernel}\n    HOW = {how!r}\n{FORKS}", "-W", "ignore")
    assert sorted(span.operation for span in agent.wait(2)) == ["child", "parent"]


def test_without_proc_a_signal_is_served(agent):
    """The file that tells what C code handles is Linux's own; elsewhere Python's word is taken."""
    program = """
        import os, pathlib, signal

        plain = pathlib.Path.read_text

        def read_text(self, *arguments, **named):
            if str(self).startswith("/proc"):
                raise FileNotFoundError(str(self))
            return plain(self, *arguments, **named)

        pathlib.Path.read_text = read_text
        import tracekit
        tracekit.init("no-proc", sampler_type="const", sampler_param=1)
        tracekit.get_tracer("t").start_span("last").end()
        os.kill(os.getpid(), signal.SIGTERM)
    """
    ran(agent, program, code=-signal.SIGTERM)
    assert [span.operation for span in agent.wait(1)] == ["last"]
