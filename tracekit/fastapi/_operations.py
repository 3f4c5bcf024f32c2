"""FastAPI's own spans of what it does for a request, below the span of our edge.

FastAPI (0.165) looks for the tracer of its operations in the current context. There is no public
way to put one there, so what is needed is looked up when an application is set up, and a FastAPI
that keeps it elsewhere is told of once and traced without.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from opentelemetry.context import set_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit._calls.http_server import Server
    from tracekit.asgi._exchange import Exchange

_log = logging.getLogger("tracekit")
_SCOPE = "fastapi"
"""The instrumentation scope under which FastAPI starts its spans."""


def operations_of(server: Server) -> Callable[[Exchange], None] | None:
    """Return what has FastAPI trace its operations within an exchange; None where it cannot."""
    try:
        # Not ``import_module("fastapi")``: an application of Starlette's may be all there is.
        its = importlib.import_module("fastapi.telemetry._api")
        key: str = its._REQUEST_TELEMETRY_KEY
        kind: Any = its._RequestTelemetry
        kind(span=None, span_method="", tracer=None, data=None)
    except Exception as problem:
        _log.warning("operation spans need FastAPI 0.165 or newer: %s", problem)
        return None

    def prepare(exchange: Exchange) -> None:
        # Without ``data``: it would hold the request, and the request holds the exchange.
        telemetry = kind(
            span=None,
            span_method=exchange.method,
            tracer=server.handle().tracer(_SCOPE),
            data=None,
        )
        exchange.context = set_value(key, telemetry, exchange.context)

    return prepare
