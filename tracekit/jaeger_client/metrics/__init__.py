"""``jaeger_client.metrics``: what a program gives a tracer so that it hears the tracer's figures.

Nothing is counted for it: the pipeline's own figures are handed on, as increments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LegacyMetricsFactory", "Metrics", "MetricsFactory"]


class MetricsFactory:
    """Makes functions that take figures; this one's do nothing. Derive yours from it."""

    def create_counter(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> Callable[[int], object]:
        """Return what takes increments."""
        return _ignore

    def create_timer(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> Callable[[float], object]:
        """Return what takes durations in µs, of which no tracer has any."""
        return _ignore

    def create_gauge(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> Callable[[float], object]:
        """Return what takes levels."""
        return _ignore


class Metrics:
    """A program's functions, each taking a key and a figure; what is no function is not called."""

    def __init__(self, count: object = None, gauge: object = None, timing: object = None) -> None:
        self.count = count if callable(count) else _ignore
        self.gauge = gauge if callable(gauge) else _ignore
        self.timing = timing if callable(timing) else _ignore
        """Takes milliseconds."""


class LegacyMetricsFactory(MetricsFactory):
    """Leads to a program's ``Metrics``; the labels are part of the key: ``name.label_value``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def create_counter(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> Callable[[int], object]:
        """Return what takes increments."""
        key, count = _key(name, tags), self._metrics.count
        return lambda value: count(key, value)

    def create_timer(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> Callable[[float], object]:
        """Return what takes durations in µs."""
        key, timing = _key(name, tags), self._metrics.timing
        return lambda value: timing(key, value / 1000.0)

    def create_gauge(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> Callable[[float], object]:
        """Return what takes levels."""
        key, gauge = _key(name, tags), self._metrics.gauge
        return lambda value: gauge(key, value)


def _key(name: str, tags: Mapping[str, str] | None) -> str:
    return ".".join([name, *(f"{label}_{value}" for label, value in sorted((tags or {}).items()))])


def _ignore(*_: object) -> None:
    """Take a figure that nobody asked for."""
