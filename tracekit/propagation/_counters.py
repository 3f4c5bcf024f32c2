"""What propagation had to refuse, as plain integers, and one log line per reason and minute."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from tracekit._fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

Table = dict[tuple[str, str], int]

_log = logging.getLogger("tracekit.propagation")

LOG_INTERVAL_S = 60.0


class _Book:
    """What one process has counted."""

    def __init__(self) -> None:
        self.decode_errors: Table = {}
        self.unsendable: Table = {}
        self.conflicts: Table = {}
        self.silent_until: dict[tuple[str, str, str], float] = {}
        # Reentrant: a signal handler that makes a request may interrupt a count.
        self.lock = threading.RLock()


class Counters:
    """Refusals by format and reason, conflicts by winner and loser. Any thread may count.

    A forked child counts from 0. ``clock`` returns seconds that never go back; it only spaces the
    log lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._books = PerProcess(_Book)
        self._clock = clock

    @property
    def decode_errors(self) -> Table:
        """What arrived and could not be read: ``(format, reason)``."""
        return self._books.now().decode_errors

    @property
    def unsendable(self) -> Table:
        """What could not be written into a carrier: ``(format or edge, reason)``."""
        return self._books.now().unsendable

    @property
    def conflicts(self) -> Table:
        """Two formats of one request named different spans: ``(winner, loser)``."""
        return self._books.now().conflicts

    def decode_error(self, format_name: str, reason: str) -> None:
        """Count something in a carrier that was ignored."""
        book = self._books.now()
        self._count(book, book.decode_errors, format_name, reason, "ignored incoming %s header: %s")

    def cannot_send(self, format_name: str, reason: str) -> None:
        """Count something that was left out of an outgoing carrier."""
        book = self._books.now()
        self._count(
            book, book.unsendable, format_name, reason, "left out of outgoing %s headers: %s"
        )

    def conflict(self, winner: str, loser: str) -> None:
        """Count a request on which two formats named different spans."""
        book = self._books.now()
        self._count(
            book, book.conflicts, winner, loser, "formats disagree on the parent: %s over %s"
        )

    def _count(self, book: _Book, table: Table, left: str, right: str, message: str) -> None:
        with book.lock:
            key = (left, right)
            table[key] = count = table.get(key, 0) + 1
            now = self._clock()
            if now < book.silent_until.get((message, left, right), now):
                return
            book.silent_until[message, left, right] = now + LOG_INTERVAL_S
        _log.warning(message + " (%d so far)", left, right, count)
