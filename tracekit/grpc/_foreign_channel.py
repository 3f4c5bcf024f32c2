"""The methods of channels that gRPC did not make: test doubles, stubs, transports of others.

Such a method is made once, as the caller asks for it, and called as the caller calls it: it may
keep a script, or take fewer arguments than gRPC's own. Its messages are not seen.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tracekit.grpc._client_call import ClientRpc
    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._shared import Method

    Invoke = Callable[..., object]

_METADATA = 2
"""Where gRPC's own methods of a channel take the metadata, if not by name."""
_VERBS = frozenset({"with_call", "future"})


class _Call(Protocol):
    """A ``ClientRpc`` of either flavour."""

    def watch(self, call: object, *, streams: bool) -> object: ...
    def answered(self, response: object, call: object = None) -> None: ...
    def raised(self, error: BaseException) -> None: ...


class ForeignMethod:
    """A method of a channel of another kind, traced; to everybody else it is that method."""

    __slots__ = ("_tracekit_bare", "_tracekit_run")

    _tracekit_bare: Invoke
    _tracekit_run: Callable[..., object]

    @property  # type: ignore[misc] # what isinstance asks when the type itself says no
    def __class__(self) -> type:
        return type(self._tracekit_bare)

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self._tracekit_run("__call__", self._tracekit_bare, args, kwargs)

    def __getattr__(self, name: str) -> object:
        found = getattr(self._tracekit_bare, name)
        if name not in _VERBS or not callable(found):
            return found
        run = self._tracekit_run
        return lambda *args, **kwargs: run(name, found, args, kwargs)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._tracekit_bare, name, value)


def trace_foreign(
    bare: Invoke, plan: Plan, path: str, rpc_class: type[ClientRpc], streams: bool
) -> ForeignMethod:
    """Return ``bare``, which makes the calls of ``path``, traced; ``streams``: the responses."""

    def run(
        verb: str, invoke: Invoke, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        method = _method(plan, path)
        if method is None:
            return invoke(*args, **kwargs)
        by_name = len(args) <= _METADATA
        given = kwargs.get("metadata") if by_name else args[_METADATA]
        rpc = rpc_class(plan, method, cast("Iterable[Pair] | None", given))
        begun = rpc.begin(args[0] if args else None, kwargs.get("timeout"))
        if rpc.metadata is not given and _takes_metadata(invoke):
            if by_name:
                kwargs = {**kwargs, "metadata": rpc.metadata}
            else:
                args = (*args[:_METADATA], rpc.metadata, *args[_METADATA + 1 :])
        if not begun:
            return invoke(*args, **kwargs)
        call = cast("_Call", rpc)
        try:
            with rpc:
                result = invoke(*args, **kwargs)
        except BaseException as error:
            call.raised(error)
            raise
        if not rpc.live:
            return result
        if streams or verb == "future" or not hasattr(rpc, "answered"):
            return call.watch(result, streams=streams)
        if verb == "with_call" and type(result) is tuple and len(result) == 2:
            call.answered(*result)
        else:
            call.answered(result)
        return result

    made: ForeignMethod = object.__new__(ForeignMethod)
    object.__setattr__(made, "_tracekit_bare", bare)
    object.__setattr__(made, "_tracekit_run", run)
    return made


def _method(plan: Plan, path: object) -> Method | None:
    return plan.method(path) if isinstance(path, str | bytes) else None


def _takes_metadata(invoke: Invoke) -> bool:
    try:
        parameters = inspect.signature(invoke).parameters
    except Exception:
        return True  # it does not say
    return "metadata" in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )
