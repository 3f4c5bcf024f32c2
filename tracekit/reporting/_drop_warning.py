"""One warning about dropped spans, with their number, at most every 30 seconds."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from tracekit.reporting._stats import REMEDIES, DropReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger("tracekit")

PAUSE_S = 30.0


class DropWarning:
    """Compares losses with those it has told of. Called on the draining thread only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_s = -math.inf
        self._told: dict[str, int] = {}

    def look(self, dropped: Mapping[str, int], problem: str, *, final: bool = False) -> None:
        """Warn about what was dropped since the last warning; ``final`` does not wait for 30 s."""
        now = self._clock()
        if not final and now - self._last_s < PAUSE_S:
            return
        new = {
            reason: number - self._told.get(reason, 0)
            for reason, number in dropped.items()
            if number > self._told.get(reason, 0) and DropReason(reason) in REMEDIES
        }
        if not new:
            return
        self._last_s = now
        self._told = dict(dropped)
        _log.warning(
            "%d spans dropped (%s)%s; %s",
            sum(new.values()),
            ", ".join(f"{reason}: {number}" for reason, number in new.items()),
            f", last problem: {problem}" if problem else "",
            "; ".join(REMEDIES[DropReason(reason)] for reason in new),
        )
