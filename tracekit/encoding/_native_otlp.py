"""OTLP with native frames."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from opentelemetry.trace import DEFAULT_TRACE_STATE, StatusCode

from tracekit._protocols import UNSET, Facts
from tracekit.encoding._native import NativeEncoder, Plans
from tracekit.encoding._otlp import OtlpEncoder, status_field

if TYPE_CHECKING:
    from tracekit._protocols import Fields, Frame
    from tracekit.encoding._native import Frames, Planned


class NativeOtlpEncoder(NativeEncoder, OtlpEncoder):
    """``OtlpEncoder`` with native frames."""

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self._plans = Plans()
        self._native = cast("Planned", partial(frames.otlp, self._plans.plan))

    def _rare(self, fields: Fields) -> Frame:
        """Encode a span that is not plain, or whose kind and scope come for the first time."""
        facts = Facts._make(fields)
        if (
            facts.links
            or facts.dropped_events
            or facts.dropped_links
            or facts.state is not DEFAULT_TRACE_STATE
        ):
            return OtlpEncoder.frame_of(self, fields)
        kind = facts.kind.value + 1  # OTLP's 0 is "unspecified"
        scope, _ = self._scopes.get(id(facts.scope)) or self._scope(facts.scope)
        self._plans.learn(facts, kind, scope)
        status = UNSET if facts.status.status_code is StatusCode.UNSET else facts.status
        frame = self._native(fields, kind, scope, status_field(status))
        return OtlpEncoder.frame_of(self, fields) if frame is None else frame
