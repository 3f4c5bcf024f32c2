"""Handles without sockets: what they make lands in a sink, what they send in a list."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

import tracekit
from tracekit.transport import SendResult
from tracekit.transport._udp import MAX_PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span
    from typing_extensions import Self, Unpack

    from tracekit._config.fields import NamedSettingsFields
    from tracekit.transport import Payload


class SpanSink(SpanProcessor):
    """Every span that started and ended, to be taken one by one; none may be left over.

    Any thread may end spans into it and take from it.
    """

    __module__ = "tracekit.testing"  # where users find it

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ended: deque[ReadableSpan] = deque()
        self._open = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Count a span that is open from now on."""
        with self._changed:
            self._open += 1

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span that has ended, if it is to be sent."""
        context = span.get_span_context()
        with self._changed:
            self._open -= 1
            if context is not None and context.trace_flags.sampled:
                self._ended.append(span)
            self._changed.notify_all()

    @property
    def open(self) -> int:
        """How many spans have started and not ended."""
        return self._open

    @property
    def spans(self) -> list[ReadableSpan]:
        """The ended spans that nobody has taken, in the order in which they ended."""
        with self._changed:
            return list(self._ended)

    def take(self, timeout_s: float = 5.0) -> ReadableSpan:
        """Take the oldest ended span, waiting for one up to ``timeout_s`` seconds."""
        return self.take_many(1, timeout_s)[0]

    def take_many(self, count: int, timeout_s: float = 5.0) -> list[ReadableSpan]:
        """Take ``count`` spans, waiting for the last one; AssertionError when they do not come."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ended) >= count, timeout_s)
            names = [span.name for span in self._ended]
            assert len(names) >= count, f"{count} spans expected, ended are {names}"  # noqa: S101
            return [self._ended.popleft() for _ in range(count)]

    def assert_empty(self) -> None:
        """Fail when an ended span was not taken or a started one has not ended."""
        left = [span.name for span in self.spans]
        assert not left, f"spans that nobody took: {left}"  # noqa: S101
        assert self._open == 0, f"{self._open} spans have not ended"  # noqa: S101


class MemoryTransport:
    """A wire that keeps what it is given; ``answer`` decides how each send ends."""

    __module__ = "tracekit.testing"  # where users find it

    max_bytes = MAX_PACKET_BYTES
    max_retry_s: float | None = None

    def __init__(self, answer: Callable[[Payload], SendResult] | None = None) -> None:
        self.payloads: list[Payload] = []
        self.closed = False
        self._answer = answer

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Keep ``payload``; answer *sent* unless told otherwise."""
        result = self._answer(payload) if self._answer else SendResult.sent()
        if result.ok:
            self.payloads.append(payload)
        return result

    def close(self) -> None:
        """Remember having been closed."""
        self.closed = True


class TestTracing(tracekit.Tracing):
    """A handle whose ended spans land in ``sink`` and whose payloads land in ``transport``."""

    __module__ = "tracekit.testing"  # where users find it

    __test__ = False  # not a test case, whatever pytest thinks of its name

    def __init__(self, settings: tracekit.Settings, transport: MemoryTransport) -> None:
        super().__init__(settings, transport)
        self.transport = transport
        self.sink = SpanSink()
        self.provider.add_span_processor(self.sink)

    @classmethod
    def of(
        cls,
        transport: MemoryTransport | None = None,
        **settings_fields: Unpack[NamedSettingsFields],
    ) -> Self:
        """Return one that samples everything; see ``tracing``."""
        fields: dict[str, object] = {
            "service_name": "test",
            "sampler_type": "const",
            "sampler_param": 1,
            **settings_fields,
        }
        settings = tracekit.Settings.from_fields(fields, environ={}, strict=True)
        return cls(settings, transport or MemoryTransport())
