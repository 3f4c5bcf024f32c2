"""Waiting for what another thread or process does: bounded, and never for a fixed time."""

from __future__ import annotations

import re
import time


def eventually(condition, timeout_s=20.0, told=lambda: "it did not come true", every_s=0.002):
    """Return what ``condition()`` gives as soon as it is true.

    Fail, with what ``told()`` says then, if it is not within ``timeout_s``.
    """
    end = time.monotonic() + timeout_s
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(every_s)
    assert found, told()
    return found


def until_said(pattern, file, process, timeout_s=60.0):
    """Return the match once ``pattern`` stands in ``file``; fail if ``process`` ends before."""

    def said():
        found = re.search(pattern, file.read_text())
        assert found or process.poll() is None, file.read_text()
        return found

    return eventually(said, timeout_s, file.read_text, every_s=0.02)
