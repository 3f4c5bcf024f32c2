"""Jaeger's formats with native frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._protocols import Facts
from tracekit.encoding._jaeger import JaegerEncoder
from tracekit.encoding._native import Plans
from tracekit.encoding._thrift import Compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit._protocols import Fields, Frame
    from tracekit.encoding._native import Frames
    from tracekit.encoding._thrift import Dialect


class NativeJaegerEncoder(JaegerEncoder):
    """``JaegerEncoder`` with native frames."""

    made_by = "native"

    def __init__(
        self,
        dialect: Dialect,
        frames: Frames,
        *,
        call: bool,
        process_tags: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(dialect, call=call, process_tags=process_tags)
        self._compact = isinstance(dialect, Compact)
        self._native = frames.jaeger
        self._plans = Plans()
        self._plan = self._plans.plan

    def frame_of(self, fields: Fields) -> Frame:
        """Encode the span that has these facts; see ``JaegerEncoder.frame_of``."""
        made: list[Frame] = []
        self.frames_of([fields], made, 1)
        return made[0]

    def frames_of(self, many: list[Fields], into: list[Frame], room: int) -> None:
        """Add to ``into`` the frames that it does not have yet, until they fill ``room`` bytes."""
        room = self._native(self._plan, self._compact, many, into, room)
        while room > 0 and (at := len(into)) < len(many):
            frame = self._rare(many[at])
            room -= len(frame.data)
            into += (frame,)
            room = self._native(self._plan, self._compact, many, into, room)

    def _rare(self, fields: Fields) -> Frame:
        """Encode a span that is not plain, or whose kind and scope come for the first time."""
        facts = Facts._make(fields)
        if facts.links:
            return super().frame_of(fields)
        kind, scope = facts.kind, facts.scope
        ending = self._endings.get((id(kind), id(scope))) or self._ending(kind, scope)
        self._plans.learn(facts, ending.length, ending.tags)
        rare = self._rarities(facts)
        count, tags = len(rare) + ending.length, b"".join((*rare, ending.tags))
        frame = self._native(self._plan, self._compact, fields, count, tags)
        return super().frame_of(fields) if frame is None else frame
