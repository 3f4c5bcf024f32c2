"""Who calls whom: Jaeger's dependencies, and the same with errors and latencies for the page.

Source: Jaeger 1.48 ``plugin/storage/memory`` for what counts as a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tracekit.local._records import Record

MAX_SERVICES = 500
"""Services that the graph shows; calls of and to others are left out."""
_SERVED = ("server", "consumer")


def dependencies(
    traces: Sequence[Sequence[Record]], start_us: int, end_us: int
) -> dict[tuple[str, str], int]:
    """Count calls from service to service in the traces that have a span in this time."""
    calls: dict[tuple[str, str], int] = {}
    for trace in traces:
        if not any(start_us < record.start_us < end_us for record in trace):
            continue
        for parent, record in _parents(trace):
            if parent is not None and parent.service != record.service:
                link = parent.service, record.service
                calls[link] = calls.get(link, 0) + 1
    return calls


def graph(traces: Sequence[Sequence[Record]]) -> dict[str, object]:
    """Return the services and their calls with counts, errors, median and p95 in µs.

    A service's requests are its server and consumer spans, and its spans that nobody of its own
    called.
    """
    services: dict[str, _Requests] = {}
    calls: dict[tuple[str, str], _Requests] = {}
    first, last = 1 << 63, -(1 << 63)
    for trace in traces:
        start_us = min(record.start_us for record in trace)
        first, last = min(first, start_us), max(last, start_us)
        for parent, record in _parents(trace):
            service = record.service
            if service not in services and len(services) >= MAX_SERVICES:
                continue
            known = services.setdefault(service, _Requests())
            foreign = parent is not None and parent.service != service
            if parent is None or foreign or record.kind in _SERVED:
                known.add(record)
            if parent is not None and foreign and parent.service in services:
                calls.setdefault((parent.service, service), _Requests()).add(record)
    return {
        "seconds": max(0, last - first) / 1e6,
        "services": [
            {"name": name or "empty-service-name", **found.figures()}
            for name, found in sorted(services.items())
        ],
        "calls": [
            {
                "from": caller or "empty-service-name",
                "to": called or "empty-service-name",
                **found.figures(),
            }
            for (caller, called), found in sorted(calls.items())
        ],
    }


class _Requests:
    __slots__ = ("durations", "errors")

    def __init__(self) -> None:
        self.durations: list[int] = []
        self.errors = 0

    def add(self, record: Record) -> None:
        self.durations.append(record.duration_us)
        self.errors += record.error

    def figures(self) -> dict[str, int]:
        ordered = sorted(self.durations) or [0]
        return {
            "count": len(self.durations),
            "errors": self.errors,
            "p50": ordered[len(ordered) // 2],
            "p95": ordered[len(ordered) * 95 // 100],
        }


def _parents(trace: Sequence[Record]) -> Iterator[tuple[Record | None, Record]]:
    """Yield each span behind its parent, if that has come."""
    clients = {record.span_id: record for record in trace if record.kind == "client"}
    by_id: dict[int, Record] = {}
    for record in trace:
        # Where client and server share an id, as Zipkin's do, the server has the children.
        if record.span_id not in by_id or (record.kind == "server" and record.span_id in clients):
            by_id[record.span_id] = record
    for record in trace:
        shared = record.kind == "server" and record.span_id in clients
        parent = clients[record.span_id] if shared else by_id.get(record.parent_id)
        yield (None if parent is record else parent), record
