"""Log lines of our own threads that no fork catches halfway.

A thread that writes a line holds a lock of the stream it writes to, which is no lock of Python's
``threading``: whoever forks at that moment has a child in which it stays locked, and which stands
still at its next line. ``logging`` renews its own locks in a child, but cannot renew that one.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from tracekit._process.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_WAIT_S = 0.2
"""How long a fork waits for a line; whoever reads our lines may have stopped reading."""


class _Gate:
    """Held while a line is written, and over a fork."""

    def __init__(self) -> None:
        self.lock = PerProcess(threading.RLock)
        self._held: threading.RLock | None = None
        self._attends = False

    def attend(self) -> None:
        """Hold it over forks from now on."""
        if not self._attends:
            self._attends = True
            os.register_at_fork(before=self._close, after_in_parent=self._open)

    def _close(self) -> None:
        lock = self.lock.now()
        self._held = lock if lock.acquire(timeout=_MAX_WAIT_S) else None

    def _open(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()


_gate = _Gate()


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """Have Python's forks wait for the end of the block, for a moment at most."""
    if hasattr(os, "register_at_fork"):
        _gate.attend()
    lock = _gate.lock.now()
    held = lock.acquire(timeout=_MAX_WAIT_S)  # whoever has it may be held up by its reader
    try:
        yield
    finally:
        if held:
            lock.release()
