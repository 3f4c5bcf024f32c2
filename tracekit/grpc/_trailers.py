"""Trailing metadata that gRPC takes from a handler and then cannot send.

gRPC's core looks at it only when the status goes out. Since 1.64 or so the client is then told
INTERNAL; before, it is told nothing, and the server never gets done with the RPC.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tracekit._display import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tracekit.grpc._conventions import Pair

# What gRPC's core checks (validate_metadata.cc), which is the ASCII-Value of its wire protocol.
_KEY = re.compile(r"[a-z0-9_.-]+", re.ASCII)
_VALUE = re.compile(rb"[ -~]*")


def illegal_in(metadata: Iterable[Pair] | None) -> str | None:
    """Return what keeps ``metadata`` from being sent; None: nothing, or nothing we can tell."""
    if not hasattr(type(metadata), "__len__"):  # none, or what can be read only once
        return None
    try:
        for key, value in metadata or ():
            data = value.encode() if isinstance(value, str) else value
            if not _KEY.fullmatch(key):
                return f"illegal key in trailing metadata: {quoted(key)}"
            if not key.endswith("-bin") and not _VALUE.fullmatch(data):
                return f"illegal value in trailing metadata: {quoted(key)}"
    except Exception:  # what gRPC does not take, it refuses by itself
        return None
    return None
