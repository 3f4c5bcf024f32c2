"""An RPC that we serve: when it begins, who may end it, and what its code then is."""

from __future__ import annotations

from contextvars import ContextVar
from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from tracekit._calls.lifecycle import message_of
from tracekit._context import SUPPRESSED_PLAINLY, get_current
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._conventions import Ended
from tracekit.grpc._rpc import Rpc
from tracekit.grpc._server_start import described
from tracekit.grpc._started_in import without
from tracekit.grpc._trailers import illegal_in
from tracekit.propagation._extracted import enter
from tracekit.tracing import Span, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import grpc
    from typing_extensions import Self

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._foreign_context import KnownContext
    from tracekit.grpc._shared import Bound
    from tracekit.propagation._remote import Extracted

seen: ContextVar[object] = ContextVar("tracekit-grpc-serving", default=None)
"""The metadata of the RPC that an interceptor of ours is looking at, further out.

All interceptors of an RPC run in one context, one inside the other, and are given one object. The
mark is taken back on the way out: what comes without metadata has the same empty tuple.
"""
SURE_BYTES = 1024
"""A longer response may be above the server's ``grpc.max_send_message_length``."""
_other: ContextVar[ServerRpc | None] = ContextVar("tracekit-grpc-serving-another", default=None)
"""The RPC that a handler serves which was made for another one."""
_SERVER = SpanKind.SERVER
_DEADLINE_SLACK_S = 0.025
"""A cancel this close to the deadline *is* the deadline: the client's clock ran out first."""


def pairs_of(metadata: Iterable[Pair] | None) -> tuple[Pair, ...]:
    try:
        return tuple(metadata or ())
    except Exception:  # an interceptor's own idea of metadata
        return ()


