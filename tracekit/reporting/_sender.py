"""From the queue to the wire: pack, send, settle. No thread, no sleep.

``run`` does everything that can be done now and answers when it wants to be called again. So
the worker's loop, a flush on the caller's thread and a test with a fake clock drive the same
code. Whatever an encoder or a transport raises costs the span or the payload at hand and is
counted; the rest goes on.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tracekit._causes import DropReason
from tracekit._display import MAX_QUOTED, quoted
from tracekit._protocols import Outcome, SendResult
from tracekit.reporting._batcher import Batcher, PendingPayload
from tracekit.reporting._outage import Outage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit._protocols import Encoder, Transport
    from tracekit.reporting._ledger import Ledger
    from tracekit.reporting._queue import SpanQueue

_log = logging.getLogger("tracekit")
# The shared generator is the program's: drawing from it would change what the program's seed gives.
_entropy = random.SystemRandom()

TellSent = Callable[[float, SendResult], None]
"""Called after each attempt to send: how long it took, in seconds, and its result."""

_MAX_PROBLEM = 2 * MAX_QUOTED
"""Characters of a reason: an address of ours and words of the receiver's."""
FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 5.0
_LOST_AS = {
    Outcome.TOO_LARGE: DropReason.TOO_LARGE,
    Outcome.FAILED: DropReason.SEND_FAILED,
    Outcome.UNWANTED: DropReason.NO_EXPORTER,
}
MAX_HURRIED_PAUSE_S = 0.2
"""Between attempts while somebody waits in ``flush``."""
MAX_REFUSED_PAUSE_S = 1.0
"""Between single spans that were all too large: who refuses everything is not asked without end."""
_SPREAD = 0.1
"""The share of a pause that a receiver asked for by which processes told the same differ."""
MIN_AWAY_PAUSE_S = 0.25
"""Between attempts to reach a receiver that is away, once the queue is half full."""


