"""What OpenTelemetry's semantic conventions name: the self-observability of an SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.metrics._instrument import Instrument, stat

if TYPE_CHECKING:
    from tracekit.metrics._instrument import Points, Reading
    from tracekit.reporting import Stats


def _sdk_started(at: Reading) -> Points:
    spans = at.spans
    return {
        ("none", "RECORD_AND_SAMPLE"): spans.roots,
        ("none", "DROP"): spans.unsampled_roots,
        ("remote", "RECORD_AND_SAMPLE"): spans.joined,
        ("remote", "DROP"): spans.unsampled_joined,
        ("local", "RECORD_AND_SAMPLE"): spans.children,
        ("local", "DROP"): spans.unsampled_children,
    }


def _never_taken(stats: Stats) -> int:
    """Return how many spans the queue still held when it was closed, or that came after."""
    return stats.finished - stats.queued - stats.taken - stats.dropped.get("queue_full", 0)


def _processed(at: Reading) -> Points:
    return {
        ("",): at.stats.taken,
        ("queue_full",): at.stats.dropped.get("queue_full", 0),
        ("already_shutdown",): _never_taken(at.stats),
    }


def _exported(at: Reading) -> Points:
    stats = at.stats
    done = {"": stats.sent, **stats.dropped}
    done["shutdown"] = done.get("shutdown", 0) - _never_taken(stats)
    return {(error,): number for error, number in done.items() if error != "queue_full"}


SDK = (
    Instrument(
        "otel.sdk.span.started", "counter", "{span}",
        ("otel.span.parent.origin", "otel.span.sampling_result"),
        "The number of created spans.", "counted by the tracer; RECORD_ONLY counts as DROP",
        _sdk_started,
    ),
    Instrument(
        "otel.sdk.span.live", "updowncounter", "{span}", ("otel.span.sampling_result",),
        "The number of recording spans which have not ended.", "stats.open",
        lambda at: {("RECORD_AND_SAMPLE",): at.stats.open},
    ),
    Instrument(
        "otel.sdk.processor.span.queue.size", "updowncounter", "{span}", (),
        "The number of spans in the queue.", *stat("queued"),
    ),
    Instrument(
        "otel.sdk.processor.span.queue.capacity", "updowncounter", "{span}", (),
        "The maximum number of spans the queue can hold.", "settings.reporter.queue_size",
        lambda at: {(): at.queue_size},
    ),
    Instrument(
        "otel.sdk.processor.span.processed", "counter", "{span}", ("error.type",),
        "The number of spans which were taken from the queue to be exported, or lost before.",
        "stats.taken, stats.dropped[queue_full], [shutdown] unless taken", _processed,
    ),
    Instrument(
        "otel.sdk.exporter.span.inflight", "updowncounter", "{span}", (),
        "The number of spans being encoded, sent or retried.", *stat("in_flight"),
    ),
    Instrument(
        "otel.sdk.exporter.span.exported", "counter", "{span}", ("error.type",),
        "The number of spans for which the export has finished, either successful or failed.",
        "stats.sent, stats.dropped[reason] of taken spans", _exported,
    ),
)  # fmt: skip
"""The SDK's self-observability, only for OpenTelemetry's meters. An ``error.type`` of "" means
that the attribute is missing: all went well. Those of a processor or an exporter say which one."""
