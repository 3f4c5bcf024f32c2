"""How one interceptor or channel traces: what its factory was told, and what it learned since."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from grpc import StatusCode
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from tracekit._assembly.handle import HasTracing, Tracing, resolve
from tracekit._calls.semconv import SEMCONVS, semconv_of
from tracekit._context import with_span
from tracekit._protocols import PlainAttributes
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._shared import Bound, Method, PassThrough

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import TypeAlias

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from tracekit._calls.semconv import Semconv
    from tracekit.grpc._rpc import Rpc

    Hook = Callable[[Span, Rpc], None]
    SpanSource: TypeAlias = "Callable[[], object] | HasActiveSpan"
    Exclude = Collection[str | Callable[[str], bool]]

_log = logging.getLogger("tracekit")
_MAX_METHODS = 1024
_MAX_NAME = 512


class Options(TypedDict, total=False):
    """The keyword arguments that every factory of ``tracekit.grpc`` takes."""

    exclude: Exclude
    """What is not traced: services (``package.Service``), methods (``package.Service/Method``) and
    predicates over the method's name. Default: health, reflection and trace collectors."""
    on_start: Hook | None
    """Called with the recording span and the ``Rpc`` when the call begins."""
    on_finish: Hook | None
    """Called with the recording span and the ``Rpc`` just before the span ends."""
    metadata: Collection[str]
    """Keys of request metadata to keep as ``rpc.request.metadata.<key>``."""
    response_metadata: Collection[str]
    """Keys of response metadata to keep as ``rpc.response.metadata.<key>``."""
    message_events: bool
    """Add an event ``rpc.message`` for each message."""
    slow_s: float | None
    """Keep only the calls that fail or last at least this many seconds."""
    semconv: str | None
    """The attributes' names: ``current``, ``old`` or ``both``; None: what the settings say."""


class ClientOptions(Options, total=False):
    """Those that the factories of the client's side take as well."""

    active_span_source: SpanSource | None
    """Whom to ask, at each call, for the span that it is made below, where programs start spans
    without making them current: a function, or an object with ``get_active_span()``, that returns
    one of OpenTelemetry's or of ``tracekit.opentracing``; None: the current one."""


class HasActiveSpan(Protocol):
    """An object in the way of grpcio-opentracing's ``ActiveSpanSource``."""

    def get_active_span(self) -> object:
        """Return the span that calls are made below; None: the current one."""


