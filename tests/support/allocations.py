"""Counting the allocations (PyMem, PyObject) of one folder's code, on all threads; needs ``cc``."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


@functools.cache
def library() -> ctypes.PyDLL | None:
    """Return the compiled counter; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    extra = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "allocations.so")
        command = [compiler, "-O2", "-shared", "-fPIC", *extra, str(SOURCE), "-o", str(built)]
        subprocess.run(command, check=True, timeout=60)
        return ctypes.PyDLL(str(built))


class Allocations:
    """Counts blocks from ``turn(on=True)`` on; freed ones as well, grown ones not again.

    What C does for a frame of that code is its own; Python functions that it calls are not, but
    for the frame that a profile function is told of. Objects from the interpreter's free lists are
    not allocated. So an interpreter of another version counts otherwise.
    """

    def __init__(self, library: ctypes.PyDLL) -> None:
        self._library = library

    def turn(self, *, on: bool) -> int:
        """Count from now on, or no more; return the number so far."""
        return int(self._library.turn(on))

    @contextlib.contextmanager
    def aside(self):
        """Leave out what this thread does meanwhile."""
        self._library.stand_aside(1)
        try:
            yield
        finally:
            self._library.stand_aside(0)


@contextlib.contextmanager
def counting(library: ctypes.PyDLL, folder: str):
    """Yield what counts on this thread and on those started from now on. Garbage is left alone."""
    was_enabled, before = gc.isenabled(), (sys.getprofile(), threading.getprofile())
    path = folder.encode()
    gc.disable()
    library.install(path)
    threading.setprofile(lambda *_: library.watch(1))  # in each new thread, in place of this
    library.watch(1)
    try:
        yield Allocations(library)
    finally:
        library.watch(0)
        library.turn(0)
        library.uninstall()
        sys.setprofile(before[0])
        threading.setprofile(before[1])
        if was_enabled:
            gc.enable()
