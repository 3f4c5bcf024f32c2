"""One warning about dropped spans, with their number, at most every 30 seconds."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from tracekit._causes import DropReason
from tracekit.reporting._outage import PAUSE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger("tracekit")


class DropWarning:
    """Compares losses with those it has told of. Called on the draining thread only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_s = -math.inf
        self._told: dict[str, int] = {}
        self.number = 0
        """Of all that it has told of."""

    def look(
        self, dropped: Mapping[str, int], problem: str, remedy: str = "", *, final: bool = False
    ) -> bool:
        """Warn about what was dropped since the last warning; return whether there was one.

        ``remedy`` is what helps against an outage that lasts; ``final`` does not wait for 30 s.
        """
        now = self._clock()
        if not final and now - self._last_s < PAUSE_S:
            return False
        new = {
            reason: number - self._told.get(reason, 0)
            for reason, number in dropped.items()
            if number > self._told.get(reason, 0) and DropReason(reason).remedy
        }
        if not new:
            return False
        _log.warning(
            "%d spans dropped (%s)%s; %s",
            sum(new.values()),
            ", ".join(f"{reason}: {number}" for reason, number in new.items()),
            f", last problem: {problem}" if problem else "",
            "; ".join(dict.fromkeys(_remedy(DropReason(reason), remedy) for reason in new)),
        )
        # Not before: a signal handler may have raised, and then nobody would be told.
        self._last_s = now
        self._told = dict(dropped)
        self.number = sum(dropped.values())
        return True


def _remedy(reason: DropReason, of_outage: str) -> str:
    """Return the advice on a loss: where nobody takes spans, more time or room is no help."""
    from_outage = reason in (DropReason.SHUTDOWN, DropReason.SEND_FAILED, DropReason.QUEUE_FULL)
    return of_outage if of_outage and from_outage else reason.remedy
