"""A trace for Perfetto and Chrome's ``about:tracing``: the Trace Event Format, and read back.

Source: the Trace Event Format (complete events ``X``, metadata ``M``).
A service is a process; spans that overlap without one holding the other stand on tracks of their
own, as the viewers need it. ``args`` carry the span in Jaeger's JSON, so nothing is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.local._jaeger_json import from_json, to_json
from tracekit.local._json import Object, array, obj

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.local._spans import ReceivedSpan


def to_perfetto(spans: Sequence[ReceivedSpan]) -> dict[str, object]:
    """Return the spans as a document of trace events."""
    events: list[dict[str, object]] = []
    processes: dict[str, int] = {}
    tracks: dict[str, list[list[int]]] = {}
    for span in sorted(spans, key=lambda span: (span.start_us, -span.duration_us)):
        service = span.service or "empty-service-name"
        pid = processes.setdefault(service, len(processes) + 1)
        track = _track(tracks.setdefault(service, []), span.start_us, span.duration_us)
        events.append(
            {
                "ph": "X",
                "name": span.operation,
                "cat": span.kind,
                "pid": pid,
                "tid": track + 1,
                "ts": span.start_us,
                "dur": max(0, span.duration_us),
                "args": {"jaeger": to_json([span], adjust=False)},
            }
        )
    names = [
        {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": service}}
        for service, pid in processes.items()
    ]
    return {"displayTimeUnit": "ms", "traceEvents": [*names, *events]}


def from_perfetto(value: Object) -> list[ReceivedSpan]:
    """Return the spans in a document that ``to_perfetto`` made; of others, none."""
    spans = []
    for event in array(value, "traceEvents"):
        arguments = obj(event.get("args") or {}, "args")
        if "jaeger" in arguments:
            spans.extend(from_json(arguments["jaeger"]))
    return spans


def _track(tracks: list[list[int]], start_us: int, duration_us: int) -> int:
    """Return the first track on which a span nests; each is a stack of the ends that are open."""
    end_us = start_us + max(0, duration_us)
    for number, ends in enumerate(tracks):
        while ends and ends[-1] <= start_us:
            ends.pop()
        if not ends or end_us <= ends[-1]:
            ends.append(end_us)
            return number
    tracks.append([end_us])
    return len(tracks) - 1
