"""What belongs to one process: its stock of random ids and its counters.

Ids come from the operating system's entropy, read in batches; a fork must never let two
processes hand out the same batch, so a child draws its own.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Protocol, cast

from tracekit._process.fork import ProcessState
from tracekit._process.tally import DIVIDED, AtomicInt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

_BATCH = 256  # 2 KiB of entropy: one read per 256 span ids, and little to throw away on a fork
_UNPACK = struct.Struct(f"={_BATCH}Q").unpack
ZERO = cast("Callable[[], int]", AtomicInt if DIVIDED else int)


class Intake(Protocol):
    """What a reporter may have instead of ``on_start`` and ``on_end``, in one process.

    For a tracer that knows which spans are its own, sampled and of this process; so no call has to
    find that out. Where one of them is None, the reporter is told of that.
    """

    @property
    def started(self) -> Iterator[int] | None:
        """A counter: each step counts a span that has started."""

    @property
    def offer(self) -> Callable[[ReadableSpan], None] | None:
        """Takes a span that has ended, and raises what ``on_end`` does."""


class NoIntake:
    """Stands for the ``Intake`` of a reporter that has none."""

    __slots__ = ()
    started = offer = None


NO_INTAKE = NoIntake()


class TracingState(ProcessState):
    """What tracers share in one process. Compared by identity.

    A started span raises exactly one of ``children``, ``unsampled``, ``roots`` and ``joined``; the
    last two are ``[unsampled, sampled]``, the first two are the hot path's.

    Any thread raises a counter with ``+= 1`` and no lock: from 3.10 on CPython switches threads
    and runs signal handlers at calls and jumps back only, and there is none between the load and
    the store of a slot or of an item. Where there is no GIL, ``zero`` makes what stands for an
    int and counts in one step.
    """

    __slots__ = (
        "children",
        "ended_twice",
        "failures",
        "foreign",
        "intake",
        "joined",
        "roots",
        "stock",
        "unsampled",
    )

    def __init__(self, zero: Callable[[], int] = ZERO) -> None:
        super().__init__()
        self.stock: list[int] = []
        self.children = zero()
        self.unsampled = zero()
        self.roots = [zero(), zero()]
        self.joined = [zero(), zero()]
        self.foreign = zero()
        self.ended_twice = zero()
        self.failures = zero()
        self.intake: Intake = NO_INTAKE

    def begin(self, parent: SpanContext | None, sampled: int) -> None:
        """Count a span that does not begin below one of our own; ``sampled`` is 0 or 1."""
        if parent is None:
            self.roots[sampled] += 1
        elif parent[2]:  # is_remote
            self.joined[sampled] += 1
        elif sampled:
            self.children += 1
        else:
            self.unsampled += 1

    def draw(self) -> int:
        """Return 64 random bits, never 0, never twice. Safe on any thread.

        ``list.pop`` hands each number to one thread only: it is atomic under the GIL, and on a
        free-threaded build under the list's own lock.
        """
        try:
            number = self.stock.pop()
        except IndexError:
            self.stock.extend(_UNPACK(os.urandom(8 * _BATCH)))
            return self.draw()
        return number or self.draw()

    def draw_trace_id(self, wide: bool) -> int:
        """Return 64 random bits, or 128 if ``wide``; never 0."""
        return self.draw() << 64 | self.draw() if wide else self.draw()


class TracingStates:
    """The state of whichever process asks. The tracer's hot path reads ``current`` and its mark."""

    __slots__ = ("_intake_of", "current")

    def __init__(self) -> None:
        self._intake_of: Callable[[], Intake | None] | None = None
        self.current = TracingState()

    def now(self) -> TracingState:
        """Return the state of this process. Any thread, and signal handlers, may ask."""
        before = self.current
        self.current = state = before.now()
        if state is not before:  # an open span of the parent's keeps that one, but not its queue
            before.intake = NO_INTAKE
        if state.intake is NO_INTAKE and self._intake_of is not None:
            intake_of = self._intake_of
            # Asked for after the state: a fork in between leaves that one behind.
            state.intake = intake_of() or NO_INTAKE
            if self._intake_of is not intake_of:  # replaced meanwhile
                state.intake = NO_INTAKE
        return state

    def put_into(self, intake_of: Callable[[], Intake | None] | None) -> None:
        """Have sampled spans put into what ``intake_of`` returns, which is asked in each process.

        None: the reporter is told of them.
        """
        self._intake_of = intake_of
        self.current.intake = NO_INTAKE
        self.now()
