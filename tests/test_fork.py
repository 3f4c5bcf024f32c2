"""A value for each process, whoever forked and however often."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading

import pytest

from tracekit._process.fork import PerProcess


def test_a_process_keeps_its_value():
    """Nothing is made anew as long as nobody forks."""
    numbers = itertools.count()
    mine = PerProcess(lambda: next(numbers))
    assert [mine.now() for _ in range(3)] == [0, 0, 0]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("fork", [os.fork, ctypes.PyDLL(None).fork], ids=["hooks", "no hooks"])
def test_each_generation_gets_one_value_of_its_own(fork):
    """Threads that look first, at once, agree on it; the parent's stays what it was."""
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

    pid = fork()
    if pid == 0:
        code = 1
        try:
            grandchild = fork() if own() else -1
            if grandchild == 0:
                code = 0 if own() else 2
            elif grandchild > 0:
                code = os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert mine.now() is parent
