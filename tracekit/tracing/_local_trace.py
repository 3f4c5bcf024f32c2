"""The part of a trace that lies in this process, undecided, and the buffer that holds such parts.

The law, exact in every snapshot, in each process for itself::

    recorded = buffered + promoted + Σ discarded{reason}

A span is *recorded* when it starts below a local root that nobody sampled and a rule may want;
*buffered* until its trace is decided, which is when the local root ends.
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit.sampling import RateLimiter
    from tracekit.sampling._keep import KeepRule
    from tracekit.tracing._kept import KeptSpan
    from tracekit.tracing._life import Life


class DiscardReason(str, enum.Enum):
    """Why a recorded span was not promoted."""

    UNWANTED = "unwanted"
    """No rule asked for its trace."""
    BUFFER_FULL = "buffer_full"
    """Its local root was the oldest of a full buffer."""
    RATE_LIMITED = "rate_limited"
    """A rule asked for its trace, but enough were promoted in this second."""
    LATE = "late"
    """It was still open when its trace was discarded: no rule has seen how it ended."""
    SHUTDOWN = "shutdown"
    """Its trace was undecided when tracing ended."""

    __hash__ = str.__hash__


class KeepCounts(NamedTuple):
    """A snapshot of one process' figures, in spans; the law above holds in it."""

    recorded: int = 0
    buffered: int = 0
    promoted: int = 0
    discarded: Mapping[str, int] = {}


class LocalTrace:
    """All spans of this process below one local root. Changed under the buffer's lock only.

    But for ``live``: whoever takes a span out of it (``dict.pop``, which is atomic) has it; the
    thread that ends the span, or the verdict.
    """

    __slots__ = ("bytes", "done", "live", "partial", "promoted", "root", "rule", "store", "verdict")

    def __init__(self, store: Buffer, rule: KeepRule, partial: bool) -> None:
        self.store = store
        self.rule = rule
        self.partial = partial
        """Whether the caller has decided not to sample it, so that its parts are missing."""
        self.root: KeptSpan | None = None
        self.live: dict[KeptSpan, bool] = {}
        self.done: list[KeptSpan] = []
        self.bytes = 0
        self.verdict: DiscardReason | None = None
        """Why it was discarded."""
        self.promoted = False

    @property
    def decided(self) -> bool:
        """Whether there is a verdict."""
        return self.promoted or self.verdict is not None


class Buffer:
    """The undecided traces of one process, in the order of their local roots. Any thread.

    ``max_spans`` counts open spans too; ``max_bytes`` is of the attributes of ended ones. When
    either is reached, the trace whose local root is the oldest goes. The lock is never held while
    foreign code runs, and is reentrant for signal handlers; a forked child has a buffer of its own.
    """

    def __init__(
        self,
        life: Life,
        max_spans: int,
        max_bytes: int,
        limiter: RateLimiter,
        watched: Callable[[], bool],
    ) -> None:
        self.life = life
        self.lock = threading.RLock()
        self.closed = False
        self.parted: deque[KeptSpan] = deque()
        """Ended spans that were discarded, while span processors are to be told of them."""
        self._watched = watched
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._limiter = limiter
        self._traces: dict[LocalTrace, None] = {}
        self._held = 0
        self._bytes = 0
        self._recorded = 0
        self._promoted = 0
        self._discarded = dict.fromkeys(DiscardReason, 0)

    def begin(self, trace: LocalTrace, root: KeptSpan) -> bool:
        """Take in a trace by its local root; False if the buffer is closed."""
        with self.lock:
            if self.closed:
                return False
            trace.root = root
            self._traces[trace] = None
            return self.add(trace, root)

    def add(self, trace: LocalTrace, span: KeptSpan) -> bool:
        """Take in a span that starts; False if its trace has been decided meanwhile."""
        with self.lock:
            if trace.promoted or trace.verdict is not None:
                return False
            self._recorded += 1
            self._held += 1
            trace.live[span] = True
            if self._held > self._max_spans:
                self._evict()
            return True

    def finish(self, trace: LocalTrace, span: KeptSpan, size: int) -> bool:
        """Take in a span that has ended and was taken out of ``live``.

        True: its trace was promoted meanwhile, and the caller reports it.
        """
        with self.lock:
            if trace.promoted:
                self._held -= 1
                self._promoted += 1
                return True
            if trace.verdict is not None:
                self._discard(_of_late(trace.verdict), 1)
                self._part([span])
                return False
            trace.done.append(span)
            trace.bytes += size
            self._bytes += size
            if self._bytes > self._max_bytes:
                self._evict()
            return False

    def promote(
        self, trace: LocalTrace, begin: Callable[[KeptSpan], None], *, capped: bool = True
    ) -> list[KeptSpan]:
        """Decide for a trace, within the rate; return its ended spans, for the caller to report.

        ``begin`` is called for each that is still open: it is sampled from now on.
        """
        with self.lock:
            if trace.decided:
                return []
            if capped and not self._limiter.take():
                self.discard(trace, DiscardReason.RATE_LIMITED)
                return []
            trace.promoted = True
            done, number = self._let_go(trace, begin)
            self._held -= number
            self._promoted += number
            return done

    def discard(self, trace: LocalTrace, reason: DiscardReason) -> None:
        """Decide against a trace, unless it is decided."""
        with self.lock:
            if trace.decided:
                return
            trace.verdict = reason
            done, number = self._let_go(trace, _forget)
            self._discard(reason, len(done))
            self._discard(_of_late(reason), number - len(done))
            self._part(done)

    def release(self) -> None:
        """Count one span that was taken out of ``live`` as promoted: it is sampled by itself."""
        with self.lock:
            self._held -= 1
            self._promoted += 1

    def close(self) -> None:
        """Discard everything, and take in nothing any more."""
        with self.lock:
            self.closed = True
            for trace in list(self._traces):
                self.discard(trace, DiscardReason.SHUTDOWN)

    def counts(self) -> KeepCounts:
        """Return the figures of this moment."""
        with self.lock:
            discarded = {reason.value: number for reason, number in self._discarded.items()}
            return KeepCounts(self._recorded, self._held, self._promoted, discarded)

    def _let_go(
        self, trace: LocalTrace, begin: Callable[[KeptSpan], None]
    ) -> tuple[list[KeptSpan], int]:
        """Take a trace out; return its ended spans, and how many these and the open ones are."""
        self._traces.pop(trace, None)
        self._bytes -= trace.bytes
        done, trace.done, trace.root = trace.done, [], None
        number = len(done)
        for span in trace.live.copy():
            if trace.live.pop(span, False):
                begin(span)
                number += 1
        return done, number

    def _discard(self, reason: DiscardReason, number: int) -> None:
        self._held -= number
        self._discarded[reason] += number

    def _part(self, spans: list[KeptSpan]) -> None:
        if self._watched():
            self.parted.extend(spans)

    def _evict(self) -> None:
        while self._traces and (self._held > self._max_spans or self._bytes > self._max_bytes):
            self.discard(next(iter(self._traces)), DiscardReason.BUFFER_FULL)


def _forget(span: KeptSpan) -> None:
    """Leave an open span of a discarded trace as it is: unsampled, its decision no longer open."""
    span._settle()


def _of_late(reason: DiscardReason) -> DiscardReason:
    return DiscardReason.LATE if reason is DiscardReason.UNWANTED else reason
