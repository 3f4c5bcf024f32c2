"""Work of our own threads that no fork catches halfway.

A child has only the thread that forked. What the others were doing stays as it was at that moment,
for ever. A thread that writes a log line holds a lock of the stream, which is none that Python
renews in a child (``logging`` renews its own): the child stands still at its next line. And gRPC
waits for the thread that polls.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from tracekit._process.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

MAX_WAIT_S = 0.2
"""How long a fork waits for work, and work for a fork; whoever reads our lines may have stopped."""


class _Lock(Protocol):
    """As much of a lock as is needed here."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool:
        """Take it."""

    def release(self) -> None:
        """Give it back; RuntimeError when it is not this thread's."""


class Undivided:
    """Held by the thread that works, and by one that forks.

    A fork by Python waits for the end of the work for ``MAX_WAIT_S``; then it calls ``interrupt``
    and waits as long again. C code that forks waits for nothing; see ``was_cut``.
    """

    def __init__(self, interrupt: Callable[[], object] = lambda: None) -> None:
        self.interrupt = interrupt
        self._lock = PerProcess(threading.RLock)
        self._working = 0
        _all[id(self)] = self

    @contextmanager
    def work(self) -> Iterator[None]:
        """Have Python's forks wait for the end of the block. A thread may enter it again."""
        _attend_forks()
        lock = self._lock.now()
        held = lock.acquire(timeout=MAX_WAIT_S)  # who has it may be held up
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            if held:
                lock.release()

    @property
    def was_cut(self) -> bool:
        """Whether a fork that made this process came in the midst of the work.

        Only for one that was made before that fork, in the process that forked.
        """
        return self._working > 0

    def take(self, until_s: float) -> tuple[_Lock, bool]:
        """Wait for the lock until then; return it, and whether it was had."""
        lock = self._lock.now()
        return lock, lock.acquire(timeout=max(0.0, until_s - time.monotonic()))


class _AtForks(threading.local):
    """What the forking thread has taken: several threads may fork at once."""

    tried: list[_Lock]

    def close(self) -> None:
        self.tried = []
        late = self._take(list(_all.values()))
        for each in late:
            with suppress(Exception):
                each.interrupt()
        self._take(late)

    def _take(self, works: list[Undivided]) -> list[Undivided]:
        """Return those that could not be had."""
        until_s = time.monotonic() + MAX_WAIT_S
        late = []
        for each in works:
            lock, taken = each.take(until_s)
            self.tried.append(lock)
            if not taken:
                late.append(each)
        return late

    def open(self) -> None:
        for lock in self.tried:
            with suppress(RuntimeError):  # that one was not had
                lock.release()
        self.tried = []


_all: WeakValueDictionary[int, Undivided] = WeakValueDictionary()
_at_forks = _AtForks()


@cache
def _attend_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_at_forks.close, after_in_parent=_at_forks.open)


_lines = Undivided()


def no_fork() -> AbstractContextManager[None]:
    """Have Python's forks wait for the end of the block, in which a log line is written."""
    return _lines.work()
