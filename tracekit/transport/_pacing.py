"""How much may be sent now, so that a burst does not overrun a receiver's socket buffer."""

from __future__ import annotations


class Pace:
    """A bucket of ``burst_bytes`` that refills within ``interval_s``. One thread at a time.

    A datagram that is larger than the bucket may be sent when it is full. Without a burst or an
    interval there is no pace.
    """

    def __init__(self, burst_bytes: int, interval_s: float) -> None:
        self._burst = burst_bytes
        self._per_s = burst_bytes / interval_s if interval_s > 0 else 0.0
        self._room = float(burst_bytes)
        self._at_s: float | None = None

    def wait_s(self, size: int, now_s: float) -> float:
        """Return how long to wait before ``size`` bytes may go; 0.0 takes them from the bucket."""
        if not self._per_s:
            return 0.0
        if self._at_s is not None:
            self._room = min(self._burst, self._room + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        missing = min(size, self._burst) - self._room
        if missing > 0:
            return missing / self._per_s
        self._room -= size
        return 0.0
