"""Whether this is still the process that asked before.

Hooks of ``os.register_at_fork`` do not run when C code calls fork(2), and asking for the pid
costs a system call per span. So a page of memory tells: Linux wipes it in the child
(MADV_WIPEONFORK), whoever forked and in every generation, and reading one byte of it is the
whole check.
"""

from __future__ import annotations

import mmap
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

T = TypeVar("T")
_MADV_WIPEONFORK = 18  # linux/mman.h since 4.14; the mmap module has no name for it


class ForkMark(Protocol):
    """One byte that is 1 in the process that set it and 0 in every fork of it."""

    def __getitem__(self, index: int, /) -> int:
        """Return the mark."""

    def __setitem__(self, index: int, value: int, /) -> None:
        """Set the mark for this process."""


class PidMark:
    """The mark where the kernel cannot wipe a page: compares the pid, a system call a look."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, _index: int, /) -> int:
        return int(self._pid == os.getpid())

    def __setitem__(self, _index: int, _value: int, /) -> None:
        self._pid = os.getpid()


def fork_mark() -> ForkMark:
    """Return a mark, not set yet, by the cheapest means that this system has."""
    if sys.platform == "linux":
        _attend_forks()
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(_MADV_WIPEONFORK)
        except OSError:  # a kernel before 4.14, or one that is emulated
            page.close()
        else:
            _pages.add(page)
            return page
    return PidMark()


_pages: WeakSet[mmap.mmap] = WeakSet()


@cache
def _attend_forks() -> None:
    """Wipe the marks ourselves, too, where Python forks.

    Emulators of Linux (qemu-user among them) accept the advice and ignore it.
    """
    os.register_at_fork(after_in_child=_wipe)


def _wipe() -> None:
    for page in list(_pages):
        page[0] = 0


class ProcessState:
    """What belongs to one process, and in a fork makes way for a state of the child's own.

    Whoever holds one asks ``now`` whenever it is used, and keeps the answer. A hot path looks at
    ``mark[0]`` itself and asks only where that is 0.
    """

    __slots__ = ("heirs", "mark")

    def __init__(self) -> None:
        self.mark = fork_mark()
        self.mark[0] = 1
        self.heirs: dict[int, ProcessState] = {}

    def now(self) -> Self:
        """Return the state of the process that asks. Any thread, and signal handlers, may ask.

        Those may race after a fork, and a lock could have been taken at the moment of the fork.
        So each brings a state and ``dict.setdefault``, which is atomic, picks one.
        """
        state = self
        while not state.mark[0]:
            state = cast("Self", state.heirs.setdefault(0, state.heir()))
        return state

    def heir(self) -> Self:
        """Return a new state for a child process; each thread that races makes one.

        Unless overridden, it is made without arguments and takes over nothing.
        """
        return type(self)()


class PerProcess(Generic[T]):
    """One value a process: what a fork inherits is replaced when somebody first looks there."""

    __slots__ = ("_state",)

    def __init__(self, make: Callable[[], T]) -> None:
        self._state = _ValueState(make)

    def now(self) -> T:
        """Return this process' value. Any thread, and signal handlers, may ask."""
        self._state = state = self._state.now()
        return state.value


class _ValueState(ProcessState, Generic[T]):
    """A value of any kind, and how the next process gets one."""

    __slots__ = ("_make", "value")

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make
        self.value = make()

    def heir(self) -> _ValueState[T]:
        return _ValueState(self._make)
