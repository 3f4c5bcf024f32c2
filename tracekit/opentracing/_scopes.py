"""Who is active: OpenTelemetry's context, alone or in step with another scope manager.

An activation puts two things into OpenTelemetry's context: the span, where OpenTelemetry looks
for it, and the scope. As long as the span there is the scope's, OpenTracing was last; if it is
another one, OpenTelemetry made a span current since, and that one is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import opentracing
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from tracekit._context import SPAN_KEY, attach, detach, get_current
from tracekit.opentracing._span import SEEN_KEY, Span
from tracekit.opentracing._span_context import BAGGAGE_KEY, NO_BAGGAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

SCOPE_KEY = otel_context.create_key("tracekit-opentracing-scope")


class Scope(opentracing.Scope):
    """A span that is active from its making until ``close``, in OpenTelemetry too."""

    def __init__(
        self,
        manager: opentracing.ScopeManager,
        span: opentracing.Span,
        finish_on_close: bool,
        inner: opentracing.Scope | None = None,
    ) -> None:
        super().__init__(manager, span)
        self._finish_on_close = finish_on_close
        self._inner = inner
        self.before = get_current()
        """What was current before; OpenTelemetry's."""
        if isinstance(span, Span):
            self.otel: object = span.otel
            entered = span.context.entered(self.before)
            entered[SEEN_KEY] = entered.get(BAGGAGE_KEY, NO_BAGGAGE)
        else:  # another tracer's: OpenTelemetry has no part in it
            self.otel = self.before.get(SPAN_KEY)
            entered = dict(self.before)
        entered[SCOPE_KEY] = self
        self._token = attach(Context(entered))

    def close(self) -> None:
        """Make current what was before, if this is still active; finish the span if asked to."""
        if self.manager.active is not self:
            return
        if self._inner is not None:
            self._inner.close()
        if get_current().get(SCOPE_KEY) is self:
            try:
                detach(self._token)
            except (ValueError, RuntimeError):  # closed by another task than the one that opened it
                attach(self.before)
        if self._finish_on_close:
            self.span.finish()

    def is_above(self, span: object) -> bool:
        """Whether ``span`` was current when this or a scope below it was opened."""
        scope: object = self
        while isinstance(scope, Scope):
            if scope.before.get(SPAN_KEY) is span:
                return True
            scope = scope.before.get(SCOPE_KEY)
        return False


class _ShownScope(opentracing.Scope):
    """What stands for a span that OpenTelemetry made current: closing it is not ours to do."""


class ContextScopeManager(opentracing.ScopeManager):
    """Follows OpenTelemetry's context: one per thread, asyncio task and greenlet.

    Tasks and greenlets inherit what is active where they are made. Any thread may use it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._span_of: Callable[[trace.Span], Span] | None = None

    def show_by(self, span_of: Callable[[trace.Span], Span]) -> Self:
        """Show OpenTelemetry's spans as ``span_of`` does, unless somebody else does already."""
        if self._span_of is None:
            self._span_of = span_of
        return self

    def activate(self, span: opentracing.Span, finish_on_close: bool) -> Scope:
        """Make ``span`` active, in OpenTelemetry too."""
        return Scope(self, span, finish_on_close)

    @property
    def active(self) -> opentracing.Scope | None:
        """The scope of the span that is current, whichever API made it so; None without one."""
        current = get_current()
        span, scope = current.get(SPAN_KEY), current.get(SCOPE_KEY)
        if isinstance(scope, Scope) and scope.otel is span and scope.manager is self:
            return scope
        return self._shown(span)

    def _shown(self, span: object) -> opentracing.Scope | None:
        if span is None or self._span_of is None or not _is_valid(span):
            return None
        return _ShownScope(self, self._span_of(span))  # type: ignore[arg-type] # valid: a span


class MirroredScopeManager(ContextScopeManager):
    """Another scope manager says where a span is active; OpenTelemetry is kept in step.

    So the rules of that one hold for OpenTracing's spans: ``AsyncioScopeManager`` does not hand
    them to new tasks, a thread-local one shares them between tasks. A span that OpenTelemetry has
    made current since is shown in any case.
    """

    def __init__(self, inner: opentracing.ScopeManager) -> None:
        super().__init__()
        self.inner = inner

    def activate(self, span: opentracing.Span, finish_on_close: bool) -> Scope:
        """Make ``span`` active in both."""
        inner = self.inner.activate(span, False)
        inner._tracekit_scope = Scope(self, span, finish_on_close, inner)
        scope: Scope = inner._tracekit_scope
        return scope

    @property
    def active(self) -> opentracing.Scope | None:
        """The newer of the two: what the other manager says, or what OpenTelemetry made current."""
        current = get_current()
        span, scope = current.get(SPAN_KEY), current.get(SCOPE_KEY)
        inner = self.inner.active
        theirs = getattr(inner, "_tracekit_scope", inner)
        if isinstance(scope, Scope) and scope.otel is span and scope.manager is self:
            return theirs  # OpenTelemetry's current span is one of ours: it says nothing new
        shown = self._shown(span)
        if shown is None:
            return theirs
        # Where the scope is in the context, the span was made current on top of it. Where it is
        # not, it was opened in another context, maybe on top of this very span.
        if theirs is not scope and isinstance(theirs, Scope) and theirs.is_above(span):
            return theirs
        return shown


def _is_valid(span: object) -> bool:
    return isinstance(span, trace.Span) and span.get_span_context().is_valid
