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
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

try:
    import flask
    from flask import Flask
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
from tracekit.flask._carrying import carrying, late
from tracekit.flask._old_form import is_old, translated
from tracekit.wsgi._exchange import KEY, PROXY_FIXED, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import WSGIEnvironment
    from opentelemetry import trace

    from tracekit._assembly.handle import HasTracing, Tracing
    from tracekit.flask._old_form import OldForm, OpenTracingTracer

    StartSpanCallback = Callable[[Any, flask.Request], object]

__all__ = ["DEFAULT_EXCLUDE", "FlaskTracer", "FlaskTracing", "init_app"]

DEFAULT_EXCLUDE = wsgi.DEFAULT_EXCLUDE
_SCOPE = "tracekit.flask"
_EXTENSION = "tracekit"

_WSGI_APP = Flask.wsgi_app.__code__

P = ParamSpec("P")
R = TypeVar("R")


def _either_form(init: Callable[P, None]) -> Callable[P, None]:
    """Have ``FlaskTracing.__init__`` understand ``flask_opentracing``'s arguments as well.

    To type checkers and to ``inspect`` it takes its own only: that form is for code which is there.
    """

    @functools.wraps(init)
    def either(self: FlaskTracing, *args: Any, **options: Any) -> None:  # noqa: ANN401
        if is_old(args, options):
            self._old, options = translated(*args, **options)
            args = ()
        init(self, *args, **options)  # type: ignore[arg-type] # P begins with ``self``

    return cast("Callable[P, None]", either)


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

    @_either_form
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
            begins=self._trace_all,
        )
        got_request_exception.connect(self._failed, app)
        notice = app.handle_user_exception = _noticing(app.handle_user_exception)  # type: ignore[method-assign]
        make = app.request_context
        kinds: dict[type, type] = {}

        # Every request comes by here, also one whose server has taken ``app.wsgi_app`` before it
        # was ours, and so do the contexts of command lines, socket handlers and tests.
        @functools.wraps(make)
        def request_context(*args: Any, **named: Any) -> object:  # noqa: ANN401 (Flask's own)
            nonlocal notice
            context: Any = make(*args, **named)
            if vars(app).get("handle_user_exception") is not notice:
                # An extension has put its own over ours since, which may never ask ours.
                notice = app.handle_user_exception = _noticing(app.handle_user_exception)  # type: ignore[method-assign]
            kind = type(context)
            try:
                context.__class__ = kinds.get(kind) or kinds.setdefault(kind, carrying(kind, self))
            except Exception:  # a class of the application's own that allows no subclass
                self._server.complain("copies of the request's context will not carry its span")
                context.push = functools.partial(_pushing, context.push, self.routed, context)
                return context
            environ = context.request.environ
            known: Exchange | None = environ.get(KEY)
            if (
                (known is None or known.finished)
                and self._trace_all
                and sys._getframe(1).f_code is _WSGI_APP
            ):
                self._serve_late(context, environ)
            return context

        app.request_context = request_context  # type: ignore[method-assign, assignment]

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
            return self._operation(exchange.method, *_matched(app, environ))
        return self._operation(exchange.method)

    def _serve_late(self, context: Any, environ: WSGIEnvironment) -> None:  # noqa: ANN401
        """Trace a request of which nobody told: its server calls ``wsgi_app`` as it was before."""
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

    def routed(self, context: Any) -> None:  # noqa: ANN401 (a class of Flask's, by version)
        """Name the span: a context has been pushed, and no hook of the program's has run."""
        request = context.request
        exchange: Exchange | None = request.environ.get(KEY)
        if (
            exchange is not None
            and (exchange.heard or (exchange.begun and self._callback is not None))
            and not (exchange.named or exchange.finished)
        ):
            self._describe(exchange, request, self._attributes)

    def _describe(
        self, exchange: Exchange, request: flask.Request, attributes: Iterable[str]
    ) -> None:
        """Say on the span what Flask knows. Nothing that fails in here fails the request."""
        exchange.named = True
        try:
            environ, rule, name = request.environ, request.url_rule, exchange.method
            if rule is None:
                name = self._operation(name)
            else:
                mount = environ.get("SCRIPT_NAME")
                exchange.route = route = f"{mount}{rule.rule}" if mount else rule.rule
                name = self._operation(name, route, rule.endpoint)
            exchange.name = name
            if exchange.recording:
                span = exchange.span
                span.update_name(name)
                if PROXY_FIXED in environ:
                    exchange.describe_behind_proxy(environ)
                if rule is not None:
                    span.set_attribute("http.route", route)
                if self._old is not None:
                    span.set_attribute("component", "Flask")
                    span.set_attribute("http.url", redact_url(request.base_url))
                if attributes:
                    _copy_attributes(span, request, attributes)
            if self._callback is not None:
                self._callback(self._shown(exchange), request)
        except Exception:
            self._server.complain("describing a request's span failed; the request goes on")

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
        _notice(exception)

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
        self._describe(exchange, request, (*self._attributes, *attributes))
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


def _noticing(handle: Callable[P, R]) -> Callable[P, R]:
    """Return ``app.handle_user_exception`` that takes note of what it is given.

    No signal tells of an exception that an error handler turns into a response.
    """

    @functools.wraps(handle)
    def noticing(*args: P.args, **named: P.kwargs) -> R:
        for given in (*args, *named.values()):
            _notice(given)
        return handle(*args, **named)

    return noticing


def _notice(error: object) -> None:
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
    routed(context)


def _answered(exchange: Exchange, response: flask.Response) -> flask.Response:
    """End an exchange of which only the view is traced."""
    exchange.status = response.status_code
    exchange.over()
    return response


def _copy_attributes(span: trace.Span, request: flask.Request, names: Iterable[str]) -> None:
    for name in names:
        with suppress(Exception):  # e.g. BadRequest, of request.json
            value = getattr(request, name, None)
            if value not in (None, "", b""):
                span.set_attribute(name, str(value))


def _matched(app: Flask, environ: WSGIEnvironment) -> tuple[str | None, str]:
    """Match a request ahead of Flask, for a sampler that decides by operation.

    Only where that can have no effect: converters of the application's own may want its context.
    """
    try:
        if not _converters_are_plain(app):
            return None, ""
        adapter = app.create_url_adapter(app.request_class(environ))
        if adapter is None:
            return None, ""
        rule, _ = adapter.match(return_rule=True)
    except Exception:  # not found, wrong method, redirect to a slash, untrusted host
        return None, ""
    return f"{environ.get('SCRIPT_NAME') or ''}{rule.rule}", rule.endpoint


def _converters_are_plain(app: Flask) -> bool:
    return all(
        kind.__module__ == "werkzeug.routing.converters" for kind in app.url_map.converters.values()
    )
