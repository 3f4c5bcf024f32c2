"""The figures on OpenTelemetry's meters: observed where that can be, recorded where it must be.

*Observed* means read when a metric reader collects. Histograms cannot be observed, so durations
are recorded as they occur: those of calls if RPC metrics are on, those of sends on the worker.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from opentelemetry.metrics import Observation

from tracekit import metrics
from tracekit._calls import http
from tracekit._calls.metrics import Distribution
from tracekit._config.transports import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider
    from opentelemetry.util.types import AttributeValue

    from tracekit._assembly.wiring import Parts
    from tracekit._calls.lifecycle import BaseCall, Labels
    from tracekit._protocols import SendResult

    Attributes = Mapping[str, AttributeValue]

_log = logging.getLogger("tracekit")

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""What the conventions advise for durations of requests."""

_PROCESSOR = "tracekit.reporting.Reporter"
_numbers = itertools.count()  # tells apart the components of several handles in one process


def publish(parts: Parts, provider: MeterProvider) -> None:
    """Make every instrument of the table on a meter of ``provider``."""
    meter = provider.get_meter("tracekit")
    number = next(_numbers)
    components: dict[str, Attributes] = {
        "otel.sdk.processor": _component(_PROCESSOR, number),
        "otel.sdk.exporter": _exporter(parts, number),
    }
    table = [*metrics.JAEGER, *metrics.OWN, *metrics.ADDED, *metrics.SDK]
    if parts.calls is not None:
        table += metrics.RPC
        parts.calls.tell(CallDurations(meter))
    for row in table:
        if row.kind != "histogram":
            fixed = components.get(".".join(row.name.split(".")[:3]), {})
            _observe(meter, row, fixed, parts.reading)
    if parts.reporter is not None:
        exporter = components["otel.sdk.exporter"]
        parts.reporter.tell_sent.append(SendDurations(meter, exporter))


def _component(kind: str, number: int) -> dict[str, AttributeValue]:
    return {"otel.component.type": kind, "otel.component.name": f"{kind}/{number}"}


def _exporter(parts: Parts, number: int) -> Attributes:
    if parts.stand_in is not None:
        kind = type(parts.stand_in)
        return _component(f"{kind.__module__}.{kind.__qualname__}", number)
    settings = parts.settings.transport
    found = _component(TRANSPORTS[settings.kind].component, number)
    host, port = settings.agent_host, settings.agent_port
    if settings.kind != "udp":
        endpoint = settings.endpoint or ""
        host, port = http.server_of(endpoint if "://" in endpoint else f"grpc://{endpoint}")
    if host:
        found["server.address"] = host
    if port:
        found["server.port"] = port
    return found


def _observe(
    meter: Meter, row: metrics.Instrument, fixed: Attributes, read: Callable[[], metrics.Reading]
) -> None:
    create = {
        "counter": meter.create_observable_counter,
        "gauge": meter.create_observable_gauge,
        "updowncounter": meter.create_observable_up_down_counter,
    }[row.kind]

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        for labels, value in row.read(read()).items():
            if not isinstance(value, Distribution):
                named = zip(row.labels, labels, strict=True)
                yield Observation(value, {**fixed, **{key: text for key, text in named if text}})

    create(row.name, [observe], row.unit, row.help)


class CallDurations:
    """Records how long each call took, by the conventions for HTTP and RPC servers.

    The call's own context goes along, so that readers which keep exemplars find its trace.
    """

    def __init__(self, meter: Meter) -> None:
        self._http = meter.create_histogram(
            "http.server.request.duration",
            "s",
            "Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS_S,
        )
        self._rpc = meter.create_histogram(
            "rpc.server.call.duration",
            "s",
            "Measures the duration of an incoming Remote Procedure Call (RPC).",
            explicit_bucket_boundaries_advisory=_BUCKETS_S,
        )

    def on_finish(self, call: BaseCall, error_type: str | None, labels: Labels | None) -> None:
        """Record one call."""
        duration_s = call.duration_s()
        found = {} if labels is None else dict(labels())
        histogram = self._rpc if "rpc.system.name" in found else self._http
        if error_type is not None:
            found["error.type"] = error_type
        histogram.record(duration_s, found, context=call.context)


class SendDurations:
    """Records how long each attempt to send took; one that was only put off counts, too."""

    def __init__(self, meter: Meter, exporter: Attributes) -> None:
        self._exporter = exporter
        self._histogram = meter.create_histogram(
            "otel.sdk.exporter.operation.duration",
            "s",
            "The duration of exporting a batch of telemetry records.",
            explicit_bucket_boundaries_advisory=_BUCKETS_S,
        )

    def __call__(self, duration_s: float, result: SendResult) -> None:
        """Record one attempt."""
        failed = {} if result.ok else {"error.type": result.outcome.value}
        try:
            self._histogram.record(duration_s, {**self._exporter, **failed})
        except Exception:
            _log.debug("the duration of a send could not be recorded", exc_info=True)
