"""Whether the stack has room, asked before something begins that must not end halfway."""

from __future__ import annotations


def reach(frames: int) -> None:
    """Raise RecursionError unless so many frames more have room."""
    if frames:
        reach(frames - 1)
