"""What Jaeger's clients did not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.metrics._instrument import Instrument, stat
from tracekit.reporting import DropReason
from tracekit.tracing import DiscardReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit.metrics._instrument import Points, Reading


def _count(name: str) -> Callable[[Reading], Points]:
    return lambda at: {(): getattr(at.spans, name)}


def _pairs(name: str) -> Callable[[Reading], Points]:
    return lambda at: dict(getattr(at.propagation, name))


def _strategy_age(at: Reading) -> Points:
    age_s = at.stats.sampler.get("age_s")
    return {(): age_s} if isinstance(age_s, float) else {}


def _dropped(at: Reading) -> Points:
    return {(reason.value,): at.stats.dropped.get(reason.value, 0) for reason in DropReason}


def _discarded(at: Reading) -> Points:
    return {(reason.value,): at.stats.discarded.get(reason.value, 0) for reason in DiscardReason}


def _added(name: str) -> Callable[[Reading], Points]:
    return lambda at: {(added,): getattr(stats, name) for added, stats in at.added.items()}


def _added_dropped(at: Reading) -> Points:
    return {
        (added, reason): number
        for added, stats in at.added.items()
        for reason, number in stats.dropped.items()
    }


OWN = (
    Instrument(
        "tracekit.spans.dropped", "counter", "{span}", ("reason",),
        "Ended spans that were lost.", "stats.dropped[reason]", _dropped,
    ),
    Instrument(
        "tracekit.spans.open", "gauge", "{span}", (),
        "Sampled spans that have started and not ended.", *stat("open"),
    ),
    Instrument(
        "tracekit.spans.in_flight", "gauge", "{span}", (),
        "Spans that were taken from the queue and are being encoded, sent or retried.",
        *stat("in_flight"),
    ),
    Instrument(
        "tracekit.spans.foreign", "counter", "{span}", (),
        "Spans of the process that forked this one, ended here: not ours to send.",
        *stat("foreign"),
    ),
    Instrument(
        "tracekit.spans.resent", "counter", "{span}", (),
        "Spans sent once more because it is in doubt whether they arrived.", *stat("resent"),
    ),
    Instrument(
        "tracekit.spans.ended_twice", "counter", "{span}", (),
        "Calls of end() on a span that had ended: a mistake in the program.",
        "counted by the tracer", _count("ended_twice"),
    ),
    Instrument(
        "tracekit.tracer.failures", "counter", "{error}", (),
        "Exceptions of samplers and span processors that were kept from the program.",
        "counted by the tracer", _count("failures"),
    ),
    Instrument(
        "tracekit.keep.recorded", "counter", "{span}", (),
        "Unsampled spans that were recorded until their trace was decided.", *stat("recorded"),
    ),
    Instrument(
        "tracekit.keep.buffered", "gauge", "{span}", (),
        "Recorded spans whose local root has not ended.", *stat("buffered"),
    ),
    Instrument(
        "tracekit.keep.promoted", "counter", "{span}", (),
        "Recorded spans that were sampled after all, by a rule.", *stat("promoted"),
    ),
    Instrument(
        "tracekit.keep.discarded", "counter", "{span}", ("reason",),
        "Recorded spans that were not.", "stats.discarded[reason]", _discarded,
    ),
    Instrument(
        "tracekit.reporter.queue_capacity", "gauge", "{span}", (),
        "How many spans the queue holds.", "settings.reporter.queue_size",
        lambda at: {(): at.queue_size},
    ),
    Instrument(
        "tracekit.reporter.payloads", "counter", "{payload}", (),
        "Datagrams (UDP) or requests (HTTP, gRPC) that were sent.", *stat("payloads"),
    ),
    Instrument(
        "tracekit.reporter.sent", "counter", "By", (),
        "Size of the payloads that were sent, before compression.", *stat("payload_bytes"),
    ),
    Instrument(
        "tracekit.reporter.retries", "counter", "{retry}", (),
        "Sends that failed and were put off.", *stat("retries"),
    ),
    Instrument(
        "tracekit.sampler.strategy_age", "gauge", "s", (),
        "Time since the sampling strategy in force was received.", "stats.sampler[age_s]",
        _strategy_age, "max",
    ),
    Instrument(
        "tracekit.propagation.decoding_errors", "counter", "{error}", ("format", "reason"),
        "Incoming headers that could not be read and were ignored.",
        "counted by the propagator", _pairs("decode_errors"),
    ),
    Instrument(
        "tracekit.propagation.unsendable", "counter", "{header}", ("format", "reason"),
        "Outgoing headers that could not be written and were left out.",
        "counted by the propagator", _pairs("unsendable"),
    ),
    Instrument(
        "tracekit.propagation.conflicts", "counter", "{request}", ("winner", "loser"),
        "Requests on which two formats named different spans, by who was followed.",
        "counted by the propagator", _pairs("conflicts"),
    ),
    Instrument(
        "tracekit.propagation.ignored", "counter", "{request}", ("format",),
        "Requests that began a new trace because the format of theirs is not read.",
        "counted by the propagator", _pairs("ignored"),
    ),
)  # fmt: skip
"""What Jaeger's clients did not tell."""

ADDED = (
    Instrument(
        "tracekit.exporter.sent", "counter", "{span}", ("exporter",),
        "Spans that an added destination has taken.", "stats.sent of its handle", _added("sent"),
    ),
    Instrument(
        "tracekit.exporter.dropped", "counter", "{span}", ("exporter", "reason"),
        "Spans that were lost on the way to it, by reason.", "stats.dropped of its handle",
        _added_dropped,
    ),
    Instrument(
        "tracekit.exporter.queue_length", "gauge", "{span}", ("exporter",),
        "Spans that wait for it.", "stats.queued of its handle", _added("queued"),
    ),
    Instrument(
        "tracekit.exporter.retries", "counter", "{retry}", ("exporter",),
        "Sends to it that failed and were put off.", "stats.retries of its handle",
        _added("retries"),
    ),
)  # fmt: skip
"""What is published with ``add_exporter``, told apart by the destination's name."""
