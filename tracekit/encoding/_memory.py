"""What encoders remember of what they have encoded, within bounds."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

MAX_CACHED = 4096
"""Entries after which a memory starts anew: names and ids are bounded only by what users do."""
MAX_KEPT_BYTES = 64
"""Longer values come again too rarely to be worth their room."""
MAX_ENTRY_BYTES = 256
"""A longer entry, its key included, is not kept: so the entries' number bounds the bytes."""
MAX_SCOPE_BYTES = 4096
MAX_SCOPES = 256


def remember(known: dict[K, bytes], key: K, encoded: bytes) -> bytes:
    """Put ``encoded``, which holds what ``key`` says, into a memory if it is short; return it."""
    if len(encoded) <= MAX_ENTRY_BYTES:
        if len(known) >= MAX_CACHED:
            known.clear()
        known[key] = encoded
    return encoded


def remember_scope(known: dict[K, V], key: K, value: V, size: int) -> V:
    """Put what was encoded of an instrumentation scope, ``size`` bytes, into a memory; return it.

    There are few scopes, and they may have attributes.
    """
    if size <= MAX_SCOPE_BYTES:
        if len(known) >= MAX_SCOPES:
            known.clear()
        known[key] = value
    return value
