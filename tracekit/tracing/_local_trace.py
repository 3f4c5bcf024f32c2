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
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from tracekit._process.stack import reach
from tracekit.tracing._process_state import ZERO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit.sampling import RateLimiter
    from tracekit.sampling._keep import KeepRule
    from tracekit.tracing._process_state import TracingState


_VERDICT_FRAMES = 4
"""How deep a verdict goes: one in a stack without room must not end halfway."""


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


UNWANTED = DiscardReason.UNWANTED  # (a member of an enumeration is slow to look up)


class KeepCounts(NamedTuple):
    """A snapshot of one process' figures, in spans; the law above holds in it."""

    recorded: int = 0
    buffered: int = 0
    promoted: int = 0
    discarded: Mapping[str, int] = {}


class Undecided(Protocol):
    """What a local trace asks of its spans; who they are stands above, in ``_kept``."""

    _end_time: int | None

    def _begin_sampled(self) -> None:
        """Be a sampled span from now on, while live; called under the buffer's lock."""

    def _settle(self, bits: int = 0) -> None:
        """Say no longer that the decision is open, and set ``bits``."""


SpanT = TypeVar("SpanT", bound=Undecided)


class LocalTrace(Generic[SpanT]):
    """All spans of this process below one local root.

    Its spans come and end without a lock. A verdict is set before it takes them out, under the
    buffer's lock; who has put a span in looks for a verdict afterwards and, if there is one, goes
    to the buffer by itself (``begun_late``). One that ends looks for a verdict and sets its end
    time in one step, so a verdict finds it open or ended. So each is counted once.
    """

    __slots__ = (
        "bytes",
        "decided",
        "partial",
        "promoted",
        "root",
        "rule",
        "spans",
        "store",
        "told",
    )

    def __init__(self, store: Buffer[SpanT], rule: KeepRule, partial: bool) -> None:
        self.store = store
        self.rule = rule
        self.partial = partial
        """Whether the caller has decided not to sample it, so that its parts are missing."""
        self.root: SpanT | None = None
        self.spans: list[SpanT] = []
        """Open and ended ones, in the order of their starts."""
        self.bytes = 0
        self.decided: DiscardReason | bool = False
        """The verdict: True, or why it was discarded (which is no empty text, so true as well)."""
        self.promoted = False
        self.told = False
        """Whether any span was told how it went: else none has an error."""

    def ended(self) -> list[SpanT]:
        """Return the spans that have ended so far."""
        return [span for span in self.spans if span._end_time is not None]


