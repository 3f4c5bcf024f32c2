"""Trace ``aiohttp``, what goes out through its sessions and what its server answers.

::

    undo = tracekit.aiohttp.instrument()                                    # every session
    session = ClientSession(trace_configs=[tracekit.aiohttp.trace_config()])  # or this one
    app = web.Application(middlewares=[tracekit.aiohttp.middleware()])

A client span lasts until the body is read, or its connection given back; each redirect is one. A
server span lasts until the response has been written, or the websocket closed.
"""

from __future__ import annotations

try:
    import aiohttp  # noqa: F401 (only to say what is missing)
except ImportError as error:
    raise ImportError(
        "tracekit.aiohttp needs aiohttp: pip install 'tracekit-jaeger[aiohttp]'"
    ) from error

from tracekit._calls.http import DEFAULT_EXCLUDE
from tracekit.aiohttp._client import instrument, trace_config
from tracekit.aiohttp._server import middleware

__all__ = ["DEFAULT_EXCLUDE", "instrument", "middleware", "trace_config"]
