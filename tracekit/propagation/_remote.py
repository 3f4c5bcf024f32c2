"""What arrived in a carrier, as a value: full context, decision alone, debug id, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tracekit._context import Decision

if TYPE_CHECKING:
    from tracekit._context import Headers

NO_BAGGAGE: Mapping[str, str] = MappingProxyType({})


class Remote(NamedTuple):
    """What one format says about the caller's trace.

    ``trace_id`` (128 bit) and ``span_id`` (64 bit) are 0 together when only a decision, a debug
    id or baggage arrived. ``sampled`` is None for *defer*; ``debug`` implies ``sampled``.
    """

    trace_id: int = 0
    span_id: int = 0
    parent_id: int | None = None
    sampled: bool | None = None
    debug: bool = False
    debug_id: str | None = None
    baggage: Mapping[str, str] = NO_BAGGAGE
    tracestate: str = ""
    trace_flags: int = 0
    """The format's flags byte without the bits that mean two things.

    0x02 is W3C's *random trace id* (Jaeger's 0x02, debug, is ``debug``); 0x04 and 0x08 are
    Jaeger's *unused* and *firehose*.
    """

    @property
    def has_ids(self) -> bool:
        """Whether this names a span that a child can be attached to."""
        return self.trace_id != 0 and self.span_id != 0

    @property
    def decision(self) -> Decision:
        """B3's sampling state: DEBUG, ACCEPT, DENY, or DEFER when nothing was decided."""
        if self.debug:
            return Decision.DEBUG
        if self.sampled is None:
            return Decision.DEFER
        return Decision.ACCEPT if self.sampled else Decision.DENY


ExtractedFields: TypeAlias = tuple[
    int, int, int | None, bool | None, bool, str | None, Mapping[str, str], str, int
]
"""The fields of a ``Remote`` in its order, as codecs return them.

A plain tuple costs a tenth of the named one, and the propagator, which decodes on every request,
takes it apart at once.
"""

Extracted: TypeAlias = tuple["ExtractedFields | None", "Headers"]
"""What the formats of a carrier say together, None if they say nothing, and what is to be
forwarded as it came."""
