"""How all handles end: at the process' exit, on a signal, and over a snapshot of the process."""

from __future__ import annotations

import atexit
import logging
import time

from tracekit._assembly.distribution import stranger
from tracekit._assembly.draining import drain_in_handler
from tracekit._assembly.handle import slot
from tracekit._assembly.last_resort import name_last_resort
from tracekit._process import exit as process_exit
from tracekit._process.farewell import end_at_exit, tell_ended
from tracekit._process.undisturbed import undisturbed

_log = logging.getLogger("tracekit")


def attend_exit() -> None:
    """Have all handles ended at exit; with the slot's lock held."""
    if not slot.exit_attended:
        slot.exit_attended = True
        atexit.register(_at_exit)
        atexit.register(_at_exit)  # should a signal handler raise at the door of the other
        end_at_exit(_at_exit)
        name_last_resort()
        if (other := stranger()) is not None:
            _log.warning("%s", other)


def _at_exit() -> None:
    """End all handles within the longest of their budgets, whatever signals come meanwhile."""
    if not slot.ending:  # the other registration of this has
        try:
            undisturbed(_end_all)
        finally:
            tell_ended()


def _end_all() -> None:
    slot.ending = True
    running, apart = slot.running or slot.closing, list(slot.apart.items())
    budget_s = 0.0 if running is None else running.settings.reporter.exit_budget_s
    deadline_s = time.monotonic() + max([budget_s, *(each for _, each in apart)])
    if running is not None:
        running.shutdown(budget_s)
    for provider, own_s in apart:
        provider.shutdown(max(0.0, min(own_s, deadline_s - time.monotonic())))


def drain() -> None:
    """Send, within the exit budget, also what other threads end meanwhile; in a signal handler."""
    running = slot.running or slot.closing
    if running is not None:
        drain_in_handler(running._parts)


def drain_on(signum: int) -> None:
    """Send what is queued when ``signum`` comes, then let the program's own handler have it.

    For programs that handle SIGTERM (or another signal) themselves: call it in the main thread
    after their handler is installed. It waits for at most the exit budget and never shuts
    tracing down.
    """
    process_exit.drain_on(signum, drain)


def after_restore() -> None:
    """Call this first in a process that was restored from a snapshot (SnapStart, CRIU).

    Random numbers for ids are drawn ahead. Two processes restored from one snapshot would give out
    the same ones; after this each draws its own. Any thread may call it, before the first span.
    """
    for tracing in (slot.running, slot.closing):
        if tracing is not None:
            tracing.provider.draw_afresh()
    for provider in list(slot.apart):
        provider.draw_afresh()
