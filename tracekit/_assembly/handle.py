"""The handle: one running pipeline, and which one is *the* handle.

How it starts is in ``init``, how all of them end with the process in ``ending``.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from opentelemetry import trace

from tracekit._assembly import exporters, wiring
from tracekit._assembly.otel_globals import Globals
from tracekit._process.fork import PerProcess
from tracekit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from typing_extensions import Unpack

    from tracekit._assembly.exporters import AddedExporter
    from tracekit._calls.lifecycle import CallObserver
    from tracekit._config.fields import SettingsFields
    from tracekit._protocols import Transport
    from tracekit.metrics import Family
    from tracekit.propagation import Propagator
    from tracekit.reporting import FlushResult, Stats
    from tracekit.tracing import DisabledTracerProvider, TracerProvider

    Provider = DisabledTracerProvider | TracerProvider


class Tracing:
    """A running pipeline and the parts that edges need. Any thread may use it.

    ``provider`` is an OpenTelemetry ``TracerProvider``, ``propagator`` an OpenTelemetry
    ``TextMapPropagator``, ``settings`` what they were built from. A disabled one gives no-op spans
    and still passes remote context and mesh headers through.
    """

    stands_in = False
    """Whether a test has put it in the place of the handle that the program would make."""

    gives_way = False
    """Whether a launcher has made it, so that the program's own ``init`` comes first."""

    def __init__(
        self,
        settings: Settings,
        transport: Transport | None = None,
        exporter: SpanExporter | None = None,
    ) -> None:
        self.settings = settings
        self._parts = wiring.build(settings, transport, exporter)
        self._meter_providers: list[MeterProvider] = []
        if settings.also is not None and not settings.disabled:
            exporters.add(self._parts, None, None, "also", exporters.also(settings))

    def __repr__(self) -> str:
        return f"<Tracing: {self.settings.summary()}>"

    @property
    def provider(self) -> TracerProvider | DisabledTracerProvider:
        """The OpenTelemetry ``TracerProvider``."""
        return self._parts.provider

    @property
    def propagator(self) -> Propagator:
        """The OpenTelemetry ``TextMapPropagator`` over the configured formats."""
        return self._parts.propagator

    @property
    def call_observer(self) -> CallObserver | None:
        """Who counts finished server calls (RPC metrics), if anybody does."""
        return self._parts.calls

    def tracer(self, name: str) -> trace.Tracer:
        """Return the tracer of the instrumentation scope ``name``."""
        return self.provider.get_tracer(name)

    def flush(self, timeout_s: float = 2.0) -> FlushResult:
        """Send what is queued; truthy when nothing is left. Safe in a signal handler."""
        return self._parts.flush(timeout_s)

    def add_exporter(
        self,
        transport: Transport | str | None = None,
        exporter: SpanExporter | None = None,
        *,
        name: str | None = None,
        **settings_fields: Unpack[SettingsFields],
    ) -> AddedExporter:
        """Send what ends from now on to a second destination as well, and return its handle.

        ``transport``, ``exporter`` and the settings are those of ``init``, over the defaults: the
        environment speaks of the first destination only. ``name`` is its label among the metrics.
        It has a queue, a worker, limits and figures of its own (``stats()``, ``flush()``,
        ``remove()``), and costs a span that ends one offer to a queue. Neither waits for the
        other; at exit both are drained at the same time. Raises ``ConfigError`` and ``TypeError``
        for bad settings. A disabled handle takes it and sends nothing.
        """
        return exporters.add(self._parts, transport, exporter, name, settings_fields)

    def stats(self) -> Stats:
        """Return the figures of this process: every span is in exactly one of them."""
        return self._parts.stats()

    def metrics(self) -> list[Family]:
        """Read all instruments of ``tracekit.metrics`` at once; what back ends publish."""
        from tracekit import metrics  # noqa: PLC0415 - not before somebody reads them

        return metrics.families(self._parts.reading())

    def publish_metrics(self, meter_provider: MeterProvider | None = None) -> None:
        """Show the figures on OpenTelemetry's meters as well (None: the global provider's).

        They are read when a metric reader collects; with RPC metrics on, the duration of each
        call is recorded, too. A second time on the same provider does nothing.
        """
        # Deferred: a service without meters never needs them.
        from opentelemetry.metrics import get_meter_provider  # noqa: PLC0415

        from tracekit._assembly import otel_meters  # noqa: PLC0415

        provider = meter_provider or get_meter_provider()
        if not any(known is provider for known in self._meter_providers):
            self._meter_providers.append(provider)
            otel_meters.publish(self._parts, provider)

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Drain and close within ``timeout_s`` seconds; what is left is counted. Idempotent."""
        _release(self)
        self._parts.close(timeout_s)
        # Not when that was interrupted: the exit then ends what is left of it.
        slot.apart.pop(self.provider, None)
        if slot.closing is self:
            slot.closing = None


@runtime_checkable
class HasTracing(Protocol):
    """Something built on a handle, such as our OpenTracing tracer."""

    @property
    def tracing(self) -> Tracing:
        """The handle."""


class _Slot:
    """The one global of tracekit: which handle is *the* handle, and which others there are."""

    def __init__(self) -> None:
        self._lock = PerProcess(threading.RLock)
        self.running: Tracing | None = None
        self.told_free_threaded = False
        self.closing: Tracing | None = None  # a signal waits for its end
        self.ended: Tracing | None = None  # its last figures are still to be shown
        self.idle: Tracing | None = None
        self.apart: WeakKeyDictionary[Provider, float] = WeakKeyDictionary()
        """The exit budgets, in seconds, of handles that are not global. By provider, because
        their tracers, which may be all that somebody keeps, hold on to that."""
        self.otel = Globals()
        self.exit_attended = False  # it is registered with ``atexit``
        self.ending = False  # the process' exit has begun to end all handles

    @property
    def lock(self) -> threading.RLock:
        """Held while the handle changes; in a forked child free, whoever held it at the fork."""
        return self._lock.now()


slot = _Slot()


def current() -> Tracing:
    """Return the process' handle; before ``init`` and after ``shutdown`` a disabled one."""
    running = slot.running
    return _idle() if running is None else running


