"""Spans of a chosen size, and their encoder, for tests of what a reporter does with them."""

from __future__ import annotations

from tracekit._protocols import Frame, Payload
from tracekit.encoding._many import add_frames


class TinySpan:
    """As much of a span as a reporter looks at; encoded it takes ``size`` bytes."""

    _accounted = True
    resource = None

    def __init__(self, name, size=30):
        self.name = name
        self.size = size


class TinyEncoder:
    """Fails for a span of no size, and for a payload that holds one named ``poison``."""

    def process(self, resource):
        return b""

    def frame(self, span):
        if not span.size:
            raise ValueError("cannot be encoded")
        return Frame(b"." * span.size, b"", span)

    def overhead_bytes(self, process, frames, scopes, seq_no, loss):
        return 0

    def seal(self, process, frames, seq_no, loss):
        if any(frame.span.name == "poison" for frame in frames):
            raise ValueError("cannot be sealed")
        return Payload(b"".join(frame.data for frame in frames), list(frames))


class ManyEncoder(TinyEncoder):
    """One that is given many spans at once."""

    def frames(self, spans, into, room):
        add_frames(self.frame, spans, into, room)
