"""What every test shares: Hypothesis without a stopwatch, for a busy machine is no failure."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tracekit", deadline=None)
settings.load_profile("tracekit")