def shown() -> Tracing:
    """Return the handle whose figures to show: after its end it is still the one that ran last."""
    return slot.running or slot.ended or _idle()


def _idle() -> Tracing:
    """Return the disabled handle that stands in wherever there is none."""
    if slot.idle is None:
        slot.idle = Tracing(Settings.resolve(environ={}, disabled=True))
    return slot.idle


@contextlib.contextmanager
def standing_in(tracing: Tracing) -> Iterator[None]:
    """Make ``tracing`` the process' handle for a while, for tests; then whichever it was before."""
    with slot.lock:
        outer, slot.running = slot.running, tracing
    try:
        with slot.otel.lent(tracing.provider, tracing.propagator):
            yield
    finally:
        with slot.lock:
            slot.running = outer
            after = current()
            slot.otel.follow(after.provider)


def resolve(tracing: Tracing | HasTracing | object | None) -> Tracing:
    """Return the handle that ``tracing=`` of an edge means (None: the process' handle, now).

    TypeError for what has none.
    """
    if tracing is None:
        return current()
    if isinstance(tracing, Tracing):
        return tracing
    if isinstance(tracing, HasTracing):
        return tracing.tracing
    kind = type(tracing)
    if f"{kind.__module__}.{kind.__name__}" == "opentracing.tracer.Tracer":
        # OpenTracing's own, which does nothing: how programs of old said "no tracing here".
        return _idle()
    raise TypeError(f"tracing= takes a tracekit handle or tracer, not {type(tracing).__name__}")


def later(tracing: Tracing | HasTracing | None) -> Callable[[], Tracing]:
    """Return how to get the handle: the process' one may start after the edge was made.

    Raises ``TypeError`` now for what ``tracing=`` does not take.
    """
    if tracing is None:
        return current
    if type(tracing) is Tracing:
        return lambda: tracing
    resolve(tracing)
    return functools.partial(resolve, tracing)


def _release(tracing: Tracing) -> None:
    """Give up being *the* handle; the OpenTelemetry globals then lead to the disabled one."""
    with slot.lock:
        if slot.running is tracing:
            slot.closing = slot.ended = tracing
            slot.running = None
            idle = _idle()
            slot.otel.point(idle.provider, idle.propagator)


def flush(timeout_s: float = 2.0) -> FlushResult:
    """Send what the process' handle has queued (see ``Tracing.flush``)."""
    return current().flush(timeout_s)


def stats() -> Stats:
    """Return the figures of the process' handle (see ``Tracing.stats``)."""
    return current().stats()


def shutdown(timeout_s: float = 2.0) -> None:
    """End the process' handle (see ``Tracing.shutdown``)."""
    current().shutdown(timeout_s)


def get_tracer(name: str) -> trace.Tracer:
    """Return the tracer of the scope ``name`` on the process' handle, whichever runs.

    It may be taken before ``init`` and kept over ``shutdown`` and a new ``init``, also as a
    decorator, and costs what the handle's own tracer costs. Any thread may call this.
    """
    tracer = slot.otel.known(name)
    if tracer is None:
        with slot.lock:
            tracer = slot.otel.tracer(name, current().provider)
    return tracer


def current_span() -> trace.Span:
    """Return the span that is current on this thread or task (a no-op one if there is none)."""
    return trace.get_current_span()
