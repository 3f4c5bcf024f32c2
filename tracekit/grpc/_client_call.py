"""An RPC that we make: begun in the caller's context, written into metadata of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from tracekit._assembly.handle import slot
from tracekit._context import (
    SPAN_KEY,
    SUPPRESSED_PLAINLY,
    attach,
    detach,
    get_current,
    with_span,
)
from tracekit.grpc._conventions import kept
from tracekit.grpc._rpc import Rpc
from tracekit.propagation._metadata import outgoing_metadata
from tracekit.tracing import Span, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextvars import Token

    from opentelemetry import trace

    from tracekit._calls.lifecycle import Step
    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._shared import CallPlan, Method

_CLIENT = SpanKind.CLIENT
_put = dict.__setitem__

handing: ContextVar[ClientRpc | None] = ContextVar("tracekit-grpc-call", default=None)
"""The RPC that is being handed down to gRPC, while its ``handing_down`` is set."""


def start(
    plan: CallPlan, method: Method, given: Iterable[Pair] | None
) -> tuple[trace.Span | None, Context | None, Iterable[Pair] | None]:
    """Start the span of an RPC for a ``plain`` plan; return it, its context and what goes out.

    No span: the RPC is not to be traced (suppressed, or we cannot). ``given`` is the caller's
    metadata, which is left alone.
    """
    span = context = None
    try:
        current = get_current()
        if current and (current.get(_SUPPRESSED) or current.get(SUPPRESSED_PLAINLY)):
            return None, None, given
        bound = plan.bound
        if bound is None or (
            bound.handle is not plan.tracing
            and (plan.tracing is not None or bound.handle is not slot.running)
        ):
            bound = plan.rebind()
        arguments = (
            bound.tracer, method.name, current, _CLIENT, method.attributes[plan.semconv],
            None, None, True, True, True,
        )  # fmt: skip
        span = bound.begin(arguments, current.get(SPAN_KEY) if current else None)
        context = Context(current)  # ``with_span``, without the call
        _put(context, SPAN_KEY, span)
        propagator = bound.propagator
        pairs = propagator.metadata_of(span, context) if given is None else None
        given = pairs or outgoing_metadata(propagator, context, given, span)
    except Exception:
        plan.complain("starting a client span")
    return span, context, given


class ClientRpc(Rpc):
    """An RPC that we make; ``metadata`` is what goes out, the caller's object is left alone."""

    handing_down = False
    given: Iterable[Pair] | None = None
    """The metadata that the caller gave."""
    _tokens: tuple[Token[ClientRpc | None], Token[Context]]

    def begin(self, request: object, timeout: object = None) -> bool:
        """Start the span and write it into ``metadata``; False: not traced, call as you were."""
        plan = self.plan
        outer = handing.get()
        given = self.metadata
        if given is not None and issubclass(type(given), Iterator):
            # It can be read once only, and we are not its only reader.
            given = self.metadata = list(given)
        if outer is not None and outer.handing_down:
            try:
                if outer.hands_down(self):
                    return False
            except Exception:
                plan.complain("starting a client span")
                return False
        if plan.plain:
            span, context, self.metadata = start(plan, self.method, given)
            if span is None or context is None:
                return False
            self.span, self.context, self.begun = span, context, True
            kind = span.__class__
            if kind is Span or (kind is not UnsampledSpan and span.is_recording()):
                self.counts = self.live = True
        else:
            self._begin_as_asked(request, timeout)
        if given is not None:
            self.given = given
        return self.begun

    def _begin_as_asked(self, request: object, timeout: object) -> None:
        """Begin a call of which the plan's options ask for more than a span."""
        plan, method = self.plan, self.method
        try:
            current = get_current()
            if current and (current.get(_SUPPRESSED) or current.get(SUPPRESSED_PLAINLY)):
                return
            bound = plan.rebind()
            if plan.has_hooks:
                self.request = request
                self.timeout_s = timeout if isinstance(timeout, int | float) else None
            if plan.active_span_source is not None:
                current = plan.context_below(current)
            if plan.slow_s is None:
                attributes = method.attributes[plan.semconv]
                self.span = span = bound.start_span(method.name, current, _CLIENT, attributes)
                self.context, self.begun = with_span(span, current), True
                if span.is_recording():
                    self.counts = self.live = True
                if bound.has_audience:
                    self._heard(bound)
            else:
                self._put_off(bound, current)
            merged = outgoing_metadata(bound.propagator, self.context, self.metadata, self.span)
            self.metadata = merged
            if plan.metadata and self.live:
                self.span.set_attributes(kept("rpc.request.metadata.", merged, plan.metadata))
        except Exception:
            plan.complain("starting a client span")

    def hands_down(self, inner: ClientRpc) -> bool:
        """Return whether ``inner`` is this same RPC, which an edge further down sees.

        It is if it carries what we have put into its metadata, on the way that our own RPC takes:
        an interceptor's second attempt there is ours as well. Another RPC of the same method, made
        by a request iterator or over another channel, is not.
        """
        if inner.method.name != self.method.name:
            return False
        below = self.plan.below
        if below is not None and inner.plan not in below:
            return False
        if inner.metadata is self.metadata:
            return True
        own = set(self.metadata or ()).difference(self.given or ())
        return bool(own) and own.issubset(inner.metadata or ())

    def __enter__(self) -> None:
        """Begin to hand the call down, through other interceptors, to gRPC.

        An edge of ours that sees the same method meanwhile is looking at the same call.
        """
        self.handing_down = True
        self._tokens = handing.set(self), attach(self.context)

    def __exit__(self, *_: object) -> None:
        mine, otel = self._tokens
        detach(otel)
        handing.reset(mine)
        self.handing_down = False

    def hand_down_in_task(self) -> Step:
        """Do the same for a stretch with suspensions, in a task of its own."""
        self.handing_down = True
        handing.set(self)
        return self.step()

    def handed_down(self) -> None:
        """End the stretch, also for the tasks that were started in it and inherited its context."""
        self.handing_down = False
