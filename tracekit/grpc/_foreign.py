"""One guarded look at what gRPC did not make, and what stands in for it where a look is not enough.

Interceptors, test doubles and wrappers of others hand us objects that promise much and keep some of
it. Whatever they do when they are touched, the program does not notice: the span knows less.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
    from typing import TypeGuard

    from tracekit.grpc._conventions import Pair

_Answer = TypeVar("_Answer")


def ask(thing: object, name: str, kind: type[_Answer]) -> _Answer | None:
    """Return what ``thing.name``, called if it can be, says; None if that is no ``kind``."""
    try:
        found = getattr(thing, name)
        if callable(found):
            found = found()
        return found if isinstance(found, kind) else None
    except Exception:
        return None


def ask_text(thing: object, name: str) -> str | None:
    """Return the text that ``thing.name`` says, if any."""
    found = ask(thing, name, object)
    return text_of(found if isinstance(found, str | bytes) else None)


def text_of(details: str | bytes | None) -> str | None:
    """Return what gRPC keeps as text or bytes; None if that is nothing."""
    text = details.decode("utf-8", "replace") if isinstance(details, bytes) else details
    return text or None


def ask_seconds(thing: object, name: str) -> float | None:
    """Return the number that ``thing.name`` says, if any."""
    found = ask(thing, name, object)
    return found if isinstance(found, int | float) else None


def ask_pairs(thing: object, name: str) -> list[Pair] | None:
    """Return the metadata that ``thing.name`` says, if any."""
    found = ask(thing, name, object)
    try:
        pairs = [(key, value) for key, value in cast("Iterable[Pair]", found)]
    except Exception:
        return None
    return [pair for pair in pairs if _is_pair(*pair)]


def _is_pair(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, str | bytes)


def code_of(thing: object) -> grpc.StatusCode | None:
    """Return the status code that ``thing`` tells, as a method or an attribute."""
    return ask(thing, "code", grpc.StatusCode)


def held(
    thing: object, is_own: Callable[[object], TypeGuard[_Answer]], depth: int = 2
) -> _Answer | None:
    """Return the one thing of gRPC's own that ``thing`` was made around, if that is plain to see.

    Nothing of ``thing`` runs: only the values of its attributes are looked at.
    """
    try:
        inside = list(object.__getattribute__(thing, "__dict__").values())
    except Exception:
        return None
    found = [value for value in inside if is_own(value)]
    if not found and depth > 1:
        deeper = [held(value, is_own, depth - 1) for value in inside]
        found = [value for value in deeper if value is not None]
    return found[0] if len(found) == 1 else None


class Ending(Protocol):
    """Who hears how a call ended."""

    live: bool

    def complete(self, code: grpc.StatusCode | None) -> None:
        """End with this code."""

    def raised(self, error: BaseException) -> None:
        """End with what the call raised."""


class Followed:
    """A stream, or a future, that tells of its end to nobody but who reads it; so we read along.

    It acts as what it stands for: the same class to ``isinstance``, the same attributes and
    operators.
    """

    __slots__ = ("__weakref__", "_tracekit_rpc", "_tracekit_thing")

    _tracekit_rpc: Ending
    _tracekit_thing: object

    @property  # type: ignore[misc] # what isinstance asks when the type itself says no
    def __class__(self) -> type:
        return type(self._tracekit_thing)

    def __getattr__(self, name: str) -> object:
        found = getattr(self._tracekit_thing, name)
        if name in _OUTCOMES and callable(found):
            return functools.partial(_read_along, self, found)
        return found

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._tracekit_thing, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._tracekit_thing, name)

    def __del__(self) -> None:
        rpc = self._tracekit_rpc
        if rpc.live:  # dropped before its end, which cancels a call of gRPC's own
            rpc.complete(grpc.StatusCode.CANCELLED)


def follow(thing: object, rpc: Ending) -> Followed:
    """Return what stands for ``thing`` and tells ``rpc`` how it ended."""
    kind: type = type(thing)
    made = object.__new__(_stand_in(kind))
    object.__setattr__(made, "_tracekit_rpc", rpc)
    object.__setattr__(made, "_tracekit_thing", thing)
    return made


def _iter(self: Followed) -> object:
    thing = cast("Iterator[object]", self._tracekit_thing)
    iterator = iter(thing)
    return self if iterator is thing else follow(iterator, self._tracekit_rpc)


def _aiter(self: Followed) -> object:
    thing = cast("AsyncIterator[object]", self._tracekit_thing)
    iterator = thing.__aiter__()
    return self if iterator is thing else follow(iterator, self._tracekit_rpc)


def _next(self: Followed) -> object:
    try:
        return next(cast("Iterator[object]", self._tracekit_thing))
    except BaseException as error:
        _tell(self._tracekit_rpc, error)
        raise


async def _anext(self: Followed) -> object:
    try:
        return await cast("AsyncIterator[object]", self._tracekit_thing).__anext__()
    except BaseException as error:
        _tell(self._tracekit_rpc, error)
        raise


def _await(self: Followed) -> Generator[object, object, object]:
    thing = self._tracekit_thing
    try:
        result = yield from thing.__await__()  # type: ignore[attr-defined] # (it has one)
    except BaseException as error:
        _tell(self._tracekit_rpc, error)
        raise
    self._tracekit_rpc.complete(grpc.StatusCode.OK)
    return cast("object", result)


_OUTCOMES = frozenset({"result", "exception"})
_NOT_YET = (grpc.FutureTimeoutError, TimeoutError, concurrent.futures.TimeoutError)


def _read_along(self: Followed, read: Callable[..., object], *args: object) -> object:
    try:
        outcome = read(*args)
    except BaseException as error:
        if not isinstance(error, _NOT_YET):
            _tell(self._tracekit_rpc, error)
        raise
    if self._tracekit_rpc.live:
        if isinstance(outcome, BaseException):  # as ``exception`` returns it
            self._tracekit_rpc.raised(outcome)
        else:
            self._tracekit_rpc.complete(grpc.StatusCode.OK)
    return outcome


def _tell(rpc: Ending, error: BaseException) -> None:
    if not rpc.live:
        return
    if isinstance(error, StopIteration | StopAsyncIteration):
        rpc.complete(grpc.StatusCode.OK)
    else:
        rpc.raised(error)


_READ: dict[str, Callable[..., object]] = {
    "__iter__": _iter,
    "__next__": _next,
    "__aiter__": _aiter,
    "__anext__": _anext,
    "__await__": _await,
}
_OUR_OWN = frozenset({*dir(Followed), "__del__"}) - {
    "__eq__",
    "__hash__",
    "__str__",
    "__repr__",
    "__dir__",
}


@functools.lru_cache(maxsize=128)
def _stand_in(kind: type) -> type[Followed]:
    """Return the class that follows things of this ``kind``: with its operators, and no others."""

    def forward(name: str) -> Callable[..., object]:
        def operator(self: Followed, *args: object) -> object:
            return getattr(self._tracekit_thing, name)(*args)

        return operator

    own: dict[str, object] = {"__slots__": ()}
    for name in dir(kind):
        if name in _READ:
            own[name] = _READ[name]
        elif (
            name[:2] == "__" == name[-2:]
            and name not in _OUR_OWN
            and callable(getattr(kind, name, None))
        ):
            own[name] = forward(name)
    return cast("type[Followed]", type(kind.__name__, (Followed,), own))


def settled(thing: object, name: str, kind: type[_Answer]) -> _Answer | None:
    """Return what the coroutine function ``thing.name`` answers without waiting, as ``ask``."""
    with contextlib.suppress(Exception):
        coroutine = getattr(thing, name)()
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value if isinstance(done.value, kind) else None
        finally:
            coroutine.close()
    return None
