"""What propagation had to refuse, as plain integers, and one log line per reason and minute."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("tracekit.propagation")

LOG_INTERVAL_S = 60.0


class Counters:
    """Refusals by format and reason, conflicts by winner and loser. Any thread may count.

    ``clock`` returns seconds that never go back; it only spaces the log lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.decode_errors: dict[tuple[str, str], int] = {}
        """What arrived and could not be read: ``(format, reason)``."""
        self.unsendable: dict[tuple[str, str], int] = {}
        """What could not be written into a carrier: ``(format or edge, reason)``."""
        self.conflicts: dict[tuple[str, str], int] = {}
        """Two formats of one request named different spans: ``(winner, loser)``."""
        self._clock = clock
        self._silent_until: dict[tuple[str, str, str], float] = {}
        # Reentrant: a signal handler that makes a request may interrupt a count. Renewed when it
        # cannot be had: then another thread held it when a fork without hooks copied us.
        self._lock = threading.RLock()

    def decode_error(self, format_name: str, reason: str) -> None:
        """Count something in a carrier that was ignored."""
        self._count(self.decode_errors, format_name, reason, "ignored incoming %s header: %s")

    def cannot_send(self, format_name: str, reason: str) -> None:
        """Count something that was left out of an outgoing carrier."""
        self._count(self.unsendable, format_name, reason, "left out of outgoing %s headers: %s")

    def conflict(self, winner: str, loser: str) -> None:
        """Count a request on which two formats named different spans."""
        self._count(self.conflicts, winner, loser, "formats disagree on the parent: %s over %s")

    def _count(
        self, table: dict[tuple[str, str], int], left: str, right: str, message: str
    ) -> None:
        lock = self._lock
        if not lock.acquire(timeout=1.0):
            lock = self._lock = threading.RLock()
            lock.acquire()
        try:
            key = (left, right)
            table[key] = count = table.get(key, 0) + 1
            now = self._clock()
            if now < self._silent_until.get((message, left, right), now):
                return
            self._silent_until[message, left, right] = now + LOG_INTERVAL_S
        finally:
            lock.release()
        _log.warning(message + " (%d so far)", left, right, count)
