"""Waiting for what another thread or process does: bounded, and never for a fixed time."""

from __future__ import annotations

import time


def eventually(condition, timeout_s=20.0):
    """Return as soon as ``condition()`` is true; fail if it is not within ``timeout_s``."""
    end = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    assert condition(), "it did not come true"
