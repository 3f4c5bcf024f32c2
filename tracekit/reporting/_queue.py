"""A bounded queue of spans that never makes a caller wait, and what wakes its worker.

No lock anywhere on these paths: a signal handler may interrupt ``offer`` on its own thread and
offer, so whatever it could wait for would never be let go. The bound is exact all the same:
each queued span holds a *permit*, and permits change hands in steps of ``deque`` which the
interpreter does not divide: under the GIL, and on free-threaded builds under the deque's own lock.
So only index 0 is deleted: -1 would be two steps there, the length and the item.

``offer`` takes a permit, counts the span and appends it; ``take`` and an eviction remove spans,
count them and pass their permits on. In this order permits may be missing for a moment, never be
there twice: a full queue can refuse a span too many, but never hold one.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from itertools import compress, count, islice, repeat
from typing import TYPE_CHECKING, Literal

from tracekit._causes import DropReason
from tracekit._process.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit.reporting._ledger import Ledger

DropPolicy = Literal["newest", "oldest"]

_WAKE_SPANS = 512
"""Spans after which the worker is woken before its interval is over: about one datagram."""
_forget: Callable[[object], None] = deque[object](maxlen=0).append
"""Returns None for anything, in C."""


class Wakeup:
    """Wakes one waiting thread; ringing never waits and is safe in a signal handler.

    A lock serves as a flag: taken means *not rung*. Releasing one that is free raises, which
    means that it has been rung already.
    """

    __slots__ = ("_lock", "_made_by", "armed")

    def __init__(self) -> None:
        self._made_by = threading.Lock
        self._lock = threading.Lock()
        self._lock.acquire()
        self.armed = False
        """Whether the worker wants to be woken by count; read on the hot path."""

    def renew(self) -> None:
        """Take a lock of the world that the caller lives in; nobody may be waiting.

        gevent and eventlet put green threads in the place of real ones, and uWSGI has them do so
        after the application was loaded. A lock from before would stop them all while one waits.
        """
        if self.outdated:
            self._made_by = threading.Lock
            lock = threading.Lock()
            lock.acquire()
            before, self._lock = self._lock, lock
            if not before.locked():
                self.ring()

    @property
    def outdated(self) -> bool:
        """Whether gevent or eventlet has put other threads in the place of those that it is for."""
        return threading.Lock is not self._made_by

    def ring(self) -> None:
        """Wake the waiting thread, or the next that waits."""
        self.armed = False
        with contextlib.suppress(RuntimeError):
            self._lock.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds; return whether somebody rang."""
        return self._lock.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX))


