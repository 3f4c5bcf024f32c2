"""Frames on their way into one payload: exactly as many as its limits admit."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit._protocols import Encoder, Frame, Loss, Payload


_MANY = 1 << 30
"""More frames than any payload has."""
_data, _scope = itemgetter(0), itemgetter(1)


class Batch:
    """Frames of one process that will share a payload. Not thread-safe: the ``Batcher`` has it.

    Sequence number and losses are those of the moment it was begun, so the size that was
    measured is the size that is sealed.
    """

    __slots__ = (
        "_bound",
        "_count",
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
        self._count = 0
        self._frames_bytes = 0
        self.process = process
        self.frames: list[Frame] = []

    def admits(self, frames: Sequence[Frame], max_bytes: int, max_spans: int) -> int:
        """Return how many of the first of ``frames`` fit within both limits; they are reserved.

        Who is told so adds them to ``frames``. What an encoder raises is raised for the first only.
        """
        if not self._admits(frames[0], max_bytes, max_spans):
            return 0
        count = 1 + self._admit_known(frames[1:], max_bytes, max_spans)
        try:
            while count < len(frames) and self._admits(frames[count], max_bytes, max_spans):
                count += 1
        except Exception:  # it is the first of another call
            return count
        return count

    def room(self, max_bytes: int) -> int:
        """Return how many bytes of frames surely fit, or less than 1."""
        return max_bytes - self._bound - self._frames_bytes

    def lacks(self, max_bytes: int, max_spans: int) -> int:
        """Return about how many frames are still to come, if they are as long as those before."""
        by_bytes = self.room(max_bytes) * self._count // max(1, self._frames_bytes)
        return max(0, min(max_spans - self._count, by_bytes))

    def _admit_known(self, frames: Sequence[Frame], max_bytes: int, max_spans: int) -> int:
        """Reserve at once what is within the bound of the scopes that are here already."""
        room = self.room(max_bytes)
        total, count = sum(map(len, map(_data, frames))), len(frames)
        if total > room:  # the last ones of a payload
            sizes = list(accumulate(map(len, map(_data, frames)), initial=0))
            count = max(0, bisect_right(sizes, room) - 1)
            total = sizes[count]
        if self._count + count > max_spans or not self._scopes.issuperset(
            map(_scope, frames[:count])
        ):
            return 0
        self._frames_bytes += total
        self._count += count
        return count

    def _admits(self, frame: Frame, max_bytes: int, max_spans: int) -> bool:
        count = self._count + 1
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
        self._count = count
        return True

    def _overhead_bytes(self, frames: int) -> int:
        return self._encoder.overhead_bytes(
            self.process, frames, self._scopes, self._seq_no, self._loss
        )

    def seal(self) -> Payload:
        """Return the payload of what was admitted."""
        return self._encoder.seal(self.process, self.frames, self._seq_no, self._loss)
