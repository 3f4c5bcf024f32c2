"""What ``tracekit view`` holds: traces in memory, bounded in bytes, the oldest go first."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from tracekit.local._records import OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tracekit.local._records import Record

_Key = TypeVar("_Key")


class Operation(NamedTuple):
    """A name of spans, as Jaeger lists it for a service."""

    service: str
    name: str
    kind: str


class Trace:
    """The spans of one trace in the order of their arrival."""

    __slots__ = ("changed", "records", "size_bytes", "trace_id")

    def __init__(self, trace_id: int) -> None:
        self.trace_id = trace_id
        self.records: list[Record] = []
        self.size_bytes = 0
        self.changed = 0.0
        """When the last span came (``time.monotonic``)."""

    @property
    def start_us(self) -> int:
        """When its first span started."""
        return min(record.start_us for record in self.records)


class Keeper(Protocol):
    """Keeps records beyond the life of the process (``_sqlite``)."""

    failed: str | None
    """Why nothing more is kept, None as long as it is."""

    def keep(self, records: Iterable[Record]) -> None:
        """Take over records that have arrived."""

    def records(self) -> Iterable[Record]:
        """Return what is kept, the oldest first."""

    def forget(self, trace_ids: Iterable[int]) -> None:
        """Give up traces that went out to make room."""


class TraceStore:
    """Traces by id, at most ``max_bytes`` of them. Any thread may call its methods.

    When there is no more room, the trace whose first span came first goes, whole. A trace that
    alone is larger than a half of the room takes no more spans; those are counted as ``refused``.
    """

    def __init__(
        self,
        max_bytes: int = 256 * 1024 * 1024,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_bytes = max_bytes
        self._keeper: Keeper | None = None
        self._clock = clock
        self._traces: dict[int, Trace] = {}
        self._operations: Counter[Operation] = Counter()
        self._services: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.size_bytes = 0
        self.spans = 0
        self.evicted_traces = 0
        self.evicted_spans = 0
        self.refused = 0
        self.version = 0
        """Grows with every change: who polls compares it."""

    def add(self, records: Iterable[Record]) -> None:
        """Keep records, giving up the oldest traces for them."""
        kept, gone = self._add(records)
        if self._keeper is not None:
            self._keeper.keep(kept)
            if gone:
                self._keeper.forget(gone)

    def restore(self, keeper: Keeper) -> None:
        """Take over what ``keeper`` holds, and let it keep what comes from now on."""
        records, gone = iter(keeper.records()), []
        while chunk := list(itertools.islice(records, 1000)):
            gone += self._add(chunk)[1]
        for trace in self._traces.values():
            trace.changed = 0.0  # nobody waits for these
        keeper.forget(gone)
        self._keeper = keeper

    @property
    def failed(self) -> str | None:
        """Why the file is no longer written, None if it is, or if there is none."""
        return None if self._keeper is None else self._keeper.failed

    def trace(self, trace_id: int) -> list[Record] | None:
        """Return the records of a trace in the order of arrival, None if there is none."""
        with self._lock:
            found = self._traces.get(trace_id)
            return None if found is None else found.records.copy()

    def traces(self) -> list[tuple[int, list[Record]]]:
        """Return id and records of every trace, the oldest arrival first."""
        with self._lock:
            return [(trace.trace_id, trace.records.copy()) for trace in self._traces.values()]

    def changed_since(self, when: float) -> list[tuple[int, float]]:
        """Return id and time of the last arrival of the traces that got spans after ``when``."""
        with self._lock:
            return [
                (trace.trace_id, trace.changed)
                for trace in self._traces.values()
                if trace.changed > when
            ]

    def services(self) -> list[str]:
        """Return the names of the services, sorted."""
        with self._lock:
            return sorted(self._services)

    def operations(self, service: str) -> list[Operation]:
        """Return the operations of a service, sorted."""
        with self._lock:
            return sorted(each for each in self._operations if each.service == service)

    def clear(self) -> None:
        """Forget every trace."""
        with self._lock:
            gone = list(self._traces)
            self._traces.clear()
            self._operations.clear()
            self._services.clear()
            self.size_bytes = self.spans = 0
            self.version += 1
        if self._keeper is not None:
            self._keeper.forget(gone)

    def _add(self, records: Iterable[Record]) -> tuple[list[Record], list[int]]:
        """Put records in; return those that are held, and the ids of the traces that had to go."""
        now = self._clock()
        with self._lock:
            kept = [record for record in records if self._put(record, now)]
            gone = self._make_room()
            self.version += 1
        return kept, gone

    def _put(self, record: Record, now: float) -> bool:
        size = len(record.raw) + OVERHEAD_BYTES
        trace = self._traces.get(record.trace_id)
        if trace is None:
            trace = self._traces[record.trace_id] = Trace(record.trace_id)
        elif trace.size_bytes + size > self.max_bytes // 2:
            self.refused += 1
            return False
        trace.records.append(record)
        trace.size_bytes += size
        trace.changed = now
        self.size_bytes += size
        self.spans += 1
        service = record.source.service
        self._services[service] += 1
        self._operations[Operation(service, record.operation, record.kind)] += 1
        return True

    def _make_room(self) -> list[int]:
        gone = []
        while self.size_bytes > self.max_bytes and len(self._traces) > 1:
            trace_id = next(iter(self._traces))
            self._drop(self._traces.pop(trace_id))
            gone.append(trace_id)
        return gone

    def _drop(self, trace: Trace) -> None:
        self.size_bytes -= trace.size_bytes
        self.spans -= len(trace.records)
        self.evicted_traces += 1
        self.evicted_spans += len(trace.records)
        for record in trace.records:
            service = record.source.service
            _take(self._services, service)
            _take(self._operations, Operation(service, record.operation, record.kind))


def _take(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