class SpanQueue:
    """At most ``capacity`` spans; when full, the newest (Jaeger's way) or the oldest is dropped."""

    __slots__ = (
        "_capacity",
        "_emptied",
        "_finished",
        "_fresh",
        "_giving",
        "_ledger",
        "_oldest",
        "_owed",
        "_permits",
        "_repaid",
        "_short",
        "_spans",
        "_taking",
        "_unsure",
        "_wake_at",
        "closed",
        "hand",
        "wakeup",
    )

    def __init__(self, capacity: int, policy: DropPolicy, ledger: Ledger) -> None:
        if capacity < 1:
            raise ValueError(f"queue_size has to be at least 1, not {capacity}")
        self._capacity = capacity
        self._oldest = policy == "oldest"
        self._ledger = ledger
        self._finished = ledger.finished.count  # (looked up once: ``offer`` is the hot path)
        self._spans: deque[ReadableSpan] = deque()
        # Each step takes a span and then counts it (as a tuple, which is true), see ``take``.
        self._taking = compress(
            map(deque.popleft, repeat(self._spans)), zip(ledger.taken.count, strict=False)
        )
        self._permits: deque[None] = deque()
        self._giving: Iterator[None] = repeat(None, 0)  # those that are on their way back
        self._owed = Tally()  # those that got lost on it, for want of memory; all but the repaid
        self._repaid = 0
        self._short = False  # whether there are any of these
        # How many were taken before a bite that lacked memory, and what is in hand of it.
        self._unsure: tuple[int, list[ReadableSpan]] | None = None
        self._fresh = count()  # permits are made on demand: a huge capacity costs no memory
        # Half of a small queue: one of 100 spans, as the clients of Jaeger have, never holds 512.
        self._wake_at = min(_WAKE_SPANS, max(1, capacity // 2))
        self.wakeup = Wakeup()
        self._emptied = False
        self.closed = False
        self.hand: list[ReadableSpan] = []
        """What was taken and nobody has seen to yet; whoever has, deletes it here."""

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def fill(self) -> float:
        """How full it is, from 0 to 1."""
        return len(self._spans) / self._capacity

    def offer(self, span: ReadableSpan) -> None:  # noqa: C901, PLR0912 - a call less may not fail
        """Count ``span`` as finished, and queue it or count why not.

        O(1), never waits, any thread, any signal handler. RecursionError where the stack has no
        room for it: then it is not counted. A handler that raises finds the span
        either not counted at all, or counted and queued (or lost, and counted as that): between
        the two there is no call, so CPython does not look for signals. ``for _ in tally: break``
        counts without a call.
        """
        if self.closed:  # a span that ends after the shutdown is one of its losses
            self._lose(self._ledger.abandoned.count)
            return
        spans = self._spans
        try:
            del self._permits[0]  # one that was used before: as a rule there is one
        except IndexError:
            # A new one. ``count`` hands out each number once, so ``capacity`` of them are made;
            # it runs on past that, which says as well that none is left.
            if next(self._fresh) >= self._capacity and not self._make_room():
                return
        for _ in self._finished:
            break
        try:
            spans += (span,)  # (``append`` is a call: the recursion limit may meet it)
        except MemoryError:  # it is counted already, so it has to be somewhere
            for _ in self._ledger.refused.count:
                break
            try:
                self._permits += (None,)
            except MemoryError:
                for _ in self._owed.count:
                    break
                self._short = True
            return
        # ``abandon`` sets the flag and then looks at the spans, here it is the other way round. So
        # of the two at least one sees the other, and no span is left behind.
        if self._emptied:  # closed after the look above, and nobody will come to take it
            try:
                del spans[0]  # each that comes so late brings one and takes one
            except IndexError:
                return
            for _ in self._ledger.abandoned.count:
                break
            self._permits += (None,)
        elif self.wakeup.armed:
            try:
                if len(spans) >= self._wake_at:
                    self.wakeup.ring()
            except RecursionError:
                pass  # it is queued; the worker comes when its interval is over

    def _lose(self, reason: Iterator[int]) -> None:
        """Count a span that is refused, as finished and as lost."""
        for _ in self._finished:
            break
        for _ in reason:
            break

    def _make_room(self) -> bool:
        """Return whether a permit could be had from a queue that is full; count a refusal.

        The clients of Jaeger refuse the newest span: what a trace began with stays. The batch
        processor of OpenTelemetry's SDK drops the oldest: what happens now is seen.
        """
        if self._oldest:
            try:
                del self._spans[0]  # its permit is the new span's now
            except IndexError:  # all was taken in this moment
                try:
                    del self._permits[0]
                except IndexError:
                    pass
                else:
                    return True
            else:
                for _ in self._ledger.evicted.count:
                    break
                return True
        self._lose(self._ledger.refused.count)
        return False

    def take(self, most: int = 1) -> list[ReadableSpan]:
        """Take up to ``most`` of the oldest spans into ``hand``, which is empty; return it.

        Only for who may run the ``Sender``, one thread at a time. No call between what it does to
        a span, its figure and its permit: an interrupt finds all of it done, or nothing.
        """
        hand, ledger = self.hand, self._ledger
        most = min(most, len(self._spans))
        bite = islice(self._taking, most)
        permits: Iterator[None] = repeat(None, most)
        if_fewer = map(_forget, hand)  # a permit for each that will be there
        if self._short:
            self._give_what_is_owed()
        attempt = ledger.taken.value, hand
        try:
            hand += bite
        except IndexError:  # some were dropped meanwhile, to make room
            permits = if_fewer
        except MemoryError:  # to make room in the list: the span that was to be added is lost
            permits = self._giving = if_fewer
            self._unsure = attempt
            self._short = True
            self._count_lost()
        self._giving = permits
        try:
            self._permits += permits
        except MemoryError:  # one was on its way, the others are still to come
            for _ in self._owed.count:
                break
            self._short = True
        return hand

    def _give_what_is_owed(self) -> None:
        """Pass on the permits for which there was no memory. What raises here leaves it to do."""
        self._count_lost()
        while True:
            try:
                self._permits += self._giving
            except MemoryError:
                for _ in self._owed.count:  # one was on its way
                    break
                for _ in self._giving:  # the others make way for those that ``take`` gives
                    for _ in self._owed.count:
                        break
                return
            owed, repaid = self._owed.value, self._repaid + 1
            if repaid > owed:
                self._short = False
                if self._owed.value > owed:  # ``offer`` may have set it just before
                    self._short = True
                return
            self._giving = repeat(None, 1)
            self._repaid = repaid

    def _count_lost(self) -> None:
        """Count the span that there was no memory to hold; what raises here leaves it to do."""
        if self._unsure is None:
            return
        before, hand = self._unsure
        lost = self._ledger.taken.value - before - len(hand)
        if lost:
            dropped = self._ledger.dropped[DropReason.ENCODE_FAILED] + lost
            self._unsure = None
            self._ledger.dropped[DropReason.ENCODE_FAILED] = dropped
            for _ in self._owed.count:
                break
        else:
            self._unsure = None

    def close(self) -> None:
        """Accept nothing from now on; what is queued can still be taken."""
        self.closed = True
        self.wakeup.ring()

    def abandon(self) -> None:
        """Count everything queued, now or later, as dropped by the shutdown. Any thread."""
        self._emptied = True
        while True:
            try:
                del self._spans[0]
            except IndexError:
                return
            for _ in self._ledger.abandoned.count:
                break
            self._permits.append(None)
