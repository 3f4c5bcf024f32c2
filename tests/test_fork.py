"""A value for each process, whoever forked and however often."""

from __future__ import annotations

import itertools
import mmap
import os
import subprocess
import sys

import pytest

import tracekit
from tracekit._process.fork import PerProcess
from tracekit.testing import MemoryTransport


def test_a_process_keeps_its_value():
    """Nothing is made anew as long as nobody forks."""
    numbers = itertools.count()
    mine = PerProcess(lambda: next(numbers))
    assert [mine.now() for _ in range(3)] == [0, 0, 0]


GENERATIONS = """
import ctypes, os, threading
from tracekit._process.fork import PerProcess

fork = {fork}
mine = PerProcess(lambda: [os.getpid()])
parent = mine.now()

def own():
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(mine.now())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen[0] == [os.getpid()] and all(each is seen[0] for each in seen)

def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

child = fork()
if child == 0:
    code = 1
    try:
        grandchild = fork() if own() else -1
        if grandchild == 0:
            code = 0 if own() else 2
        elif grandchild > 0:
            code = exit_code(grandchild)
    finally:
        os._exit(code)
assert exit_code(child) == 0
assert mine.now() is parent
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"], ids=["hooks", "no hooks"])
def test_each_generation_has_its_own_value(fork):
    """Threads that look first, at once, agree on it; the parent's stays what it was.

    In a program of its own: a fork that skips Python's hooks is good only where no other thread
    runs, and a suite's process has some.
    """
    program = [sys.executable, "-c", GENERATIONS.format(fork=fork)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class Ignoring(mmap.mmap):
    """A kernel that accepts the advice to wipe a page and ignores it, as emulators do."""

    def madvise(self, *arguments):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_is_noticed_by_the_mark(monkeypatch):
    """Where the kernel only says that it wipes: Python's own hook wipes the mark as well."""
    monkeypatch.setattr(mmap, "mmap", Ignoring)
    mine = PerProcess(os.getpid)
    mine.now()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if mine.now() == os.getpid() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert mine.now() == os.getpid()


def test_a_restore_draws_ids_afresh():
    """What a snapshot holds of random numbers is forgotten."""
    tracing = tracekit.init(
        "s", environ={}, transport=MemoryTransport(), sampler_type="const", sampler_param=1
    )
    try:
        tracing.tracer("t").start_span("a").end()
        stock = tracing.provider._states.now().stock
        held = set(stock)
        tracekit.after_restore()
        spans = [tracing.tracer("t").start_span("a") for _ in range(50)]
        assert len(held) > 50
        assert not held & {span.get_span_context().span_id for span in spans}
    finally:
        tracing.shutdown()
