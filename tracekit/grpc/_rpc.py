"""One RPC seen from one side: begin, count its messages, finish once with the true code.

Blocking and asyncio code share all of this. Nothing in here waits, so the flavours differ only in
how they come by the facts that ``finish`` is told.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from tracekit._calls import Call
from tracekit.grpc import _conventions as conventions
from tracekit.propagation import merge_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.context import Context

    from tracekit._calls import Step
    from tracekit.grpc._conventions import Attributes
    from tracekit.grpc._plan import Method, Plan

    Pair = tuple[str, str | bytes]
    Convert = Callable[[object], object]

_SERVING = "tracekit-grpc-serving"
_CALLING = "tracekit-grpc-calling"
_DEADLINE_SLACK_S = 0.025
"""A cancel this close to the deadline *is* the deadline: the client's clock ran out first."""


class Tally:
    """Messages that went one way; None where nobody counts them."""

    __slots__ = ("bytes", "count")

    def __init__(self) -> None:
        self.count: int | None = None
        self.bytes: int | None = None


class Rpc:
    """One RPC as one side sees it; what hooks are given. One span at most comes of it.

    ``name`` is ``package.Service/Method``, ``metadata`` the request's, ``request`` and
    ``response`` the messages of a unary side (None for a stream, and unless hooks are set),
    ``code`` the final status (None until there is one), ``sent`` and ``received`` the messages
    so far.
    """

    __slots__ = (
        "_deferred",
        "_started_ns",
        "call",
        "code",
        "failure",
        "metadata",
        "method",
        "plan",
        "received",
        "request",
        "response",
        "sent",
    )

    def __init__(self, plan: Plan, method: Method, metadata: Iterable[Pair] | None) -> None:
        self.plan = plan
        self.method = method
        self.metadata = metadata
        self.request: object = None
        self.response: object = None
        self.code: grpc.StatusCode | None = None
        self.call: Call | None = None
        self.failure: BaseException | None = None
        self.sent = Tally()
        self.received = Tally()
        self._started_ns = time.time_ns()
        self._deferred: list[Context] | None = None

    @property
    def name(self) -> str:
        """The method, ``package.Service/Method``."""
        return self.method.name

    def _open(self, parent: Context, attributes: Mapping[str, object]) -> Call:
        """Start the span; if only slow and failing calls are kept, put that off till the end."""
        plan = self.plan
        handle, tracer = plan.handle()
        if plan.slow_s is None:
            span = tracer.start_span(
                self.method.name, parent, plan.kind, attributes, start_time=self._started_ns
            )
        else:
            span = trace.get_current_span(parent)
            self._deferred = [parent]
        observer = handle.call_observer if plan.kind is trace.SpanKind.SERVER else None
        call = self.call = Call(span, parent, observer, name=self.method.name)
        plan.run(plan.on_start, span, self)
        return call

    def counted(
        self, convert: Convert | None, tally: Tally, then: Callable[[], None] | None = None
    ) -> Convert:
        """Wrap a serializer (``tally`` is ``sent``) or a deserializer (``received``)."""
        outgoing = tally is self.sent
        events = self.plan.message_events
        tally.count = tally.bytes = 0

        def counting(message: object) -> object:
            try:
                result = message if convert is None else convert(message)
            except Exception as error:
                self.failure = error
                self.conversion_failed(error)
                raise
            data = result if outgoing else message
            tally.count += 1  # type: ignore[operator]  # set to 0 below
            if isinstance(data, bytes):  # a serializer that returns anything else fails in gRPC
                tally.bytes += len(data)  # type: ignore[operator]
                if events:
                    self._add_event(tally, len(data))
            if then is not None:
                then()
            return result

        return counting

    def conversion_failed(self, error: Exception) -> None:
        """Hear that a message could not be turned into or from bytes."""

    def _add_event(self, tally: Tally, size_bytes: int) -> None:
        if self.call is not None and tally.count is not None:
            self.call.span.add_event(
                "rpc.message",
                {
                    "rpc.message.type": "SENT" if tally is self.sent else "RECEIVED",
                    "rpc.message.id": tally.count,
                    "rpc.message.uncompressed_size": size_bytes,
                },
            )

    def finish(
        self,
        code: grpc.StatusCode | None,
        *,
        details: str | None = None,
        exception: BaseException | None = None,
        cancelled: bool = False,
        response_metadata: Callable[[], Iterable[Pair]] | None = None,
    ) -> None:
        """End the span once with the final ``code``; None if the RPC never came to have one."""
        call = self.call
        if call is None or call.finished:
            return
        plan = self.plan
        self.code = code
        if code is not None:
            call.status = code.value[0]
        error_type = self._error_type(code, exception)
        if self._deferred is not None and not self._settle(call, failed=error_type is not None):
            return

        def describe() -> Attributes:
            found = self._outcome(code, cancelled=cancelled)
            if response_metadata is not None and plan.response_metadata:
                pairs = response_metadata()
                found |= _kept("rpc.response.metadata.", pairs, plan.response_metadata)
            plan.run(plan.on_finish, call.span, self)
            return found

        call.finish(
            error_type=error_type, description=details, exception=exception, attributes=describe
        )

    def _error_type(
        self, code: grpc.StatusCode | None, exception: BaseException | None
    ) -> str | None:
        if code is None:
            return None if exception is None else type(exception).__qualname__
        if self.plan.kind is trace.SpanKind.SERVER:
            return code.name if code in conventions.SERVER_ERRORS else None
        return None if code is grpc.StatusCode.OK else code.name

    def _settle(self, call: Call, *, failed: bool) -> bool:
        """Start the span that was put off, if the call deserves one; False: somebody else did."""
        assert self._deferred is not None  # noqa: S101 (the only caller has looked)
        try:
            parent = self._deferred.pop()
        except IndexError:
            return False
        plan = self.plan
        if failed or call.duration_s() >= (plan.slow_s or 0.0):
            tracer = plan.handle()[1]
            call.span = tracer.start_span(
                self.method.name,
                parent,
                plan.kind,
                self.method.attributes,
                start_time=self._started_ns,
            )
        return True

    def _outcome(self, code: grpc.StatusCode | None, *, cancelled: bool) -> Attributes:
        semconv = self.plan.semconv
        found = {} if code is None else dict(conventions.status_attributes(code, semconv))
        if cancelled:
            found["rpc.cancelled"] = True
        serving = self.plan.kind is trace.SpanKind.SERVER
        requests, responses = (self.received, self.sent) if serving else (self.sent, self.received)
        for side, tally in (("request", requests), ("response", responses)):
            if tally.count is not None:
                found[f"rpc.{side}.message_count"] = tally.count
            if tally.bytes is not None:
                found[f"rpc.{side}.message_bytes"] = tally.bytes
        return found


