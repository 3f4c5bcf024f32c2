"""Run a program that ends with whoever holds the other end of its standard input.

A script, not a module to import: ``python _leash.py PROGRAM ARGUMENTS``. The demo may be killed
by a signal that it cannot serve; the kernel closes its end of the pipe in any case.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _wait_for_the_end() -> None:
    # Not through sys.stdin: its lock, held by a daemon thread, makes Python abort at exit.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_wait_for_the_end, daemon=True).start()
    del sys.argv[0]
    sys.path[0] = os.path.dirname(sys.argv[0])  # noqa: PTH120 - as Python does for a script
    runpy.run_path(sys.argv[0], run_name="__main__")
