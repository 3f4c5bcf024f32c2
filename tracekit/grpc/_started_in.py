"""What was current when an asyncio server was started, which all of its handlers inherit.

A task inherits the context of whoever made it, and the server's own task, which makes those of the
RPCs, was made in ``start()``. A span, a baggage or a suppression of the start-up is none of theirs.
What an interceptor further out has made current during the RPC is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from opentelemetry import baggage
from opentelemetry.context import Context

from tracekit._context import get_current

if TYPE_CHECKING:
    import contextvars

_SERVER = "AioServer._server_main_loop"


def without(current: Context, base: Context) -> Context:
    """Return ``current`` without what was already so in ``base``."""
    made = Context({key: of for key, of in current.items() if base.get(key) is not of})
    bag = baggage.get_all(made)
    for name, value in baggage.get_all(base).items():
        if bag.get(name) is value:  # somebody has added to the bag
            made = baggage.remove_baggage(name, made)
    return made


class StartContexts:
    """Tells, in the tasks of RPCs, what they inherited. Of one interceptor, on a loop's thread."""

    def __init__(self) -> None:
        self._known: list[Context] = []

    def base_of(self, current: Context) -> Context:
        """Return what of ``current``, which is not empty, its server was started in."""
        base = self._nearest(current)
        if base is None:
            self._known = _of_servers()
            # If we can see no server: who else would have been in this task before us?
            base = self._nearest(current) or current
        return base

    def _nearest(self, current: Context) -> Context | None:
        """Return the one of which the most is in ``current``; None if there is nothing of any."""
        nearest, most = None, -1
        for base in self._known:
            same = sum(current.get(key) is base[key] for key in base)
            if same > most and (same or not base):
                nearest, most = base, same
        return nearest


def _of_servers() -> list[Context]:
    """Return the contexts of the servers on this loop, the fullest first."""
    found = []
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == _SERVER:
            held = _context_of(task)
            if held is not None:
                found.append(held.run(get_current))
    return sorted(found, key=len, reverse=True)


def _context_of(task: asyncio.Task[object]) -> contextvars.Context | None:
    get_context = getattr(task, "get_context", None)
    if get_context is not None:  # Python 3.12
        held: contextvars.Context = get_context()
        return held.copy()
    # What waits for a future is called back in its own context.
    waited_for = getattr(task, "_fut_waiter", None)
    for _, held in getattr(waited_for, "_callbacks", None) or ():
        return held.copy()
    return None
