"""gRPC metadata: what of our headers can stand in it (grpc/doc/PROTOCOL-HTTP2.md).

A name in upper case or a value that is not printable ASCII does not lose the header, it fails the
whole call ("Invalid metadata"). So what cannot be represented is left out and counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tracekit.propagation._formats import FORMATS
from tracekit.propagation._forwarding import Outgoing, merge_headers
from tracekit.propagation._headers import sendable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tracekit.propagation._counters import Counters

_NAME = re.compile(r"[0-9a-z_.\-]+").fullmatch
_CERTAIN = frozenset().union(*(format_.certain for format_ in FORMATS.values()))
"""Names of ours whose values are digits and separators."""
_NEVER = frozenset({"te", "content-type", "user-agent"})


def merge_metadata(
    outgoing: Outgoing, metadata: Iterable[tuple[str, str | bytes]], counters: Counters
) -> list[tuple[str, str | bytes]]:
    """Return the caller's ``metadata`` with ``outgoing`` put in, by the rule of forwarding.

    The caller's own entries are kept as they are: repeated keys, bytes, and also what gRPC will
    refuse, which is for the caller to hear.
    """
    own, forwarded, replaced = outgoing
    if not _CERTAIN.issuperset(own):
        own = dict(_representable(own, counters))
    if forwarded:
        forwarded = dict(_representable(forwarded, counters))
    elif not metadata:
        return list(own.items())
    return merge_headers(Outgoing(own, forwarded, replaced), metadata)


def _representable(headers: dict[str, str], counters: Counters) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        key = name.lower()
        if _NAME(key) is None or key in _NEVER or key.startswith("grpc-") or key.endswith("-bin"):
            counters.cannot_send("grpc", "name")
        elif not sendable(value):
            counters.cannot_send("grpc", "value")
        else:
            yield key, value
