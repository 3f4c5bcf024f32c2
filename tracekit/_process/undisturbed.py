"""Work at the end of a process that no exception out of a signal handler cuts short."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class _Postponing:
    """Stands in for a program's handler: calls it at once, and keeps what it raises for later."""

    def __init__(self, handler: Callable[[int, FrameType | None], object]) -> None:
        self.handler = handler
        self.raised: BaseException | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        try:
            self.handler(signum, frame)
        except BaseException as error:
            self.raised = self.raised or error


def undisturbed(work: Callable[[], object]) -> None:
    """Do ``work``, which is bounded in time, and raise afterwards what signal handlers raised.

    A supervisor that sends SIGTERM twice makes the program's handler raise ``SystemExit`` in the
    middle of what its first call began. The handlers run when their signals come, as ever; one that
    ends the process by itself does so. Python's own Ctrl-C, a person who does not want to wait,
    cuts ``work`` short. Outside the main thread, where no handler runs, this is ``work()``.
    """
    begun: list[bool] = []
    raised: BaseException | None = None

    def once() -> None:
        begun.append(True)
        work()

    while not begun:  # a signal may come while its handler is not held yet
        try:
            _postponing(once)
        except BaseException as error:  # noqa: PERF203 - once, nearly always
            if begun:
                raise
            raised = raised or error
    if raised is not None:
        raise raised


def _postponing(work: Callable[[], object]) -> None:
    held: list[tuple[int, _Postponing]] = []
    try:
        # ValueError: not the main thread of the main interpreter.
        with contextlib.suppress(ValueError):
            for signum in signal.valid_signals():
                handler = signal.getsignal(signum)
                if handler is signal.default_int_handler or isinstance(handler, _Postponing):
                    continue
                if callable(handler):
                    ours = _Postponing(handler)
                    held.append((signum, ours))
                    signal.signal(signum, ours)
        work()
    finally:
        for number, ours in held:
            handler = ours.handler
            if signal.getsignal(number) == ours:  # nobody has set another one meanwhile
                signal.signal(number, handler)
    for _, ours in held:
        if ours.raised is not None:
            raise ours.raised
