"""Trace what goes out through ``requests``.

::

    undo = tracekit.requests.instrument()               # every Session
    undo = tracekit.requests.instrument(session)        # this one

Each exchange on the wire (each redirect is one) has a client span, from the moment the request is
handed to the session's adapter until its body is read or closed. The headers of the trace and of
the mesh are put on a copy: the caller's request keeps none of them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

try:
    import requests
except ImportError as error:
    raise ImportError(
        "tracekit.requests needs requests: pip install 'tracekit-jaeger[requests]'"
    ) from error

from tracekit._assembly.handle import HasTracing, Tracing, later
from tracekit._calls.http_client import HttpClient
from tracekit._calls.patch import Patch, lock
from tracekit.requests import _sending
from tracekit.requests._adapter import hand_over
from tracekit.requests._sending import MARK, NAME, Lookup, Sending, interception

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tracekit._calls.http_client import Hosts

__all__ = ["instrument"]


def instrument(
    session: requests.Session | None = None,
    *,
    tracing: Tracing | HasTracing | None = None,
    allow: Iterable[str] = (),
    hosts: Hosts = None,
    semconv: str | None = None,
) -> Callable[[], None]:
    """Trace ``session`` (None: every Session) from its next request on; return the undo.

    ``hosts``, a predicate over host names or patterns like ``*.svc.cluster.local``, says where
    trace headers may go (default: everywhere). Baggage and the application headers that
    ``allow`` lists go only where ``hosts`` says so. ``semconv`` picks the attributes' names:
    ``"current"``, ``"old"`` or ``"both"`` (None: as configured). What is traced already stays as
    it is, and the undo returned then does nothing. Any thread may call it.
    """
    target: Any = requests.Session if session is None else session
    client = _Client(tracing, allow, hosts, semconv)
    with lock:
        if MARK in vars(target):
            return _nothing
        setattr(target, MARK, client)
        patch = Patch(target, "send", client.sending)
    interception.begin()
    client.cover(target if session is None else type(session))

    def undo() -> None:
        with lock:
            if client.active:
                client.active = False
                interception.end()
            if vars(target).get(MARK) is client:
                delattr(target, MARK)
                patch.undo()

    return undo


def _nothing() -> None:
    """Undo nothing."""


class _Client(HttpClient):
    """The settings of one ``instrument``, and what they do to ``Session.send``."""

    active = True

    def __init__(
        self,
        tracing: Tracing | HasTracing | None,
        allow: Iterable[str],
        hosts: Hosts,
        semconv: str | None,
    ) -> None:
        super().__init__(later(tracing), "tracekit.requests", allow, hosts, semconv)

    def cover(self, kind: type) -> None:
        """Have the adapters of sessions of ``kind`` looked up through us."""
        try:
            interception.cover(kind)
        except Exception:  # a class that takes no attribute
            self.complain("a session's requests cannot be traced; they are sent untraced")

    def sending(self, original: Callable[..., requests.Response]) -> Callable[..., Any]:
        """Return ``Session.send`` that has its adapter traced."""
        bound_to = getattr(original, "__self__", None)  # one session's, or the class's function

        @functools.wraps(original)
        def send(*args: object, **kwargs: object) -> requests.Response:
            session = args[0] if bound_to is None and args else bound_to
            if not self.active or session is None:
                return original(*args, **kwargs)
            kind = type(session)
            if type(kind.__dict__.get(NAME)) is not Lookup:  # ``cover`` would find that out as well
                self.cover(kind)
            sending = Sending(self, session)
            token = _sending.current.set(sending)
            try:
                response = original(*args, **kwargs)
            except BaseException:
                sending.end()
                raise
            finally:
                _sending.current.reset(token)
            hand_over(response)
            return response

        return send
