"""Counting exactly, from many threads and signal handlers, without a lock that one could meet.

``next`` on an ``itertools.count`` is one step: under the GIL because the interpreter does not
divide it, on a free-threaded build because it is a compare-and-exchange. ``repr`` reads the count
without moving it.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_gil = getattr(sys, "_is_gil_enabled", None)  # since Python 3.13

FREE_THREADED: bool = _gil is not None and not _gil()
"""Whether threads run byte codes at the same time. A GIL that comes later does no harm."""

DIVIDED: bool = FREE_THREADED or sys.implementation.name != "cpython"
"""Whether threads may change between any two byte codes, not at calls and jumps back only."""


class Tally:
    """A counter that any thread may move: ``add()`` counts one, ``value`` reads.

    So does ``next(tally.count)``, for which a ``for`` loop needs no call.
    """

    __slots__ = ("add", "count")

    def __init__(self) -> None:
        self.count = count()
        self.add: Callable[[], int] = self.count.__next__

    @property
    def value(self) -> int:
        """How often ``add`` was called."""
        return int(repr(self.count)[6:-1])  # "count(17)"


class AtomicInt(Tally):
    """Stands for an int where ``holder.number += 1`` takes several steps that others may divide.

    What those steps store again is the same object; the counting is the one step in the middle.
    """

    __slots__ = ()

    def __iadd__(self, one: int) -> AtomicInt:  # noqa: PYI034 - Self is not in typing before 3.11
        """Count one; ``one`` is 1."""
        for _ in self.count:
            break
        return self

    def __gt__(self, other: int) -> bool:
        """Return whether the number is greater."""
        return self.value > other

    def __int__(self) -> int:
        """Return the number."""
        return self.value
