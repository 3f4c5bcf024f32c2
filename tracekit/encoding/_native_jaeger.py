"""Jaeger's formats with native frames."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from tracekit._protocols import Facts
from tracekit.encoding._jaeger import JaegerEncoder
from tracekit.encoding._native import NativeEncoder, Plans
from tracekit.encoding._thrift import Compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit._protocols import Fields, Frame
    from tracekit.encoding._native import Frames, Planned
    from tracekit.encoding._thrift import Dialect


class NativeJaegerEncoder(NativeEncoder, JaegerEncoder):
    """``JaegerEncoder`` with native frames."""

    def __init__(
        self,
        dialect: Dialect,
        frames: Frames,
        *,
        call: bool,
        process_tags: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(dialect, call=call, process_tags=process_tags)
        self._plans = Plans()
        made = partial(frames.jaeger, self._plans.plan, isinstance(dialect, Compact))
        self._native = cast("Planned", made)

    def _rare(self, fields: Fields) -> Frame:
        """Encode a span that is not plain, or whose kind and scope come for the first time."""
        facts = Facts._make(fields)
        if facts.links:
            return JaegerEncoder.frame_of(self, fields)
        kind, scope = facts.kind, facts.scope
        ending = self._endings.get((id(kind), id(scope))) or self._ending(kind, scope)
        self._plans.learn(facts, ending.length, ending.tags)
        rare = self._rarities(facts)
        count, tags = len(rare) + ending.length, b"".join((*rare, ending.tags))
        frame = self._native(fields, count, tags)
        return JaegerEncoder.frame_of(self, fields) if frame is None else frame
