"""Who may force traces: what a tracer asks before it obeys a debug id or a priority."""

from __future__ import annotations

__all__ = ["Throttler"]


class Throttler:
    """What a throttler is made of; derive yours from it. Any thread may ask."""

    def set_client_id(self, client_id: int) -> None:
        """Hear which process asks."""

    def is_allowed(self, operation: str) -> bool:
        """Return whether a trace of ``operation`` may be forced now."""
        raise NotImplementedError

    def close(self) -> None:
        """End what it has started, if anything."""