def _kept(prefix: str, pairs: Iterable[Pair], keys: frozenset[str]) -> Attributes:
    """Return the allowed metadata as attributes: all values of a key, bytes as base64."""
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        if key.lower() in keys:
            text = value if isinstance(value, str) else base64.b64encode(value).decode()
            values.setdefault(prefix + key.lower(), []).append(text)
    return dict(values)


class ServerRpc(Rpc):
    """An RPC that we serve. It begins when the handler does, dated back to its arrival.

    Between arrival and handler an RPC may vanish (no thread free, cancelled, too many); since
    nothing was begun, nothing has to be ended.
    """

    __slots__ = ("_if_unconvertible",)

    def __init__(
        self,
        plan: Plan,
        method: Method,
        metadata: Iterable[Pair],
        if_unconvertible: grpc.StatusCode,
    ) -> None:
        super().__init__(plan, method, metadata)
        self._if_unconvertible = if_unconvertible  # what gRPC then sends, unless a code is set

    def begin(self, peer: Callable[[], str] | None, request: object) -> Step | None:
        """Start the span and return the handler's step; None: an outer edge traces this call."""
        plan = self.plan
        try:
            current = otel_context.get_current()
            if current.get(_SERVING) is self.metadata or current.get(_SUPPRESS_INSTRUMENTATION_KEY):
                return None
            handle, _ = plan.handle()
            parent = handle.propagator.extract_pairs(self.metadata, current)
            parent = otel_context.set_value(_SERVING, self.metadata, parent)
            if plan.has_hooks:
                self.request = request
            call = self._open(parent, self.method.attributes)
            if call.span.is_recording():
                self._describe_caller(call.span, peer)
            return call.step()
        except Exception:
            plan.complain("starting a server span")
            return None

    def _describe_caller(self, span: trace.Span, peer: Callable[[], str] | None) -> None:
        found: Attributes = {}
        if peer is not None:
            found = conventions.peer_attributes(peer(), self.plan.semconv)
        if self.plan.metadata:
            found |= _kept("rpc.request.metadata.", self.metadata, self.plan.metadata)
        if found:
            span.set_attributes(found)

    def conversion_failed(self, error: Exception) -> None:
        """Begin and end here if the request was unreadable: no handler will be called."""
        if self.call is None:
            self.begin(None, None)
            self.conclude(None, None, over=True)

    def conclude(
        self,
        code: grpc.StatusCode | None,
        details: object,
        error: BaseException | None = None,
        *,
        aborted: bool = False,
        over: bool = False,
        remaining_s: float | None = None,
        response_metadata: Callable[[], Iterable[Pair]] | None = None,
    ) -> None:
        """Finish with what the wire says: ``code`` is what the handler set, if it set one.

        ``error`` is what left the handler, ``aborted`` whether that was gRPC's own way to leave
        it; ``over`` that the RPC had ended before the handler did.
        """
        cancelled = over and self.failure is None
        if cancelled:
            late = remaining_s is not None and remaining_s < _DEADLINE_SLACK_S
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            error = None
        elif over:
            error = self.failure
            code = code or self._if_unconvertible
        elif error is None:
            code = code or grpc.StatusCode.OK
        else:
            code = code or grpc.StatusCode.UNKNOWN
        if aborted:
            error = None
        text = details.decode("utf-8", "replace") if isinstance(details, bytes) else details
        if not text and error is not None:
            text = f"{type(error).__name__}: {error}"
        self.finish(
            code,
            details=str(text) if text else None,
            exception=error,
            cancelled=cancelled,
            response_metadata=response_metadata,
        )


