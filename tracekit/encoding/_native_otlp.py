"""OTLP with native frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import DEFAULT_TRACE_STATE, StatusCode

from tracekit._protocols import UNSET, Facts
from tracekit.encoding._native import Plans
from tracekit.encoding._otlp import OtlpEncoder, status_field

if TYPE_CHECKING:
    from tracekit._protocols import Fields, Frame
    from tracekit.encoding._native import Frames


class NativeOtlpEncoder(OtlpEncoder):
    """``OtlpEncoder`` with native frames."""

    made_by = "native"

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self._native = frames.otlp
        self._plans = Plans()
        self._plan = self._plans.plan

    def frame_of(self, fields: Fields) -> Frame:
        """Encode the span that has these facts; see ``OtlpEncoder.frame_of``."""
        made: list[Frame] = []
        self.frames_of([fields], made, 1)
        return made[0]

    def frames_of(self, many: list[Fields], into: list[Frame], room: int) -> None:
        """Add to ``into`` the frames that it does not have yet, until they fill ``room`` bytes."""
        room = self._native(self._plan, many, into, room)
        while room > 0 and (at := len(into)) < len(many):
            frame = self._rare(many[at])
            room -= len(frame.data)
            into += (frame,)
            room = self._native(self._plan, many, into, room)

    def _rare(self, fields: Fields) -> Frame:
        """Encode a span that is not plain, or whose kind and scope come for the first time."""
        facts = Facts._make(fields)
        if (
            facts.links
            or facts.dropped_events
            or facts.dropped_links
            or facts.state is not DEFAULT_TRACE_STATE
        ):
            return super().frame_of(fields)
        kind = facts.kind.value + 1  # OTLP's 0 is "unspecified"
        scope, _ = self._scopes.get(id(facts.scope)) or self._scope(facts.scope)
        self._plans.learn(facts, kind, scope)
        status = UNSET if facts.status.status_code is StatusCode.UNSET else facts.status
        frame = self._native(self._plan, fields, kind, scope, status_field(status))
        return super().frame_of(fields) if frame is None else frame
