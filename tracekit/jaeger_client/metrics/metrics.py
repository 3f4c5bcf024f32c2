"""``jaeger_client.metrics.metrics``: where the classes stand under the name they had."""

from __future__ import annotations

from tracekit.jaeger_client.metrics import LegacyMetricsFactory, Metrics, MetricsFactory

__all__ = ["LegacyMetricsFactory", "Metrics", "MetricsFactory"]
