"""Frames on their way into one payload: exactly as many as its limits admit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit._protocols import Encoder, Frame, Loss, Payload


class Batch:
    """Frames of one process that will share a payload. Not thread-safe: part of the drain.

    Sequence number and losses are those of the moment it was begun, so the size that was
    measured is the size that is sealed.
    """

    __slots__ = ("_encoder", "_loss", "_scopes", "_seq_no", "_spans_bytes", "frames", "process")

    def __init__(self, encoder: Encoder, process: bytes, seq_no: int, loss: Loss) -> None:
        self._encoder = encoder
        self._seq_no = seq_no
        self._loss = loss
        self._scopes: set[bytes] = set()
        self._spans_bytes = 0
        self.process = process
        self.frames: list[Frame] = []

    def admit(self, frame: Frame, max_bytes: int, max_spans: int) -> bool:
        """Add ``frame`` if the payload then still is within both limits; return whether it is."""
        frames = self.frames
        count = len(frames) + 1
        if count > max_spans:
            return False
        data = self._spans_bytes + len(frame.data)
        if data > max_bytes:
            return False
        if frame.scope not in self._scopes:
            self._scopes.add(frame.scope)
        overhead = self._encoder.overhead_bytes(
            self.process, count, self._scopes, self._seq_no, self._loss
        )
        if overhead + data > max_bytes:
            return False
        frames.append(frame)
        self._spans_bytes = data
        return True

    def seal(self) -> Payload:
        """Return the payload of what was admitted."""
        return self._encoder.seal(self.process, self.frames, self._seq_no, self._loss)
