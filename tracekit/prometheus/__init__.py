"""Show tracekit's figures to Prometheus.

::

    prometheus_client.REGISTRY.register(tracekit.prometheus.collector())

The figures are read when Prometheus asks; in between nothing is done for it. What they are
called and what they mean: ``docs/reference/metrics.md``.

Where ``PROMETHEUS_MULTIPROC_DIR`` is set, as under gunicorn, the same line does the right thing:
each process copies its figures once a second into prometheus_client's files, and a scrape of any
worker adds up all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from prometheus_client import values
    from prometheus_client.core import (
        CounterMetricFamily,
        Exemplar,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
except ImportError as error:
    raise ImportError(
        "tracekit.prometheus needs prometheus_client: pip install 'tracekit-jaeger[prometheus]'"
    ) from error

from tracekit._assembly.handle import HasTracing, Tracing, resolve, shown
from tracekit._calls.metrics import Distribution, bounds
from tracekit.prometheus._mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

    from tracekit import metrics

__all__ = ["collector"]


def collector(tracing: Tracing | HasTracing | None = None) -> Collector:
    """Return what a ``CollectorRegistry`` registers, for a handle (None: the process' one).

    It may be made before ``init``. A registry takes one of them: figures of two handles would
    have the same names.
    """
    if tracing is not None:
        resolve(tracing)  # complains now about what is no handle
    if getattr(values.ValueClass, "_multiprocess", False):
        return Mirror(lambda: _handle(tracing).metrics())
    return HandleCollector(tracing)


def _handle(tracing: Tracing | HasTracing | None) -> Tracing:
    """Return the handle to show; counters must not fall back to 0 when it has been shut down."""
    return shown() if tracing is None else resolve(tracing)


class HandleCollector:
    """Makes prometheus_client's families of a handle's figures, whenever it is asked."""

    def __init__(self, tracing: Tracing | HasTracing | None) -> None:
        self._tracing = tracing

    def collect(self) -> Iterator[Metric]:
        """Yield all families, read at one moment."""
        for family in _handle(self._tracing).metrics():
            yield _shown(family)

    def describe(self) -> Iterator[Metric]:
        """Yield the families empty: a registry asks for their names."""
        for family in _handle(self._tracing).metrics():
            yield _shown(family._replace(points={}))


def _shown(family: metrics.Family) -> Metric:
    row = family.instrument
    if row.kind == "histogram":
        histogram = HistogramMetricFamily(row.prometheus, row.help, labels=row.labels)
        for labels, taken in family.points.items():
            if isinstance(taken, Distribution):
                histogram.add_metric(labels, _buckets(taken), taken.sum_s)
        return histogram
    kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    metric = kind(row.prometheus, row.help, labels=row.labels)
    for labels, value in family.points.items():
        if not isinstance(value, Distribution):
            metric.add_metric(labels, value)
    return metric


def _buckets(taken: Distribution) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return the buckets, each with those below it, and a sampled call of the bucket itself."""
    shown: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    reached = 0
    for bound, count, sampled in zip(bounds(), taken.counts, taken.exemplars, strict=True):
        reached += count
        if sampled is None:
            shown.append((bound, reached))
        else:
            ids = {"trace_id": f"{sampled.trace_id:032x}", "span_id": f"{sampled.span_id:016x}"}
            shown.append((bound, reached, Exemplar(ids, sampled.value_s, sampled.at_s)))
    return shown
