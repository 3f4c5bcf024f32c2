"""Trace a FastAPI or a Starlette application.

::

    app = FastAPI()
    tracekit.fastapi.init_app(app)

The span is ASGI's (see ``tracekit.asgi``), outside of all that the application adds to itself, its
error handling and FastAPI's own telemetry (0.165 and later), which then makes no second one.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from tracekit._assembly.handle import later
from tracekit._calls.http import DEFAULT_EXCLUDE
from tracekit._calls.http_server import Server
from tracekit.asgi import Middleware
from tracekit.fastapi._operations import operations_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tracekit._assembly.handle import HasTracing, Tracing
    from tracekit.asgi._exchange import Receive, Scope, Send

__all__ = ["DEFAULT_EXCLUDE", "init_app"]

_log = logging.getLogger("tracekit")
_EDGE = "_tracekit_edge"


def init_app(
    app: Any,  # noqa: ANN401 (FastAPI's or Starlette's; neither need be installed for the other)
    tracing: Tracing | HasTracing | None = None,
    *,
    exclude: Iterable[str] = DEFAULT_EXCLUDE,
    response_headers: bool = False,
    semconv: str | None = None,
    operation_spans: bool = False,
) -> None:
    """Trace ``app`` from its next request on; a second time on the same one does nothing.

    The arguments are those of ``tracekit.asgi.middleware``. ``operation_spans`` adds FastAPI's own
    spans below each request (dependencies, endpoint, serialization, background tasks; 0.165 and
    later). Before or after the application has
    started; what is no application of Starlette's kind is left alone, with one warning.
    """
    server = Server(later(tracing), "tracekit.fastapi", exclude, response_headers, semconv)
    try:
        if _EDGE in vars(app):
            return
        kind: Any = type(app)
        prepare = operations_of(server) if operation_spans else None
        vars(app)[_EDGE] = Middleware(functools.partial(kind.__call__, app), server, app, prepare)
        app.__class__ = traced(kind)
    except Exception as problem:
        getattr(app, "__dict__", {}).pop(_EDGE, None)
        _log.warning("%s cannot be traced: %s", type(app).__name__, problem)


@functools.cache
def traced(kind: Any) -> Any:  # noqa: ANN401 (a class by version)
    """Return a subclass of an application's class that serves through its edge.

    Servers call the object itself, and FastAPI begins its own span in ``__call__``: nothing that
    is added to an application stands outside of that.
    """
    if not callable(getattr(kind, "build_middleware_stack", None)):
        raise TypeError("it is no application of FastAPI or Starlette")

    class Traced(kind):  # type: ignore[misc] # a class known at run time only
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.__dict__[_EDGE](scope, receive, send)

    Traced.__name__, Traced.__qualname__ = kind.__name__, kind.__qualname__
    Traced.__module__, Traced.__doc__ = kind.__module__, kind.__doc__
    return Traced
