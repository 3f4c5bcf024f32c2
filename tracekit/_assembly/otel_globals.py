"""OpenTelemetry's globals, which can be set once only: one shell that is re-pointed.

A tracer that some library asked for before ``init`` or kept after ``shutdown`` must follow the
handle that runs now. So the shell's tracers hold the running tracer's *bound methods* as their own
attributes and are re-pointed when the handle changes: a call costs no extra hop.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.util._once import Once

from tracekit._display import quoted
from tracekit._process.fork import PerProcess
from tracekit.propagation import Propagator
from tracekit.tracing import MAX_TRACERS, DisabledTracer, Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes

_log = logging.getLogger("tracekit")

ScopeKey = tuple["str", "str | None", "str | None", "Attributes"]


class ShellTracer(trace.Tracer):
    """A tracer whose two methods are those of the running handle's tracer of the same scope."""

    def __init__(self, scope: ScopeKey, provider: trace.TracerProvider) -> None:
        self._scope = scope
        self.point(provider)

    def point(self, provider: trace.TracerProvider) -> None:
        """Follow ``provider`` from now on."""
        tracer = provider.get_tracer(*self._scope)
        if isinstance(tracer, (Tracer, DisabledTracer)):
            # A decorator is made once, often at import, and must follow as well.
            tracer = tracer.led_by(self)
        vars(self).update(
            start_span=tracer.start_span, start_as_current_span=tracer.start_as_current_span
        )

    # The abstract class wants both on the type; the instance's own attributes win.
    def start_span(self, *args: object, **kwargs: object) -> trace.Span:
        """Start a span (see ``opentelemetry.trace.Tracer.start_span``)."""
        raise NotImplementedError

    def start_as_current_span(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        """Start a current span (see ``opentelemetry.trace.Tracer.start_as_current_span``)."""
        raise NotImplementedError


class ShellTracerProvider(trace.TracerProvider):
    """OpenTelemetry's global provider for the life of the process; any thread may use it."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._provider = provider
        self._tracers: weakref.WeakSet[ShellTracer] = weakref.WeakSet()
        self._lock = PerProcess(threading.RLock)  # free in a child, whoever held it at the fork

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """Return a tracer that always follows the running handle."""
        scope = (instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        with self._lock.now():
            tracer = ShellTracer(scope, self._provider)
            self._tracers.add(tracer)
        return tracer

    def point(self, provider: trace.TracerProvider) -> None:
        """Make every tracer handed out follow ``provider``."""
        with self._lock.now():
            self._provider = provider
            for tracer in list(self._tracers):
                tracer.point(provider)

    def __getattr__(self, name: str) -> object:
        # add_span_processor, force_flush, resource …: what the provider offers beyond the API.
        if name == "_provider":
            raise AttributeError(name)
        return getattr(self._provider, name)


class ShellPropagator(TextMapPropagator):
    """OpenTelemetry's global propagator; ``delegate`` is the running handle's."""

    def __init__(self, delegate: TextMapPropagator) -> None:
        self.delegate = delegate

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Read what the running handle's formats say."""
        return self.delegate.extract(carrier, context, getter)

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Write the current span in the running handle's formats, and what the mesh needs.

        Whoever calls this is no edge of ours: those go by a rule of hosts.
        """
        delegate = self.delegate
        delegate.inject(carrier, context, setter)
        if isinstance(delegate, Propagator):
            delegate.inject_captured(carrier, context, setter)

    @property
    def fields(self) -> AbstractSet[str]:  # type: ignore[override]
        """Names of the headers that ``inject`` may set."""
        return self.delegate.fields


class Globals:
    """The tracers that follow the handle, and what tracekit holds of OpenTelemetry's globals.

    Those are left alone until the first ``point``.
    """

    def __init__(self) -> None:
        self._shell: ShellTracerProvider | None = None
        self._propagator: ShellPropagator | None = None
        self._named: dict[str, trace.Tracer] = {}
        self._warned = False

    def tracer(self, name: str, provider: trace.TracerProvider) -> trace.Tracer:
        """Return the tracer of the scope ``name`` that follows the handle, today's ``provider``.

        It follows whoever holds OpenTelemetry's globals. With the handle's lock held, but for a
        name that was asked for before.
        """
        tracer = self._named.get(name)
        if tracer is None:
            if self._shell is None:
                self._shell = ShellTracerProvider(provider)
            tracer = self._shell.get_tracer(name)
            if len(self._named) < MAX_TRACERS:
                self._named[name] = tracer
        return tracer

    def follow(self, provider: trace.TracerProvider) -> None:
        """Make our tracers follow ``provider``; OpenTelemetry's globals are not touched."""
        if self._shell is not None:
            self._shell.point(provider)

    def known(self, name: str) -> trace.Tracer | None:
        """Return ``tracer(name)`` if it was asked for before; any thread may ask."""
        return self._named.get(name)

    def point(self, provider: trace.TracerProvider, propagator: TextMapPropagator) -> None:
        """Make our tracers and OpenTelemetry's globals follow these.

        A foreign global provider is kept, and with it the formats that its program's other
        instrumentation reads and writes.
        """
        shell = self._shell
        if shell is None:
            shell = self._shell = ShellTracerProvider(provider)
        else:
            shell.point(provider)
        if self._propagator is not None:
            self._propagator.delegate = propagator
        elif isinstance(_global_provider(), trace.ProxyTracerProvider):
            self._propagator = ShellPropagator(propagator)
            trace.set_tracer_provider(shell)
            _set_global_textmap(self._propagator)
        else:
            self._keep_foreign()

    @contextlib.contextmanager
    def lent(self, provider: trace.TracerProvider, propagator: TextMapPropagator) -> Iterator[None]:
        """Make everything lead to these for a while, for tests: a foreign global provider, too.

        Afterwards OpenTelemetry's globals are what they were, *unset* among it; our own tracers
        are the caller's to point. OpenTelemetry has no public way to take a provider back.
        """
        from opentelemetry import propagate  # noqa: PLC0415 - see _set_global_textmap

        self._shell = shell = self._shell or ShellTracerProvider(provider)
        shell.point(provider)
        names = ("_TRACER_PROVIDER", "_TRACER_PROVIDER_SET_ONCE")
        held = {name: vars(trace).get(name) for name in names}
        textmap = propagate.get_global_textmap()
        once = Once()
        once.do_once(lambda: None)  # a provider of the program's is refused, as beside any other
        vars(trace).update(zip(names, (shell, once), strict=True))
        propagate.set_global_textmap(ShellPropagator(propagator))
        try:
            yield
        finally:
            vars(trace).update(held)
            propagate.set_global_textmap(textmap)

    def _keep_foreign(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "OpenTelemetry's global tracer provider is %s already and is kept, so is the "
                "global propagator; tracekit's own edges use tracekit's handle",
                type(_global_provider()).__name__,
            )


def _global_provider() -> trace.TracerProvider:
    return trace.get_tracer_provider()


def _set_global_textmap(propagator: TextMapPropagator) -> None:
    # Importing this module reads OTEL_PROPAGATORS and raises on a name it does not know; that
    # variable is reported by our own settings and must not end the program here.
    try:
        from opentelemetry import propagate  # noqa: PLC0415 (see above)
    except Exception as error:
        _log.warning("OpenTelemetry's global propagator could not be set: %s", quoted(error))
    else:
        setter: Callable[[TextMapPropagator], None] = propagate.set_global_textmap
        setter(propagator)
