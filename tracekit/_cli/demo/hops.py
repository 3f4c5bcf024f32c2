"""Did the trace really cross every process? The hops that must be there, and what is wrong.

A hop is judged by what arrived over the socket alone: the server span of the service that was
called, its parent, a client span of the service that called, and the way from there to the root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.local import ReceivedSpan

PROCESS_TAG = ("shop", "rides")
"""Every process must have brought this along: it stands in the services' JAEGER_TAGS."""
PROCESS_ID = "client-uuid"
"""The process tag that tells two processes of one host apart."""


class Ingress(NamedTuple):
    """Who sent the request: the ids of its B3 headers and the ``x-request-id``."""

    trace_id: int
    span_id: int
    request_id: str

    def headers(self) -> dict[str, str]:
        """Return what an Istio ingress gateway sends along."""
        return {
            "x-request-id": self.request_id,
            "x-b3-traceid": f"{self.trace_id:032x}",
            "x-b3-spanid": f"{self.span_id:016x}",
            "x-b3-sampled": "1",
        }


class Hop(NamedTuple):
    """One crossing from a process to another."""

    caller: str
    callee: str
    protocol: str
    operation: str
    """What the name of the server span contains."""
    times: int = 1

    def __str__(self) -> str:
        often = f", {self.times} times" if self.times > 1 else ""
        return f"{self.caller} → {self.callee}  {self.protocol} {self.operation}{often}"

    def fault(self, ingress: Ingress, trace: Sequence[ReceivedSpan]) -> str | None:
        """Return what is wrong with this hop in ``trace``, None if it is as it must be."""
        arrived = [
            span
            for span in trace
            if (span.service, span.kind) == (self.callee, "server")
            and self.operation in span.operation
        ]
        if len(arrived) != self.times:
            return f"{len(arrived)} of {self.times} server spans arrived from {self.callee}"
        by_id = {span.span_id: span for span in trace}
        faults = (self._parent_fault(span, by_id, ingress) for span in arrived)
        return next(filter(None, faults), None)

    def _parent_fault(
        self, span: ReceivedSpan, by_id: dict[int, ReceivedSpan], ingress: Ingress
    ) -> str | None:
        key, value = PROCESS_TAG
        if span.process_tags.get(key) != value or PROCESS_ID not in span.process_tags:
            return f"{span.service} came without the process tags {key}={value} and {PROCESS_ID}"
        if self.caller == INGRESS:
            joined = span.parent_id == ingress.span_id
            return None if joined else "the span is no child of the span in the B3 headers"
        parent = by_id.get(span.parent_id or 0)
        if parent is None or (parent.service, parent.kind) != (self.caller, "client"):
            return f"the parent of {span.operation} is no client span of {self.caller}"
        if parent.process_tags.get(PROCESS_ID) == span.process_tags[PROCESS_ID]:
            return f"{self.caller} and {self.callee} are one process"
        if _root(parent, by_id).parent_id != ingress.span_id:
            return f"the client span of {self.caller} does not lead back to the request"
        return None


INGRESS = "ingress"

REFUSED = (
    Hop(INGRESS, "frontend", "HTTP", "/dispatch"),
    Hop("frontend", "driver", "gRPC", "Nearest"),
)
"""The hops of a request for which there is no car."""

DISPATCHED = (
    *REFUSED,
    Hop("frontend", "driver", "gRPC", "Track"),
    Hop("frontend", "route", "HTTP", "/route", times=3),
)
"""The hops of a request that is served."""


def faults(
    hops: Sequence[Hop], ingress: Ingress, spans: Sequence[ReceivedSpan]
) -> dict[Hop, str | None]:
    """Return for each hop what is wrong with it; ``spans`` may hold other traces as well."""
    trace = [span for span in spans if span.trace_id == ingress.trace_id]
    return {hop: hop.fault(ingress, trace) for hop in hops}


def forwarded(ingress: Ingress, spans: Sequence[ReceivedSpan]) -> bool:
    """Tell whether the request's ``x-request-id`` came through to the route service."""
    seen = {span.tags.get("request-id") for span in spans if span.trace_id == ingress.trace_id}
    return ingress.request_id in seen


def _root(span: ReceivedSpan, by_id: dict[int, ReceivedSpan]) -> ReceivedSpan:
    seen = set[int]()
    while span.span_id not in seen and span.parent_id in by_id:
        seen.add(span.span_id)
        span = by_id[span.parent_id]
    return span
