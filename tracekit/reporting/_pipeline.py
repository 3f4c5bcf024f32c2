"""All the state that one process needs to report spans; a fork starts with a new one."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from tracekit._display import quoted
from tracekit._process.stack import reach
from tracekit._process.undivided import no_fork
from tracekit.reporting._drop_warning import DropWarning
from tracekit.reporting._flush_requests import FlushRequest, FlushRequests
from tracekit.reporting._intake import Intake
from tracekit.reporting._ledger import Ledger
from tracekit.reporting._queue import SpanQueue, Wakeup
from tracekit.reporting._sender import Sender
from tracekit.reporting._stats import FlushResult
from tracekit.reporting._turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tracekit._protocols import Encoder, Transport
    from tracekit.reporting._queue import DropPolicy
    from tracekit.reporting._sender import TellSent

_log = logging.getLogger("tracekit")

_TURN_S = 0.05
"""How long the worker sends, under a steady flow of spans, before it looks for requests."""
_LOST_S = 0.1
"""How soon a flush sees that the worker has ended and will not answer."""
_RESPAWN_S = 1.0
_SPAWN_FRAMES = 50
"""How deep it goes to start a worker and to see to the process' end, at most."""
PATIENCE = 0.25
"""The part of the exit budget that is waited for a receiver on this host that never was there."""