class ServerRpc(Rpc):
    """An RPC that we serve. Its span starts when the handler is called, at the time of arrival.

    Before that an RPC may vanish without a word (no thread is free, it is cancelled, there are too
    many), so nothing is begun that somebody would have to end. From then on control is with the
    handler or with gRPC (``unattended``), which need not give it back: an RPC that is unattended
    when gRPC closes it ends at that moment. ``_rpc`` has the table of states.
    """

    bound: Bound
    """What the handle in use at its arrival provides."""
    extracted: Extracted
    """What its metadata says."""
    _served: grpc.ServicerContext | KnownContext | None = None
    """The handler's context, as long as it is needed: it leads back here by its deserializer, and
    a circle would keep all that gRPC knows of the call until the next garbage collection."""
    if_unconvertible: grpc.StatusCode
    """What gRPC sends where a message cannot be converted, unless a code is set."""
    base: Context | None = None
    """What was current when the server was started, where that reaches its handlers."""
    streaming = False
    unsure = False
    """Whether the one response was serialized, and gRPC may still fail to send it."""
    unattended = False
    closed = False
    ends_with_handler = False
    """Whether nobody will tell when gRPC is done with this RPC."""
    remaining_s: float | None = None
    """How far away the deadline was when the RPC was cancelled."""
    raised_text: str | None = None
    """What left the handler, if gRPC is not done with it yet."""
    unclaimed = False
    """Set, and so to be taken away by ``claim``, from the making of its handler to its call."""
    reused = False
    """Whether its handler, which an interceptor further out keeps, serves other RPCs as well."""
    first: ServerRpc | None = None
    """Whose handler serves this RPC, if it was made for another."""

    def end(self, error: BaseException | None = None, *, over: bool | None = None) -> None:
        """Read the final facts off the handler's context and ``complete`` with them, once.

        ``error`` is what left the handler; ``over`` whether the RPC had ended before (None: to
        be found out).
        """
        raise NotImplementedError

    def failed(self, error: BaseException) -> None:
        """Called when ``error`` left the handler."""
        raise NotImplementedError

    def returned(self, response: object) -> None:
        """Called when the handler returned the one response."""
        raise NotImplementedError

    def exhausted(self) -> None:
        """Called when a blocking handler has no more responses; the last may not be sent yet."""
        raise NotImplementedError

    def attend(self) -> None:
        """Called when control is with the handler."""
        self.unattended = False

    def leave(self) -> None:
        """Called when control is with gRPC, perhaps for good."""
        self.unattended = True
        if self.closed:
            self.end(over=self.streaming)

    def on_closed(self) -> None:
        """Called when gRPC is done with this RPC, from whatever thread."""
        self.closed = True
        if not self.live:
            return
        self.cancelled_now()
        # A stream whose message could not be converted is dropped by gRPC, and how soon its
        # iterator goes away is up to whoever keeps the error's frames (a log handler, say).
        if self.raised_text is not None:
            self.end(over=False)
        elif self.unattended or (self.streaming and self.failure is not None):
            self.end(over=self.streaming)

    def cancelled_now(self) -> None:
        """Remember how far away the deadline is: what ends an RPC first is its code."""
        raise NotImplementedError

    def raised(self, error: BaseException, *, final: bool = False) -> None:
        """Called when ``error`` left the handler.

        Interceptors further out may yet answer in its stead, so unless that is ``final`` the RPC
        ends when gRPC is done with it.
        """
        settled = final or self.closed or self.ends_with_handler or not self.live
        if settled:
            self.end(error)
            return
        self.raised_text = f"{type(error).__name__}: {message_of(error)}"
        if id(error) != self._noted:  # it may have passed through here, as a message's failure
            self.note(error)
        self.unattended = True
        if self.closed:  # meanwhile
            self.end(over=False)

    def respond(self, response: object) -> object:
        """Serialize the one response of a unary side, with which the call ends."""
        if self.reused and (other := self.other()) is not None:
            return other.respond(response)
        if not self.live:
            serialize = self.serialize
            return response if serialize is None else serialize(response)
        data = self.send(response)
        try:
            self.responded()
        except Exception:
            self.plan.complain("following a call")
        return data

    def responded(self) -> None:
        """Called when the one response could be serialized."""
        self.end(over=False)

    def dropped(self) -> None:
        """Called when gRPC gave up a stream of responses."""
        self.end(over=True)

    def begin(self, request: object, context: grpc.ServicerContext | KnownContext | None) -> bool:
        """Start the span; False: not to be traced (suppressed, or we cannot).

        ``context`` is the handler's; None where no handler is called.
        """
        plan = self.plan
        try:
            current = get_current()
            if self.base is not None:
                current = without(current, self.base)
            if current and (current.get(_SUPPRESSED) or current.get(SUPPRESSED_PLAINLY)):
                return False
            if plan.has_hooks:
                self.request = request
                self.timeout_s = (
                    None if context is None else conventions.timeout_of(context.time_remaining())
                )
            bound = self.bound
            self._served = context
            if plan.slow_s is None:
                span, self.context = bound.join(
                    self.extracted, self.name, _SERVER, described, current, self.started_ns, self
                )
                self.span, self.begun = span, True
                kind = type(span)
                if kind is Span or (kind is not UnsampledSpan and span.is_recording()):
                    self.counts = self.live = True
                if bound.has_audience:
                    self._heard(bound)
            else:
                self._put_off(bound, enter(self.extracted, current))
            if self.live:
                if context is not None:
                    self.served(context)
            else:
                self._served = None
        except Exception:
            plan.complain("starting a server span")
        return self.begun

    def serving(self, context: grpc.ServicerContext | KnownContext) -> Self:
        """Return the RPC that the handler is called for with this ``context``.

        An interceptor further out that keeps the handler calls it for RPCs that we were not asked
        about, more than once, and from anywhere. The metadata of the RPC that is being served
        decides, always.
        """
        metadata = context.invocation_metadata()
        same = metadata is None or pairs_of(metadata) == pairs_of(self.metadata)
        if not self.begun and self.claim():
            if not same:
                self.arrive(metadata)
            return self
        if same and self.unattended:
            self.end(over=False)  # called once more for the RPC that it was made for
        self.reused = True
        self.sees_bytes = False  # the converters see the messages of all RPCs
        other = type(self)(self.plan, self.method, self.metadata if same else metadata)
        other.first = self
        other.serialize, other.deserialize = self.serialize, self.deserialize
        other.streaming, other.base = self.streaming, self.base
        other.bound, other.extracted = self.bound, self.extracted
        if not same:
            other.arrive(metadata)
        _other.set(other)
        return other

    def claim(self) -> bool:
        """Return True once: of callers in several threads, one is what the handler was made for."""
        try:
            del self.unclaimed
        except AttributeError:
            return False
        return True

    def arrive(self, metadata: Iterable[Pair] | None) -> None:
        """Be the RPC that arrived with ``metadata`` just now."""
        self.metadata = metadata
        self.started_ns = time_ns()
        try:
            self.bound = bound = self.plan.rebind()
            self.extracted = bound.propagator.read_metadata(metadata or ())
        except Exception:
            self.plan.complain("reading what arrived")
            self.extracted = None, ()

    def other(self) -> ServerRpc | None:
        """Return the other RPC that the handler serves on this thread, or in this task."""
        other = _other.get()
        return other if other is not None and other.first is self else None

    def served(self, context: grpc.ServicerContext | KnownContext) -> None:
        """Called with the context of the handler, if the RPC is live."""
        raise NotImplementedError

    def sends(self, data: object) -> bool:
        """Return whether gRPC sends ``data``; if not, it only logs that."""
        del data
        return False

    def unconverted(self, error: BaseException) -> None:
        """Record a failed message; begin and end for it, if no handler has been called."""
        if self.reused and (other := self.other()) is not None:
            other.unconverted(error)
            return
        if not self.begun:
            self.begin(None, None)
            self.note(error)
            self.complete_as_sent(None, None, over=True)
            return
        self.note(error)
        if self.unattended:
            self.end(over=True)

    def complete_as_sent(
        self,
        code: grpc.StatusCode | None,
        details: object,
        error: BaseException | None = None,
        *,
        aborted: bool = False,
        over: bool = False,
        remaining_s: float | None = None,
        response_metadata: Callable[[], Iterable[Pair] | None] | None = None,
    ) -> None:
        """Complete with what the wire says: ``code`` is what the handler set, if it set one.

        ``error`` is what left the handler, ``aborted`` whether that was gRPC's own way to leave
        it; ``over`` that the RPC had ended before the handler did.
        """
        text = details.decode("utf-8", "replace") if isinstance(details, bytes) else details
        cancelled = over and self.failure is None
        if cancelled:
            late = remaining_s is not None and remaining_s < _DEADLINE_SLACK_S
            ended = Ended.LATE if late else Ended.CANCELLED
        elif over:
            ended = Ended.UNCONVERTED
            text = text or self.failure
        elif error is None and self.raised_text is None:
            ended = Ended.RETURNED
        else:
            ended = Ended.RAISED
            text = text or self.raised_text
            if not text and error is not None:
                text = f"{type(error).__name__}: {message_of(error)}"
        if over:
            error = None  # it only follows from what ended the RPC
        elif response_metadata is not None and (trailers := response_metadata()):
            illegal = illegal_in(trailers)
            if illegal is not None:
                ended, text, aborted = Ended.UNSENDABLE, illegal, True
        code = ended.code(code, self.if_unconvertible)
        self.complete(
            code,
            details=str(text) if text else None,
            exception=None if aborted else error,
            cancelled=cancelled,
            response_metadata=response_metadata,
        )
