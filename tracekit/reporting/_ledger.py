"""Counting spans exactly, from many threads, without a lock that a signal handler could meet.

Figures that only the ``Sender`` changes are plain ints: one thread at a time runs it. The rest is
derived when somebody asks, and the order of reading makes the law hold in every snapshot: what a
span reaches last is read first.
"""

from __future__ import annotations

from tracekit._causes import DropReason
from tracekit._process.tally import Tally
from tracekit._protocols import Loss
from tracekit.reporting._stats import Stats

_MAX_READINGS = 5


class Ledger:
    """The figures of one process. Tallies: any thread; plain ints: who runs the ``Sender``."""

    __slots__ = (
        "abandoned",
        "dropped",
        "evicted",
        "finished",
        "foreign",
        "payload_bytes",
        "payloads",
        "refused",
        "resent",
        "retries",
        "sent",
        "started",
        "taken",
        "unsampled",
        "withdrawn",
    )

    def __init__(self) -> None:
        self.started = Tally()
        self.withdrawn = Tally()
        self.finished = Tally()
        self.unsampled = Tally()
        self.foreign = Tally()
        self.refused = Tally()  # at the door of a full queue
        self.evicted = Tally()  # the oldest, to make room
        self.abandoned = Tally()  # never taken before the queue closed, or ended after it
        self.taken = Tally()  # by who runs the ``Sender``; it moves as a span leaves the queue
        self.sent = 0
        self.dropped = dict.fromkeys(DropReason, 0)  # of what was taken
        self.payloads = 0
        self.payload_bytes = 0
        self.retries = 0
        self.resent = 0

    def settled(self) -> int:
        """Return how many spans that once were queued are not any more: sent or lost."""
        return self.sent + sum(self.dropped.values()) + self.evicted.value + self.abandoned.value

    def snapshot(self) -> Stats:
        """Return figures that obey the law, whatever other threads do meanwhile.

        What they have refused between the first and the last reading would look like queued, by
        the thousand if this thread had to wait its turn. So then it is read again.
        """
        for _ in range(_MAX_READINGS):
            sent = self.sent
            dropped = dict(self.dropped)
            taken = self.taken.value
            full = self._full()
            abandoned = self.abandoned.value
            finished = self.finished.value
            withdrawn = self.withdrawn.value
            started = self.started.value - withdrawn
            if self._full() == full:
                break
        settled = sent + sum(dropped.values())
        dropped[DropReason.QUEUE_FULL] += full
        dropped[DropReason.SHUTDOWN] += abandoned
        return Stats(
            started=started,
            open=started - finished,
            finished=finished,
            unsampled=self.unsampled.value,
            sent=sent,
            queued=finished - taken - full - abandoned,
            in_flight=taken - settled,
            foreign=self.foreign.value,
            dropped={reason.value: number for reason, number in dropped.items()},
            payloads=self.payloads,
            payload_bytes=self.payload_bytes,
            retries=self.retries,
            resent=self.resent,
            taken=taken,
            withdrawn=withdrawn,
        )

    def lost(self) -> int:
        """Return how many spans were lost so far, whatever the reason."""
        return sum(self.dropped.values()) + self._full() + self.abandoned.value

    def _full(self) -> int:
        return self.refused.value + self.evicted.value

    def loss(self) -> Loss:
        """Return the losses as Jaeger's ``ClientStats`` name them."""
        dropped = self.dropped
        return Loss(
            queue_full=self._full(),
            too_large=dropped[DropReason.TOO_LARGE],
            send_failed=dropped[DropReason.SEND_FAILED]
            + dropped[DropReason.ENCODE_FAILED]
            + dropped[DropReason.REJECTED],
        )
