"""Whose turn it is to drain: one thread at a time, and never two on one thread's stack."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from tracekit.reporting._queue import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("tracekit")

GLANCE_S = 0.02
"""How often a thread that waits for another one's turn looks whether that is still needed."""


class Turn:
    """A permit that changes hands, so that no interrupt leaves it with nobody.

    A lock would have to be taken by a call, after which CPython runs signal handlers: what one of
    them raises there leaves the lock taken for ever. A permit is taken by ``del``, and noted in the
    same breath. A signal handler that interrupts the ``Sender`` on the same thread finds the
    thread at it and leaves the ``Sender`` alone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._permit = deque((None,))
        self._thread = 0  # who has it
        self._returned = Wakeup()

    def take(
        self,
        work: Callable[[], object],
        *,
        until_s: float,
        enough: Callable[[], bool] | None = None,
    ) -> bool:
        """Do ``work`` as the one who drains; return False when that cannot be.

        Waits for another thread until ``until_s`` (of the clock), or until ``enough()``. Tracing
        of our own traffic is off meanwhile. An exception of ``work`` is logged and ends here:
        what spans are in hand waits for the next turn. Interrupts pass.
        """
        me = threading.get_ident()
        mine = waited = False
        try:
            while True:
                try:
                    del self._permit[0]
                    self._thread = me
                    mine = True
                    break
                except IndexError:
                    if self._thread == me:
                        return False
                if waited and (self._clock() >= until_s or (enough is not None and enough())):
                    return False
                if not waited:
                    waited = True
                    self._returned.renew()
                    self._returned.wait(0.0)  # it may have been rung for nobody
                self._returned.wait(GLANCE_S)
            # What is set in a copy of the context need not be set back.
            contextvars.copy_context().run(_untraced, work)
            return True
        finally:
            if mine:
                self._thread = 0
                self._permit.append(None)
                self._returned.ring()


def _untraced(work: Callable[[], object]) -> None:
    context = otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)
    token = otel_context.attach(context)
    try:
        work()
    except Exception:
        _log.exception("reporting goes on after an error")
    finally:
        otel_context.detach(token)