class Worker(Protocol):
    """As much of a thread as a pipeline needs to know."""

    @property
    def ident(self) -> int | None:
        """Its number."""

    def is_alive(self) -> bool:
        """Return whether it has not ended."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""


class Pipeline:
    """Queue, sender and figures of one process.

    Any thread may offer, flush and close. Once there is a worker, it alone sends: ``flush`` and
    ``close`` ask it and wait. So whatever a send waits for (a name server, an exporter, a log
    handler's lock), the caller's wait is bounded, and a signal handler that flushes never meets a
    lock that the code below it holds. Without a worker the caller sends. One thread at a time runs
    the ``Sender``: see ``Turn``.
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
        tell_sent: Sequence[TellSent],
        spawn: Callable[[Pipeline], Worker | None],
        clock: Callable[[], float],
        wait: Callable[[float], object],
    ) -> None:
        self.ledger = Ledger()
        self.queue = SpanQueue(queue_size, drop_policy, self.ledger)
        self.flush_s = flush_s
        self.clock = clock
        self.intake = Intake(self.ledger.started.count)
        """Its ``offer`` is there while there is a worker."""
        self._transport = transport
        self._sender = Sender(
            self.queue,
            self.ledger,
            encoder,
            transport,
            max_batch_spans=max_batch_spans,
            log_spans=log_spans,
            tell_sent=tell_sent,
            clock=clock,
        )
        self._drop_warning = DropWarning(clock)
        self._wait = wait
        self._turn = Turn(clock)
        self._spawn = spawn
        self._vacancy = deque([None])  # popped by exactly one of the threads that come first
        self._spawn_after_s = -math.inf
        self._said: dict[str, object] = {}
        self._worker: Worker | None = None
        self._flush_requests = FlushRequests(self.ledger, clock)
        self._end_s = math.inf
        self._patience_s = math.inf  # the end's, where every send is refused by this very host
        self.relieved = False
        """Whether the worker is from before gevent patched, and is to touch nothing any more."""
        self._over = False  # nobody sends any more: what is in hand is to be counted as lost

    def start(self) -> None:
        """Start the worker, once. Without one, ``flush`` and ``close`` drain.

        RecursionError where the stack has no room for it, MemoryError; raises nothing else.
        """
        if self.queue.closed:
            if self._over:  # all losses were told when the pipeline closed
                self._say_once("spans that end after tracing was shut down are dropped")
            return
        if self.clock() < self._spawn_after_s:
            return
        reach(_SPAWN_FRAMES)  # a stack that ends halfway would leave half a worker
        try:
            self._vacancy.pop()
        except IndexError:  # another thread is at it, or the code that this signal interrupted
            return
        try:
            self._worker = self._spawn(self)
            self.intake.offer = self.queue.offer
        except Exception as error:  # a limit was met, or the interpreter is about to end
            _log.debug("no thread can be started", exc_info=True)
            if self._spawn_after_s != -math.inf:  # not the end of the interpreter, so for good
                self._say_once(
                    f"no thread can be started ({quoted(error)}): spans wait for flush or exit"
                )
        finally:
            if self.intake.offer is None:  # also when an interrupt came as an exception
                self._vacancy += (None,)  # first, and without a call that could fail as well
                self._spawn_after_s = self.clock() + _RESPAWN_S

    def _say_once(self, message: str, error: Exception | None = None) -> None:
        mine = object()
        if self._said.setdefault(message, mine) is mine:
            _log.warning(message, *(() if error is None else (quoted(error),)))

    # --- for the worker ---

    def work(self, *, partial: bool) -> float | None:
        """Do the worker's share; return when it wants to come again (None: when woken)."""
        due: float | None = self.clock() + self.flush_s  # should anything raise

        def share() -> None:
            nonlocal due
            due = self._sender.run(
                math.inf, until_s=self.clock() + min(self.flush_s, _TURN_S), partial=partial
            )
            self._look()

        return due if self._turn.take(share, until_s=math.inf) else None

    def run_flush_requests(self) -> None:
        """Send what flushes wait for, until each has it or has given up."""
        while (requests := self._flush_requests.unfinished()) and not self.queue.closed:
            deadline_s = max(request.deadline_s for request in requests)
            target = min(request.target for request in requests)
            due = self._send_for(target, deadline_s)
            if due is None:
                if self.ledger.settled() < target:  # nothing is left that could be sent
                    self._flush_requests.end(requests)
            elif due > self.clock():
                self.queue.wakeup.wait(min(due, deadline_s) - self.clock())

    def _send_for(self, target: int, deadline_s: float) -> float | None:
        """Send for a moment, until ``target`` spans are settled; return when to go on with it."""
        due: float | None = deadline_s  # should anything raise

        def send() -> None:
            nonlocal due
            due = self._sender.run(
                deadline_s,
                until_s=min(deadline_s, self.clock() + _TURN_S),
                partial=True,
                hurried=True,
                target=target,
            )

        return due if self._turn.take(send, until_s=deadline_s) else self.clock()

    def worker_died(self) -> None:
        """Let the next span that ends start another worker: this one was killed at its work."""
        # If it was the span at hand that killed it, no other worker follows.
        self._turn.take(self._sender.worker_died, until_s=-math.inf)
        self._worker = self.intake.offer = None
        self._spawn_after_s = self.clock() + _RESPAWN_S
        self._vacancy.append(None)

    def worker_done(self) -> None:
        """Send until the end that ``close`` has set; the worker's last act."""
        self._drain()
        self._flush_requests.end_all()
        if self._over:  # ``close`` could not wait any longer, so the rest is ours to count
            self._finish()

    # --- for everybody ---

    def flush(self, timeout_s: float) -> FlushResult:
        """Have everything sent that is queued now. See ``Reporter``."""
        ledger = self.ledger
        before = ledger.snapshot()
        target = ledger.finished.value - ledger.refused.value
        deadline_s = self.clock() + timeout_s
        if self._is_served():
            self._ask(FlushRequest(target, deadline_s, Wakeup()))
        else:

            def send() -> None:
                self._drive(deadline_s, target)
                self._look()

            self._turn.take(send, until_s=deadline_s, enough=lambda: ledger.settled() >= target)
        after = ledger.snapshot()
        return FlushResult(
            sent=after.sent - before.sent,
            dropped=sum(after.dropped.values()) - sum(before.dropped.values()),
            left=max(0, target - ledger.settled()),
        )

    def _ask(self, request: FlushRequest) -> None:
        """Have the worker run ``request`` and wait for that, as long as there is a worker."""
        self._flush_requests.add(request)
        self.queue.wakeup.ring()
        while self.ledger.settled() < request.target and self._is_served():
            left_s = request.deadline_s - self.clock()
            if left_s <= 0 or request.done.wait(min(left_s, _LOST_S)):
                return

    def begin_close(self, timeout_s: float) -> float:
        """Refuse spans from now on; the worker, if there is one, ends by what is returned."""
        self.relieved = self.queue.wakeup.outdated
        return self._end_within(timeout_s)

    def _end_within(self, timeout_s: float) -> float:
        now = self.clock()
        self._patience_s = now + timeout_s * PATIENCE
        self._end_s = now + timeout_s
        self.queue.close()
        return self._end_s

    def release(self, timeout_s: float) -> None:
        """Let the worker end by itself, as ``close`` would have it end. Never waits."""
        self._end_within(timeout_s)
        self._over = True
        if not self._has_worker():
            self._transport.close()

    def close(self, timeout_s: float) -> None:
        """Refuse spans from now on, send what can be sent in time, count the rest. Idempotent.

        Where nobody on this host has listened from the start, a quarter of the time is enough.
        """
        self.begin_close(timeout_s)
        worker = self._worker
        try:
            if worker is not None and self._is_served():
                worker.join(min(max(0.0, timeout_s), threading.TIMEOUT_MAX))
            else:
                self._drain()
        except BaseException:
            self._end_s = self.clock()  # the worker is to come to its end as well
            raise
        finally:  # also when a signal handler raises: what is left is counted and told
            self.queue.abandon()
            self._over = True
            self._finish()
            self.intake.offer = None  # so ``start`` hears of a span that comes too late

    def _drain(self) -> None:
        """Send until the end that ``begin_close`` has set."""
        end_s = self._end_s
        self._turn.take(
            lambda: self._drive(end_s, None, patience_s=self._patience_s), until_s=end_s
        )

    def _has_worker(self) -> bool:
        """Return whether another thread is there to send."""
        worker = self._worker
        return worker is not None and worker.is_alive() and worker.ident != threading.get_ident()

    def _is_served(self) -> bool:
        """Return whether there is another thread to send, of the kind that the caller waits for.

        A real thread from before gevent patched makes a loop of its own when it touches a socket.
        While another makes one, or waits for that thread, gevent's imports can wait for each other
        for ever. So who wants to see spans sent does it then.
        """
        return self._has_worker() and not self.queue.wakeup.outdated

    def _finish(self) -> None:
        """Count what is in hand as lost and let go of the wire, unless a thread is still at it."""

        def let_go() -> None:
            self._sender.abandon()
            self._transport.close()

        mine = self._turn.take(let_go, until_s=-math.inf)
        self._look(final=True)
        if not mine and (left := self.ledger.snapshot().in_flight):
            _log.warning("%d spans are still being sent, but the time for it is up", left)

    def _drive(
        self, deadline_s: float, target: int | None, *, patience_s: float = math.inf
    ) -> None:
        """Run the ``Sender`` on this thread until ``target`` spans are settled or the time is up.

        After ``patience_s`` it is up where all is in vain.
        """
        while True:
            due = self._sender.run(
                deadline_s, until_s=deadline_s, partial=True, hurried=True, target=target
            )
            end_s = min(deadline_s, self._end_s)  # which an interrupted ``close`` moves
            if self.in_vain:
                end_s = min(end_s, patience_s)
            if due is None or due >= end_s:
                return
            self._wait(max(0.0, due - self.clock()))

    def _look(self, *, final: bool = False) -> None:
        outage, lost = self._sender.outage, self.ledger.lost()
        if lost == self._drop_warning.number and not (final or outage.untold):
            return
        dropped, remedy = self.ledger.snapshot().dropped, outage.remedy
        if final and self.in_vain:
            remedy += " (so the end waited for a quarter of the exit budget only)"
        with no_fork():
            told = self._drop_warning.look(dropped, self._sender.problem, remedy, final=final)
            outage.tell(told=told)

    @property
    def problem(self) -> str | None:
        """The latest reason why spans were not sent."""
        return self._sender.problem or None

    @property
    def in_vain(self) -> bool:
        """Whether every send so far was refused by this very host: nobody listens."""
        return self._sender.outage.in_vain
