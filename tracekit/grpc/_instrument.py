"""Tracing gRPC without changing the program: the constructors of servers and channels, patched."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio
from opentelemetry.trace import SpanKind

from tracekit.grpc._aio_channel import TracedAioChannel
from tracekit.grpc._aio_interceptor import AioClientInterceptor
from tracekit.grpc._aio_server import AioServerInterceptor
from tracekit.grpc._channel import TracedChannel
from tracekit.grpc._plan import Options, Plan
from tracekit.grpc._server import ServerInterceptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from typing_extensions import Unpack

    from tracekit._assembly.handle import HasTracing, Tracing

    Constructor = Callable[..., object]
    Args = tuple[object, ...]
    Kwargs = dict[str, object]
    Build = Callable[[Constructor, Args, Kwargs], object]

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
    """One constructor replaced by one that builds something traced.

    What is replaced may be somebody else's patch already, which takes fewer styles of arguments
    than gRPC's own, or changes what it is given. So what the caller gave goes on as it came.
    """

    def __init__(self, module: ModuleType, name: str, build: Build) -> None:
        original: Constructor = getattr(module, name)
        self._module = module
        self._name = name
        self._original = original
        self._active = True

        @functools.wraps(original)
        def constructor(*args: object, **kwargs: object) -> object:
            if not self._active:
                return original(*args, **kwargs)
            return build(original, args, kwargs)

        self._constructor = constructor
        setattr(module, name, constructor)

    def undo(self) -> None:
        """Put the original back; under somebody else's patch, only step aside."""
        self._active = False
        if getattr(self._module, self._name) is self._constructor:
            setattr(self._module, self._name, self._original)


def _with_interceptor(ours: ServerInterceptor | AioServerInterceptor) -> Build:
    def build(original: Constructor, args: Args, kwargs: Kwargs) -> object:
        args, kwargs, given = _readable(args, kwargs, _SERVER_INTERCEPTORS)
        if not any(isinstance(interceptor, type(ours)) for interceptor in given or ()):
            # A list: patches of others add theirs to it, and expect that.
            args, kwargs = _put(args, kwargs, _SERVER_INTERCEPTORS, [ours, *(given or ())])
        return original(*args, **kwargs)

    return build


def _traced_channel(plan_for: Callable[[str | None], Plan]) -> Build:
    def build(original: Constructor, args: Args, kwargs: Kwargs) -> object:
        channel = original(*args, **kwargs)
        if isinstance(channel, TracedChannel):
            return channel
        return TracedChannel(cast("grpc.Channel", channel), plan_for(_target(args, kwargs)))

    return build


def _traced_aio_channel(plan_for: Callable[[str | None], Plan]) -> Build:
    def build(original: Constructor, args: Args, kwargs: Kwargs) -> object:
        args, kwargs, given = _readable(args, kwargs, _CHANNEL_INTERCEPTORS)
        channel = original(*args, **kwargs)
        if isinstance(channel, TracedAioChannel) or any(
            isinstance(interceptor, AioClientInterceptor) for interceptor in given or ()
        ):
            return channel
        return TracedAioChannel(cast("grpc.aio.Channel", channel), plan_for(_target(args, kwargs)))

    return build


_SERVER_INTERCEPTORS = 2
_CHANNEL_INTERCEPTORS = 3
"""Where gRPC's constructors take ``interceptors``, if not by name."""


def _readable(
    args: Args, kwargs: Kwargs, place: int
) -> tuple[Args, Kwargs, Sequence[object] | None]:
    """Return the arguments, and in them the interceptors as what can be read more than once."""
    given = kwargs.get("interceptors") if len(args) <= place else args[place]
    if given is None or isinstance(given, Sequence):
        return args, kwargs, given
    try:
        read = list(cast("Iterable[object]", given))
    except TypeError:
        return args, kwargs, None  # for gRPC to refuse, in its own words
    args, kwargs = _put(args, kwargs, place, read)
    return args, kwargs, read


def _put(args: Args, kwargs: Kwargs, place: int, interceptors: list[object]) -> tuple[Args, Kwargs]:
    if len(args) <= place:
        return args, {**kwargs, "interceptors": interceptors}
    return (*args[:place], interceptors, *args[place + 1 :]), kwargs


def _target(args: Args, kwargs: Kwargs) -> str | None:
    target = args[0] if args else kwargs.get("target")
    return target if isinstance(target, str) else None
