"""From the queue to sealed payloads: take, encode, batch. No thread, no sleep, no wire.

Whatever an encoder raises costs the span or the payload at hand and is counted; the rest goes on.

A span is encoded once, before its batch is known: ``Batch.spans`` in Jaeger's Thrift is a list of
structs and ``ScopeSpans.spans`` in OTLP a repeated field, and in both the encoding of the whole is
that of the elements one after the other. So its size is known exactly, and a datagram is filled to
the byte. (jaeger-client-go encodes each span twice to learn its size; jaeger_client for Python
counts spans, ten to a batch, and loses a batch that is too large for a datagram whole.)
"""

from __future__ import annotations

import logging
import math
from itertools import repeat
from operator import attrgetter, is_
from typing import TYPE_CHECKING

from tracekit._causes import DropReason
from tracekit.reporting._batch import Batch
from tracekit.reporting._shared_limit import SharedLimit
from tracekit.reporting._span_log import explain_failed, log_span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit._protocols import Encoder, Frame, Payload, Transport
    from tracekit.reporting._ledger import Ledger
    from tracekit.reporting._queue import SpanQueue

_log = logging.getLogger("tracekit")

_BITE = 64
"""Spans that are taken and encoded together: a step for each of them costs more than its frame."""
_resource_of = attrgetter("resource")


class PendingPayload:
    """A payload that is to be sent, and what has happened to it so far."""

    __slots__ = ("attempts", "first_s", "payload", "process", "settled")

    def __init__(self, payload: Payload, process: bytes = b"", *, settled: bool = False) -> None:
        self.payload = payload
        self.process = process
        self.attempts = 0
        self.first_s = math.inf
        self.settled = settled
        """Whether its spans are counted as sent already (it is sent once more, in doubt)."""


class Batcher:
    """Makes payloads of what is queued. One thread at a time; see ``Sender`` about interrupts."""

    def __init__(
        self,
        queue: SpanQueue,
        ledger: Ledger,
        encoder: Encoder,
        transport: Transport,
        *,
        max_batch_spans: int | None,
        log_spans: bool,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._encoder = encoder
        self._transport = transport
        self._max_spans = max_batch_spans or (1 << 31)  # None: bytes alone decide
        self._limit = SharedLimit()
        self._log_spans = log_spans
        # An encoder may know how to encode many: see ``FactsEncoder``.
        self._encode: Callable[[Sequence[ReadableSpan], list[Frame], int], object] = getattr(
            encoder, "frames", self._one
        )
        self._bite = _BITE if hasattr(encoder, "frames") else 1
        # Spans that are encoded at once, twice as many as were last: of large ones few fit, and the
        # others would be looked through anew and anew.
        self._stride = _BITE
        self._singly = False  # since one of the spans in hand has ended a thread
        self._encoding = False  # so that a span is to blame for what ends this thread
        self._made: list[Frame] = []  # of the first spans in the queue's hand
        self._frames: list[Frame] = []  # of spans that were let go of; no batch has them yet
        self._resource: Resource | None = None  # of all of these, and its encoded process
        self._process = b""
        self._batch: Batch | None = None
        # Of the latest payload; the first is 1, as in jaeger-client-go. Jaeger's agents take a gap
        # for batches that were lost on the way, so it moves on also where sealing or sending fails.
        self._seq_no = 0
        self._processes: list[tuple[Resource, bytes]] = []
        self.pending: list[PendingPayload] = []
        """What is to be sent, in this order."""
        self.problem = ""
        """The latest reason why something could not be packed."""

    def fill(self, *, partial: bool) -> bool:
        """Take and encode until a batch is full; return whether there is a payload to send.

        With ``partial``, one that is not full is a payload as well, once the queue is empty.
        """
        max_bytes = self._limit.of(self._transport.max_bytes)  # which changes by sending only
        while not self.pending:
            if not self._frames and not self._encode_next(max_bytes):
                break
            try:
                self._place(max_bytes)
            except Exception:
                rest = self._frames[1:]
                self._ledger.dropped[DropReason.ENCODE_FAILED] += 1
                self._frames = rest
                _log.debug("a span cannot be put into a batch", exc_info=True)
        if not self.pending and partial:
            self._seal()
        return bool(self.pending)

    def abandon(self) -> None:
        """Count everything in hand as dropped by the shutdown; leave nothing behind."""
        queue, batch = self._queue, self._batch
        left = len(queue.hand) + len(self._frames)
        left += 0 if batch is None else len(batch.frames)
        left += sum([len(p.payload.frames) for p in self.pending if not p.settled])
        # Empty lists first: without memory for them, all would be counted once more.
        hand: list[ReadableSpan] = []
        pending: list[PendingPayload] = []
        frames: tuple[list[Frame], list[Frame]] = [], []
        self._ledger.dropped[DropReason.SHUTDOWN] += left
        queue.hand = hand
        self.pending = pending
        self._frames, self._made = frames
        self._batch = None

    def worker_died(self) -> None:
        """Give up the span that was being encoded; of several, have each encoded alone."""
        at_once = min(self._stride, len(self._queue.hand)) - len(self._made)
        if self._encoding and at_once > 1:
            self._stride, self._singly = 1, True
        else:
            self._drop_current()

    def _drop_current(self) -> None:
        hand, at = self._queue.hand, len(self._made)
        if self._encoding and at < len(hand):
            rest = hand[:at] + hand[at + 1 :]
            self._ledger.dropped[DropReason.ENCODE_FAILED] += 1
            self._queue.hand = rest

    def _encode_next(self, max_bytes: int) -> bool:
        """Make ``_frames`` of the next spans that can be encoded; return whether there were any.

        As many as fill the open batch, and one more: so what waits encoded is bounded in bytes.
        """
        queue, batch, made = self._queue, self._batch, self._made
        room = max_bytes if batch is None else max(1, batch.room(max_bytes))
        lacking = self._max_spans if batch is None else batch.lacks(max_bytes, self._max_spans)
        most = min(self._bite, lacking + 1)  # who has left the queue makes room in it
        while hand := queue.hand or queue.take(most):
            self._encoding = True
            try:
                self._encode(hand[: min(self._stride, self._together(hand))], made, room)
            except Exception:
                failed = hand[len(made) : len(made) + 1]
                self._drop_current()  # first: to tell of it may raise as well
                self._encoding = False
                explain_failed(failed)
                continue
            # What may fail for want of memory (to delete from a list as well) comes first.
            rest = hand[len(made) :]
            none: list[Frame] = []
            self._singly = self._singly and bool(rest)
            self._stride = 1 if self._singly else min(_BITE, 2 * len(made) or 1)
            self._frames, self._made, queue.hand = made, none, rest
            self._encoding = False
            return True
        return False

    def _together(self, hand: Sequence[ReadableSpan]) -> int:
        """Return how many of the first spans have one resource, which is that of ``_process`` then.

        (By identity: to compare two costs more than a span.) All or one: several are rare.
        """
        resource = hand[0].resource
        if resource is not self._resource:
            self._process = self._process_of(resource)
            self._resource = resource
        if self._log_spans:
            log_span(hand[0])
            return 1
        try:
            alike = all(map(is_, map(_resource_of, hand), repeat(resource)))
        except Exception:  # one of them cannot tell, which its turn will show
            alike = False
        return len(hand) if alike else 1

    def _one(self, spans: Sequence[ReadableSpan], into: list[Frame], _room: int) -> None:
        into += map(self._encoder.frame, spans[len(into) :])

    def _process_of(self, resource: Resource) -> bytes:
        """Return the encoded process of ``resource``, which nearly always is the one before."""
        for known, encoded in self._processes:
            if known is resource:
                return encoded
        encoded = self._encoder.process(resource)
        # A program has one resource, rarely a few; one that makes them by the dozen pays anew.
        self._processes = [*self._processes[-7:], (resource, encoded)]
        return encoded

    def _place(self, max_bytes: int) -> None:
        """Put some of ``_frames`` into the open batch, or seal that one first, or drop the first.

        A frame that is too large alone is dropped.
        """
        frames, batch = self._frames, self._batch
        if (
            batch is not None
            and batch.process == self._process
            and (count := batch.admits(frames, max_bytes, self._max_spans))
        ):
            fitting, rest = frames[:count], frames[count:]
            batch.frames += fitting  # no call from here on, see ``Sender``
            self._frames = rest
            return
        # Measured with its process and envelope, by which a span can be too large that would fit
        # without them; jaeger-client-go finds that out when it sends, and loses the whole batch.
        alone = self._begin(self._process)
        first, rest = frames[:1], frames[1:]
        if not alone.admits(first, self._transport.max_bytes, self._max_spans):
            # It alone is lost; the open batch goes on filling.
            self._ledger.dropped[DropReason.TOO_LARGE] += 1
            self._frames = rest
            self._explain_too_large(alone.process)
        elif batch is None:
            alone.frames += first
            self._batch = alone
            self._frames = rest
        else:
            self._seal()

    def _begin(self, process: bytes, *, ahead: int = 0) -> Batch:
        """Return an empty batch; ``ahead`` others will be sealed before it, and numbered."""
        return Batch(self._encoder, process, self._seq_no + 1 + ahead, self._ledger.loss())

    def _seal(self) -> None:
        """Make a payload of the open batch."""
        batch = self._batch
        if batch is None:
            return
        try:
            pending = self._sealed(batch)
        except Exception:
            self._ledger.dropped[DropReason.ENCODE_FAILED] += len(batch.frames)
            self._batch = None
            _log.debug("a batch cannot be encoded", exc_info=True)
        else:
            self.pending += (pending,)  # (no call from here on, see ``Sender``)
            self._batch = None

    def _sealed(self, batch: Batch) -> PendingPayload:
        self._seq_no += 1
        return PendingPayload(batch.seal(), batch.process)

    def taken(self, size: int) -> None:
        """Learn that a payload of ``size`` bytes was not too large."""
        self._limit.accept(size, self._transport.max_bytes)

    def split(self, pending: PendingPayload) -> None:
        """Replace ``pending``, the first, which was too large, by at least two.

        The receiver said so, whatever we took for its limit: a collector's 413, gRPC's
        "message larger than max", a kernel's EMSGSIZE. Spans share half of that size from
        now on, until larger payloads get through again (``SharedLimit``).
        """
        failed = unfit = 0
        self._limit.refuse(len(pending.payload.body))
        try:
            pieces = self._pieces(pending)
            unfit = len(pending.payload.frames) - sum([len(p.payload.frames) for p in pieces])
        except Exception:
            pieces = []
            failed = len(pending.payload.frames)
            _log.debug("a payload cannot be split", exc_info=True)
        if unfit:
            self._explain_too_large(pending.process)
        dropped = self._ledger.dropped
        unfit += dropped[DropReason.TOO_LARGE]
        failed += dropped[DropReason.ENCODE_FAILED]
        pieces += self.pending[1:]
        # (Nothing from here on can fail for want of memory.)
        dropped[DropReason.TOO_LARGE] = unfit
        dropped[DropReason.ENCODE_FAILED] = failed
        self.pending = pieces

    def _pieces(self, pending: PendingPayload) -> list[PendingPayload]:
        """Return payloads of the frames of one; those that are too large alone are left out."""
        frames = pending.payload.frames
        middle = len(frames) // 2
        max_bytes = self._transport.max_bytes
        shared_bytes = self._limit.of(max_bytes)
        batches: list[Batch] = []
        for left in (frames[:middle], frames[middle:]):
            batch: Batch | None = None
            at = 0
            while at < len(left):
                count = batch.admits(left[at:], shared_bytes, self._max_spans) if batch else 0
                if batch is None or not count:
                    batch = self._begin(pending.process, ahead=len(batches))
                    count = batch.admits(left[at : at + 1], max_bytes, self._max_spans)
                    if not count:
                        batch = None
                        at += 1
                        continue
                    batches.append(batch)
                batch.frames += left[at : at + count]
                at += count
        return [self._sealed(each) for each in batches]

    def _explain_too_large(self, process: bytes) -> None:
        """Say why no span fits; raises nothing, because what it explains is counted already."""
        try:
            most = self._transport.max_bytes
            if len(process) >= most:
                self.problem = (
                    f"the process tags alone take {len(process)} bytes, a payload may have {most}"
                )
        except Exception:
            _log.debug("a reason cannot be told", exc_info=True)
