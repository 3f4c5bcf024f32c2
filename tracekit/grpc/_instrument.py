"""Tracing gRPC without changing the program: the constructors of servers and channels, patched."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from opentelemetry.trace import SpanKind

from tracekit.grpc._aio_channel import TracedAioChannel
from tracekit.grpc._aio_client import AioClientInterceptor
from tracekit.grpc._aio_server import AioServerInterceptor
from tracekit.grpc._channel import TracedChannel
from tracekit.grpc._plan import Options, Plan
from tracekit.grpc._server import ServerInterceptor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from typing_extensions import Unpack

    from tracekit._assembly.handle import HasTracing, Tracing

    Constructor = Callable[..., object]
    Build = Callable[[Constructor, inspect.BoundArguments], object]

_lock = threading.Lock()
_installed: list[Callable[[], None]] = []


def instrument(
    tracing: Tracing | HasTracing | None = None, **options: Unpack[Options]
) -> Callable[[], None]:
    """Trace every server and channel, blocking or asyncio, made from now on; return the undo.

    Patched are ``server``, ``insecure_channel`` and ``secure_channel`` of ``grpc`` and
    ``grpc.aio``; whoever has imported one of these names before keeps the bare one. A second call
    changes nothing and returns the first one's undo. What was made in between stays traced.
    """
    with _lock:
        if not _installed:
            _installed.append(_install(tracing, options))
        return _installed[0]


def _install(tracing: Tracing | HasTracing | None, options: Options) -> Callable[[], None]:
    serving = Plan(SpanKind.SERVER, tracing, **options)

    def plan_for(target: str | None) -> Plan:
        return Plan(SpanKind.CLIENT, tracing, target=target, **options)

    patches = [
        _Patch(grpc, "server", _with_interceptor(ServerInterceptor(serving))),
        _Patch(grpc.aio, "server", _with_interceptor(AioServerInterceptor(serving))),
    ]
    for name in ("insecure_channel", "secure_channel"):
        patches.append(_Patch(grpc, name, _traced_channel(plan_for)))
        patches.append(_Patch(grpc.aio, name, _traced_aio_channel(plan_for)))

    def undo() -> None:
        with _lock:
            if undo in _installed:  # not when called again, after another ``instrument``
                _installed.remove(undo)
            for patch in patches:
                patch.undo()

    return undo


class _Patch:
    """One constructor replaced by one that builds something traced."""

    def __init__(self, module: ModuleType, name: str, build: Build) -> None:
        original: Constructor = getattr(module, name)
        signature = inspect.signature(original)
        self._module = module
        self._name = name
        self._original = original
        self._active = True

        @functools.wraps(original)
        def constructor(*args: object, **kwargs: object) -> object:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                return original(*args, **kwargs)  # for gRPC to refuse, in its own words
            return build(original, bound) if self._active else original(*args, **kwargs)

        self._constructor = constructor
        setattr(module, name, constructor)

    def undo(self) -> None:
        """Put the original back; under somebody else's patch, only step aside."""
        self._active = False
        if getattr(self._module, self._name) is self._constructor:
            setattr(self._module, self._name, self._original)


def _with_interceptor(ours: ServerInterceptor | AioServerInterceptor) -> Build:
    def build(original: Constructor, bound: inspect.BoundArguments) -> object:
        given = tuple(bound.arguments.get("interceptors") or ())
        if not any(isinstance(interceptor, type(ours)) for interceptor in given):
            given = (ours, *given)
        bound.arguments["interceptors"] = given
        return original(*bound.args, **bound.kwargs)

    return build


def _traced_channel(plan_for: Callable[[str | None], Plan]) -> Build:
    def build(original: Constructor, bound: inspect.BoundArguments) -> object:
        channel = original(*bound.args, **bound.kwargs)
        return TracedChannel(channel, plan_for(_target(bound.arguments)))

    return build


def _traced_aio_channel(plan_for: Callable[[str | None], Plan]) -> Build:
    def build(original: Constructor, bound: inspect.BoundArguments) -> object:
        given = tuple(bound.arguments.get("interceptors") or ())
        if "interceptors" in bound.arguments:
            bound.arguments["interceptors"] = given
        channel = original(*bound.args, **bound.kwargs)
        if any(isinstance(interceptor, AioClientInterceptor) for interceptor in given):
            return channel
        return TracedAioChannel(channel, plan_for(_target(bound.arguments)))

    return build


def _target(arguments: Mapping[str, object]) -> str | None:
    target = arguments.get("target")
    return target if isinstance(target, str) else None
