"""One RPC seen from one side: begin, and complete once with the true code.

Blocking and asyncio code share all of this. Nothing in here waits, so the flavours differ only in
how they come by the facts that ``complete`` is told.

The states of an RPC, how they are told apart, and who may leave them:

=================  ===========================  =================================================
state              told by                      left by
=================  ===========================  =================================================
made               not ``begun``                ``begin``, in the caller's or handler's thread;
                                                a request that is unreadable begins and ends it
with the program   ``live``                     a client's answer or error; a handler's ``failed``,
                                                ``returned``, ``leave`` (for each message)
with gRPC          ``live``, ``unattended``     ``attend`` (the next message is asked for),
                                                ``respond`` (the response is serialized); a close
given up           ``live``, ``raised_text``    ``respond``, if an interceptor further out answers
                                                in the handler's stead; a close
not sure           ``live``, ``unsure``         a close: only then is the response known to be sent
over               not ``live``                 nobody: ``complete`` takes ``live`` away in one
                                                step, so of racing threads one gets past it
=================  ===========================  =================================================

The last four are a server's. A close is gRPC's word that it is done with the RPC, on any thread at
any time: from then on (``closed``) whatever would hand over to gRPC ends the RPC instead. Where
nobody gives that word (``ends_with_handler``) the RPC ends with its handler.

Between two calls gRPC and the kernel take the processor's caches, so here every function that is
called, every object that is made and every step weighs three to four times what it does in a loop.
"""

from __future__ import annotations

import functools
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

import grpc
from opentelemetry import trace

from tracekit._context import with_span
from tracekit._protocols import PlainAttributes
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._messages import Messages
from tracekit.tracing import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from tracekit.grpc._conventions import Attributes, Pair
    from tracekit.grpc._shared import Bound, CallPlan, Method

_OK = grpc.StatusCode.OK
_SERVER = trace.SpanKind.SERVER


