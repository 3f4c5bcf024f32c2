"""gRPC metadata: what of our headers can stand in it (grpc/doc/PROTOCOL-HTTP2.md).

A name in upper case or a value that is not printable ASCII does not lose the header, it fails the
whole call ("Invalid metadata"). So what cannot be represented is left out and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._context import FORWARDED_KEY
from tracekit.propagation._formats import FORMATS
from tracekit.propagation._forwarding import Outgoing, merge_headers
from tracekit.propagation._headers import can_name, sendable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from tracekit.propagation._counters import Counters
    from tracekit.propagation._propagator import Propagator

    Pair = tuple[str, str | bytes]

_CERTAIN = frozenset().union(*(format_.certain for format_ in FORMATS.values()))
"""Names of ours whose values are digits and separators."""


def outgoing_metadata(
    propagator: Propagator, context: Context, metadata: Iterable[Pair] | None, span: Span
) -> Sequence[Pair]:
    """Return the caller's ``metadata`` and ours for a call made in ``context``, that of ``span``.

    A list if it was one, else a tuple: what others add theirs to, and how, is up to the caller;
    and of tuples alone grpc.aio makes its ``Metadata``, in all versions.
    """
    if metadata is not None or FORWARDED_KEY in context:
        merged = merge_metadata(propagator.outgoing(context), metadata or (), propagator.counters)
        return merged if isinstance(metadata, list) else tuple(merged)
    pairs = propagator.metadata_of(span, context)  # the short way: there is nothing to merge with
    if pairs is not None:
        return pairs
    own: dict[str, str] = {}
    propagator.inject(own, context)
    if not _CERTAIN.issuperset(own):
        own = dict(_representable(own, propagator.counters))
    return tuple(own.items())


def merge_metadata(outgoing: Outgoing, metadata: Iterable[Pair], counters: Counters) -> list[Pair]:
    """Return the caller's ``metadata`` with ``outgoing`` put in, by the rule of forwarding.

    The caller's own entries are kept as they are: repeated keys, bytes, and also what gRPC will
    refuse, which is for the caller to hear.
    """
    own = dict(_representable(outgoing.own, counters))
    forwarded = dict(_representable(outgoing.forwarded, counters))
    return merge_headers(Outgoing(own, forwarded, outgoing.replaced), metadata)


def _representable(headers: dict[str, str], counters: Counters) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        key = name.lower()
        if not can_name(key):
            counters.cannot_send("grpc", "name")
        elif not sendable(value):
            counters.cannot_send("grpc", "value")
        else:
            yield key, value
