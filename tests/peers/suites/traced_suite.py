"""A pytest plugin for another project's suite: traces what it sends and what it serves."""

from __future__ import annotations

import functools
import importlib

import tracekit
from tracekit.testing import MemoryTransport
from tracekit.transport import SendResult


class Nowhere(MemoryTransport):
    """Takes payloads and keeps none."""

    def send(self, payload, deadline_s):
        return SendResult.sent()


def aiohttp(tracing):
    """Trace every session, and every application by its first middleware."""
    edge = importlib.import_module("tracekit.aiohttp")
    edge.instrument(tracing=tracing)
    application = importlib.import_module("aiohttp.web").Application
    made = application.__init__

    @functools.wraps(made)
    def making(self, *args, **kwargs):
        kwargs["middlewares"] = [edge.middleware(tracing), *kwargs.get("middlewares", ())]
        made(self, *args, **kwargs)

    application.__init__ = making


def httpx(tracing):
    """Trace every client."""
    importlib.import_module("tracekit.httpx").instrument(tracing=tracing)


def starlette(tracing):
    """Trace whatever a test client is given."""
    edge = importlib.import_module("tracekit.asgi")
    client = importlib.import_module("starlette.testclient").TestClient
    made = client.__init__

    @functools.wraps(made)
    def making(self, app, *args, **kwargs):
        made(self, edge.middleware(app, tracing), *args, **kwargs)

    client.__init__ = making


def pytest_addoption(parser):
    """``--traced PROJECT`` says which."""
    parser.addoption("--traced", choices=["aiohttp", "httpx", "starlette"])


def pytest_configure(config):
    """Put our edges in."""
    project = config.getoption("--traced")
    if project is not None:
        tracing = tracekit.init(
            "suite",
            environ={},
            set_global=False,
            sampler_type="const",
            sampler_param=1,
            transport=Nowhere(),
        )
        {"aiohttp": aiohttp, "httpx": httpx, "starlette": starlette}[project](tracing)
        config.stash_of_tracing = tracing


def pytest_terminal_summary(terminalreporter, config):
    """Say how many spans it was, so that nobody takes an untraced run for a traced one."""
    tracing = getattr(config, "stash_of_tracing", None)
    if tracing is not None:
        terminalreporter.write_line(f"spans of the suite: {tracing.stats().started}")
