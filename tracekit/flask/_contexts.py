"""Where every request of a Flask application comes by: its contexts, and its exceptions."""

from __future__ import annotations

import functools
import sys
from types import MethodType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

import flask
from werkzeug.exceptions import HTTPException

from tracekit.flask._carrying import Edge, carrying
from tracekit.wsgi._exchange import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit.wsgi._exchange import Exchange

P = ParamSpec("P")
R = TypeVar("R")

_WSGI_APP = flask.Flask.wsgi_app.__code__
_MAKE = flask.Flask.request_context
_MADE_OF = getattr(getattr(_MAKE, "__code__", None), "co_names", ())
_NAMES: dict[str, object] = getattr(_MAKE, "__globals__", {})
_KIND = "RequestContext"


class Attending(Edge, Protocol):
    """Who is told of contexts, and of requests that came by no middleware of ours."""

    def arrived(self, context: Any) -> None:  # noqa: ANN401 (a class of Flask's, by version)
        """Take note that ``Flask.wsgi_app`` has made a context for a request that nobody traces."""

    def complain(self, message: str) -> None:
        """Log the current exception, once."""


def attend_contexts(app: flask.Flask, edge: Attending) -> None:
    """Tell ``edge`` of each context that ``app`` makes from now on, and note its exceptions."""
    noticed = app.handle_user_exception = _noticing(app.handle_user_exception)  # type: ignore[method-assign]
    make = app.request_context
    kinds: dict[object, Any] = {}
    owner = _owner(make)

    # Every request comes by here, also one whose server has taken ``app.wsgi_app`` before it
    # was ours, and so do the contexts of command lines, socket handlers and tests.
    @functools.wraps(make)
    def request_context(*args: Any, **named: Any) -> object:  # noqa: ANN401 (Flask's own)
        nonlocal noticed
        plain = owner is not None and len(args) == 1 and not named
        straight = kinds.get(_NAMES.get(_KIND)) if plain else None
        context: Any = straight(owner, *args) if straight is not None else make(*args, **named)
        if vars(app).get("handle_user_exception") is not noticed:
            # An extension has put its own over ours since, which may never ask ours.
            noticed = app.handle_user_exception = _noticing(app.handle_user_exception)  # type: ignore[method-assign]
        try:
            if straight is None:
                kind = type(context)
                context.__class__ = kinds.get(kind) or kinds.setdefault(kind, carrying(kind, edge))
        except Exception:  # a class of the application's own that allows no subclass
            edge.complain("copies of the request's context will not carry its span")
            context.push = functools.partial(_pushing, context.push, edge.routed, context)
            return context
        known: Exchange | None = context.request.environ.get(KEY)
        if (known is None or known.finished) and sys._getframe(1).f_code is _WSGI_APP:
            edge.arrived(context)
        return context

    app.request_context = request_context  # type: ignore[method-assign, assignment]


def _owner(make: Any) -> flask.Flask | None:  # noqa: ANN401
    """Return whose ``request_context`` it is, if that does nothing but make a ``RequestContext``.

    Then a context can be made of our class from the start. To give it another class later has the
    interpreter keep its attributes in a slower way, for the rest of its life.
    """
    if type(make) is not MethodType or make.__func__ is not _MAKE or _MADE_OF != (_KIND,):
        return None
    return cast("flask.Flask", make.__self__)


def _noticing(handle: Callable[P, R]) -> Callable[P, R]:
    """Return ``app.handle_user_exception`` that takes note of what it is given.

    No signal tells of an exception that an error handler turns into a response.
    """

    @functools.wraps(handle)
    def noticing(*args: P.args, **named: P.kwargs) -> R:
        for given in (*args, *named.values()):
            notice(given)
        return handle(*args, **named)

    return noticing


def notice(error: object) -> None:
    """Remember which exception the response is made of; an abort is no exception but an answer."""
    if not isinstance(error, BaseException) or isinstance(error, HTTPException):
        return
    if flask.has_request_context():
        exchange: Exchange | None = flask.request.environ.get(KEY)
        if exchange is not None:
            exchange.error = error


def _pushing(
    push: Callable[[], None],
    routed: Callable[[flask.Request], None],
    context: Any,  # noqa: ANN401
) -> None:
    """Push a context whose class could not be replaced."""
    push()
    routed(context.request)
