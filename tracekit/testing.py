"""Fakes for tests, ours and yours: a handle without sockets, a span sink, a clock, an agent.

::

    tracing = tracekit.testing.tracing()
    with tracing.tracer("shop").start_as_current_span("dispatch"):
        ...
    assert tracing.sink.take().name == "dispatch"
    tracing.sink.assert_empty()

With pytest, the fixture ``spans`` records what the process' handle makes; ``recording()`` does the
same without pytest, and ``assert_trace`` compares a tree with a text.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tracekit._recording import (
    MemoryTransport,
    Spans,
    SpanSink,
    TestTracing,
    assert_trace,
    recording,
)
from tracekit.local import PORTS, Backend, Receiver, SamplingServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from tracekit._config.fields import NamedSettingsFields
    from tracekit.local import ReceivedSpan

__all__ = [
    "FakeAgent",
    "FakeClock",
    "FakeCollector",
    "MemoryTransport",
    "SpanSink",
    "Spans",
    "TestTracing",
    "assert_trace",
    "recording",
    "tracing",
]


def tracing(
    transport: MemoryTransport | None = None, **settings_fields: Unpack[NamedSettingsFields]
) -> TestTracing:
    """Return a handle of its own that samples everything, reads no environment, opens no socket.

    ``settings_fields`` are those of ``tracekit.init``.
    """
    return TestTracing.of(transport, **settings_fields)


class FakeClock:
    """A clock that moves only when told: call it for the time, ``advance`` to let time pass."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.now += seconds

    def wait(self, seconds: float) -> None:
        """Sleep, as code under this clock does."""
        self.advance(seconds)


class FakeAgent:
    """A Jaeger agent on loopback: the spans that arrived over UDP, decoded, and ``sampling``.

    Use it as a context manager; ``port`` is free until then. ``sampling.serve(strategy)`` changes
    what remote samplers are told at ``sampling.endpoint`` and, if ``with_grpc`` (which needs
    grpcio), at ``sampling.grpc_endpoint``.
    """

    def __init__(self, port: int = 0, *, with_grpc: bool = False) -> None:
        self._receiver = Receiver(port=port)
        self.sampling = SamplingServer(with_grpc=with_grpc)

    def __enter__(self) -> Self:
        self._receiver.__enter__()
        self.sampling.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sampling.__exit__(kind, value, traceback)
        self._receiver.__exit__(kind, value, traceback)

    @property
    def port(self) -> int:
        """The UDP port."""
        return self._receiver.port

    @property
    def environ(self) -> dict[str, str]:
        """The variables that send a process' spans here, every one of them."""
        return {
            "JAEGER_AGENT_HOST": "127.0.0.1",
            "JAEGER_AGENT_PORT": str(self.port),
            "JAEGER_SAMPLER_TYPE": "const",
            "JAEGER_SAMPLER_PARAM": "1",
        }

    def spans(self) -> list[ReceivedSpan]:
        """Return what has arrived so far."""
        return list(self._receiver.spans())

    def wait(self, count: int, timeout_s: float = 10.0) -> list[ReceivedSpan]:
        """Return the spans once ``count`` are there; AssertionError when they do not come."""
        return _arrived(self.spans, count, timeout_s)


class FakeCollector:
    """A collector on loopback: Thrift over HTTP, and OTLP over HTTP, on free ports.

    Use it as a context manager. ``environ`` sends a process' spans here as Jaeger's clients do,
    ``otlp_environ`` as OpenTelemetry does.
    """

    def __init__(self) -> None:
        ports = {**dict.fromkeys(PORTS), "thrift": 0, "otlp": 0}
        self._backend = Backend(ports=ports)

    def __enter__(self) -> Self:
        self._backend.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._backend.__exit__(kind, value, traceback)

    @property
    def endpoint(self) -> str:
        """The URL for Thrift over HTTP."""
        return f"http://127.0.0.1:{self._backend.ports['thrift']}/api/traces"

    @property
    def otlp_endpoint(self) -> str:
        """The base URL for OTLP over HTTP."""
        return f"http://127.0.0.1:{self._backend.ports['otlp']}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables that send a process' spans here, every one of them."""
        return {
            "JAEGER_ENDPOINT": self.endpoint,
            "JAEGER_SAMPLER_TYPE": "const",
            "JAEGER_SAMPLER_PARAM": "1",
        }

    @property
    def otlp_environ(self) -> dict[str, str]:
        """The same by OTLP."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_SAMPLER": "always_on",
        }

    def spans(self) -> list[ReceivedSpan]:
        """Return what has arrived so far."""
        backend = self._backend
        return [span for trace, _ in backend.store.traces() for span in backend.spans(trace)]

    def wait(self, count: int, timeout_s: float = 10.0) -> list[ReceivedSpan]:
        """Return the spans once ``count`` are there; AssertionError when they do not come."""
        return _arrived(self.spans, count, timeout_s)


def _arrived(
    spans: Callable[[], list[ReceivedSpan]], count: int, timeout_s: float
) -> list[ReceivedSpan]:
    end = time.monotonic() + timeout_s
    while len(found := spans()) < count and time.monotonic() < end:
        time.sleep(0.005)
    assert len(found) >= count, f"{count} spans expected, {len(found)} came"  # noqa: S101
    return found
