"""What happened to every span: the figures, the law they obey, the closed list of losses.

The law holds in every snapshot, in each process for itself::

    started  = open + finished
    finished = sent + queued + in_flight + Σ dropped{reason}
    recorded = buffered + promoted + Σ discarded{reason}        (with ``keep``)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import NamedTuple

from tracekit._frozen import Frozen, frozen


@frozen
class Stats(Frozen):
    """A snapshot of one process' figures. All are counts of spans but the last group."""

    started: int = 0
    open: int = 0
    finished: int = 0
    unsampled: int = 0
    """Spans that were never to be sent: outside the law, no loss."""
    sent: int = 0
    """The receiver has them; over UDP: the kernel took them and nobody has refused them."""
    queued: int = 0
    in_flight: int = 0
    """Taken from the queue, not settled yet: being encoded, batched, sent or retried."""
    foreign: int = 0
    """Spans of the process that forked this one, ended here: ignored, outside the law."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By ``DropReason``; every reason is there, most of the time 0."""
    sampler: Mapping[str, object] = field(default_factory=dict)
    """What decides about roots now, the age of a remote strategy, the last error."""
    recorded: int = 0
    """With ``keep``: unsampled spans recorded until their trace is decided. A law of its own:
    ``recorded = buffered + promoted + Σ discarded{reason}``."""
    buffered: int = 0
    promoted: int = 0
    """Sampled after all, by a rule; among ``started`` and ``finished`` from then on."""
    discarded: Mapping[str, int] = field(default_factory=dict)
    """By ``tracing.DiscardReason``; empty without ``keep``."""
    payloads: int = 0
    payload_bytes: int = 0
    retries: int = 0
    resent: int = 0
    """Spans sent once more because their datagram or request was in doubt: possible twins."""
    taken: int = 0
    """Spans that have left the queue for the wire: sent, in flight, or lost on the way."""
    withdrawn: int = 0
    """Spans that started sampled and were made unsampled before their end: in ``unsampled``."""
    last_problem: str | None = None
    """The latest reason why spans were not sent, with the address: no secrets, one line."""
    encoder: str = ""
    """What makes frames: "native" or "python"; empty where spans are not encoded by us."""

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values, ready for JSON."""
        return {
            each.name: dict(value) if isinstance(value, Mapping) else value
            for each in fields(self)
            for value in (getattr(self, each.name),)
        }


class FlushResult(NamedTuple):
    """What a flush did: spans sent and dropped meanwhile, and those of before that are left."""

    sent: int
    dropped: int
    left: int

    def __bool__(self) -> bool:
        """Whether nothing was left."""
        return self.left == 0
