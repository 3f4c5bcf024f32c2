"""What flushes ask of the worker, and who is told when."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tracekit.reporting._ledger import Ledger
    from tracekit.reporting._queue import Wakeup


class FlushRequest(NamedTuple):
    """What a flush asks of the worker: that so many spans be settled until then."""

    target: int
    deadline_s: float
    done: Wakeup


class FlushRequests:
    """The requests that wait. Any thread, and a signal handler over any, adds and takes away.

    No lock, for a flush in a signal handler may interrupt one on the same thread: each change and
    each look is one step of a dictionary.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._waiting: dict[Wakeup, FlushRequest] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def add(self, request: FlushRequest) -> None:
        """Have ``request`` run; its ``done`` rings when its spans are settled."""
        self._waiting[request.done] = request

    def unfinished(self) -> list[FlushRequest]:
        """Return those that are still to be run; tell those that are done, forget the late."""
        if not self._waiting:
            return []
        now, settled = self._clock(), self._ledger.settled()
        for request in self._now():
            if settled >= request.target:
                request.done.ring()
            if settled >= request.target or now >= request.deadline_s:
                self._waiting.pop(request.done, None)
        return self._now()

    def end(self, requests: Iterable[FlushRequest]) -> None:
        """End these; others have come since, whose spans nobody has looked for."""
        for request in requests:
            self._waiting.pop(request.done, None)
            request.done.ring()

    def end_all(self) -> None:
        """End whatever waits."""
        self.end(self._now())

    def _now(self) -> list[FlushRequest]:
        return list(self._waiting.values())  # one step, whoever adds or takes away
