"""Who may force traces: what a tracer asks before it obeys a debug id or a priority."""

from __future__ import annotations

from tracekit.jaeger_client.constants import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.metrics import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.utils import ErrorReporter  # noqa: F401 (likewise)

__all__ = ["Throttler"]


class Throttler:
    """What a throttler is made of; derive yours from it. Any thread may ask."""

    def set_client_id(self, client_id: int) -> None:
        """Called with the id of the process that asks."""

    def is_allowed(self, operation: str) -> bool:
        """Return whether a trace of ``operation`` may be forced now."""
        raise NotImplementedError

    def close(self) -> None:
        """End what it has started, if anything."""
