"""Trace what goes out through ``requests``.

::

    undo = tracekit.requests.instrument()               # every Session
    undo = tracekit.requests.instrument(session)        # this one

Each exchange on the wire (each redirect is one) has a client span, from the moment the request is
handed to the session's adapter until its body is read or closed. The headers of the trace and of
the mesh are put on a copy: the caller's request keeps none of them.
"""

from __future__ import annotations

import copy
import functools
import logging
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

try:
    import requests
    from requests.structures import CaseInsensitiveDict
except ImportError as error:
    raise ImportError(
        "tracekit.requests needs requests: pip install 'tracekit-jaeger[requests]'"
    ) from error

from opentelemetry import context as otel_context
from opentelemetry import trace

from tracekit._assembly.handle import HasTracing, Tracing, resolve
from tracekit._calls import http
from tracekit._calls.lifecycle import Call
from tracekit._calls.semconv import semconv_of
from tracekit._context import with_span
from tracekit.propagation import ForwardRule, merge_headers
from tracekit.requests._adapter import Adapter, hand_over
from tracekit.requests._exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from requests.adapters import BaseAdapter

    Hosts = Callable[[str], bool] | Sequence[str] | str | None

__all__ = ["instrument"]

_log = logging.getLogger("tracekit")
_SCOPE = "tracekit.requests"
_MARK = "_tracekit_client"
_lock = threading.Lock()
# Session.send asks for the adapter once. Only that one asking gets the traced adapter: whoever
# else calls get_adapter gets the adapter that was mounted.
_sending: ContextVar[bool] = ContextVar("tracekit_requests_sending", default=False)


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
    with _lock:
        if _MARK in vars(target):
            return _nothing
        setattr(target, _MARK, client)
        patches = (
            _Patch(target, "send", client.sending),
            _Patch(target, "get_adapter", client.adapting),
        )

    def undo() -> None:
        with _lock:
            client.active = False
            if vars(target).get(_MARK) is client:
                delattr(target, _MARK)
                for patch in patches:
                    patch.undo()

    return undo


def _nothing() -> None:
    """Undo nothing."""


class _Patch:
    """One method of a class or of an instance, replaced until ``undo``.

    An instance's own attribute is no part of its pickled state, nor of its class.
    """

    def __init__(
        self, target: object, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        self._target, self._name = target, name
        self._had = vars(target).get(name)
        self._ours = wrap(getattr(target, name))
        setattr(target, name, self._ours)

    def undo(self) -> None:
        """Put back what was there, unless somebody has put something over ours since."""
        if vars(self._target).get(self._name) is not self._ours:
            return  # theirs calls ours, which from now on only calls what it replaced
        if self._had is None:
            delattr(self._target, self._name)
        else:
            setattr(self._target, self._name, self._had)


class _Client:
    """The settings of one ``instrument``, and what they do to a Session's two methods."""

    def __init__(
        self,
        tracing: Tracing | HasTracing | None,
        allow: Iterable[str],
        hosts: Hosts,
        semconv: str | None,
    ) -> None:
        self.active = True
        self._complained = False
        self._tracing = tracing
        self._rule = ForwardRule.of(allow, hosts)
        self._semconv = None if semconv is None else semconv_of(semconv)
        self._captures: weakref.WeakSet[Any] = weakref.WeakSet()
        if tracing is not None or self._rule.allow:
            self._handle()

    def sending(self, original: Callable[..., requests.Response]) -> Callable[..., Any]:
        """Return ``Session.send`` that has its adapter traced."""

        @functools.wraps(original)
        def send(*args: object, **kwargs: object) -> requests.Response:
            token = _sending.set(self.active)
            try:
                response = original(*args, **kwargs)
            finally:
                _sending.reset(token)
            hand_over(response)
            return response

        return send

    def adapting(self, original: Callable[..., BaseAdapter]) -> Callable[..., Any]:
        """Return ``Session.get_adapter`` that gives ``send``, and only it, a traced adapter."""

        @functools.wraps(original)
        def get_adapter(*args: object, **kwargs: object) -> object:
            wanted = self.active and _sending.get()
            if wanted:
                _sending.set(False)
            adapter = original(*args, **kwargs)
            return Adapter(adapter, self) if wanted else adapter

        return get_adapter

    def _handle(self) -> Tracing:
        handle = resolve(self._tracing)
        if self._rule.allow and handle not in self._captures:
            # What is to go out must have been noted when the request came in.
            handle.propagator.forward(self._rule.allow)
            self._captures.add(handle)
        return handle

    def complain(self, message: str) -> None:
        """Log the current exception; once, or every request would repeat it."""
        if not self._complained:
            self._complained = True
            _log.exception(message)

    def begin(self, request: requests.PreparedRequest) -> tuple[Exchange, Any]:
        """Start the span of one exchange; return it and the request with its headers."""
        handle = self._handle()
        context = otel_context.get_current()
        method, url = request.method or "", request.url or ""
        host, port = http.server_of(url)
        semconv = self._semconv or handle.settings.semconv
        span = handle.tracer(_SCOPE).start_span(
            http.span_name(method), context, trace.SpanKind.CLIENT
        )
        if span.is_recording():
            span.set_attributes(http.client_attributes(method, url, host, port, semconv))
        call = Call(span, with_span(span, context))
        try:
            outgoing = handle.propagator.outgoing(call.context, host, self._rule)
            headers: Any = merge_headers(outgoing, (request.headers or {}).items())
            sent = copy.copy(request)
            sent.headers = CaseInsensitiveDict(headers)
        except Exception:  # a request of somebody's own kind, which is then sent as it is
            call.finish()
            raise
        return Exchange(call, semconv), sent
