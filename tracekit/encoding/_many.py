"""Spans that are encoded together: what is done once for many costs each of them little."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from tracekit.encoding._facts import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit._protocols import Fields, Frame

_T = TypeVar("_T")


class FactsEncoder(ABC):
    """The part of an encoder that needs no more of a span than its facts. One thread at a time.

    Lists of frames grow in the order of what is encoded, from what they have already, until what
    is added fills ``room`` bytes. What is raised is about the first that is missing then.
    """

    made_by = "python"
    """What makes its frames, see ``Stats.encoder``."""

    @abstractmethod
    def frame_of(self, fields: Fields) -> Frame:
        """Encode the span that has these facts. May raise."""

    def frames_of(self, many: list[Fields], into: list[Frame], room: int) -> None:
        """Add to ``into`` the frames that it does not have yet."""
        add_frames(self.frame_of, many, into, room)

    def frame(self, span: ReadableSpan) -> Frame:
        """Encode one ended span. ValueError without a context or an end."""
        return self.frame_of(fields_of(span))

    def frames(self, spans: Sequence[ReadableSpan], into: list[Frame], room: int) -> None:
        """Add to ``into`` the frames of ``spans`` that it does not have yet."""
        try:
            many = [span._facts() for span in spans]  # type: ignore[attr-defined]
        except Exception:  # of another SDK; or broken, which its own turn shows
            add_frames(self.frame, spans, into, room)
        else:
            self.frames_of(many, into, room)


def add_frames(
    encode: Callable[[_T], Frame], many: Sequence[_T], into: list[Frame], room: int
) -> None:
    """Add to ``into`` what ``encode`` makes of those of ``many`` that it does not have yet."""
    for each in islice(many, len(into), None):
        frame = encode(each)
        into += (frame,)
        room -= len(frame[0])
        if room <= 0:
            return
