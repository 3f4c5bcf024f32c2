"""The instruments: what each figure is called, how it is told apart, and where it comes from.

One table for Prometheus, for OpenTelemetry's meters, for the reference page and for the tests.
Nothing is counted in here: the parts count in plain integers anyway, and a back end that wants
the figures reads them.

Names are OpenTelemetry's, with dots. Prometheus' follow from them by OpenTelemetry's rule (dots
become underscores, the unit and ``_total`` are appended), so a program that sends its metrics
through a collector shows the same series as one that is scraped.
"""

from __future__ import annotations

from tracekit.metrics._instrument import Family, Instrument, Kind, Points, Reading
from tracekit.metrics._jaeger import JAEGER, NEVER_TRIED, RPC
from tracekit.metrics._own import ADDED, OWN
from tracekit.metrics._sdk import SDK

__all__ = [
    "ADDED",
    "JAEGER",
    "NEVER_TRIED",
    "OWN",
    "RPC",
    "SDK",
    "Family",
    "Instrument",
    "Kind",
    "Points",
    "Reading",
    "families",
]


def families(at: Reading) -> list[Family]:
    """Read every instrument that has something to say with these settings."""
    table = JAEGER + OWN + (ADDED if at.added else ()) + (RPC if at.calls is not None else ())
    return [Family(row, row.read(at)) for row in table]