class Buffer(Generic[SpanT]):
    """The undecided traces of one process, in the order of their local roots. Any thread.

    ``max_spans`` counts open spans too; ``max_bytes`` is of the attributes of ended ones. When
    either is passed, the trace whose local root is the oldest goes. The lock is never held while
    foreign code runs, and is reentrant for signal handlers; a forked child has a buffer of its own.
    """

    __slots__ = (
        "_discarded",
        "_gone",
        "_limiter",
        "_max_spans",
        "_promoted",
        "_roots",
        "_traces",
        "_watched",
        "bytes",
        "closed",
        "full_at",
        "lock",
        "max_bytes",
        "parted",
        "process",
        "recorded",
    )

    def __init__(
        self,
        process: TracingState,
        max_spans: int,
        max_bytes: int,
        limiter: RateLimiter,
        watched: Callable[[], bool],
    ) -> None:
        self.process = process
        self.lock = threading.RLock()
        self.closed = False
        self.parted: deque[SpanT] = deque()
        """Ended spans that were discarded, while span processors are to be told of them."""
        self.recorded = ZERO()
        """Counted without the lock, as ``TracingState``'s figures are."""
        self.full_at = max_spans
        """How many recorded spans are too many: the room, and all that have left."""
        self.bytes = 0
        self.max_bytes = max_bytes
        self._watched = watched
        self._max_spans = max_spans
        self._limiter = limiter
        self._traces: dict[LocalTrace[SpanT], None] = {}
        self._gone = 0
        self._roots = 0
        self._promoted = 0
        self._discarded = dict.fromkeys(DiscardReason, 0)

    def begin(self, trace: LocalTrace[SpanT], root: SpanT) -> bool:
        """Take in a trace by its local root; False if the buffer is closed."""
        with self.lock:
            if self.closed:
                return False
            trace.root = root
            trace.spans.append(root)
            self.recorded += 1
            self._roots += 1
            self._traces[trace] = None
            if self.recorded > self.full_at:
                self.make_room()
            return True

    def begun_late(self, trace: LocalTrace[SpanT], span: SpanT) -> None:
        """Settle a span that was put into a trace that is decided, unless the verdict saw it."""
        with self.lock:
            if span in trace.spans:
                trace.spans.remove(span)
                if trace.promoted:
                    span._begin_sampled()
                    self._promoted += 1
                elif trace.decided is not True and trace.decided:
                    self._discarded[_of_late(trace.decided)] += 1
                self._went(1)

    def promote(
        self, trace: LocalTrace[SpanT], begin: Callable[[SpanT], None], *, capped: bool = True
    ) -> list[SpanT]:
        """Decide for a trace, within the rate; return its ended spans, for the caller to report.

        ``begin`` is called for each that is still open: it is sampled from now on.
        """
        with self.lock:
            if trace.decided:
                return []
            if capped and not self._limiter.take():
                self.discard(trace, DiscardReason.RATE_LIMITED)
                return []
            trace.promoted = trace.decided = True
            done, late = self._let_go(trace, begin)
            self._promoted += len(done) + late
            return _by_end(done)

    def discard(self, trace: LocalTrace[SpanT], reason: DiscardReason) -> None:
        """Decide against a trace, unless it is decided."""
        with self.lock:
            if trace.decided:
                return
            reach(_VERDICT_FRAMES)
            trace.decided = reason
            done, late = self._let_go(trace, _forget)
            self._discarded[reason] += len(done)
            if late:
                self._discarded[_of_late(reason)] += late
            if self._watched():
                self.parted.extend(_by_end(done))

    def release(self, trace: LocalTrace[SpanT], span: SpanT) -> LocalTrace[SpanT] | None:
        """Take an open span out of an undecided trace, as promoted: it is sampled by itself.

        Returns the trace that stands for it from now on, None if it is decided or has ended.
        """
        with self.lock:
            if trace.decided or span._end_time is not None:
                return None
            trace.spans.remove(span)
            self._promoted += 1
            self._went(1)
            apart = LocalTrace(self, trace.rule, trace.partial)
            apart.promoted = apart.decided = True
            return apart

    def charge(self, trace: LocalTrace[SpanT], size: int) -> None:
        """Count the bytes of a span that has ended, where threads may change at any step."""
        with self.lock:
            trace.bytes += size
            self.bytes += size

    def make_room(self) -> None:
        """Discard the oldest traces until both bounds hold."""
        with self.lock:
            while self._traces and (self.recorded > self.full_at or self.bytes > self.max_bytes):
                self.discard(next(iter(self._traces)), DiscardReason.BUFFER_FULL)

    def close(self) -> None:
        """Discard everything, and take in nothing any more."""
        with self.lock:
            self.closed = True
            for trace in list(self._traces):
                self.discard(trace, DiscardReason.SHUTDOWN)

    @property
    def children(self) -> int:
        """How many spans were recorded below local roots."""
        with self.lock:
            return int(self.recorded) - self._roots

    def counts(self) -> KeepCounts:
        """Return the figures of this moment."""
        with self.lock:
            discarded = {reason.value: number for reason, number in self._discarded.items()}
            recorded = int(self.recorded)
            return KeepCounts(recorded, recorded - self._gone, self._promoted, discarded)

    def _let_go(
        self, trace: LocalTrace[SpanT], begin: Callable[[SpanT], None]
    ) -> tuple[list[SpanT], int]:
        """Take a trace out; return its ended spans, and how many are open; these are to ``begin``.

        What comes meanwhile is behind them and sees to itself, see ``begun_late``.
        """
        self._traces.pop(trace, None)
        self.bytes -= trace.bytes
        trace.bytes = 0
        trace.root = None
        spans = trace.spans.copy()
        number = len(spans)
        del trace.spans[:number]
        self._gone += number  # (``_went``, without the call)
        self.full_at += number
        still_open = [span for span in spans if span._end_time is None]
        if not still_open:
            return spans, 0
        for span in still_open:
            begin(span)
        return [span for span in spans if span not in still_open], len(still_open)

    def _went(self, number: int) -> None:
        self._gone += number
        self.full_at += number


def _forget(span: Undecided) -> None:
    """Leave an open span of a discarded trace as it is: unsampled, its decision no longer open."""
    span._settle()


def _by_end(done: list[SpanT]) -> list[SpanT]:
    """Return spans in the order of their ends, at the same moment children before their parents."""
    ordered = list(reversed(done))
    ordered.sort(key=lambda span: span._end_time or 0)
    return ordered


def _of_late(reason: DiscardReason) -> DiscardReason:
    return DiscardReason.LATE if reason is UNWANTED else reason
