"""What a span and the hot path ask of their tracer and its provider; who those are stands above.

So the parts of a tracer know each other from the words up, and none is defined in terms of what is
defined in terms of it. (``TracerSharedState`` is OpenTelemetry Java's answer to the same.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.sdk import trace as sdk
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import SamplingResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanKind
    from opentelemetry.util.types import Attributes

    from tracekit.tracing._attributes import Limits
    from tracekit.tracing._process_state import TracingStates

    DecideRoot = Callable[[int, str], SamplingResult]


DEFAULT_KEEP_SPANS = 10_000
DEFAULT_KEEP_BYTES = 1 << 20
DEFAULT_KEEP_PER_SECOND = 10.0


class Reporter(Protocol):
    """Where sampled spans go. Called on the program's threads: it never waits, never raises."""

    def on_start(self, span: sdk.Span, parent_context: Context | None = None) -> None:
        """Count a sampled span that has started (or has become sampled while live)."""

    def on_end(self, span: sdk.Span) -> None:
        """Take a started span: exactly once, in the process that started it."""

    def report(self, span: sdk.ReadableSpan) -> None:
        """Take a span that somebody else has started, ended and decided to send."""

    def withdraw(self, span: sdk.Span) -> None:
        """Count a started span, still live, that somebody decided not to sample after all.

        It is finished and dropped; ``on_end`` does not come unless ``on_start`` comes again.
        """

    def flush(self, timeout_s: float) -> object:
        """Send what is queued; truthy when nothing is left."""

    def shutdown(self, timeout_s: float) -> None:
        """Drain and stop."""


class SharedState(Protocol):
    """What all tracers of one provider share. See ``TracerProvider`` for what each is."""

    resource: Resource
    span_limits: SpanLimits
    reporter: Reporter
    _limits: Limits
    _states: TracingStates
    _inline: bool
    """Whether parents are followed and ids are drawn without asking anybody."""
    _follows_parents: bool
    _own_ids: bool
    _wide: bool
    _random_bit: int
    _decide_root: DecideRoot | None
    _processors: tuple[SpanProcessor, ...]
    _on_start: Callable[..., None]
    _on_end: Callable[..., None]

    @property
    def id_generator(self) -> IdGenerator:
        """Who makes ids, where somebody else does."""

    def _ask_sampler(
        self,
        context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] | None,
    ) -> SamplingResult:
        """Return the sampler's answer; a drop where it raises."""

    def _notify_start(self, span: sdk.Span, context: Context | None) -> None:
        """Tell the span processors."""

    def _notify_end(self, span: sdk.Span) -> None:
        """Tell the span processors."""

    def _failed(self, what: str) -> None:
        """Count and log an exception that was kept from the program."""

    def _ended_twice(self) -> None:
        """Count and log an end too many."""

    def _ended_abroad(self) -> None:
        """Count a span of the process that forked this one."""


class TracerState(Protocol):
    """A tracer, as its spans know it."""

    scope: InstrumentationScope
    leader: trace.Tracer | None
    """Who starts the spans of a decorator when its function is called; None: this one."""
    _provider: SharedState
    _limits: Limits
    _states: TracingStates
