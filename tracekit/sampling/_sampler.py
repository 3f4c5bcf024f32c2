"""Samplers that decide by the trace id alone, and what all root samplers have in common.

A decision must cost next to nothing, so a sampler builds its two answers once and ``decide``
returns one of them. ``should_sample`` completes the answer for a plain OpenTelemetry SDK, which
takes the *whole* set of start attributes and the trace state from the sampler's answer.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

from opentelemetry.context import get_current
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Span

from tracekit._context import LOW_64_BITS, SPAN_KEY
from tracekit._protocols import PlainAttributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, TraceState
    from opentelemetry.util.types import Attributes


MAX_OPERATIONS = 2000
"""How many operations get a sampler of their own (the default of all Jaeger clients)."""
INITIAL_RATE = 0.001
"""The share of traces before a sampling server's first answer (all Jaeger clients' default)."""


class Answer(SamplingResult):
    """A sampler's shared answer; ``plain`` has its attributes as a span of ours takes them."""

    def __init__(self, decision: Decision, tags: PlainAttributes) -> None:
        super().__init__(decision, tags)
        self.plain = tags


class RootSampler(Sampler):
    """A sampler of roots that answers from the trace id and the operation name.

    Any thread may ask it, also one that interrupted another ``decide`` (a signal handler), also
    in a child forked in the middle of one: no implementation holds a lock.
    """

    by_operation = True
    """Whether the operation's name can change the answer. If not, servers need not find it out
    before the span starts. (Of a sampler that is not ours, servers believe that it can.)"""

    @abstractmethod
    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return a shared answer with ``sampler.type`` and ``sampler.param``, sampled or not."""

    def figures(self) -> dict[str, object]:
        """Return what it does now, as plain values for a person to read; see ``state_of``."""
        return {"type": self.get_description()}

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return the decision, the caller's attributes with the sampler's, the parent's state."""
        result = self.decide(trace_id, name)
        context = get_current() if parent_context is None else parent_context
        if not attributes and SPAN_KEY not in context:
            return result
        return completed(result, context, attributes)


def completed(result: SamplingResult, context: Context, attributes: Attributes) -> SamplingResult:
    """Return ``result`` with the caller's attributes (if sampled) and the parent's trace state."""
    if result.decision is Decision.DROP:
        attributes = None
    span = context.get(SPAN_KEY)
    state = None
    if span is not None and isinstance(span, Span):
        state = span.get_span_context().trace_state
    if not attributes and not state:
        return result
    merged = {**attributes, **result.attributes} if attributes else dict(result.attributes)
    return SamplingResult(result.decision, merged, state)


def answers(kind: str, param: bool | float) -> tuple[SamplingResult, SamplingResult]:
    """Return the (sampled, not sampled) answers of a sampler of type ``kind``.

    The names and the types of the attributes are what the back end's adaptive sampling reads.
    """
    tags = PlainAttributes({"sampler.type": kind, "sampler.param": param})
    return Answer(Decision.RECORD_AND_SAMPLE, tags), Answer(Decision.DROP, tags)


def finite(value: object, what: str) -> float:
    """Return ``value`` as a finite float; ``ValueError`` names ``what``. A bool is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} is no number: {value!r:.80}")  # noqa: TRY004 - bad input
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{what} is not finite")
    return result


def number(value: object, what: str, *, at_most: float = math.inf) -> float:
    """Return ``value`` as a finite float in [0, at_most]; ``ValueError`` names ``what``."""
    result = finite(value, what)
    if not 0.0 <= result <= at_most:
        bounds = "negative" if result < 0.0 else f"above {at_most:g}"
        raise ValueError(f"{what} is {bounds}: {result!r}")
    return result


def threshold(rate: float) -> int:
    """Return the bound below which the low 64 bits of a sampled trace id lie.

    The rule of the retired Python client, which OpenTelemetry's ``TraceIdRatioBased`` shares: the
    ids are uniform in 64 bits. (Go and Java compare 63 bits; their ids have no more.) An integer
    is below the real number ``rate * 2**64`` exactly if it is below that number rounded up.
    """
    return math.ceil(rate * 2.0**64)


class Const(RootSampler):
    """Samples every root or none. ``sampler.param`` is a bool."""

    by_operation = False

    def __init__(self, decision: bool) -> None:
        self.param = decision
        accept, deny = answers("const", decision)
        self._answer = accept if decision else deny

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return the one answer."""
        return self._answer

    def get_description(self) -> str:
        """Return the sampler and its parameter."""
        return f"Const{{{self.param}}}"

    def figures(self) -> dict[str, object]:
        """Return the type and what it answers."""
        return {"type": "const", "param": self.param}


class Probabilistic(RootSampler):
    """Samples the share ``rate`` in [0, 1] of all trace ids; the high 64 bits play no part."""

    by_operation = False

    def __init__(self, rate: float) -> None:
        self.rate = number(rate, "sampling rate", at_most=1.0)
        self._threshold = threshold(self.rate)
        self._accept, self._deny = answers("probabilistic", self.rate)

    def decide(self, trace_id: int, name: str) -> SamplingResult:
        """Return the answer for this trace id: always the same one."""
        return self._accept if trace_id & LOW_64_BITS < self._threshold else self._deny

    def get_description(self) -> str:
        """Return the sampler and its parameter."""
        return f"Probabilistic{{{self.rate:g}}}"

    def figures(self) -> dict[str, object]:
        """Return the type and the rate."""
        return {"type": "probabilistic", "param": self.rate}
