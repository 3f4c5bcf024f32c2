"""What belongs to one process: its stock of random ids and its counters.

Ids come from the operating system's entropy, read in batches; a fork must never let two
processes hand out the same batch, so a child begins a life of its own.
"""

from __future__ import annotations

import os
import struct
import threading

from tracekit._fork import fork_mark

_BATCH = 256  # 2 KiB of entropy: one read per 256 span ids, and little to throw away on a fork
_UNPACK = struct.Struct(f"={_BATCH}Q").unpack


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
