"""What a process holds of memory, where Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes():
    """Return the bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
