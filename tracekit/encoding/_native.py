"""Native frames: C for what most spans are made of, Python for the rest.

``_frames.c`` is an accelerator that may be absent; the encoders that ``_native_jaeger`` and
``_native_otlp`` extend are the reference, and take every span that it declines. A test holds the
bytes of both against each other.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast, overload

from opentelemetry.trace import DEFAULT_TRACE_STATE

from tracekit._process.tally import FREE_THREADED
from tracekit._protocols import UNSET, Facts, Frame
from tracekit.encoding._many import FactsEncoder
from tracekit.encoding._memory import MAX_SCOPE_BYTES

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanKind, Status, TraceState

    from tracekit._protocols import Fields

    Known = tuple[SpanKind, InstrumentationScope | None, int, bytes]
    Plan = tuple[TraceState, Status, type[Frame], list[Known]]

_MAX_KNOWN = 16
"""Kinds and scopes that the compiled module finds; it looks at one after the other."""


class Frames(Protocol):
    """What the compiled module offers.

    A plan is what makes a span plain (its trace state and its status, by identity), what a frame
    is made as, and what comes with a kind and a scope. Of ``many`` spans, the frames are added to
    ``into`` from the first on that is not there yet, until they fill ``room`` bytes, and up to one
    that is not plain; what is left of the room is returned. That one is made by itself, from what
    is rare about it (None: Python has to look at it).
    """

    # An element of Batch.spans. `tags` follow those of the attributes.
    @overload
    def jaeger(
        self, plan: Plan, compact: bool, many: list[Fields], into: list[Frame], room: int, /
    ) -> int: ...
    @overload
    def jaeger(
        self, plan: Plan, compact: bool, facts: Fields, count: int, tags: bytes, /
    ) -> Frame | None: ...

    # An element of ScopeSpans.spans.
    @overload
    def otlp(self, plan: Plan, many: list[Fields], into: list[Frame], room: int, /) -> int: ...
    @overload
    def otlp(
        self, plan: Plan, facts: Fields, kind: int, scope: bytes, status: bytes, /
    ) -> Frame | None: ...


_VERSION = 3
"""Of the compiled module; one that a source tree still has from before is not used."""


def native_frames() -> Frames | None:
    """Return the compiled module; None where it was not built (no compiler, PyPy, no GIL)."""
    # A free-threaded build lays objects out in another way, also while it runs with a GIL
    # (PYTHON_GIL=1, an extension that needs it); and there ``.abi3.so`` is found all the same.
    if FREE_THREADED or "free-threading" in sys.version:
        return None
    try:
        frames = import_module("tracekit.encoding._frames")
    except ImportError:
        return None
    return cast("Frames", frames) if getattr(frames, "VERSION", 1) == _VERSION else None


class Plans:
    """The plan of an encoder, which learns kinds and scopes as it meets them."""

    def __init__(self) -> None:
        self._known: list[Known] = []
        self.plan: Plan = (DEFAULT_TRACE_STATE, UNSET, Frame, self._known)

    def learn(self, facts: Facts, number: int, data: bytes) -> None:
        """Have the compiled module find ``number`` and ``data`` for this kind and scope."""
        kind, scope, known = facts.kind, facts.scope, self._known
        if len(data) > MAX_SCOPE_BYTES or any(k is kind and s is scope for k, s, _, _ in known):
            return
        known.insert(0, (kind, scope, number, data))
        del known[_MAX_KNOWN:]


class Planned(Protocol):
    """A function of the compiled module with its plan."""

    @overload
    def __call__(self, many: list[Fields], into: list[Frame], room: int, /) -> int: ...
    @overload
    def __call__(self, facts: Fields, /, *rare: int | bytes) -> Frame | None: ...


class NativeEncoder(FactsEncoder):
    """What the encoders with native frames have in common; it stands before the one in Python."""

    made_by = "native"
    _native: Planned

    def frame_of(self, fields: Fields) -> Frame:
        """Encode the span that has these facts, as the encoder in Python does."""
        made: list[Frame] = []
        self.frames_of([fields], made, 1)
        return made[0]

    def frames_of(self, many: list[Fields], into: list[Frame], room: int) -> None:
        """Add to ``into`` the frames that it does not have yet, until they fill ``room`` bytes."""
        room = self._native(many, into, room)
        while room > 0 and (at := len(into)) < len(many):
            frame = self._rare(many[at])
            room -= len(frame.data)
            into += (frame,)
            room = self._native(many, into, room)

    @abstractmethod
    def _rare(self, fields: Fields) -> Frame:
        """Encode a span that is not plain, or whose kind and scope come for the first time."""
