"""The instruments: what each figure is called, how it is told apart, and where it comes from.

One table for Prometheus, for OpenTelemetry's meters, for the reference page and for the tests.
Nothing is counted in here: the parts count in plain integers anyway, and a back end that wants
the figures reads them.

Names are OpenTelemetry's, with dots. Prometheus' follow from them by OpenTelemetry's rule (dots
become underscores, the unit and ``_total`` are appended), so a program that sends its metrics
through a collector shows the same series as one that is scraped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from tracekit.reporting import DropReason
from tracekit.tracing import DiscardReason

if TYPE_CHECKING:
    from tracekit._calls.metrics import CallMetrics, Distribution
    from tracekit.propagation._counters import Counters
    from tracekit.reporting import Stats
    from tracekit.tracing import SpanCounts

Kind = Literal["counter", "gauge", "updowncounter", "histogram"]
Points = Mapping[tuple[str, ...], "float | Distribution"]
"""Figures by the values of the labels."""

_UNIT_SUFFIXES = {"By": "_bytes", "s": "_seconds"}


class Reading(NamedTuple):
    """What all figures are read from, taken at one moment in one process."""

    stats: Stats
    spans: SpanCounts
    propagation: Counters
    queue_size: int
    calls: CallMetrics | None = None
    """None unless RPC metrics are on."""
    added: Mapping[str, Stats] = MappingProxyType({})
    """The figures of further destinations (``add_exporter``), by name."""


class Instrument(NamedTuple):
    """One row of the table."""

    name: str
    kind: Kind
    unit: str
    """UCUM, as OpenTelemetry writes it; braces hold what is only counted."""
    labels: tuple[str, ...]
    help: str
    figure: str
    """What it reads, for people: ``stats.sent`` is ``tracekit.stats().sent``."""
    read: Callable[[Reading], Points]
    across: Literal["sum", "max"] = "sum"
    """How the figures of several processes make one."""

    @property
    def prometheus(self) -> str:
        """The name of its samples; of a histogram, without ``_bucket``, ``_sum``, ``_count``."""
        name = self.name.replace(".", "_") + _UNIT_SUFFIXES.get(self.unit, "")
        return f"{name}_total" if self.kind == "counter" else name


class Family(NamedTuple):
    """An instrument and its figures."""

    instrument: Instrument
    points: Points


# --- how figures are read ---


def _stat(name: str) -> tuple[str, Callable[[Reading], Points]]:
    return f"stats.{name}", lambda at: {(): getattr(at.stats, name)}


def _count(name: str) -> Callable[[Reading], Points]:
    return lambda at: {(): getattr(at.spans, name)}


def _pairs(name: str) -> Callable[[Reading], Points]:
    return lambda at: dict(getattr(at.propagation, name))


def _traces(at: Reading) -> Points:
    spans = at.spans
    return {
        ("started", "y"): spans.roots,
        ("started", "n"): spans.unsampled_roots,
        ("joined", "y"): spans.joined,
        ("joined", "n"): spans.unsampled_joined,
    }


def _started(at: Reading) -> Points:
    # Counters must not fall, and a span that is withdrawn has started sampled all the same.
    stats = at.stats
    return {("y",): stats.started + stats.withdrawn, ("n",): stats.unsampled}


NEVER_TRIED = frozenset(
    reason.value for reason in (DropReason.QUEUE_FULL, DropReason.SHUTDOWN, DropReason.NO_EXPORTER)
)
"""What Jaeger calls *dropped*; any other loss is an *err*."""


def _reported(at: Reading) -> Points:
    tried: dict[bool, int] = {True: 0, False: 0}
    for reason, number in at.stats.dropped.items():
        tried[reason not in NEVER_TRIED] += number
    return {("ok",): at.stats.sent, ("err",): tried[True], ("dropped",): tried[False]}


def _sampler(what: str) -> Callable[[Reading], Points]:
    def read(at: Reading) -> Points:
        state = at.stats.sampler
        return {(result,): _int(state.get(f"{what}_{result}")) for result in ("ok", "err")}

    return read


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


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


_COMPONENT = "jaeger"  # a constant label of the Go client's RPC metrics


def _requests(at: Reading) -> Points:
    return {labels: taken.calls for labels, taken in _latencies(at).items()}


def _latencies(at: Reading) -> Mapping[tuple[str, ...], Distribution]:
    return {
        (_COMPONENT, endpoint, str(failed).lower()): taken
        for endpoint, failed, taken in (at.calls.latencies() if at.calls else ())
    }


def _statuses(at: Reading) -> Points:
    return {
        (_COMPONENT, endpoint, status): number
        for endpoint, status, number in (at.calls.statuses() if at.calls else ())
    }


# --- the table ---

JAEGER = (
    Instrument(
        "jaeger.tracer.traces", "counter", "{trace}", ("state", "sampled"),
        "Traces begun here (started) or taken up from a caller (joined).",
        "roots, and spans whose parent is remote", _traces,
    ),
    Instrument(
        "jaeger.tracer.started_spans", "counter", "{span}", ("sampled",),
        "Spans started.",
        "y: stats.started (+ stats.withdrawn), n: stats.unsampled", _started,
    ),
    Instrument(
        "jaeger.tracer.finished_spans", "counter", "{span}", ("sampled",),
        "Sampled spans that have ended; the end of an unsampled span is not noticed.",
        "y: stats.finished", lambda at: {("y",): at.stats.finished},
    ),
    Instrument(
        "jaeger.tracer.span_context_decoding_errors", "counter", "{error}", (),
        "Incoming trace headers that could not be read.",
        "the sum of tracekit.propagation.decoding_errors",
        lambda at: {(): sum(at.propagation.decode_errors.values())},
    ),
    Instrument(
        "jaeger.tracer.reporter_spans", "counter", "{span}", ("result",),
        "Ended spans by fate: delivered (ok), failed on the way (err), never tried (dropped).",
        "ok: stats.sent, dropped: stats.dropped[queue_full] + [shutdown], err: the other reasons",
        _reported,
    ),
    Instrument(
        "jaeger.tracer.reporter_queue_length", "gauge", "{span}", (),
        "Ended spans that wait to be encoded.", *_stat("queued"),
    ),
    Instrument(
        "jaeger.tracer.sampler_queries", "counter", "{query}", ("result",),
        "Questions to the sampling server, or readings of the strategies file.",
        "stats.sampler[queries_ok], [queries_err]", _sampler("queries"),
    ),
    Instrument(
        "jaeger.tracer.sampler_updates", "counter", "{update}", ("result",),
        "Sampling strategies that were put in force (ok) or could not be used (err).",
        "stats.sampler[updates_ok], [updates_err]", _sampler("updates"),
    ),
)  # fmt: skip
"""What Jaeger's clients publish, by the names and labels of the Go client."""

