"""Jaeger's samplers as OpenTelemetry samplers.

Each works in any OpenTelemetry ``TracerProvider``; put a :class:`ParentRule` around the one that
decides about roots. ``tracekit.init`` builds them from the settings.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tracekit._lazy import lazily
from tracekit.sampling._parent import ParentRule, state_of
from tracekit.sampling._sampler import Const, Probabilistic, RootSampler, finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit.sampling._file import parse_strategies_file
    from tracekit.sampling._keep import KeepRule, KeepRules, keep_rule
    from tracekit.sampling._limiter import RateLimiter, RateLimiting
    from tracekit.sampling._operations import GuaranteedThroughput, PerOperation
    from tracekit.sampling._remote import RemoteSampler, head_of
    from tracekit.sampling._strategy import AdaptiveStrategy, Strategy, parse_strategy

__all__ = [
    "AdaptiveStrategy",
    "Const",
    "GuaranteedThroughput",
    "KeepRule",
    "KeepRules",
    "ParentRule",
    "PerOperation",
    "Probabilistic",
    "RateLimiter",
    "RateLimiting",
    "RemoteSampler",
    "RootSampler",
    "Strategy",
    "from_type",
    "head_of",
    "keep_rule",
    "parse_strategies_file",
    "parse_strategy",
    "state_of",
]

if not TYPE_CHECKING:  # only where a setting, a file or a server asks for it
    __getattr__ = lazily(
        __name__,
        {
            name: f"{__name__}.{home}"
            for home, names in {
                "_file": ("parse_strategies_file",),
                "_keep": ("KeepRule", "KeepRules", "keep_rule"),
                "_limiter": ("RateLimiter", "RateLimiting"),
                "_operations": ("GuaranteedThroughput", "PerOperation"),
                "_remote": ("RemoteSampler", "head_of"),
                "_strategy": ("AdaptiveStrategy", "Strategy", "parse_strategy"),
            }.items()
            for name in names
        },
    )


def from_type(
    type: str,  # noqa: A002 - the word of JAEGER_SAMPLER_TYPE
    param: bool | float,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> RootSampler:
    """Return the local sampler that ``JAEGER_SAMPLER_TYPE`` and ``_PARAM`` name.

    ``const`` (0 or 1), ``probabilistic`` (a rate in [0, 1]), ``ratelimiting`` (traces per second,
    fractions too). ``clock`` returns seconds and never goes back.

    Raises:
        ValueError: no such type, or a parameter that it cannot take.

    """
    kind = type.strip().lower()
    value = finite(int(param) if isinstance(param, bool) else param, "sampler parameter")
    if kind == "const":
        return Const(value != 0.0)
    if kind == "probabilistic":
        return Probabilistic(value)
    if kind in {"ratelimiting", "rate_limiting"}:  # the Python client took both spellings
        from tracekit.sampling._limiter import RateLimiting  # noqa: PLC0415 - as above

        return RateLimiting(value, clock=clock)
    raise ValueError(f"no local sampler of type {type!r:.80}: const, probabilistic or ratelimiting")
