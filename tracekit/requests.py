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
import sys
import threading
import traceback
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

try:
    import requests
    from requests.structures import CaseInsensitiveDict
    from urllib3.exceptions import HTTPError
except ImportError as error:
    raise ImportError(
        "tracekit.requests needs requests: pip install 'tracekit[requests]'"
    ) from error

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY

from tracekit import _handle, _http
from tracekit._calls import Call
from tracekit._context import with_span
from tracekit._redaction import redact_text
from tracekit._semconv import semconv_of
from tracekit.propagation import ForwardRule, merge_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from requests.adapters import BaseAdapter

    from tracekit._semconv import Semconv

    Hosts = Callable[[str], bool] | Sequence[str] | str | None

__all__ = ["instrument"]

_log = logging.getLogger("tracekit")
_SCOPE = "tracekit.requests"
_SUPPRESSED = (
    "suppress_instrumentation",
    _SUPPRESS_INSTRUMENTATION_KEY,
    "suppress_http_instrumentation",
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
)
_MARK = "_tracekit_client"
_EXCHANGE = "_tracekit_exchange"
_lock = threading.Lock()
# Session.send asks for the adapter once. Only that one asking gets the traced adapter: whoever
# else calls get_adapter gets the adapter that was mounted.
_sending: ContextVar[bool] = ContextVar("tracekit_requests_sending", default=False)


def instrument(
    session: requests.Session | None = None,
    *,
    tracing: _handle.Tracing | _handle.HasTracing | None = None,
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
        tracing: _handle.Tracing | _handle.HasTracing | None,
        allow: Iterable[str],
        hosts: Hosts,
        semconv: str | None,
    ) -> None:
        self.active = True
        self.complained = False
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
            exchange = vars(response).get(_EXCHANGE)
            if exchange is not None and vars(response).get("_content_consumed"):
                exchange.finish()
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
            return _Adapter(adapter, self) if wanted else adapter

        return get_adapter

    def _handle(self) -> _handle.Tracing:
        handle = _handle.resolve(self._tracing)
        if self._rule.allow and handle not in self._captures:
            # What is to go out must have been noted when the request came in.
            handle.propagator.forward(self._rule.allow)
            self._captures.add(handle)
        return handle

    def begin(self, request: requests.PreparedRequest) -> tuple[_Exchange, Any]:
        """Start the span of one exchange; return it and the request with its headers."""
        handle = self._handle()
        context = otel_context.get_current()
        method, url = request.method or "", request.url or ""
        host, port = _http.server_of(url)
        semconv = self._semconv or handle.settings.semconv
        span = handle.tracer(_SCOPE).start_span(
            _http.span_name(method), context, trace.SpanKind.CLIENT
        )
        if span.is_recording():
            span.set_attributes(_http.client_attributes(method, url, host, port, semconv))
        call = Call(span, with_span(span, context))
        outgoing = handle.propagator.outgoing(call.context, host, self._rule)
        sent = copy.copy(request)
        headers: Any = merge_headers(outgoing, (request.headers or {}).items())
        sent.headers = CaseInsensitiveDict(headers)
        return _Exchange(call, semconv), sent


class _Adapter:
    """A session's adapter with a span around each ``send``; otherwise the adapter itself."""

    def __init__(self, adapter: BaseAdapter, client: _Client) -> None:
        self._adapter = adapter
        self._client = client

    def __getattr__(self, name: str) -> object:
        return getattr(self._adapter, name)

    def send(
        self,
        request: requests.PreparedRequest,
        *args: Any,  # noqa: ANN401 (whatever adapters take)
        **kwargs: Any,  # noqa: ANN401
    ) -> requests.Response:
        """Send one request; its span ends with the response's body."""
        adapter = self._adapter
        if any(map(otel_context.get_value, _SUPPRESSED)):
            return adapter.send(request, *args, **kwargs)
        try:
            exchange, sent = self._client.begin(request)
        except Exception:
            if not self._client.complained:  # or every request would repeat it
                self._client.complained = True
                _log.exception("tracing a request failed; it is sent untraced")
            return adapter.send(request, *args, **kwargs)
        try:
            with exchange.call.step():
                response = adapter.send(sent, *args, **kwargs)
        except BaseException as error:
            exchange.finish(error)
            raise
        if getattr(response, "connection", None) is adapter:
            # Digest authentication sends its second request through this.
            response.connection = self  # type: ignore[assignment] # it is one in all but type
        exchange.follow(response)
        return response


class _Exchange:
    """One request on the wire until its body is read, closed or dropped."""

    def __init__(self, call: Call, semconv: Semconv) -> None:
        self.call = call
        self._semconv = semconv
        self._status = 0
        self._attributes: _http.Attributes = {}

    def follow(self, response: requests.Response) -> None:
        """Note the status; end with the body, which may be read long after this returns."""
        raw: Any = response.raw
        self._status = response.status_code or 0
        if self.call.span.is_recording():
            self._attributes = _answer(self._status, raw, self._semconv)
        release = getattr(type(raw), "release_conn", None)
        try:
            # urllib3 gives the connection back exactly when it is done with the body, whichever
            # way the body is read; the response itself must not be part of a reference cycle.
            if release is not None:
                raw.release_conn = _Release(self, release, raw)
                setattr(response, _EXCHANGE, self)
                return
        except (AttributeError, TypeError):
            pass  # an adapter of somebody else's, with a body of its own kind
        self.finish()

    def finish(self, error: BaseException | None = None) -> None:
        """End the span, once."""
        kind = description = None
        if error is not None:
            kind, description = _http.error_type(error), redact_text(_http.message_of(error))
            if self.call.span.is_recording():
                _record(self.call.span, error, description)
        elif self._status >= 400:
            kind = str(self._status)
        self.call.finish(error_type=kind, description=description, attributes=self._attributes)

    def __del__(self) -> None:
        self.finish()  # a response that nobody read or closed


class _Release:
    """The ``release_conn`` of one urllib3 response."""

    def __init__(self, exchange: _Exchange, release: Callable[[Any], None], raw: object) -> None:
        self._exchange = exchange
        self._release = release
        self._raw = weakref.ref(raw)

    def __call__(self) -> None:
        error = sys.exc_info()[1]
        self._exchange.finish(error if isinstance(error, HTTPError) else None)
        raw = self._raw()
        if raw is not None:
            self._release(raw)


def _record(span: trace.Span, error: BaseException, message: str) -> None:
    """Add the exception event; urllib3 and requests quote the whole URL in what they raise."""
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    span.record_exception(
        cast("Exception", error),
        {"exception.message": message, "exception.stacktrace": redact_text(stack)},
    )


def _answer(status: int, raw: object, semconv: Semconv) -> _http.Attributes:
    found: _http.Attributes = dict.fromkeys(_http.STATUS_KEYS[semconv], status) if status else {}
    if semconv != "old":
        version = {10: "1.0", 11: "1.1", 20: "2"}.get(getattr(raw, "version", 0))
        if version:
            found["network.protocol.version"] = version
        retries = getattr(getattr(raw, "retries", None), "history", None)
        if retries:
            found["http.request.resend_count"] = len(retries)
    return found
