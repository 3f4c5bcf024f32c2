"""Frames on their way into one payload: exactly as many as its limits admit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit._protocols import Encoder, Frame, Loss, Payload


_MANY = 1 << 30
"""More frames than any payload has."""


class Batch:
    """Frames of one process that will share a payload. Not thread-safe: the ``Batcher`` has it.

    Sequence number and losses are those of the moment it was begun, so the size that was
    measured is the size that is sealed.
    """

    __slots__ = (
        "_bound",
        "_encoder",
        "_frames_bytes",
        "_loss",
        "_scopes",
        "_seq_no",
        "frames",
        "process",
    )

    def __init__(self, encoder: Encoder, process: bytes, seq_no: int, loss: Loss) -> None:
        self._encoder = encoder
        self._seq_no = seq_no
        self._loss = loss
        self._scopes: set[bytes] = set()
        self._bound = 0
        self._frames_bytes = 0
        self.process = process
        self.frames: list[Frame] = []

    def admits(self, frame: Frame, max_bytes: int, max_spans: int) -> bool:
        """Return whether the payload is within both limits with ``frame``, which is then reserved.

        Who is told yes adds it to ``frames``.
        """
        count = len(self.frames) + 1
        if count > max_spans:
            return False
        if frame.scope not in self._scopes:
            self._scopes.add(frame.scope)
            self._bound = self._overhead_bytes(_MANY)
        total = self._frames_bytes + len(frame.data)
        # The bound serves but for the last frames of a payload: for them it is measured.
        if total + self._bound > max_bytes and total + self._overhead_bytes(count) > max_bytes:
            return False
        self._frames_bytes = total
        return True

    def _overhead_bytes(self, frames: int) -> int:
        return self._encoder.overhead_bytes(
            self.process, frames, self._scopes, self._seq_no, self._loss
        )

    def seal(self) -> Payload:
        """Return the payload of what was admitted."""
        return self._encoder.seal(self.process, self.frames, self._seq_no, self._loss)