class Plan:
    """The options of one factory call, resolved as far as they can be. Any thread may use it."""

    def __init__(
        self,
        kind: SpanKind,
        tracing: Tracing | HasTracing | None = None,
        *,
        target: str | None = None,
        active_span_source: SpanSource | None = None,
        exclude: Exclude = conventions.UNTRACED,
        on_start: Hook | None = None,
        on_finish: Hook | None = None,
        metadata: Collection[str] = (),
        response_metadata: Collection[str] = (),
        message_events: bool = False,
        slow_s: float | None = None,
        semconv: str | None = None,
    ) -> None:
        self.kind = kind
        self.on_start = on_start
        self.on_finish = on_finish
        self.has_hooks = on_start is not None or on_finish is not None
        self.metadata = frozenset(key.lower() for key in metadata)
        self.response_metadata = frozenset(key.lower() for key in response_metadata)
        self.message_events = message_events
        self.slow_s = slow_s
        self.quiet = not (self.has_hooks or self.response_metadata or message_events) and (
            slow_s is None
        )
        """Whether all that there is to be said when a call ends well are its code and counts."""
        self.plain = not (self.has_hooks or self.metadata or active_span_source) and (
            slow_s is None
        )
        """Whether all that there is to do when a call begins is to start a span."""
        self.semconv: Semconv = "current"
        """The names that a call's span gets; settled by ``rebind``, which comes before them."""
        self._asked_semconv = None if semconv is None else semconv_of(semconv)
        if tracing is not None:
            resolve(tracing)  # TypeError now, not at the first call
        self.tracing = tracing
        self._names = frozenset(entry for entry in exclude if isinstance(entry, str))
        self._predicates = tuple(entry for entry in exclude if not isinstance(entry, str))
        self._target = target if isinstance(target, str) else None
        self.active_span_source = active_span_source
        self.below: frozenset[Plan] | None = None
        """Those of the edges of ours that a channel's calls pass further down; None: unknown."""
        self.ok = PlainAttributes()
        """What a span that ends well says of its code; to be copied."""
        self.methods: dict[str | bytes, Method | None] = {}
        """What ``method`` knows already; who looks here first saves the call."""
        self.bound: Bound | None = None
        self._complained = False

    def method(self, path: str | bytes) -> Method | None:
        """Return the method called ``/package.Service/Method``, None if it is not traced."""
        try:
            return self.methods[path]
        except KeyError:
            pass
        name = (path if isinstance(path, str) else path.decode("utf-8", "replace")).removeprefix(
            "/"
        )
        found = None
        # A generic handler may be called by any name.
        remembered = len(self.methods) < _MAX_METHODS and len(name) <= _MAX_NAME
        if not self._excludes(name):
            attributes = {semconv: self._attributes(name, semconv) for semconv in SEMCONVS}
            found = Method(name, attributes, remembered)
        if remembered:
            self.methods[path] = found
        return found

    def _attributes(self, name: str, semconv: Semconv) -> PlainAttributes:
        found = conventions.method_attributes(name, semconv)
        found.update(conventions.target_attributes(self._target, semconv))
        return found

    def _excludes(self, name: str) -> bool:
        if name in self._names or conventions.service_of(name) in self._names:
            return True
        try:
            return any(predicate(name) for predicate in self._predicates)
        except Exception:
            self.complain("an exclude predicate")
            return False

    def rebind(self) -> Bound:
        """Return what a call needs of the handle in use, and keep it in ``bound``.

        Which handle that is may change between two calls, by ``init`` and ``shutdown``. Until it
        does a call can take ``bound`` as it is: its handle then is ``tracing`` or, if None was
        given, the process' own (``slot.running``). Callers compare these two themselves, because
        that costs less than calling this method.
        """
        handle = resolve(self.tracing)
        bound = self.bound
        if bound is None or bound.handle is not handle:
            self.semconv = self._asked_semconv or handle.settings.semconv
            self.ok = conventions.status_attributes(StatusCode.OK, self.semconv)
            observer = handle.call_observer if self.kind is SpanKind.SERVER else None
            tracer = handle.provider.get_tracer("tracekit.grpc")
            alone = observer is None and self.slow_s is None
            bound = self.bound = Bound(
                handle,
                tracer,
                tracer.begin,
                tracer.start_span,
                tracer.join,
                handle.propagator,
                observer,
                observer is not None or self.on_start is not None,
                tracer if alone and isinstance(tracer, PassThrough) else None,
            )
        return bound

    def context_below(self, current: Context) -> Context:
        """Return the context that a call is made in: of the span that ``active_span_source`` gives.

        The source is asked for each call, in the caller's thread. If it returns no span (None, or
        one of another API), or raises, the call is made in ``current``.
        """
        source: Any = self.active_span_source
        try:
            span = getattr(source, "get_active_span", source)()
            span = getattr(span, "otel", span)
            return with_span(span, current) if isinstance(span, trace.Span) else current
        except Exception:
            self.complain("active_span_source")
            return current

    def run(self, hook: Callable[..., None] | None, span: Span, rpc: object) -> None:
        """Run a user's hook on a recording span; what it raises costs one warning."""
        if hook is not None and span.is_recording():
            try:
                hook(span, rpc)
            except Exception:
                self.complain("a hook")

    def complain(self, what: str) -> None:
        """Log the exception being handled, once per plan: the call goes on as if untraced."""
        if not self._complained:
            self._complained = True
            _log.warning("tracekit.grpc: %s failed; the call is not affected", what, exc_info=True)
