"""Flask's contexts: they tell when a request is routed, and copies carry OpenTelemetry's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import context as otel_context

from tracekit.flask._late import Late

if TYPE_CHECKING:
    from contextvars import Token

    import flask
    from opentelemetry.context import Context

    from tracekit.wsgi._exchange import Exchange


class Edge(Protocol):
    """Who is told."""

    def routed(self, request: flask.Request) -> None:
        """Take note that a request has been matched: its context has been pushed."""


def carrying(kind: Any, edge: Edge) -> Any:  # noqa: ANN401 (classes known at run time only)
    """Return a subclass of a Flask context that tells ``edge`` when its request is matched.

    ``copy_current_request_context`` runs a function elsewhere, in a thread or greenlet, under a
    copy of a context; what was current where it was copied is then current there.
    """
    if hasattr(kind, "_tracekit_attaching"):
        return kind
    push_one, pop_one = kind.push, kind.pop

    class Carrying(kind):  # type: ignore[misc] # a class known at run time only
        def copy(self) -> object:
            copied = super().copy()
            copied.__class__ = Attaching
            copied._tracekit_attach = Carried(otel_context.get_current())
            return copied

        def push(self) -> None:
            push_one(self)
            edge.routed(self.request)

    class Attaching(Carrying):
        _tracekit_attach: Carried | Late | None = None

        def push(self) -> None:
            attach = self._tracekit_attach
            if attach is not None:
                attach.push()
            push_one(self)
            edge.routed(self.request)
            if attach is not None:
                attach.pushed()

        def pop(self, *args: object) -> None:
            attach = self._tracekit_attach
            try:
                pop_one(self, *args)
            finally:
                if attach is not None:
                    attach.pop(args[0] if args else None)

    for made in (Carrying, Attaching):
        made.__name__, made.__qualname__ = kind.__name__, kind.__qualname__
        made.__module__ = kind.__module__
    Carrying._tracekit_attaching = Attaching
    return Carrying


def late(context: Any, exchange: Exchange) -> None:  # noqa: ANN401
    """Have ``context`` serve an exchange that nobody else does."""
    context.__class__ = context._tracekit_attaching
    context._tracekit_attach = Late(exchange)


class Carried:
    """What a copy of a context takes along; it may be pushed more than once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tokens: list[Token[Context]] = []

    def push(self) -> None:
        """Do nothing yet: Flask's own code comes first."""

    def pushed(self) -> None:
        """Make current what was so where the copy was made."""
        self._tokens.append(otel_context.attach(self._context))

    def pop(self, _error: object) -> None:
        """Have current again what was so before."""
        otel_context.detach(self._tokens.pop())
