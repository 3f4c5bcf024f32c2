"""Ends that ``atexit`` does not see, and who is told when the spans of a process have been ended.

Children that fork without exec often leave by ``os._exit``: the work horse of RQ, the processes of
``socketserver.ForkingMixIn`` (werkzeug's ``processes=``), billiard's pools, plain ``os.fork``.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("tracekit")
_PF_FORKNOEXEC = 0x40  # linux/sched.h
_imported_by = os.getpid()
_listeners: list[Callable[[], object]] = []


def on_ended(listener: Callable[[], object]) -> None:
    """Call ``listener`` when this process, or a child of it, has ended its spans at its exit."""
    _listeners.append(listener)


def tell_ended() -> None:
    """Tell that the spans of this process have been sent, or given up. Never raises."""
    for listener in tuple(_listeners):
        _tell(listener)


def _tell(listener: Callable[[], object]) -> None:
    try:
        listener()
    except Exception:
        _log.warning("a last look at the figures failed", exc_info=True)


def end_before_leaving(end: Callable[[], object]) -> None:
    """Have ``os._exit`` call ``end`` first, if this process was forked and has not been replaced.

    Nowhere else: a program that leaves in a hurry on purpose is the one that somebody started.
    """
    if not was_forked():
        return
    _before_os_exit(end)


def end_at_exit(end: Callable[[], object]) -> None:
    """Remember what ends all spans at an ordinary exit, for ``expect_os_exit``."""
    _at_exit.append(end)


def expect_os_exit() -> None:
    """Have ``os._exit`` end the spans as an ordinary exit does: this process always leaves so.

    For a process that was not forked, by whoever knows what it is. Calling it again does nothing.
    """
    if was_forked() or getattr(os._exit, "__wrapped__", None) is not None:
        return

    def end() -> None:
        for each in tuple(_at_exit):
            each()

    _before_os_exit(end)


_at_exit: list[Callable[[], object]] = []


def _before_os_exit(end: Callable[[], object]) -> None:
    leave = os._exit

    @functools.wraps(leave)
    def _exit(status: int) -> NoReturn:
        try:
            end()
        finally:
            leave(status)

    os._exit = _exit


def was_forked() -> bool:
    """Whether this process is a copy of another one's (by Linux; elsewhere, of the importing one).

    The module may well have been imported by the copy, as the jobs of a work horse are.
    """
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib takes a start 2 ms
            stat = file.read()
        flags = int(stat.rpartition(")")[2].split()[6])
    except Exception:  # no Linux, or a tool that lets nothing read a file on an event loop
        return os.getpid() != _imported_by
    return bool(flags & _PF_FORKNOEXEC)
