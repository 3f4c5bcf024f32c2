"""Trace a Flask application.

::

    app = Flask(__name__)
    tracekit.flask.init_app(app)        # or FlaskTracing(app), or FlaskTracing().init_app(app)

The span's life is WSGI's (see ``tracekit.wsgi``); Flask only tells it the route and which
exception became the response. So a request has its span also when an earlier ``before_request``
answers, when a body streams, and when nothing matches.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

try:
    import flask
    from flask.signals import got_request_exception
    from werkzeug.exceptions import HTTPException
except ImportError as error:
    raise ImportError("tracekit.flask needs Flask: pip install 'tracekit-jaeger[flask]'") from error

from opentelemetry import context as otel_context

from tracekit import wsgi
from tracekit._assembly.handle import later
from tracekit._calls import http
from tracekit._calls.http_server import Server
from tracekit._calls.lifecycle import Step
from tracekit._calls.redaction import redact_url
from tracekit.flask._answers import is_passive
from tracekit.flask._carrying import late
from tracekit.flask._contexts import attend_contexts, notice
from tracekit.flask._matching import matched
from tracekit.flask._old_form import either_form
from tracekit.wsgi._exchange import KEY, PROXY_FIXED, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask
    from opentelemetry import trace
    from opentelemetry.trace import Span

    from tracekit._assembly.handle import HasTracing, Tracing
    from tracekit.flask._old_form import OldForm, OpenTracingTracer

    StartSpanCallback = Callable[[Any, flask.Request], object]

__all__ = ["DEFAULT_EXCLUDE", "FlaskTracer", "FlaskTracing", "init_app"]

DEFAULT_EXCLUDE = wsgi.DEFAULT_EXCLUDE
_SCOPE = "tracekit.flask"
_EXTENSION = "tracekit"

P = ParamSpec("P")
R = TypeVar("R")


class FlaskTracing:
    """Server spans for the requests of one or more applications. Any thread may use it.

    ``trace_all=False`` traces only the views decorated with ``trace``. ``traced_attributes`` are
    attributes of ``flask.Request`` that become attributes of the span (as text).
    ``start_span_cb(span, request)`` may add more. ``exclude`` lists whole paths without a span;
    ``response_headers`` and ``semconv`` are those of ``tracekit.wsgi.middleware``.

    It accepts the form of ``flask_opentracing`` too, ``FlaskTracing(tracer, trace_all_requests,
    app, traced_attributes, start_span_cb)``, the first being a tracer of ``tracekit.opentracing``,
    a function that makes one when it is first needed, or None for OpenTracing's global one. Then
    it behaves as that did: no path is excluded, the operation is the endpoint, attributes have
    their older names, and the callback and ``get_span`` deal in ``opentracing.Span``.
    """

    _old: OldForm | None = None
    gives_way = False
    """A launcher made it, so one that the program makes for the same application comes first."""

    @either_form
    def __init__(
        self,
        app: Flask | None = None,
        tracing: Tracing | HasTracing | None = None,
        trace_all: bool = True,
        traced_attributes: Iterable[str] = (),
        start_span_cb: StartSpanCallback | None = None,
        exclude: Iterable[str] = DEFAULT_EXCLUDE,
        response_headers: bool = False,
        *,
        semconv: str | None = None,
    ) -> None:
        if start_span_cb is not None and not callable(start_span_cb):
            raise ValueError("start_span_cb is not callable")
        handle = later(tracing) if self._old is None else self._old.handle
        self._trace_all = bool(trace_all)
        self._attributes = tuple(traced_attributes)
        self._callback = start_span_cb
        self._server = Server(handle, _SCOPE, exclude, response_headers, semconv)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Trace ``app`` from its next request on; a second time on the same one does nothing."""
        known = app.extensions.get(_EXTENSION)
        if known is not None and not (isinstance(known, FlaskTracing) and known.gives_way):
            return
        app.extensions[_EXTENSION] = self  # and so it lives as long, though signals are weak
        app.wsgi_app = wsgi.Middleware(  # type: ignore[method-assign]
            app.wsgi_app,
            self._server,
            functools.partial(self._ahead, app),
            is_passive,
            begins=self._trace_all,
        )
        got_request_exception.connect(self._failed, app)
        attend_contexts(app, self)

    def trace(self, *attributes: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator (below ``app.route``) that traces a view though not all are.

        ``attributes`` are further attributes of the request to put on the span.
        """

        def decorate(view: Callable[P, R]) -> Callable[P, R]:
            if inspect.iscoroutinefunction(view):

                @functools.wraps(view)
                async def traced(*args: P.args, **kwargs: P.kwargs) -> object:
                    with self._viewing(attributes):
                        return await view(*args, **kwargs)

            else:

                @functools.wraps(view)
                def traced(*args: P.args, **kwargs: P.kwargs) -> object:
                    with self._viewing(attributes):
                        return view(*args, **kwargs)

            return cast("Callable[P, R]", traced)

        return decorate

    def get_span(self, request: flask.Request | None = None) -> Any:  # noqa: ANN401 (two APIs)
        """Return the server span of ``request`` (None: the current one), or None if untraced.

        An OpenTelemetry span; in the old form an ``opentracing.Span``.
        """
        if request is None:
            if not flask.has_request_context():
                return None
            request = flask.request
        exchange: Exchange | None = request.environ.get(KEY)
        return self._shown(exchange) if exchange is not None and exchange.begun else None

    @property
    def tracer(self) -> OpenTracingTracer | None:
        """The OpenTracing tracer of the old form; None in the new one."""
        return None if self._old is None else self._old.tracer

    @property
    def _tracer(self) -> OpenTracingTracer | None:
        """What ``redis_opentracing`` and its like look for in whatever they are given."""
        return self.tracer

    # -- one request -----------------------------------------------------------------------------

    def _ahead(self, app: Flask, exchange: Exchange, environ: WSGIEnvironment) -> str:
        """Return the operation of a request that has just come in."""
        if exchange.sampled_by_operation():
            return self._operation(exchange.method, *matched(app, environ))
        return self._operation(exchange.method)

    def arrived(self, context: Any) -> None:  # noqa: ANN401
        """Trace a request of which nobody told: its server calls ``wsgi_app`` as it was before."""
        if not self._trace_all:
            return
        environ = context.request.environ
        try:
            exchange = environ[KEY] = Exchange(self._server, environ, None)
            if exchange.excluded:
                exchange.pass_on()
            else:
                exchange.start(environ, self._ahead(context.app, exchange, environ))
            late(context, exchange)
        except Exception:
            self._server.complain("tracing a request failed; it is served untraced")
            environ.pop(KEY, None)

    def complain(self, message: str) -> None:
        """Log the current exception, once."""
        self._server.complain(message)

    def routed(self, request: flask.Request, more: Iterable[str] = ()) -> None:
        """Say on the span what Flask knows: it has matched a request, and no hook has run yet.

        ``more`` are attributes beside those of all requests. Nothing that fails in here fails the
        request.
        """
        environ = request.environ
        exchange: Exchange | None = environ.get(KEY)
        if (
            exchange is None
            or not (exchange.heard or (exchange.begun and self._callback is not None))
            or exchange.named
            or exchange.finished
        ):
            return
        exchange.named = True
        try:
            rule, name = request.url_rule, exchange.method
            if rule is None:
                name = self._operation(name)
            else:
                mount = environ.get("SCRIPT_NAME")
                exchange.route = route = f"{mount}{rule.rule}" if mount else rule.rule
                if self._old is None and name in http.METHODS:  # ``_operation``, without the call
                    name = f"{name} {route}"
                else:
                    name = self._operation(name, route, rule.endpoint)
            exchange.name = name
            if exchange.recording:
                span = exchange.span
                span.update_name(name)
                if PROXY_FIXED in environ:
                    exchange.describe_behind_proxy(environ)
                if rule is not None:
                    span.set_attribute("http.route", route)
                if self._old is not None or self._attributes or more:
                    self._tell_more(span, request, more)
            if self._callback is not None:
                self._callback(self._shown(exchange), request)
        except Exception:
            self._server.complain("describing a request's span failed; the request goes on")

    def _tell_more(self, span: Span, request: flask.Request, more: Iterable[str]) -> None:
        if self._old is not None:
            span.set_attribute("component", "Flask")
            span.set_attribute("http.url", redact_url(request.base_url))
        _copy_attributes(span, request, (*self._attributes, *more))

    def _operation(self, method: str, route: str | None = None, endpoint: str = "") -> str:
        """Return the operation of a request that matched ``route`` (None: nothing)."""
        if route is None:
            return http.span_name(method)
        if self._old is not None:
            return endpoint
        return f"{method} {route}" if method in http.METHODS else f"HTTP {route}"

    def _shown(self, exchange: Exchange) -> object:
        span = exchange.span
        if self._old is None:
            return span
        if exchange.shown is None:
            exchange.shown = self._old.shown(span)
        return exchange.shown

    def _failed(self, _app: Flask, exception: BaseException, **_: object) -> None:
        notice(exception)

    @contextmanager
    def _viewing(self, attributes: tuple[str, ...]) -> Iterator[None]:
        """Trace one view, unless its request is traced or excluded already."""
        request = flask.request
        environ = request.environ
        exchange: Exchange | None = environ.get(KEY)
        alone = exchange is None
        if exchange is None:  # the application itself is not traced: only decorated views are
            exchange = environ[KEY] = Exchange(self._server, environ, None)
            exchange.pass_on()
        if exchange.excluded or exchange.begun:
            if exchange.begun:
                _copy_attributes(exchange.span, request, attributes)
            yield
            return
        around = exchange.context if alone else otel_context.get_current()
        exchange.start(environ, None, around)
        self.routed(request, attributes)
        try:
            with Step(exchange.context):
                yield
        except BaseException as error:
            if alone and not isinstance(error, HTTPException):
                exchange.over(error)
            raise
        finally:
            if alone and not exchange.finished:
                flask.after_this_request(functools.partial(_answered, exchange))


FlaskTracer = FlaskTracing
"""The name that ``flask_opentracing`` had before."""


def init_app(
    app: Flask,
    tracing: Tracing | HasTracing | None = None,
    trace_all: bool = True,
    traced_attributes: Iterable[str] = (),
    start_span_cb: StartSpanCallback | None = None,
    exclude: Iterable[str] = DEFAULT_EXCLUDE,
    response_headers: bool = False,
    *,
    semconv: str | None = None,
) -> FlaskTracing:
    """Trace ``app`` and return its ``FlaskTracing``, which takes the same arguments."""
    return FlaskTracing(
        app,
        tracing,
        trace_all,
        traced_attributes,
        start_span_cb,
        exclude,
        response_headers,
        semconv=semconv,
    )


def _answered(exchange: Exchange, response: flask.Response) -> flask.Response:
    """End an exchange of which only the view is traced."""
    exchange.status = response.status_code
    exchange.over()
    return response


def _copy_attributes(span: trace.Span, request: flask.Request, names: Iterable[str]) -> None:
    for name in names:
        with suppress(Exception):  # e.g. BadRequest, of request.json
            value = getattr(request, name, None)
            if value is not None and (not isinstance(value, (str, bytes)) or value):
                span.set_attribute(name, str(value))
