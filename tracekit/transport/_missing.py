"""The wire that cannot be: what it would need is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._protocols import SendResult

if TYPE_CHECKING:
    from tracekit._protocols import Payload


class MissingTransport:
    """Refuses every payload for ``reason``, which then stands in the warning about dropped spans.

    A variable that an operator sets for many services must not keep one of them from starting.
    """

    max_bytes = 1 << 20
    max_retry_s: float | None = 0.0

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Say why not."""
        return SendResult.failed(self._reason)

    def close(self) -> None:
        """Do nothing: nothing was opened."""