OWN = (
    Instrument(
        "tracekit.spans.dropped", "counter", "{span}", ("reason",),
        "Ended spans that were lost.", "stats.dropped[reason]", _dropped,
    ),
    Instrument(
        "tracekit.spans.open", "gauge", "{span}", (),
        "Sampled spans that have started and not ended.", *_stat("open"),
    ),
    Instrument(
        "tracekit.spans.in_flight", "gauge", "{span}", (),
        "Spans that were taken from the queue and are being encoded, sent or retried.",
        *_stat("in_flight"),
    ),
    Instrument(
        "tracekit.spans.foreign", "counter", "{span}", (),
        "Spans of the process that forked this one, ended here: not ours to send.",
        *_stat("foreign"),
    ),
    Instrument(
        "tracekit.spans.resent", "counter", "{span}", (),
        "Spans sent once more because it is in doubt whether they arrived.", *_stat("resent"),
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
        "Unsampled spans that were recorded until their trace was decided.", *_stat("recorded"),
    ),
    Instrument(
        "tracekit.keep.buffered", "gauge", "{span}", (),
        "Recorded spans whose local root has not ended.", *_stat("buffered"),
    ),
    Instrument(
        "tracekit.keep.promoted", "counter", "{span}", (),
        "Recorded spans that were sampled after all, by a rule.", *_stat("promoted"),
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
        "Datagrams (UDP) or requests (HTTP, gRPC) that were sent.", *_stat("payloads"),
    ),
    Instrument(
        "tracekit.reporter.sent", "counter", "By", (),
        "Size of the payloads that were sent, before compression.", *_stat("payload_bytes"),
    ),
    Instrument(
        "tracekit.reporter.retries", "counter", "{retry}", (),
        "Sends that failed and were put off.", *_stat("retries"),
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

RPC = (
    Instrument(
        "jaeger.rpc.requests", "counter", "{request}", ("component", "endpoint", "error"),
        "Calls served, sampled or not.", "counted per call", _requests,
    ),
    Instrument(
        # No unit, or the name would end in ``_seconds``: the Go client's does not.
        "jaeger.rpc.request_latency", "histogram", "", ("component", "endpoint", "error"),
        "How many seconds the calls took.", "measured per call", _latencies,
    ),
    Instrument(
        "jaeger.rpc.http_requests", "counter", "{request}",
        ("component", "endpoint", "status_code"),
        "HTTP requests served, by class of status: 2xx, 3xx, 4xx, 5xx.",
        "counted per request", _statuses,
    ),
)  # fmt: skip
"""What is published with ``rpc_metrics``, by the names and labels of the Go client."""


# --- what OpenTelemetry's conventions name ---


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
        "The number of spans in the queue.", *_stat("queued"),
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
        "The number of spans being encoded, sent or retried.", *_stat("in_flight"),
    ),
    Instrument(
        "otel.sdk.exporter.span.exported", "counter", "{span}", ("error.type",),
        "The number of spans for which the export has finished, either successful or failed.",
        "stats.sent, stats.dropped[reason] of taken spans", _exported,
    ),
)  # fmt: skip
"""The SDK's self-observability, only for OpenTelemetry's meters. An ``error.type`` of "" means
that the attribute is missing: all went well. Those of a processor or an exporter say which one."""


def families(at: Reading) -> list[Family]:
    """Read every instrument that has something to say with these settings."""
    table = JAEGER + OWN + (ADDED if at.added else ()) + (RPC if at.calls is not None else ())
    return [Family(row, row.read(at)) for row in table]
