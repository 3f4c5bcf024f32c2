"""What Jaeger's clients publish, by the names and labels of the Go client.

Source: jaeger-client-go's ``metrics.go`` and ``rpcmetrics``; what a figure means is told in
``docs/reference/metrics.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.metrics._instrument import Instrument, stat
from tracekit.reporting import DropReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit._calls.metrics import Distribution
    from tracekit.metrics._instrument import Points, Reading


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
        "Ended spans that wait to be encoded.", *stat("queued"),
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