class Sender:
    """Empties a queue into a transport. One thread at a time; ``Pipeline`` sees to that.

    An interrupt that comes as an exception (``KeyboardInterrupt`` in a flush, a time limit that
    a signal handler raises) loses nothing and counts nothing twice. CPython looks for signals
    after calls and at jumps back only. So here and in ``Batcher``, what is in hand stands in
    attributes, and a span changes hands together with its figure: in statements without a call.
    """

    def __init__(
        self,
        queue: SpanQueue,
        ledger: Ledger,
        encoder: Encoder,
        transport: Transport,
        *,
        max_batch_spans: int | None,
        log_spans: bool,
        tell_sent: Sequence[TellSent],
        clock: Callable[[], float],
        jitter: Callable[[], float] = _entropy.random,
    ) -> None:
        self._ledger = ledger
        self._transport = transport
        self._batcher = Batcher(
            queue,
            ledger,
            encoder,
            transport,
            max_batch_spans=max_batch_spans,
            log_spans=log_spans,
        )
        self._tell_sent = tell_sent
        self.outage = Outage(clock)
        self._clock = clock
        self._jitter = jitter
        self._not_before_s = -math.inf
        self._queue = queue
        self._refused_alone = 0  # spans in a row
        self._told_to_wait = False  # by the receiver or for pacing, not by our own back-off
        self._away: tuple[float, float] | None = None  # since when and how jittered is the pause
        self.abandon = self._batcher.abandon
        self.worker_died = self._batcher.worker_died

    @property
    def problem(self) -> str:
        """The latest reason why spans were not sent."""
        return self._batcher.problem

    def run(
        self,
        deadline_s: float,
        *,
        until_s: float,
        partial: bool,
        hurried: bool = False,
        target: int | None = None,
    ) -> float | None:
        """Work until nothing can be done now; return when to come again (None: nothing waits).

        ``deadline_s`` (of the clock) is handed to the transport; after ``until_s``, or once
        ``target`` spans are settled, no more sends begin. ``partial`` also sends a batch that is
        not full. ``hurried`` does not sit out a pause that was only our own back-off.
        """
        if hurried and not self._told_to_wait:
            self._not_before_s = -math.inf
        while True:
            now = self._clock()
            due = self._due_s()
            if now < due:
                return due if self._away is None else min(due, now + MIN_AWAY_PAUSE_S)
            if not self._batcher.fill(partial=partial):
                return None
            if now >= until_s:
                return now
            self._attempt(self._batcher.pending[0], deadline_s, hurried=hurried)
            if target is not None and self._ledger.settled() >= target:
                return None

    def _attempt(self, pending: PendingPayload, deadline_s: float, *, hurried: bool) -> None:
        started_s = self._clock()
        pending.first_s = min(pending.first_s, started_s)
        try:
            result = self._transport.send(pending.payload, deadline_s)
        except Exception as error:
            _log.debug("the transport raised", exc_info=True)
            result = SendResult.failed(f"{type(error).__name__}: {quoted(error)}")
        took_s = self._clock() - started_s
        self._settle(pending, result, hurried=hurried)
        if result.outcome is not Outcome.PACED:
            for tell in self._tell_sent:
                tell(took_s, result)

    def _due_s(self) -> float:
        """Return when the next attempt may begin.

        Who is not there is not disturbed by being looked for. So the fuller the queue, the
        shorter the pause; half full, it is what it was at first: a receiver that comes back is
        found before spans are lost. One that answers "later" keeps the whole pause.
        """
        if self._away is None:
            return self._not_before_s
        since_s, jitter = self._away
        pause_s = max(MIN_AWAY_PAUSE_S, MAX_PAUSE_S * (1 - 2 * self._queue.fill))
        return min(self._not_before_s, since_s + pause_s * jitter)

    def _settle(self, pending: PendingPayload, result: SendResult, *, hurried: bool) -> None:
        ledger, waiting = self._ledger, self._batcher.pending
        outcome = result.outcome
        self._away, self._not_before_s = None, -math.inf  # this attempt came before its time, maybe
        if outcome is Outcome.PACED:
            self._told_to_wait = True
            self._not_before_s = self._clock() + (result.after_s or 0.0)
            return
        if result.reason:
            self._batcher.problem = quoted(result.reason, _MAX_PROBLEM)
        self.outage.note(result, sum(ledger.dropped.values()))
        if outcome is Outcome.RETRY:
            self._postpone(pending, result, hurried=hurried)
            return
        spans = 0 if pending.settled else len(pending.payload.frames)
        if outcome is Outcome.SENT:
            rejected = max(0, min(result.rejected, spans))
            size = len(pending.payload.body)
            # All that may fail for want of memory comes first (to delete from a list as well).
            dropped = ledger.dropped[DropReason.REJECTED] + rejected
            sent = ledger.sent + spans - rejected
            payloads, payload_bytes = ledger.payloads + 1, ledger.payload_bytes + size
            rest = waiting[1:]
            ledger.dropped[DropReason.REJECTED] = dropped
            ledger.sent = sent
            ledger.payloads = payloads
            ledger.payload_bytes = payload_bytes
            self._batcher.pending = rest
            self._refused_alone = 0
            self._batcher.taken(size)
        elif outcome is Outcome.TOO_LARGE and spans > 1:
            self._batcher.split(pending)
        else:
            reason = _LOST_AS[outcome]
            rest = waiting[1:]  # first: it may fail, and then nothing is counted
            ledger.dropped[reason] += spans
            self._batcher.pending = rest
            if outcome is Outcome.TOO_LARGE:
                self._pause_for_refusals()

    def _pause_for_refusals(self) -> None:
        """Slow down if one span after the other is refused as too large."""
        alone = self._refused_alone
        self._refused_alone = alone + 1
        if alone:
            pause = min(MAX_REFUSED_PAUSE_S, FIRST_PAUSE_S * 2 ** min(alone - 1, 10))
            self._told_to_wait = False
            self._not_before_s = self._clock() + pause * (0.5 + self._jitter() / 2)

    def _postpone(self, pending: PendingPayload, result: SendResult, *, hurried: bool) -> None:
        ledger, waiting = self._ledger, self._batcher.pending
        ledger.retries += 1
        pending.attempts += 1
        for payload in result.doubt:
            ledger.resent += len(payload.frames)
            if payload is not pending.payload:
                waiting.insert(0, PendingPayload(payload, settled=True))
        now = self._clock()
        limit = self._transport.max_retry_s
        if limit is not None and now - pending.first_s >= limit:
            spans = 0 if pending.settled else len(pending.payload.frames)
            rest = [each for each in waiting if each is not pending]
            ledger.dropped[DropReason.SEND_FAILED] += spans
            self._batcher.pending = rest
            return
        ceiling = min(
            MAX_HURRIED_PAUSE_S if hurried else result.max_pause_s or MAX_PAUSE_S,
            FIRST_PAUSE_S * 2 ** min(pending.attempts - 1, 10),
        )
        jitter = 0.5 + self._jitter() / 2
        pause = ceiling * jitter
        asked_s = result.after_s
        self._told_to_wait = asked_s is not None
        if asked_s is None:
            self._away = (now, jitter) if result.unreached else None
        else:  # later than our own back-off, never sooner: 0 or a clock behind ours is no pace
            pause = max(pause, asked_s * (1 + _SPREAD * self._jitter()))
        self._not_before_s = now + pause
