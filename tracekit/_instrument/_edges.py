"""How each of tracekit's own edges goes on without a line of code, and comes off again."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tracekit._assembly.handle import Tracing
    from tracekit._instrument._table import Edge

    Undo = Callable[[], object]


def put_on(edge: Edge, tracing: Tracing | None) -> Undo:
    """Trace the package of ``edge``, which has been imported; return the undo."""
    special = _SPECIAL.get(edge.name)
    if special is not None:
        return special(tracing)
    module: Any = importlib.import_module(edge.module)
    instrument: Callable[..., Undo] = module.instrument
    return instrument(tracing=tracing)


def _logging(tracing: Tracing | None) -> Undo:
    from tracekit import logging  # noqa: PLC0415 - as all of these: with its first use

    return logging.install(tracing=tracing)


def _flask(tracing: Tracing | None) -> Undo:
    import flask.app  # noqa: PLC0415

    from tracekit import flask as edge  # noqa: PLC0415

    def init_app(app: flask.Flask) -> None:
        made = edge.FlaskTracing(None, tracing)
        made.gives_way = True
        made.init_app(app)

    return _after_init(flask.app.Flask, init_app)  # contrib puts a subclass at ``flask.Flask``


def _aiohttp_server(tracing: Tracing | None) -> Undo:
    from tracekit import aiohttp as edge  # noqa: PLC0415

    kind: Any = importlib.import_module("aiohttp.web_app").Application
    ours = edge.middleware(tracing)
    return _after_init(kind, lambda app: app.middlewares.insert(0, ours))


def _fastapi(tracing: Tracing | None) -> Undo:
    return _before_serving(importlib.import_module("fastapi").FastAPI, tracing)


def _starlette(tracing: Tracing | None) -> Undo:
    return _before_serving(importlib.import_module("starlette.applications").Starlette, tracing)


def _before_serving(kind: Any, tracing: Tracing | None) -> Undo:  # noqa: ANN401 (a class by version)
    """Trace applications of ``kind`` when they are first called, unless the program traces them."""
    from tracekit import fastapi as edge  # noqa: PLC0415

    # Of the class that has it: contrib puts a subclass into the place of the one programs know.
    kind = next(each for each in kind.__mro__ if "__call__" in vars(each))
    original = kind.__call__
    active = True

    # With the very parameters, and a coroutine function: servers try what kind of thing it is.
    @functools.wraps(original)
    async def call(self: object, scope: object, receive: object, send: object) -> None:
        if active and edge._EDGE not in vars(self):
            edge.init_app(self, tracing)
            if edge._EDGE in vars(self):
                await cast("Callable[..., Awaitable[None]]", self)(scope, receive, send)
                return
        await original(self, scope, receive, send)

    def undo() -> None:
        nonlocal active
        active = False
        if vars(kind).get("__call__") is call:
            kind.__call__ = original

    kind.__call__ = call
    return undo


def _django(tracing: Tracing | None) -> Undo:
    del tracing  # its middleware follows the process' handle
    settings: Any = importlib.import_module("django.conf").settings
    base: Any = importlib.import_module("django.core.handlers.base")
    ours = "tracekit.django.Middleware"

    def load(original: Callable[..., object], *args: Any, **named: Any) -> object:  # noqa: ANN401
        listed = settings.MIDDLEWARE
        if ours not in listed:
            settings.MIDDLEWARE = type(listed)((ours, *listed))
        return original(*args, **named)

    return _around(base.BaseHandler, "load_middleware", load)


_SPECIAL: dict[str, Callable[[Tracing | None], Undo]] = {
    "aiohttp-server": _aiohttp_server,
    "django": _django,
    "fastapi": _fastapi,
    "flask": _flask,
    "logging": _logging,
    "starlette": _starlette,
}


def _after_init(kind: type, then: Callable[[Any], object]) -> Undo:
    """Have ``then`` called with each object of ``kind`` that is made from now on."""

    def init(original: Callable[..., None], self: object, *args: object, **named: object) -> None:
        original(self, *args, **named)
        then(self)

    return _around(kind, "__init__", init)


def _around(kind: type, name: str, wrapper: Callable[..., object]) -> Undo:
    """Replace a method by ``wrapper(original, …)``; the undo leaves what others put over it."""
    original = getattr(kind, name)
    active = True

    @functools.wraps(original)
    def method(*args: object, **named: object) -> object:
        return wrapper(original, *args, **named) if active else original(*args, **named)

    def undo() -> None:
        nonlocal active
        active = False
        if vars(kind).get(name) is method:
            setattr(kind, name, original)

    setattr(kind, name, method)
    return undo
