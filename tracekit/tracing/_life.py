"""What belongs to one process: its stock of random ids and its counters.

Entropy is read in batches, so a fork must never let two processes hand out the same batch. Hooks
of ``os.register_at_fork`` do not run when C code calls fork(2), and asking for the pid costs a
system call per span. So a page of memory tells: Linux wipes it in the child (MADV_WIPEONFORK),
whoever forked and in every generation, and reading one byte of it is the whole check.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import threading
from typing import Protocol

_BATCH = 256  # 2 KiB of entropy: one read per 256 span ids, and little to throw away on a fork
_UNPACK = struct.Struct(f"={_BATCH}Q").unpack
_MADV_WIPEONFORK = 18  # linux/mman.h since 4.14; the mmap module has no name for it


class ForkMark(Protocol):
    """One byte that is 1 in the process that set it and 0 in every fork of it."""

    def __getitem__(self, index: int, /) -> int:
        """Return the mark."""

    def __setitem__(self, index: int, value: int, /) -> None:
        """Set the mark for this process."""


class PidMark:
    """The mark where the kernel cannot wipe a page: compares the pid, a system call a look."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, _index: int, /) -> int:
        return int(self._pid == os.getpid())

    def __setitem__(self, _index: int, _value: int, /) -> None:
        self._pid = os.getpid()


def fork_mark() -> ForkMark:
    """Return a mark, not set yet, by the cheapest means that this system has."""
    if sys.platform == "linux":
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(_MADV_WIPEONFORK)
        except OSError:  # a kernel before 4.14, or one that is emulated
            page.close()
        else:
            return page
    return PidMark()


class Life:
    """What belongs to one process. Compared by identity.

    Any thread raises a counter with ``+= 1`` and no lock: from 3.10 on CPython switches threads
    and runs signal handlers at calls and jumps back only, and there is none between the load and
    the store of a slot. A free-threaded build would need an atomic add here.
    """

    __slots__ = ("ended_twice", "failures", "foreign", "stock", "unsampled")

    def __init__(self) -> None:
        self.stock: list[int] = []
        self.unsampled = 0
        self.foreign = 0
        self.ended_twice = 0
        self.failures = 0

    def draw(self) -> int:
        """Return 64 random bits, never 0, never twice. Safe on any thread.

        ``list.pop`` hands each number to one thread only: it is atomic under the GIL, and on a
        free-threaded build under the list's own lock.
        """
        try:
            number = self.stock.pop()
        except IndexError:
            self.stock.extend(_UNPACK(os.urandom(8 * _BATCH)))
            return self.draw()
        return number or self.draw()


class Lives:
    """The current process's ``Life``, renewed by whoever first looks after a fork."""

    __slots__ = ("_lock", "current", "mark")

    def __init__(self) -> None:
        self.mark = fork_mark()
        self._lock = threading.Lock()
        self.current = Life()
        self.mark[0] = 1

    def now(self) -> Life:
        """Return the life of this process. The tracer's hot path looks at ``mark`` itself."""
        if not self.mark[0]:
            # Held for a moment after a fork only, so no fork can find it taken by another thread
            # unless two generations are born within that moment.
            with self._lock:
                if not self.mark[0]:
                    self.current = Life()
                    self.mark[0] = 1  # last: who sees it must see the new life
        return self.current
