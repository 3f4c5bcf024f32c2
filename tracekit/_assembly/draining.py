"""What a signal handler does before a process ends: send what can be sent, in bounded time."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from tracekit._process import exit as process_exit
from tracekit.reporting import PATIENCE

if TYPE_CHECKING:
    from tracekit._assembly.wiring import Parts
    from tracekit.reporting import Stats


def drain_in_handler(parts: Parts) -> None:
    """Send, within the exit budget, also what other threads end meanwhile; in a signal handler.

    Further destinations are flushed at the same time, on threads of their own. Where nobody on this
    host has listened from the start, a quarter of the budget is enough.
    """
    budget_s = parts.settings.reporter.exit_budget_s
    deadline_s = time.monotonic() + budget_s
    others = [process_exit.aside(partial(added.flush, budget_s)) for added in list(parts.added)]
    try:
        if not _drain_first(parts, budget_s, deadline_s):
            process_exit.say(
                "%d spans could not be sent within the exit budget of %g s",
                _unsent(parts.stats()),
                budget_s,
            )
    except BaseException:  # Ctrl-C as well: the process may end by the signal, with no exit
        if left := _unsent(parts.stats()):
            process_exit.say("%d spans were not sent: an exception ended the wait for it", left)
        raise
    for done in others:
        if done is not None:
            done.acquire(timeout=max(0.0, deadline_s - time.monotonic()))


def _drain_first(parts: Parts, budget_s: float, deadline_s: float) -> bool:
    """Return whether nothing is left for the handle's own destination."""
    if not parts.flush(budget_s * PATIENCE) and parts.in_vain:
        return False
    in_vain = 0
    while in_vain < 2 and (left_s := deadline_s - time.monotonic()) > 0:
        sent = parts.flush(left_s).sent
        if not _unsent(parts.stats()):
            return True
        # A span in whose end the signal came cannot be waited for: twice without success is enough.
        in_vain = 0 if sent else in_vain + 1
    return False


def _unsent(stats: Stats) -> int:
    return stats.queued + stats.in_flight
