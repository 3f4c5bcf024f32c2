"""What ``Tracer.close`` returns: a future of whether all spans were sent within their time.

Old programs use it in each of the ways that Tornado's future had. Those that never look at it
still get their spans sent, when the process ends.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tracekit._assembly.handle import Tracing


class Closing(Future[bool]):
    """A future for every kind of caller: ``result(timeout)``, callbacks, ``yield``, ``await``."""

    def __await__(self) -> Generator[object, None, bool]:
        """Wait for it in a coroutine."""
        return asyncio.wrap_future(self).__await__()

    @classmethod
    def after(cls, end: Callable[[], object]) -> Closing:
        """Call ``end`` on a thread of its own and return what becomes true when it is over.

        The interpreter waits for that thread before it exits. Where none can be started any more
        it is done at once.
        """
        closing = cls()

        def run() -> None:
            try:
                end()
            finally:
                closing.set_result(True)

        try:
            threading.Thread(target=run, name="tracekit-close").start()
        except RuntimeError:  # the interpreter is going down
            run()
        return closing


class Closable(Protocol):
    """A tracer, as far as its end is concerned."""

    @property
    def tracing(self) -> Tracing:
        """The handle that it is built on."""

    def shut_down(self, budget_s: float | None = None) -> None:
        """End it here and now, in ``budget_s`` seconds."""


_unclosed: set[Closable] = set()
"""Tracers with a wire of their own. Held: a program may have dropped one that has spans to send."""


def close_at_exit(tracer: Closable) -> None:
    """Send what ``tracer`` has when the process ends, if nobody has closed it by then.

    Makers of tracers had to wait for ``close()`` themselves, or lost the last second's spans.
    """
    if not _unclosed:
        atexit.unregister(_at_exit)
        atexit.register(_at_exit)
    _unclosed.add(tracer)


def closed(tracer: Closable) -> None:
    """Called when somebody sees to ``tracer``."""
    _unclosed.discard(tracer)


def _at_exit() -> None:
    """Close all tracers within one budget, the longest, however many there are."""
    tracers = list(_unclosed)
    for tracer in tracers:
        tracer.tracing.flush(0)  # so their workers send side by side
    budget_s = max((it.tracing.settings.reporter.exit_budget_s for it in tracers), default=0.0)
    deadline_s = time.monotonic() + budget_s
    for tracer in tracers:
        tracer.shut_down(max(deadline_s - time.monotonic(), 0.0))
