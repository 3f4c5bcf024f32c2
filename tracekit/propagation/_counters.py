"""What propagation had to refuse, as plain integers, and one log line per reason and minute."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from tracekit._causes import joining
from tracekit._process.fork import ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Table = dict[tuple[str, str], int]

_log = logging.getLogger("tracekit.propagation")

LOG_INTERVAL_S = 60.0


class _CountersState(ProcessState):
    """What one process has counted."""

    __slots__ = ("conflicts", "decode_errors", "ignored", "lock", "silent_until", "unsendable")

    def __init__(self) -> None:
        super().__init__()
        self.decode_errors: Table = {}
        self.unsendable: Table = {}
        self.conflicts: Table = {}
        self.ignored: dict[tuple[str], int] = {}
        self.silent_until: dict[tuple[str, str, str], float] = {}
        # Reentrant: a signal handler that makes a request may interrupt a count.
        self.lock = threading.RLock()


class Counters:
    """Refusals by format and reason, conflicts by winner and loser. Any thread may count.

    A forked child counts from 0. ``clock`` returns seconds that never go back; it only spaces the
    log lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = _CountersState()
        self._clock = clock
        self._told: set[str] = set()  # a fork inherits it: a hundred workers say it once

    @property
    def decode_errors(self) -> Table:
        """What arrived and could not be read: ``(format, reason)``."""
        return self._now().decode_errors

    @property
    def unsendable(self) -> Table:
        """What could not be written into a carrier: ``(format or edge, reason)``."""
        return self._now().unsendable

    @property
    def conflicts(self) -> Table:
        """Two formats of one request named different spans: ``(winner, loser)``."""
        return self._now().conflicts

    @property
    def ignored(self) -> dict[tuple[str], int]:
        """New traces on requests that named one in a format that is not read: ``(format,)``."""
        return self._now().ignored

    def decode_error(self, format_name: str, reason: str) -> None:
        """Count something in a carrier that was ignored."""
        state = self._now()
        self._count(
            state, state.decode_errors, format_name, reason, "ignored incoming %s header: %s"
        )

    def cannot_send(self, format_name: str, reason: str) -> None:
        """Count something that was left out of an outgoing carrier."""
        state = self._now()
        self._count(
            state, state.unsendable, format_name, reason, "left out of outgoing %s headers: %s"
        )

    def conflict(self, winner: str, loser: str) -> None:
        """Count a request on which two formats named different spans."""
        state = self._now()
        self._count(
            state, state.conflicts, winner, loser, "formats disagree on the parent: %s over %s"
        )

    def ignore(self, header: str, format_name: str, read: Sequence[str]) -> None:
        """Count a request whose trace is not joined, for only ``read`` is; the first is told."""
        state = self._now()
        with state.lock:
            state.ignored[format_name,] = state.ignored.get((format_name,), 0) + 1
            if format_name in self._told:
                return
            self._told.add(format_name)
        _log.warning(
            "a request came with %s, which is not read: it begins a new trace here; %s"
            " (told once, counted always)",
            header,
            joining((*read, format_name)),
        )

    def _now(self) -> _CountersState:
        self._state = state = self._state.now()
        return state

    def _count(
        self, state: _CountersState, table: Table, left: str, right: str, message: str
    ) -> None:
        with state.lock:
            key = (left, right)
            table[key] = count = table.get(key, 0) + 1
            now = self._clock()
            if now < state.silent_until.get((message, left, right), now):
                return
            state.silent_until[message, left, right] = now + LOG_INTERVAL_S
        _log.warning(message + " (%d so far)", left, right, count)
