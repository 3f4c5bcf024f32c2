"""What a call asks of the plan that traces it, and what that plan has ready; both stand above.

A plan's hooks are given an ``Rpc``, and an ``Rpc`` asks its plan. So that neither is defined in
terms of the other, an ``Rpc`` knows its plan by the protocol in here (see ``tracing._shared``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind

    from tracekit._assembly.handle import HasTracing, Tracing
    from tracekit._calls.lifecycle import CallObserver
    from tracekit._calls.semconv import Semconv
    from tracekit._protocols import PlainAttributes
    from tracekit.propagation import Propagator
    from tracekit.propagation._remote import Extracted


class Method(NamedTuple):
    """What is known of a method before it is called; ``attributes`` are shared by its calls."""

    name: str
    attributes: dict[Semconv, PlainAttributes]
    remembered: bool
    """Whether the plan knows it again, and so what else is known of it may be kept."""


@runtime_checkable
class PassThrough(Protocol):
    """A tracer that can tell when all there is to do is to pass on what arrived, and does that."""

    def passes_on(self, extracted: Extracted) -> bool:
        """Return whether nobody is to hear of a call that begins below what arrived."""

    def pass_on(self, extracted: Extracted) -> Span:
        """Return an unsampled span below it; for which ``passes_on`` was True."""


class Bound(NamedTuple):
    """What a call needs of the handle in use, fetched once."""

    handle: Tracing
    tracer: object
    begin: Callable[..., Span]
    """Starts a span below a parent from a tuple of arguments: ``start_span`` with a call less."""
    start_span: Callable[..., Span]
    join: Callable[..., tuple[Span, Context]]
    """Both the tracer's: below a span that is current, below what arrived."""
    propagator: Propagator
    observer: CallObserver | None
    """Who counts the calls that we serve; None on the client's side."""
    has_audience: bool
    """Whether somebody is told that a call begins: that observer, or a hook."""
    pass_through: PassThrough | None
    """The tracer; None where it cannot, or where not only the reporter wants to hear of calls."""


class CallPlan(Protocol):
    """A plan, as its calls know it. See ``Plan`` and ``Options`` for what each is."""

    kind: SpanKind
    on_start: Callable[..., None] | None
    on_finish: Callable[..., None] | None
    has_hooks: bool
    quiet: bool
    plain: bool
    metadata: frozenset[str]
    response_metadata: frozenset[str]
    message_events: bool
    slow_s: float | None
    semconv: Semconv
    ok: PlainAttributes
    tracing: Tracing | HasTracing | None
    bound: Bound | None

    @property
    def active_span_source(self) -> object:
        """Whom to ask for the span that a call is made below."""

    @property
    def below(self) -> Collection[object] | None:
        """The plans of the edges further down its channel; None: unknown."""

    def context_below(self, current: Context) -> Context:
        """Return the context that a call is made in, of the span that the source gives."""

    def rebind(self) -> Bound:
        """Return what the handle in use provides."""

    def run(self, hook: Callable[..., None] | None, span: Span, rpc: object) -> None:
        """Run a user's hook on a recording span."""

    def complain(self, what: str) -> None:
        """Log the exception being handled, once per plan."""
