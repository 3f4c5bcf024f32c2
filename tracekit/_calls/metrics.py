"""How many calls were served, how long they took, how they ended: by endpoint, sampled or not.

These are the RPC metrics of Jaeger's Go client (its ``rpcmetrics``): the same names of
endpoints, the same limit on how many there are, the same buckets. Counting is a few additions to
plain integers; whoever wants the figures reads them.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from tracekit._process.fork import ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tracekit._calls.lifecycle import BaseCall, CallObserver, Labels

MAX_ENDPOINTS = 200
MAX_NAME = 256
"""Characters; the calls of an operation with a longer name are counted as ``OTHER``."""
OTHER = "other"
"""Where the calls of all further endpoints are counted."""

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, each included; the defaults of Prometheus' clients, which Go's timers have."""


def bounds() -> list[str]:
    """Return the buckets as Prometheus names them."""
    return [*map(str, BUCKETS_S), "+Inf"]


STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")

_SAFE = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/."
_TO_SAFE = bytes(byte if byte in _SAFE else ord("-") for byte in range(256))


def safe_name(operation: str) -> str:
    """Return the operation with each byte outside ``[a-zA-Z0-9./_-]`` replaced by ``-``."""
    return operation.encode("utf-8", "surrogatepass").translate(_TO_SAFE).decode("ascii")


class Exemplar(NamedTuple):
    """A sampled call that fell into a bucket."""

    trace_id: int
    span_id: int
    value_s: float
    at_s: float
    """Seconds since the epoch."""


class Distribution(NamedTuple):
    """What a histogram shows: calls by bucket (not summed up; the last is beyond all bounds)."""

    counts: tuple[int, ...]
    sum_s: float
    exemplars: tuple[Exemplar | None, ...]

    @property
    def calls(self) -> int:
        """All calls."""
        return sum(self.counts)


class Latency:
    """The histogram of one series while it is being counted."""

    __slots__ = ("counts", "exemplars", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0
        self.exemplars: list[Exemplar | None] = [None] * len(self.counts)

    def read(self) -> Distribution:
        """Return a snapshot."""
        return Distribution(tuple(self.counts), self.sum_s, tuple(self.exemplars))


class Endpoint:
    """The figures of one endpoint. Any thread adds to them without a lock: see ``TracingState``."""

    __slots__ = ("failed", "served", "statuses")

    def __init__(self) -> None:
        self.served = Latency()
        self.failed = Latency()
        self.statuses = [0] * 10  # by the status' first digit


class _CallsState(ProcessState):
    """What one process has served."""

    __slots__ = ("_lock", "_max", "known", "shown")

    def __init__(self, max_endpoints: int) -> None:
        super().__init__()
        self.known: dict[str, Endpoint] = {}
        """By operation, as it is called. Operations of one safe name share an endpoint."""
        self.shown: dict[str, Endpoint] = {}
        self._max = max_endpoints
        self._lock = threading.RLock()

    def heir(self) -> _CallsState:
        """Return the state of a child, which has served nothing yet."""
        return _CallsState(self._max)

    def meet(self, operation: str) -> Endpoint:
        """Return the endpoint of an operation that is called for the first time."""
        with self._lock:
            room = len(self.known) < self._max and len(operation) <= MAX_NAME
            name = safe_name(operation) if room else OTHER
            endpoint = self.shown.get(name)
            if endpoint is None:
                endpoint = self.shown[name] = Endpoint()
            if room:
                self.known[operation] = endpoint
            return endpoint


class CallMetrics:
    """Counts finished server calls. Any thread; a forked child counts from 0.

    ``max_endpoints`` bounds the memory and the number of series. ``clock`` returns seconds since
    the epoch, for exemplars.
    """

    def __init__(
        self, max_endpoints: int = MAX_ENDPOINTS, clock: Callable[[], float] = time.time
    ) -> None:
        self._state = _CallsState(max_endpoints)
        self._clock = clock
        self._others: tuple[CallObserver, ...] = ()

    def tell(self, observer: CallObserver) -> None:
        """Tell ``observer``, too, of every call from now on."""
        self._others += (observer,)

    def on_finish(self, call: BaseCall, error_type: str | None, labels: Labels | None) -> None:
        """Count one call."""
        duration_s = call.duration_s()
        state = self._now()
        operation = call.name
        endpoint = state.known.get(operation) or state.meet(operation)
        latency = endpoint.served if error_type is None else endpoint.failed
        bucket = bisect_left(BUCKETS_S, duration_s)
        latency.counts[bucket] += 1
        latency.sum_s += duration_s
        status = call.status
        if status is not None and 100 <= status < 1000:  # gRPC's codes are smaller
            endpoint.statuses[status // 100] += 1
        if call.span.is_recording():
            context = call.span.get_span_context()
            if context.trace_flags.sampled:
                latency.exemplars[bucket] = Exemplar(
                    context.trace_id, context.span_id, duration_s, self._clock()
                )
        for observer in self._others:
            observer.on_finish(call, error_type, labels)

    def latencies(self) -> Iterator[tuple[str, bool, Distribution]]:
        """Yield endpoint, whether it failed, and the calls' durations in seconds."""
        for name, endpoint in self._endpoints():
            yield name, False, endpoint.served.read()
            yield name, True, endpoint.failed.read()

    def statuses(self) -> Iterator[tuple[str, str, int]]:
        """Yield endpoint, class of HTTP status and calls, of endpoints that ever had one."""
        for name, endpoint in self._endpoints():
            if any(endpoint.statuses):
                for shown in STATUS_CLASSES:
                    yield name, shown, endpoint.statuses[int(shown[0])]

    def _endpoints(self) -> list[tuple[str, Endpoint]]:
        return list(self._now().shown.items())

    def _now(self) -> _CallsState:
        self._state = state = self._state.now()
        return state
