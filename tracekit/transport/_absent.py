"""The wire that is not there: what it needs is not installed, or nothing is to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit._protocols import Payload, SendResult


class AbsentTransport:
    """Gives every payload the same answer, a final one.

    A variable that an operator sets for many services must not keep one of them from starting:
    the answer says which package is missing, and stands in the warning about dropped spans.
    """

    max_bytes = 1 << 20
    max_retry_s: float | None = 0.0

    def __init__(self, answer: SendResult) -> None:
        self._answer = answer

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Answer."""
        return self._answer

    def close(self) -> None:
        """Do nothing: nothing was opened."""