class Rpc(Messages):
    """One RPC as one side sees it; what hooks are given. One span at most comes of it.

    ``name`` is ``package.Service/Method``, ``metadata`` the request's, ``request`` and
    ``response`` the messages of a unary side (None for a stream, and unless hooks are set),
    ``code`` the final status (None until there is one), ``timeout_s`` the seconds that the caller
    gave it (None: no deadline, or unless hooks are set; on a server what was left of them when the
    handler began), ``sent`` and ``received`` the messages so far.
    """

    # Defaults of the class: most calls need few of them, and an unsampled one nearly none.
    request: object = None
    response: object = None
    code: grpc.StatusCode | None = None
    timeout_s: float | None = None
    begun = False
    """Whether there is a ``span``, and a ``context`` in which it is current."""
    counts = False
    """Whether anybody will read the counts: the span is recording, or may yet be started."""
    started_ns: int | None = None
    """When, in ns since the epoch, if before its span is started."""
    _parent: Context | None = None
    """Of a span that is to be started at the end, if the call deserves one."""

    def __init__(self, plan: CallPlan, method: Method, metadata: Iterable[Pair] | None) -> None:
        self.plan = plan
        self.method = method
        self.name = method.name
        self.metadata = metadata

    def _put_off(self, bound: Bound, parent: Context) -> None:
        """Begin a call of which only a slow or failing one is kept: its span starts at its end."""
        # Not the parent's own span, which may be a live one of this process.
        span = trace.NonRecordingSpan(trace.get_current_span(parent).get_span_context())
        self._parent = parent
        self.started_ns = self.started_ns or time_ns()
        self.context = with_span(span, parent)
        self.span, self.begun = span, True
        self.counts = self.live = True
        self._heard(bound)

    def _heard(self, bound: Bound) -> None:
        """Tell whoever else hears of the call that it has begun."""
        observer, plan = bound.observer, self.plan
        if observer is not None or plan.slow_s is not None:
            self.live = True
            self._observer = observer
            since_ns = 0 if self.started_ns is None else time_ns() - self.started_ns
            self.started_s = perf_counter() - since_ns / 1e9
        if plan.on_start is not None and self.live:
            plan.run(plan.on_start, self.span, self)

    def complete(
        self,
        code: grpc.StatusCode | None,
        *,
        details: str | None = None,
        exception: BaseException | None = None,
        cancelled: bool = False,
        response_metadata: Callable[[], Iterable[Pair] | None] | None = None,
    ) -> None:
        """End the span once with the final ``code``; None if the RPC never came to have one."""
        if code is _OK and self.plan.quiet and not cancelled and exception is None:
            self.succeed()
            return
        try:
            del self.live  # ``claim``, without the call
        except AttributeError:
            return
        self.code = code
        error_type = None if code is _OK else self._error_type(code, exception)
        if exception is not None and id(exception) == self._noted:
            exception = None  # it has passed through here before, as a failure of a message
        if self._parent is not None:
            self._settle(self._parent, failed=error_type is not None)
        plan = self.plan
        attributes: Mapping[str, AttributeValue] | None = None
        labels, last = None, None
        if self.counts:
            attributes = outcome = self._outcome(code, cancelled=cancelled)
            if response_metadata is not None and plan.response_metadata:
                attributes = {**outcome, **self._kept(response_metadata)}
            if plan.on_finish is not None:
                last = functools.partial(plan.run, plan.on_finish, self.span, self)
        if self._observer is not None:
            self.status = None if code is None else code.value[0]
            labels = functools.partial(conventions.call_labels, self.name, code)
        self.conclude(error_type, details, exception, attributes, labels, last)

    def succeed(self) -> None:
        """``complete`` with OK for a quiet plan: nearly all calls end here.

        What is set last is written down once and becomes the span's in the step that ends it.
        """
        try:
            del self.live
        except AttributeError:
            return
        self.code = _OK
        plan, span = self.plan, self.span
        if self._observer is not None or (
            span.__class__ is not Span and not isinstance(span, Span)
        ):
            labels = functools.partial(conventions.call_labels, self.name, _OK)
            self.status = 0
            attributes = self._outcome(_OK, cancelled=False) if self.counts else None
            self.conclude(attributes=attributes, labels=labels)
        elif not self.sees_bytes:
            span.end(None, self._outcome(_OK, cancelled=False))
        elif plan.kind is _SERVER:
            span.end(
                None,
                {
                    **plan.ok,
                    "rpc.request.message_count": self.received_count,
                    "rpc.request.message_bytes": self.received_bytes,
                    "rpc.response.message_count": self.sent_count,
                    "rpc.response.message_bytes": self.sent_bytes,
                },
            )
        else:
            span.end(
                None,
                {
                    **plan.ok,
                    "rpc.request.message_count": self.sent_count,
                    "rpc.request.message_bytes": self.sent_bytes,
                    "rpc.response.message_count": self.received_count,
                    "rpc.response.message_bytes": self.received_bytes,
                },
            )

    def _error_type(
        self, code: grpc.StatusCode | None, exception: BaseException | None
    ) -> str | None:
        if code is None:
            return None if exception is None else type(exception).__qualname__
        if self.plan.kind is _SERVER:
            return code.name if code in conventions.SERVER_ERRORS else None
        return None if code is grpc.StatusCode.OK else code.name

    def _settle(self, parent: Context, *, failed: bool) -> None:
        """Start the span that was put off, if the call deserves one."""
        if failed or self.duration_s() >= (self.plan.slow_s or 0.0):
            plan, method = self.plan, self.method
            self.span = plan.rebind().start_span(
                method.name,
                parent,
                plan.kind,
                method.attributes[plan.semconv],
                None,
                self.started_ns,
            )

    def _outcome(self, code: grpc.StatusCode | None, *, cancelled: bool) -> PlainAttributes:
        plan = self.plan
        if code is _OK:
            found = PlainAttributes(plan.ok)
        elif code is None:
            found = PlainAttributes()
        else:
            found = conventions.status_attributes(code, plan.semconv)
        if cancelled:
            found["rpc.cancelled"] = True
        if self.sees_bytes:
            if plan.kind is _SERVER:
                found["rpc.request.message_count"] = self.received_count
                found["rpc.request.message_bytes"] = self.received_bytes
                found["rpc.response.message_count"] = self.sent_count
                found["rpc.response.message_bytes"] = self.sent_bytes
            else:
                found["rpc.request.message_count"] = self.sent_count
                found["rpc.request.message_bytes"] = self.sent_bytes
                found["rpc.response.message_count"] = self.received_count
                found["rpc.response.message_bytes"] = self.received_bytes
        elif self.sees_requests:
            found["rpc.request.message_count"] = self.sent_count
        return found

    def _kept(self, metadata: Callable[[], Iterable[Pair] | None]) -> Attributes:
        """Return the allowed response metadata."""
        try:
            pairs = metadata() or ()
            return conventions.kept("rpc.response.metadata.", pairs, self.plan.response_metadata)
        except Exception:
            self.plan.complain("reading the response metadata")
            return {}
