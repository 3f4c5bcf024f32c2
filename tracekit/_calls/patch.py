"""Put a method of somebody else's class, or of one object, behind ours, and take that back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

lock = threading.Lock()
"""Held while it is looked whether something is traced already, and while it is patched."""


class Instrumentation:
    """What is traced in the whole process, at most once: who comes later gets the same undo."""

    def __init__(self) -> None:
        self._undos: list[Callable[[], None]] = []

    def once(self, install: Callable[[], Callable[[], None]]) -> Callable[[], None]:
        """Return the undo of what ``install`` puts on, which is called unless that is on already.

        The undo does nothing the second time, also after another ``once``. Any thread may call
        either; they wait for each other.
        """
        with lock:
            if not self._undos:
                take_off = install()

                def undo() -> None:
                    with lock:
                        if undo in self._undos:
                            self._undos.remove(undo)
                            take_off()

                self._undos.append(undo)
            return self._undos[0]


class Patch:
    """One method of a class or of an instance, replaced until ``undo``.

    An instance's own attribute is no part of its pickled state, nor of its class.
    """

    def __init__(
        self, target: object, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        self._target, self._name = target, name
        self._had = vars(target).get(name)
        self._ours = wrap(getattr(target, name))
        setattr(target, name, self._ours)

    def undo(self) -> None:
        """Put back what was there, unless somebody has put something over ours since."""
        if vars(self._target).get(self._name) is not self._ours:
            return  # theirs calls ours, which from now on only calls what it replaced
        if self._had is None:
            delattr(self._target, self._name)
        else:
            setattr(self._target, self._name, self._had)
