"""A future for those who ask whether everything has been sent."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


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
