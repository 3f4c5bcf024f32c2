"""From the queue to the wire: take, encode, batch, send, settle. No thread, no sleep.

``run`` does everything that can be done now and answers when it wants to be called again. So
the worker's loop, a flush on the caller's thread and a test with a fake clock drive the same
code. Whatever an encoder or a transport raises costs the span or the payload at hand and is
counted; the rest goes on.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tracekit._protocols import Outcome, SendResult
from tracekit.reporting._batch import Batch
from tracekit.reporting._stats import DropReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit._protocols import Encoder, Frame, Payload, Transport
    from tracekit.reporting._ledger import Ledger
    from tracekit.reporting._queue import SpanQueue

_log = logging.getLogger("tracekit")
_spans_log = logging.getLogger("tracekit.spans")

TellSent = Callable[[float, SendResult], None]
"""Called after each attempt to send: how long it took, in seconds, and its result."""

FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 5.0
MAX_HURRIED_PAUSE_S = 0.2
"""Between attempts while somebody waits in ``flush``."""


class Parcel:
    """A payload that is to be sent, and what has happened to it so far."""

    __slots__ = ("attempts", "first_s", "payload", "process", "settled")

    def __init__(self, payload: Payload, process: bytes = b"", *, settled: bool = False) -> None:
        self.payload = payload
        self.process = process
        self.attempts = 0
        self.first_s = math.inf
        self.settled = settled
        """Whether its spans are counted as sent already (it is sent once more, in doubt)."""


class Drain:
    """Empties a queue into a transport. One thread at a time; ``Pipeline`` sees to that.

    What is in hand stands in attributes, never in locals only: an interrupt that comes as an
    exception (``KeyboardInterrupt`` in a flush) loses nothing of it.
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
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._encoder = encoder
        self._transport = transport
        self._max_spans = max_batch_spans or (1 << 31)
        self._log_spans = log_spans
        self._tell_sent = tell_sent
        self._clock = clock
        self._jitter = jitter
        self._hand: ReadableSpan | None = None
        self._frame: Frame | None = None  # encoded, and the batch before it was full
        self._frame_process = b""
        self._batch: Batch | None = None
        self._parcels: deque[Parcel] = deque()
        self._not_before_s = -math.inf
        self._told_to_wait = False  # by the receiver or for pacing, not by our own back-off
        self._seq_no = 0
        self._processes: list[tuple[Resource, bytes]] = []
        self.problem = ""
        """The latest reason why a send did not succeed."""

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
            if now < self._not_before_s:
                return self._not_before_s
            if not self._parcels and not self._fill(partial=partial):
                return None
            if now >= until_s:
                return now
            self._attempt(self._parcels[0], deadline_s, hurried=hurried)
            if target is not None and self._ledger.settled() >= target:
                return None

    def abandon(self) -> None:
        """Count everything in hand as dropped by the shutdown; leave nothing behind."""
        left = (self._hand is not None) + (self._frame is not None)
        self._hand = self._frame = None
        if self._batch is not None:
            left += len(self._batch.frames)
            self._batch = None
        left += sum(len(p.payload.frames) for p in self._parcels if not p.settled)
        self._parcels.clear()
        self._ledger.dropped[DropReason.SHUTDOWN] += left

    # --- from the queue to sealed payloads ---

    def _fill(self, *, partial: bool) -> bool:
        """Take and encode until a batch is full; return whether there is a parcel to send."""
        while not self._parcels:
            if self._frame is None and not self._encode_next():
                break
            self._place()
        if not self._parcels and partial:
            self._seal()
        return bool(self._parcels)

    def _encode_next(self) -> bool:
        """Make ``_frame`` of the next span that can be encoded; return whether there was one."""
        while True:
            span = self._hand = self._hand or self._queue.take()
            if span is None:
                return False
            try:
                if self._log_spans:
                    _log_span(span)
                self._frame_process = self._process(span.resource)
                self._frame = self._encoder.frame(span)
            except Exception as error:
                self._ledger.dropped[DropReason.ENCODE_FAILED] += 1
                self._hand = None
                _log.debug("span %r cannot be encoded: %s", span.name, error, exc_info=True)
                continue
            self._hand = None
            return True

    def _process(self, resource: Resource) -> bytes:
        """Return the encoded process of ``resource``, which nearly always is the same object."""
        for known, encoded in self._processes:
            if known is resource:
                return encoded
        encoded = self._encoder.process(resource)
        # A program has one resource, rarely a few; one that makes them by the dozen pays anew.
        self._processes = [*self._processes[-7:], (resource, encoded)]
        return encoded

    def _place(self) -> None:
        """Put ``_frame`` into the open batch, or seal that one first, or drop it as too large."""
        frame = self._frame
        if frame is None:
            return
        batch = self._batch
        if (
            batch is not None
            and batch.process == self._frame_process
            and batch.admit(frame, self._transport.max_bytes, self._max_spans)
        ):
            self._frame = None
            return
        alone = self._begin(self._frame_process)
        if not self._admit(alone, frame):  # it alone is lost; the open batch goes on filling
            self._frame = None
            self._drop_too_large(alone.process)
        elif batch is None:
            self._batch = alone
            self._frame = None
        else:
            self._seal()

    def _begin(self, process: bytes) -> Batch:
        return Batch(self._encoder, process, self._seq_no + 1, self._ledger.loss())

    def _admit(self, batch: Batch, frame: Frame) -> bool:
        return batch.admit(frame, self._transport.max_bytes, self._max_spans)

    def _seal(self) -> None:
        if self._batch is not None:
            self._parcels.append(self._sealed(self._batch))
            self._batch = None

    def _sealed(self, batch: Batch) -> Parcel:
        self._seq_no += 1
        return Parcel(batch.seal(), batch.process)

    def _drop_too_large(self, process: bytes) -> None:
        self._ledger.dropped[DropReason.TOO_LARGE] += 1
        if len(process) >= self._transport.max_bytes:
            self.problem = (
                f"the process tags alone take {len(process)} bytes, "
                f"a payload may have {self._transport.max_bytes}"
            )

    # --- from payloads to the wire ---

    def _attempt(self, parcel: Parcel, deadline_s: float, *, hurried: bool) -> None:
        started_s = self._clock()
        parcel.first_s = min(parcel.first_s, started_s)
        try:
            result = self._transport.send(parcel.payload, deadline_s)
        except Exception as error:
            _log.debug("the transport raised", exc_info=True)
            result = SendResult.failed(f"{type(error).__name__}: {error}")
        if result.outcome is not Outcome.PACED:
            for tell in self._tell_sent:
                tell(self._clock() - started_s, result)
        self._settle(parcel, result, hurried=hurried)

    def _settle(self, parcel: Parcel, result: SendResult, *, hurried: bool) -> None:
        ledger = self._ledger
        spans = 0 if parcel.settled else len(parcel.payload.frames)
        outcome = result.outcome
        if outcome is Outcome.PACED:
            self._told_to_wait = True
            self._not_before_s = self._clock() + (result.after_s or 0.0)
            return
        self.problem = result.reason or self.problem
        if outcome is Outcome.RETRY:
            self._postpone(parcel, result, hurried=hurried)
            return
        self._parcels.popleft()
        if outcome is Outcome.SENT:
            rejected = min(result.rejected, spans)
            ledger.dropped[DropReason.REJECTED] += rejected
            ledger.payloads += 1
            ledger.payload_bytes += len(parcel.payload.body)
            ledger.sent += spans - rejected
        elif outcome is Outcome.TOO_LARGE and spans > 1:
            self._split(parcel)
        else:
            too_large = outcome is Outcome.TOO_LARGE
            reason = DropReason.TOO_LARGE if too_large else DropReason.SEND_FAILED
            ledger.dropped[reason] += spans

    def _postpone(self, parcel: Parcel, result: SendResult, *, hurried: bool) -> None:
        ledger = self._ledger
        ledger.retries += 1
        parcel.attempts += 1
        for payload in result.doubt:
            ledger.resent += len(payload.frames)
            if payload is not parcel.payload:
                self._parcels.appendleft(Parcel(payload, settled=True))
        now = self._clock()
        limit = self._transport.max_retry_s
        if limit is not None and now - parcel.first_s >= limit:
            self._parcels.remove(parcel)
            if not parcel.settled:
                ledger.dropped[DropReason.SEND_FAILED] += len(parcel.payload.frames)
            return
        pause = result.after_s
        self._told_to_wait = pause is not None
        if pause is None:
            ceiling = min(
                MAX_HURRIED_PAUSE_S if hurried else result.max_pause_s or MAX_PAUSE_S,
                FIRST_PAUSE_S * 2 ** min(parcel.attempts - 1, 10),
            )
            pause = ceiling * (0.5 + self._jitter() / 2)
        self._not_before_s = now + pause

    def _split(self, parcel: Parcel) -> None:
        """Make at least two payloads of the frames of one that may not be sent any more."""
        frames = parcel.payload.frames
        middle = len(frames) // 2
        pieces: list[Parcel] = []
        for half in (frames[:middle], frames[middle:]):
            batch: Batch | None = None
            for frame in half:
                if batch is not None and self._admit(batch, frame):
                    continue
                if batch is not None:
                    pieces.append(self._sealed(batch))
                batch = self._begin(parcel.process)
                if not self._admit(batch, frame):
                    batch = None
                    self._drop_too_large(parcel.process)
            if batch is not None:
                pieces.append(self._sealed(batch))
        self._parcels.extendleft(reversed(pieces))


def _log_span(span: ReadableSpan) -> None:
    context = span.get_span_context()
    if context is not None:
        duration_s = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        _spans_log.info(
            "Reporting span %032x:%016x %s (%.6f s)",
            context.trace_id,
            context.span_id,
            span.name,
            duration_s,
        )
