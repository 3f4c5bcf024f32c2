"""How many bytes spans may share, as learnt from refusals; it grows back."""

from __future__ import annotations

_FIRST_SUCCESSES = 4
_MAX_SUCCESSES = 256


class SharedLimit:
    """The size of a payload of several spans. One thread at a time: the ``Batcher`` has it.

    A receiver, a proxy before it or the way says that a payload is too large, not for how long
    that will be so. So a limit that was learnt only says how many spans share a payload: one span
    alone is always tried, and after some full payloads that were taken the limit doubles. Whoever
    refuses the doubled one is asked again after twice as many.
    """

    def __init__(self) -> None:
        self._learnt: int | None = None
        self._successes = 0
        self._needed = _FIRST_SUCCESSES
        self._grown = False

    def of(self, max_bytes: int) -> int:
        """Return the size that several spans may have now; ``max_bytes`` is the wire's own."""
        return max_bytes if self._learnt is None else min(self._learnt, max_bytes)

    def refuse(self, size: int) -> None:
        """Learn that ``size`` bytes were too many."""
        self._learnt = max(1, size if self._learnt is None else min(size, self._learnt)) // 2 or 1
        self._successes = 0
        if self._grown:
            self._grown = False
            self._needed = min(2 * self._needed, _MAX_SUCCESSES)

    def accept(self, size: int, max_bytes: int) -> None:
        """Learn that ``size`` bytes were taken."""
        if self._learnt is None or 2 * size < self._learnt:
            return  # nothing to grow, or it says nothing of larger ones
        self._successes += 1
        if self._successes >= self._needed:
            self._successes = 0
            self._grown = True
            self._learnt *= 2
            if self._learnt >= max_bytes:
                self._learnt = None
