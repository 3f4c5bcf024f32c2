"""The encoders with native frames: C for what most spans are made of, Python for the rest.

``_frames.c`` is an accelerator that may be absent; the encoders that these extend are the
reference, and take every span that it declines. A test holds the bytes of both against each other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanKind, StatusCode

from tracekit._context import DEBUG, FIREHOSE
from tracekit._process.tally import FREE_THREADED
from tracekit._protocols import MARKS_SHIFT, UNSET, Frame
from tracekit.encoding._facts import facts_of
from tracekit.encoding._jaeger import JaegerEncoder
from tracekit.encoding._otlp import OtlpEncoder, flags_field, status_field
from tracekit.encoding._otlp_idl import SPAN
from tracekit.encoding._thrift import Compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit._protocols import Facts
    from tracekit.encoding._thrift import Dialect

_MARKS = DEBUG | FIREHOSE


class Frames(Protocol):
    """What the compiled module offers. Both return None for a span that they decline."""

    def jaeger(
        self, compact: bool, facts: Facts, flags: int, ready_count: int, ready: bytes, /
    ) -> bytes | None:
        """Return an element of ``Batch.spans``; the ready tags follow those of the attributes."""

    def otlp(self, facts: Facts, kind: int, ending: bytes, /) -> bytes | None:
        """Return an element of ``ScopeSpans.spans``, with its key and length."""


def native_frames() -> Frames | None:
    """Return the compiled module; None where it was not built (no compiler, PyPy, no GIL)."""
    if FREE_THREADED:  # the limited API's objects have another layout there: it would not load
        return None
    try:
        return cast("Frames", import_module("tracekit.encoding._frames"))
    except ImportError:
        return None


class NativeJaegerEncoder(JaegerEncoder):
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
        self._compact = isinstance(dialect, Compact)
        self._native = frames.jaeger

    def frame(self, span: ReadableSpan) -> Frame:
        """Encode one ended span; see ``JaegerEncoder.frame``."""
        facts = facts_of(span)
        # fmt: off
        (_, _, _, bits, state, _, kind, _, _, _, _, links, status, scope,
         attributes_lost, events_lost, links_lost, _) = facts
        # fmt: on
        if links:
            return super().frame(span)
        ending = self._endings.get((id(kind), id(scope))) or self._ending(kind, scope)
        count, ready = ending.length, ending.tags
        if (
            status is not UNSET
            or (state is not DEFAULT_TRACE_STATE and state)
            or attributes_lost
            or events_lost
            or links_lost
        ):
            rare = self._rarities(facts)
            count += len(rare)
            ready = b"".join(rare) + ready
        flags = bits & 1 | bits >> MARKS_SHIFT & _MARKS
        data = self._native(self._compact, facts, flags, count, ready)
        if data is None:
            return super().frame(span)
        return tuple.__new__(Frame, (data, b"", None))


class NativeOtlpEncoder(OtlpEncoder):
    """``OtlpEncoder`` with native frames."""

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self._native = frames.otlp
        # By identity: an enum's own hash and value are calls of Python.
        self._kinds = {id(kind): kind.value + 1 for kind in SpanKind}

    def frame(self, span: ReadableSpan) -> Frame:
        """Encode one ended span; see ``OtlpEncoder.frame``."""
        facts = facts_of(span)
        # fmt: off
        (_, _, _, _, state, _, kind, _, _, _, _, links, status, scope,
         _, events_lost, links_lost, remote) = facts
        # fmt: on
        if links or events_lost or links_lost or state is not DEFAULT_TRACE_STATE:
            return super().frame(span)
        ending = (
            self._endings[remote]
            if status is UNSET or status.status_code is StatusCode.UNSET
            else status_field(status) + flags_field(SPAN, remote=remote)
        )
        data = self._native(facts, self._kinds[id(kind)], ending)
        if data is None:
            return super().frame(span)
        known = self._scopes.get(id(scope)) or self._scope(scope)
        return tuple.__new__(Frame, (data, known[0], None))


NATIVE_ENCODERS = (NativeJaegerEncoder, NativeOtlpEncoder)
