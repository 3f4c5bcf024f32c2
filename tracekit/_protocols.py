"""The seams of the pipeline: span → frame → payload → wire, as values and protocols.

A span is encoded once, into a ``Frame``; frames are put together into a ``Payload``; a
``Transport`` sends payloads and answers with a ``SendResult``. Nothing runs back up this road.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from opentelemetry.trace import Status

from tracekit._causes import Cause

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, TraceState
    from opentelemetry.util.types import AnyValue

MARKS_SHIFT = 8
"""In a span's ``_bits``, what stands below are trace flags, from here on marks."""
FLAGS = 0x01 | 0x02
"""W3C's level 2: *sampled* and *random*; a remote parent's other flags are not ours."""
UNSET = Status()
"""The status that nobody has set: told by identity, because asking it costs a call."""


class Facts(NamedTuple):
    """All that a format needs to know of an ended span, as plain values.

    A span that can tell this at once has a method ``_facts``, which returns ``Fields``; any other
    is read through the SDK's properties, which costs several times as much.
    """

    trace_id: int
    span_id: int
    parent_id: int
    """0: a root."""
    bits: int
    """The trace flags, and the marks of ``tracekit._context`` from bit 8 on."""
    state: TraceState
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AnyValue]
    events: Sequence[tuple[str, int, Bag]]
    """Name, time in ns, attributes."""
    links: Sequence[tuple[SpanContext, Bag]]
    status: Status
    scope: InstrumentationScope | None
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    parent_is_remote: bool


Fields = tuple[
    int, int, int, int, "TraceState", str, "SpanKind", int, int, "Mapping[str, AnyValue]",
    "Sequence[tuple[str, int, Bag]]", "Sequence[tuple[SpanContext, Bag]]", "Status",
    "InstrumentationScope | None", int, int, int, bool,
]  # fmt: skip
"""``Facts`` without names: to make a named tuple takes as long as to gather what it holds."""


Bag = tuple["Mapping[str, AnyValue]", int]
"""Attributes, and how many were dropped."""


class PlainAttributes(dict[str, "str | bool | int | float"]):
    """Attributes that need no cleaning: names not empty, values of exactly these types.

    Whoever makes one vouches for that, so a span of ours takes it without a look. Any other
    OpenTelemetry span takes it like every dictionary.
    """

    __slots__ = ()


REF_TYPE = "opentracing.ref_type"
"""The attribute of a link that says which reference of OpenTracing it was (its shim's name)."""


class UnnamedEvent(str):
    """The name of an event that has none: OpenTelemetry demands one, a log of Jaeger's does not."""

    __slots__ = ()


class Frame(NamedTuple):
    """One encoded span: an element of its format's list of spans, ready to be concatenated."""

    data: bytes
    scope: bytes = b""
    """Frames of one scope stand together in a payload (OTLP); empty where a format has none."""
    span: ReadableSpan | None = None
    """The span itself, only for a wire that takes spans instead of bytes (a ``SpanExporter``)."""


class Loss(NamedTuple):
    """What this process has dropped since it started (``ClientStats`` of jaeger.thrift)."""

    queue_full: int = 0
    too_large: int = 0
    send_failed: int = 0


class Payload(NamedTuple):
    """What one send carries: ``frames`` sealed into ``body``. Immutable, so a retry is exact."""

    body: bytes
    frames: Sequence[Frame]


class Outcome(enum.Enum):
    """How a send ended."""

    SENT = "sent"
    RETRY = "retry"
    PACED = "paced"
    TOO_LARGE = "too_large"
    FAILED = "failed"
    UNWANTED = "unwanted"


