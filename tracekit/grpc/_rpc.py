"""One RPC seen from one side: begin, count its messages, finish once with the true code.

Blocking and asyncio code share all of this. Nothing in here waits, so the flavours differ only in
how they come by the facts that ``finish`` is told.
"""

from __future__ import annotations

import base64
import functools
import time
from typing import TYPE_CHECKING

import grpc
from opentelemetry import trace

from tracekit._calls import Call
from tracekit.grpc import _conventions as conventions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

    from tracekit._handle import Tracing
    from tracekit.grpc._conventions import Attributes
    from tracekit.grpc._plan import Method, Plan

    Pair = tuple[str, str | bytes]
    Convert = Callable[[object], object]


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

    __slots__ = (
        "_deferred",
        "_noted",
        "_started_ns",
        "call",
        "code",
        "counts",
        "failure",
        "matters",
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
        self.failure: str | None = None
        self._noted = 0
        self.sent = Tally()
        self.received = Tally()
        self._started_ns = time.time_ns()
        self._deferred: list[Context] | None = None
        self.counts = False
        """Whether anybody will read the tallies: the span is recording, or may yet be started."""
        self.matters = False
        """Whether anybody will hear of the end."""

    @property
    def name(self) -> str:
        """The method, ``package.Service/Method``."""
        return self.method.name

    def _open(self, handle: Tracing, tracer: Tracer, parent: Context) -> Call:
        """Start the span; if only slow and failing calls are kept, put that off till the end."""
        plan = self.plan
        if plan.slow_s is None:
            span = tracer.start_span(
                self.method.name,
                parent,
                plan.kind,
                self.method.attributes[plan.semconv],
                start_time=self._started_ns,
            )
            self.counts = span.is_recording()
        else:
            # Not the parent's own span, which may be a live one of this process.
            span = trace.NonRecordingSpan(trace.get_current_span(parent).get_span_context())
            self._deferred = [parent]
            self.counts = True
        observer = handle.call_observer if plan.kind is trace.SpanKind.SERVER else None
        self.matters = self.counts or observer is not None
        call = self.call = Call(
            span,
            parent,
            observer,
            name=self.method.name,
            started_s=None if observer is None else self._arrived_s(),
        )
        plan.run(plan.on_start, span, self)
        return call

    def _arrived_s(self) -> float:
        """Return when the span began, by the clock that durations are measured with."""
        return time.perf_counter() - (time.time_ns() - self._started_ns) / 1e9

    def counted(
        self, convert: Convert | None, tally: Tally, then: Callable[[], None] | None = None
    ) -> Convert:
        """Wrap a serializer (``tally`` is ``sent``) or a deserializer (``received``)."""
        tally.counted = tally.weighed = True

        def counting(message: object) -> object:
            result = self.convert(convert, message, tally)
            if then is not None:
                self._heed(then)
            return result

        return counting

    def convert(self, convert: Convert | None, message: object, tally: Tally) -> object:
        """Convert one message as gRPC would, and count it."""
        try:
            result = message if convert is None else convert(message)
        except Exception as error:
            self._heed(functools.partial(self.unconverted, error))
            raise
        tally.count += 1
        data = result if tally is self.sent else message
        if isinstance(data, bytes):  # a serializer that returns anything else fails in gRPC
            tally.bytes += len(data)
            if self.plan.message_events:
                self._heed(functools.partial(self._add_event, tally, len(data)))
        return result

    def _heed(self, what: Callable[[], None]) -> None:
        """Do something of ours where gRPC would fail the call for what is raised."""
        try:
            what()
        except Exception:
            self.plan.complain("following a call")

    def unconverted(self, error: Exception) -> None:
        """Hear that a message could not be turned into or from bytes."""
        self.note(error)

    def note(self, error: BaseException) -> None:
        """Record what went wrong with a message or a request iterator, at once and as text.

        To keep ``error`` would keep its traceback, and so the frames from which gRPC is about to
        drop the handler's iterator.
        """
        self.failure = f"{type(error).__name__}: {error}"
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
        if id(exception) == self._noted:
            exception = None  # it has passed through here before, as a failure of a message
        if self._deferred is not None and not self._settle(call, failed=error_type is not None):
            return

        def describe() -> Attributes:
            found = self._outcome(code, cancelled=cancelled)
            try:
                if response_metadata is not None and plan.response_metadata:
                    pairs = response_metadata()
                    found |= kept("rpc.response.metadata.", pairs, plan.response_metadata)
            except Exception:
                plan.complain("reading the response metadata")
            plan.run(plan.on_finish, call.span, self)
            return found

        call.finish(
            error_type=error_type,
            description=details,
            exception=exception,
            attributes=describe,
            labels=lambda: conventions.call_labels(self.method.name, code),
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
                self.method.attributes[plan.semconv],
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
            if tally.counted:
                found[f"rpc.{side}.message_count"] = tally.count
            if tally.weighed:
                found[f"rpc.{side}.message_bytes"] = tally.bytes
        return found


def kept(prefix: str, pairs: Iterable[Pair], keys: frozenset[str]) -> Attributes:
    """Return the allowed metadata as attributes: all values of a key, bytes as base64."""
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        if key.lower() in keys:
            text = value if isinstance(value, str) else base64.b64encode(value).decode()
            values.setdefault(prefix + key.lower(), []).append(text)
    return dict(values)
