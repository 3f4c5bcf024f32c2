"""uvicorn's servers end their process by the very signal that they were told to stop by.

They put back the handler that they found, and raise the signal once more. gunicorn's worker of
uvicorn has made that the default just before, so nothing runs at its end: it kills.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tracekit._process.exit import drain_by_default

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def attend(drain: Callable[[], object]) -> None:
    """Have the servers of uvicorn find a handler that drains, where they would find the default.

    It is put there on the thread that serves, when it starts to; signals end it as ever.
    """
    server: Any = sys.modules["uvicorn.server"].Server
    capture = vars(server).get("capture_signals")
    if capture is None:  # before 0.29 it raises nothing
        return

    @contextmanager
    def capture_signals(self: object) -> Iterator[None]:
        for signum in (signal.SIGTERM, signal.SIGINT):
            drain_by_default(signum, drain)
        with capture(self):
            yield

    server.capture_signals = capture_signals
