"""One RPC seen from one side: begin, count its messages, finish once with the true code.

Blocking and asyncio code share all of this. Nothing in here waits, so the flavours differ only in
how they come by the facts that ``finish`` is told.
"""

from __future__ import annotations

import base64
import functools
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

import grpc
from opentelemetry import trace

from tracekit._calls import Call, Step, message_of
from tracekit._context import with_span
from tracekit.grpc import _conventions as conventions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context

    from tracekit.grpc._conventions import Attributes
    from tracekit.grpc._plan import Bound, Method, Plan

    Pair = tuple[str, str | bytes]
    Convert = Callable[[object], object]

_OK = grpc.StatusCode.OK


class Tally:
    """Messages that went one way, and their bytes; ``counted`` and ``weighed`` if known at all."""

    count = 0
    bytes = 0
    counted = False
    weighed = False


class Rpc:
    """One RPC as one side sees it; what hooks are given. One span at most comes of it.

    ``name`` is ``package.Service/Method``, ``metadata`` the request's, ``request`` and
    ``response`` the messages of a unary side (None for a stream, and unless hooks are set),
    ``code`` the final status (None until there is one), ``sent`` and ``received`` the messages
    so far.
    """

    # Defaults of the class: most calls need few of them, and an unsampled one nearly none.
    request: object = None
    response: object = None
    code: grpc.StatusCode | None = None
    failure: str | None = None
    context: Context | None = None
    """The one in which the span is current; None before the beginning."""
    call: Call | None = None
    """None if nobody will hear of the end, neither a reporter nor an observer."""
    counts = False
    """Whether anybody will read the tallies: the span is recording, or may yet be started."""
    _parent: Context | None = None
    """Of a span that is to be started at the end, if the call deserves one."""
    _noted = 0

    def __init__(self, plan: Plan, method: Method, metadata: Iterable[Pair] | None) -> None:
        self.plan = plan
        self.method = method
        self.metadata = metadata
        self.sent = Tally()
        self.received = Tally()
        self._started_ns = time_ns()

    @property
    def name(self) -> str:
        """The method, ``package.Service/Method``."""
        return self.method.name

    def _open(self, bound: Bound, parent: Context) -> Context:
        """Start the span; if only slow and failing calls are kept, put that off till the end."""
        plan = self.plan
        if plan.slow_s is None:
            span = self._start(bound, parent)
            self.counts = span.is_recording()
        else:
            # Not the parent's own span, which may be a live one of this process.
            span = trace.NonRecordingSpan(trace.get_current_span(parent).get_span_context())
            self._parent = parent
            self.counts = True
        context = self.context = with_span(span, parent)
        observer = bound.observer
        if self.counts or observer is not None:
            started_s = None if observer is None else self._arrived_s()
            name = self.method.name
            self.call = Call(span, context, observer, name=name, started_s=started_s)
            if plan.on_start is not None:
                plan.run(plan.on_start, span, self)
        return context

    def step(self) -> Step:
        """Return a ``with`` block in which the span is current; for an RPC that has begun."""
        assert self.context is not None  # noqa: S101 (begun)
        return Step(self.context)

    def _start(self, bound: Bound, parent: Context) -> trace.Span:
        plan, method = self.plan, self.method
        attributes = method.attributes[plan.semconv]
        return bound.tracer.start_span(
            method.name, parent, plan.kind, attributes, None, self._started_ns
        )

    def _arrived_s(self) -> float:
        """Return when the span began, by the clock that durations are measured with."""
        return perf_counter() - (time_ns() - self._started_ns) / 1e9

    def counted(
        self, convert: Convert | None, tally: Tally, then: Callable[[], None] | None = None
    ) -> Convert:
        """Wrap a serializer (``tally`` is ``sent``) or a deserializer (``received``)."""
        tally.counted = tally.weighed = True
        if then is None:
            return functools.partial(self.convert, convert, tally)

        def converted(message: object) -> object:
            if self.call is None:
                return message if convert is None else convert(message)
            result = self.convert(convert, tally, message)
            self._heed(then)
            return result

        return converted

    def convert(self, convert: Convert | None, tally: Tally, message: object) -> object:
        """Convert one message as gRPC would, and count it."""
        try:
            result = message if convert is None else convert(message)
        except Exception as error:
            self._heed(functools.partial(self.unconverted, error))
            raise
        data = result if tally is self.sent else message
        if isinstance(data, bytes):
            tally.count += 1
            tally.bytes += len(data)
            if self.plan.message_events:
                self._heed(functools.partial(self._add_event, tally, len(data)))
        elif tally is self.sent and not self.sends(data):
            unsent = TypeError(f"Expected bytes, got {type(data).__name__}")
            self._heed(functools.partial(self.unconverted, unsent))
        else:
            tally.count += 1
        return result

    def _heed(self, what: Callable[[], None]) -> None:
        """Do something of ours where gRPC would fail the call for what is raised."""
        try:
            what()
        except Exception:
            self.plan.complain("following a call")

    def sends(self, data: object) -> bool:
        """Return whether gRPC sends ``data``, which a serializer returned, though no bytes."""
        del data
        return True  # what a client cannot send it is told, and so are we

    def unconverted(self, error: Exception) -> None:
        """Hear that a message could not be turned into or from bytes."""
        self.note(error)

    def note(self, error: BaseException) -> None:
        """Record what went wrong with a message or a request iterator, at once and as text.

        To keep ``error`` would keep its traceback, and so the frames from which gRPC is about to
        drop the handler's iterator.
        """
        self.failure = f"{type(error).__name__}: {message_of(error)}"
        self._noted = id(error)
        if self.call is not None and self.call.span.is_recording():
            self.call.span.record_exception(error)

    def _add_event(self, tally: Tally, size_bytes: int) -> None:
        if self.call is not None:
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
        response_metadata: Callable[[], Iterable[Pair] | None] | None = None,
    ) -> None:
        """End the span once with the final ``code``; None if the RPC never came to have one."""
        call = self.call
        if call is None or not call.claim():
            return
        plan = self.plan
        self.code = code
        error_type = None if code is _OK else self._error_type(code, exception)
        if exception is not None and id(exception) == self._noted:
            exception = None  # it has passed through here before, as a failure of a message
        if self._parent is not None:
            self._settle(call, self._parent, failed=error_type is not None)
        span, attributes, labels, last = call.span, None, None, None
        if span.is_recording():
            attributes = self._outcome(code, cancelled=cancelled)
            if response_metadata is not None and plan.response_metadata:
                self._keep(response_metadata, attributes)
            if plan.on_finish is not None:
                last = functools.partial(plan.run, plan.on_finish, span, self)
        if call.observed:
            call.status = None if code is None else code.value[0]
            labels = functools.partial(conventions.call_labels, self.method.name, code)
        call.conclude(error_type, details, exception, attributes, labels, last)

    def _error_type(
        self, code: grpc.StatusCode | None, exception: BaseException | None
    ) -> str | None:
        if code is None:
            return None if exception is None else type(exception).__qualname__
        if self.plan.kind is trace.SpanKind.SERVER:
            return code.name if code in conventions.SERVER_ERRORS else None
        return None if code is grpc.StatusCode.OK else code.name

    def _settle(self, call: Call, parent: Context, *, failed: bool) -> None:
        """Start the span that was put off, if the call deserves one."""
        if failed or call.duration_s() >= (self.plan.slow_s or 0.0):
            call.span = self._start(self.plan.bound(), parent)

    def _outcome(self, code: grpc.StatusCode | None, *, cancelled: bool) -> Attributes:
        plan = self.plan
        if code is _OK:
            found = plan.ok.copy()
        elif code is None:
            found = {}
        else:
            found = conventions.status_attributes(code, plan.semconv)
        if cancelled:
            found["rpc.cancelled"] = True
        if plan.kind is trace.SpanKind.SERVER:
            requests, responses = self.received, self.sent
        else:
            requests, responses = self.sent, self.received
        if requests.counted:
            found["rpc.request.message_count"] = requests.count
        if requests.weighed:
            found["rpc.request.message_bytes"] = requests.bytes
        if responses.counted:
            found["rpc.response.message_count"] = responses.count
        if responses.weighed:
            found["rpc.response.message_bytes"] = responses.bytes
        return found

    def _keep(self, metadata: Callable[[], Iterable[Pair] | None], found: Attributes) -> None:
        """Add the allowed response metadata."""
        try:
            pairs = metadata() or ()
            found |= kept("rpc.response.metadata.", pairs, self.plan.response_metadata)
        except Exception:
            self.plan.complain("reading the response metadata")


def kept(prefix: str, pairs: Iterable[Pair], keys: frozenset[str]) -> Attributes:
    """Return the allowed metadata as attributes: all values of a key, bytes as base64."""
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        if key.lower() in keys:
            text = value if isinstance(value, str) else base64.b64encode(value).decode()
            values.setdefault(prefix + key.lower(), []).append(text)
    return dict(values)