class SendResult(NamedTuple):
    """A transport's answer; made by the class methods, one per outcome."""

    outcome: Outcome
    after_s: float | None = None
    """Earliest next attempt, in seconds from now; None leaves the pause to the back-off."""
    rejected: int = 0
    """How many spans of a payload that was sent the receiver refused for good."""
    doubt: Sequence[Payload] = ()
    """Payloads that may or may not have arrived, of this send or an earlier one."""
    max_pause_s: float | None = None
    """How long a back-off may become at most, where an attempt costs the receiver nothing."""
    reason: str = ""
    """What went wrong, for the log: no secrets, no line breaks."""
    unreached: bool = False
    """Whether the receiver was not there to be asked: trying again soon costs it nothing."""
    cause: Cause = Cause.OTHER
    """Why, as far as an operator can do something about it (see ``because``)."""

    @classmethod
    def sent(cls, *, rejected: int = 0, reason: str = "") -> SendResult:
        """Return *the receiver (UDP: the kernel) has it*, but for ``rejected`` spans."""
        return cls(Outcome.SENT, rejected=rejected, reason=reason)

    @classmethod
    def retry(
        cls,
        reason: str,
        *,
        after_s: float | None = None,
        doubt: Sequence[Payload] = (),
        max_pause_s: float | None = None,
        unreached: bool = False,
    ) -> SendResult:
        """Return *try again*.

        When the payload itself stands in ``doubt``, the first try may have arrived. An earlier
        payload there was reported as sent and is to be sent once more, before this one.
        ``unreached`` lets the back-off shrink while the queue fills.
        """
        return cls(
            Outcome.RETRY,
            after_s,
            doubt=doubt,
            max_pause_s=max_pause_s,
            reason=reason,
            unreached=unreached,
        )

    @classmethod
    def paced(cls, after_s: float) -> SendResult:
        """Return *nothing was tried yet, come back*: a transport never sleeps by itself."""
        return cls(Outcome.PACED, after_s)

    @classmethod
    def too_large(cls, reason: str) -> SendResult:
        """Return *split it*: fewer spans are to share a payload, a single one is given up."""
        return cls(Outcome.TOO_LARGE, reason=reason)

    @classmethod
    def failed(cls, reason: str) -> SendResult:
        """Return *it cannot be delivered, ever*: its spans are dropped and counted."""
        return cls(Outcome.FAILED, reason=reason)

    @classmethod
    def unwanted(cls) -> SendResult:
        """Return *nobody wants it*, by the settings: as failed, without a warning."""
        return cls(Outcome.UNWANTED)

    def because(self, cause: Cause) -> SendResult:
        """Return the same result with its cause."""
        return self._replace(cause=cause)

    @property
    def ok(self) -> bool:
        """Whether the payload left the process."""
        return self.outcome is Outcome.SENT


class Encoder(Protocol):
    """A format. Pure; one thread at a time calls it, at most one per process.

    One that can encode many spans in a step has ``frames`` as well; see ``FactsEncoder`` of
    ``tracekit.encoding``.
    """

    def process(self, resource: Resource) -> bytes:
        """Encode what all spans of a resource share; called once per process and resource."""

    def frame(self, span: ReadableSpan) -> Frame:
        """Encode one ended span. May raise: the span is then dropped and counted."""

    def overhead_bytes(
        self, process: bytes, frames: int, scopes: Collection[bytes], seq_no: int, loss: Loss
    ) -> int:
        """Return the size of a payload of that many frames without the frames' own bytes.

        Exact for the Thrift formats, never too small for any, so that a payload of
        ``overhead_bytes(…) + Σ len(frame.data)`` is never larger than announced. More frames or
        scopes never make it smaller.
        """

    def seal(self, process: bytes, frames: Sequence[Frame], seq_no: int, loss: Loss) -> Payload:
        """Put frames together; byte-identical to encoding their spans in one go."""


class Transport(Protocol):
    """A wire. One thread at a time calls it; each process makes its own (never forked).

    ``send`` must return by ``deadline`` (``time.monotonic`` seconds), must not sleep to pace or
    to retry (it answers, the caller waits) and owns nothing of the payload afterwards but what
    it needs to name an earlier one *in doubt*. It should not raise; what it raises is counted as
    *failed*.
    """

    @property
    def max_bytes(self) -> int:
        """The largest body that may be sent at all; no span that needs more is tried."""

    @property
    def max_retry_s(self) -> float | None:
        """How long one payload may be retried before its spans are dropped; None: for ever."""

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Try once to deliver ``payload``."""

    def close(self) -> None:
        """Give back sockets. Idempotent; a later ``send`` opens them again."""
