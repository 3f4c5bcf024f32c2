"""All the state that one process needs to report spans; a fork starts with a new one."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from tracekit.reporting._alarm import Alarm
from tracekit.reporting._drain import Drain
from tracekit.reporting._ledger import Ledger
from tracekit.reporting._queue import SpanQueue
from tracekit.reporting._stats import FlushResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tracekit._protocols import Encoder, Transport
    from tracekit.reporting._queue import DropPolicy

_log = logging.getLogger("tracekit")

_GLANCE_S = 0.02
"""How often a flush that waits for the worker looks whether its spans are out."""
_RESPAWN_S = 1.0


class Pipeline:
    """Queue, drain and figures of one process.

    Any thread may offer, flush and close. One thread at a time drives the drain: it holds a
    reentrant lock, so a signal handler that interrupts the drain on the same thread gets it too,
    sees ``_driving`` and leaves the drain alone instead of waiting for itself.
    """

    def __init__(
        self,
        encoder: Encoder,
        transport: Transport,
        *,
        queue_size: int,
        drop_policy: DropPolicy,
        flush_s: float,
        max_batch_spans: int | None,
        log_spans: bool,
        spawn: Callable[[Pipeline], None],
        clock: Callable[[], float],
        wait: Callable[[float], object],
    ) -> None:
        self.ledger = Ledger()
        self.queue = SpanQueue(queue_size, drop_policy, self.ledger)
        self.flush_s = flush_s
        self.clock = clock
        self.unmanned = True
        """Whether no worker has been started yet; read on the hot path."""
        self._transport = transport
        self._drain = Drain(
            self.queue,
            self.ledger,
            encoder,
            transport,
            max_batch_spans=max_batch_spans,
            log_spans=log_spans,
            clock=clock,
        )
        self._alarm = Alarm(clock)
        self._wait = wait
        self._lock = threading.RLock()
        self._driving = False
        self._spawn = deque([spawn])  # popped by exactly one of the threads that come first
        self._spawn_after_s = -math.inf

    def start(self) -> None:
        """Start the worker, once. Never raises: without one, ``flush`` and ``close`` drain."""
        if self.clock() < self._spawn_after_s:
            return
        try:
            spawn = self._spawn.pop()
        except IndexError:  # another thread is at it, or the code that this signal interrupted
            return
        try:
            spawn(self)
        except RuntimeError as error:  # a limit was met, or the interpreter is about to end
            self._spawn_after_s = self.clock() + _RESPAWN_S
            self._spawn.append(spawn)
            _log.debug("no thread can be started (%s): spans wait for flush or shutdown", error)
        else:
            self.unmanned = False

    def work(self, *, partial: bool) -> float | None:
        """Do the worker's share; return when it wants to come again (None: when woken)."""
        with self._turn(math.inf, lambda: False) as mine:
            if not mine:
                return None
            due = self._drain.run(
                math.inf, until_s=self.clock() + self.flush_s, partial=partial or self.queue.closed
            )
            self._look()
            return due

    def flush(self, timeout_s: float) -> FlushResult:
        """Send what is queued now, on this thread unless another is at it. See ``Reporter``."""
        ledger = self.ledger
        before = ledger.snapshot()
        target = ledger.finished.value - ledger.refused.value
        deadline_s = self.clock() + timeout_s
        with self._turn(deadline_s, lambda: ledger.settled() >= target) as mine:
            if mine:
                self._drive(deadline_s, target)
        after = ledger.snapshot()
        return FlushResult(
            sent=after.sent - before.sent,
            dropped=sum(after.dropped.values()) - sum(before.dropped.values()),
            left=max(0, target - ledger.settled()),
        )

    def close(self, timeout_s: float) -> None:
        """Refuse spans from now on, send what can be sent in time, count the rest. Idempotent."""
        deadline_s = self.clock() + timeout_s
        self.queue.close()
        with self._turn(deadline_s, lambda: False) as mine:
            if mine:
                self._drive(deadline_s, None)
        self.queue.abandon()
        self.finish()

    def finish(self) -> None:
        """Count what is in hand as lost and let go of the wire, unless a thread is still at it."""
        with self._turn(-math.inf, lambda: False) as mine:
            if mine:
                self._drain.abandon()
                self._look(final=True)
                self._transport.close()

    def _drive(self, deadline_s: float, target: int | None) -> None:
        """Run the drain on this thread until ``target`` spans are settled or the time is up."""
        while True:
            due = self._drain.run(
                deadline_s, until_s=deadline_s, partial=True, hurried=True, target=target
            )
            self._look()
            if due is None or due >= deadline_s:
                return
            self._wait(max(0.0, due - self.clock()))

    def _look(self, *, final: bool = False) -> None:
        self._alarm.look(self.ledger.snapshot().dropped, self._drain.problem, final=final)

    @contextmanager
    def _turn(self, deadline_s: float, enough: Callable[[], bool]) -> Iterator[bool]:
        """Hold the drain, with tracing of our own traffic off; False when that cannot be.

        Waits for another thread until ``deadline_s``, or until ``enough()``.
        """
        while not self._lock.acquire(timeout=_GLANCE_S):
            if self.clock() >= deadline_s or enough():
                yield False
                return
        try:
            if self._driving:
                yield False
                return
            self._driving = True
            token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
            try:
                yield True
            finally:
                otel_context.detach(token)
                self._driving = False
        finally:
            self._lock.release()