class ClientRpc(Rpc):
    """An RPC that we make; ``metadata`` is what goes out, the caller's object is left alone."""

    __slots__ = ("_invoking",)

    def __init__(self, plan: Plan, method: Method, metadata: Iterable[Pair] | None) -> None:
        # An iterator can be read once only, and we are not its only reader.
        super().__init__(
            plan, method, list(metadata) if isinstance(metadata, Iterator) else metadata
        )

    def begin(self, request: object) -> bool:
        """Start the span and write it into ``metadata``; False: not traced, call as you were."""
        plan = self.plan
        try:
            current = otel_context.get_current()
            calling = current.get(_CALLING)
            if calling and calling[0] == self.method.name:  # type: ignore[index]
                return False
            if current.get(_SUPPRESS_INSTRUMENTATION_KEY):
                return False
            handle, _ = plan.handle()
            if plan.has_hooks:
                self.request = request
            call = self._open(current, self.method.attributes)
            propagator = handle.propagator
            outgoing = propagator.outgoing(call.context)
            self.metadata = merge_metadata(outgoing, self.metadata or (), propagator.counters)
            if plan.metadata and call.span.is_recording():
                kept = _kept("rpc.request.metadata.", self.metadata, plan.metadata)
                call.span.set_attributes(kept)
        except Exception:
            plan.complain("starting a client span")
            return False
        return True

    def invoking(self) -> Invoking:
        """Return the ``with`` block around the bare call: what is nested in it is this call."""
        assert self.call is not None  # noqa: S101 (begun)
        return Invoking(self.call.context, self.method.name)


class Invoking:
    """The stretch in which an RPC is handed down, through other interceptors, to gRPC.

    An edge of ours that sees the same method within it is looking at the same call.
    """

    __slots__ = ("_cell", "_context", "_token")

    def __init__(self, context: Context, name: str) -> None:
        self._cell = [name]
        self._context = otel_context.set_value(_CALLING, self._cell, context)

    def __enter__(self) -> None:
        self._token = otel_context.attach(self._context)

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._token)
        # What was started meanwhile (a task) has inherited the context; it is no longer invoking.
        self._cell.clear()
