"""Which generation of OpenTelemetry's attribute names spans get; HTTP and RPC choose alike."""

from __future__ import annotations

from typing import Literal, get_args

Semconv = Literal["current", "both", "old"]
"""The names that the semantic conventions call stable (or are about to), those before, or both."""

SEMCONVS: tuple[Semconv, ...] = get_args(Semconv)


def semconv_of(asked: str) -> Semconv:
    """Check the names that an edge was asked to use; ValueError for others."""
    if asked not in SEMCONVS:
        raise ValueError(f"semconv is 'current', 'both' or 'old', not {asked!r}")
    return asked
