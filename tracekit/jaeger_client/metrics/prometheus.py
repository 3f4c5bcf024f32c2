"""``jaeger_client.metrics.prometheus``: the figures as prometheus_client's counters and gauges.

``tracekit.prometheus.collector`` needs no such thing and knows more figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prometheus_client import Counter, Gauge

from tracekit.jaeger_client.metrics import MetricsFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PrometheusMetricsFactory"]

_M = TypeVar("_M", Counter, Gauge)


class PrometheusMetricsFactory(MetricsFactory):
    """Registers each name once, in ``namespace``, with the label ``service`` if that is given."""

    def __init__(self, namespace: str = "", service_name_label: str | None = None) -> None:
        self._namespace = namespace
        self._always = {} if service_name_label is None else {"service": service_name_label}
        self._made: dict[tuple[str, ...], Counter | Gauge] = {}

    def create_counter(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> Callable[[int], object]:
        """Return what takes increments."""
        return self._labelled(Counter, name, tags).inc

    def create_gauge(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> Callable[[float], object]:
        """Return what takes levels."""
        return self._labelled(Gauge, name, tags).set

    def _labelled(self, kind: type[_M], name: str, tags: Mapping[str, str] | None) -> _M:
        values: dict[str, str] = {**(tags or {}), **self._always}
        key = (name, *values)
        made = self._made.get(key)
        if not isinstance(made, kind):
            made = self._made[key] = kind(name, name, tuple(values), namespace=self._namespace)
        return made.labels(**values) if values else made
