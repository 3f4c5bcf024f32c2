"""What encoders remember of what they have encoded, within bounds."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

MAX_CACHED = 4096
"""Entries after which a memory starts anew: names and ids are bounded only by what users do."""
MAX_KEPT_BYTES = 64
"""Longer values come again too rarely to be worth their room."""


def remember(known: dict[K, V], key: K, value: V) -> V:
    """Put ``value`` into a memory and return it."""
    if len(known) >= MAX_CACHED:
        known.clear()
    known[key] = value
    return value
