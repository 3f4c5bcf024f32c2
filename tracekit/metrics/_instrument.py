"""What a row of the table of instruments is, and what it is read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

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


def stat(name: str) -> tuple[str, Callable[[Reading], Points]]:
    """Return the last two columns of a row that shows ``tracekit.stats().<name>``."""
    return f"stats.{name}", lambda at: {(): getattr(at.stats, name)}
