"""The asyncio client: its calls, and interceptors that hand back gRPC's own call objects.

``grpc.aio`` starts tasks for a call while it is made, and a task inherits the context. So the
client span is current in a request iterator without anything being held over an ``await``.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol, cast

import grpc
import grpc.aio

from tracekit._calls.lifecycle import message_of
from tracekit.grpc import _conventions as conventions
from tracekit.grpc import _foreign as foreign
from tracekit.grpc._client_call import ClientRpc, handing

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
    )
    from typing import TypeGuard

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._messages import Convert

    Continuation = Callable[[grpc.aio.ClientCallDetails, object], Awaitable[grpc.aio.Call]]


_PROVISIONAL = "Internal error from Core"
"""What gRPC says of a call, as INTERNAL, whose write failed."""
_DOUBTS_S = (0.0, 0.01, 0.1, 1.0)
"""How long to wait, each time, for the status that explains a failed write."""
_SENDING = ("_invocation_task", "_send_unary_request_task")
"""Where a call keeps the task that sends a single request."""


class _Status(Protocol):
    """How a call ended, as gRPC's core tells it."""

    def code(self) -> int: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> tuple[Pair, ...] | None: ...


class _Core(Protocol):
    """The core of a call object, which lives on when that is dropped."""

    _status: _Status
    _initial_metadata: tuple[Pair, ...] | None

    def done(self) -> bool: ...
    def add_done_callback(self, callback: Callable[[], None]) -> None: ...


class _Own(Protocol):
    """A call object of gRPC's own."""

    _cython_call: _Core


_OwnCall = grpc.aio._call.Call
_InterceptedCall = grpc.aio._interceptor.InterceptedCall
_ResponseIterator = grpc.aio._interceptor._StreamCallResponseIterator


def _is_own(call: object) -> TypeGuard[_Own]:
    return issubclass(type(call), _OwnCall | _InterceptedCall | _ResponseIterator)


class AioClientCall(ClientRpc):
    """An RPC made by asyncio code; only the loop's thread touches it."""

    _core: _Core | None = None
    _doubts = 0
    """How often a status that explains a failed write has been waited for."""
    converts_response = False
    """Whether one response is to be converted and counted, which comes after the status."""

    def raised(self, error: BaseException) -> None:
        """Called with what making the call raised."""
        if isinstance(error, grpc.aio.AioRpcError):
            self.complete(
                conventions.code_of(error.code(), numbers=True),
                details=error.details(),
                response_metadata=lambda: _both(
                    error.initial_metadata(), error.trailing_metadata()
                ),
            )
        elif isinstance(error, asyncio.CancelledError):
            self.complete(grpc.StatusCode.CANCELLED)
        elif isinstance(error, grpc.RpcError) and (code := foreign.code_of(error)) is not None:
            self.complete(code, details=foreign.ask_text(error, "details"))
        else:
            self.complete(None, details=message_of(error), exception=error)

    def watch(self, call: object, *, streams: bool) -> object:
        """Finish when ``call`` does, without keeping it alive; return what the caller is given.

        See the blocking one.
        """
        try:
            if isinstance(call, _OwnCall):
                self._follow(call)
                return call
            if self._observe(call, streams=streams):
                return call
            if streams:
                if hasattr(type(call), "__aiter__") or hasattr(type(call), "__anext__"):
                    return foreign.follow(call, self)
            elif isinstance(call, Coroutine):
                return self._awaiting(call)
            elif hasattr(type(call), "__await__"):
                return foreign.follow(call, self)
            self.complete(grpc.StatusCode.OK)  # an interceptor answered by itself
        except Exception:
            self.plan.complain("following a call")
            self.complete(None)
        return call

    def _observe(self, call: object, *, streams: bool) -> bool:
        """Be told of the end of ``call``, as far as it tells anybody."""
        if isinstance(call, _OwnCall):
            if getattr(call, "_response_deserializer", None) != self.receive_last:
                self.converts_response = False  # another channel's call: we hear of no response
            self._follow(call)
        elif isinstance(call, _InterceptedCall):
            call._interceptors_task.add_done_callback(
                functools.partial(self._intercepted, streams=streams)
            )
        elif isinstance(call, _ResponseIterator):
            # What interceptors made of the responses: around a call, or in place of it.
            if call._call is not None:
                return self._observe(call._call, streams=streams)
            call._response_iterator = cast(
                "AsyncIterator[object]", foreign.follow(call._response_iterator, self)
            )
        elif isinstance(call, grpc.aio._interceptor.UnaryUnaryCallResponse):
            self.complete(grpc.StatusCode.OK)
        elif streams and (inner := foreign.held(call, _is_own)) is not None:
            return self._observe(inner, streams=streams)
        else:
            return self._follow_foreign(call)
        return True

    def _follow(self, call: _Own) -> None:
        """Finish with gRPC's own ``call``.

        ``add_done_callback`` of a call would keep it, that of the core inside it does not.
        """
        self._core = core = call._cython_call
        core.add_done_callback(self._ended)
        for name in _SENDING:
            if (task := getattr(call, name, None)) is not None:
                task.add_done_callback(self._sent)

    def _follow_foreign(self, call: object) -> bool:
        if not hasattr(type(call), "add_done_callback"):
            # To be told by what is passed through to gRPC's own would keep that alive.
            own = foreign.held(call, _is_own)
            if own is not None:
                return self._observe(own, streams=False)
        try:
            if foreign.ask(call, "done", bool):
                self._told(call)
            else:
                call.add_done_callback(self._told)  # type: ignore[attr-defined] # (then it raises)
        except Exception:
            return False
        return True

    def _told(self, call: object) -> None:
        """Called by a future or call of another kind, which is done."""
        try:
            error: object
            if isinstance(call, asyncio.Future):  # (``exception()`` is for who deals with it)
                error = call._exception
            else:
                error = foreign.ask(call, "exception", BaseException)
            if foreign.ask(call, "cancelled", bool):
                self.complete(grpc.StatusCode.CANCELLED)
            elif isinstance(error, BaseException):
                self.raised(error)
            else:
                code = foreign.settled(call, "code", grpc.StatusCode) or foreign.code_of(call)
                details = foreign.settled(call, "details", str)
                self.complete(code or grpc.StatusCode.OK, details=details)
        except Exception:
            self.plan.complain("following a call")
            self.complete(None)

    async def _awaiting(self, call: Coroutine[object, object, object]) -> object:
        try:
            response = await call
        except BaseException as error:
            self.raised(error)
            raise
        self.complete(grpc.StatusCode.OK)
        return response

    def _intercepted(self, task: asyncio.Task[object], *, streams: bool) -> None:
        """Called when the interceptors of the channel have made (or refused) the call."""
        try:
            if task.cancelled():
                self.complete(grpc.StatusCode.CANCELLED)
            elif (error := task.exception()) is not None:
                self.raised(error)
            elif not self._observe(task.result(), streams=streams):
                self.complete(grpc.StatusCode.OK)
        except Exception:
            self.plan.complain("following a call")
            self.complete(None)

    def _sent(self, task: asyncio.Task[object]) -> None:
        """Called when the one request is out. If that failed there may never be a status."""
        # Not ``exception()``: for asyncio that would be somebody who has dealt with it.
        error = None if task.cancelled() else getattr(task, "_exception", None)
        core = self._core
        if error is not None and core is not None and not core.done():
            self._core = None
            self.raised(error)

    def _ended(self) -> None:
        """Called when there is a status. gRPC would fail the call for anything raised here."""
        core = self._core
        if core is None:
            return
        status = core._status
        if self.converts_response and status.code() == 0:
            return  # gRPC does that next, and then we are told
        if status.details() == _PROVISIONAL and self._doubts < len(_DOUBTS_S):
            # A write met the end of the call, whose own status is on its way, and is told then.
            # (It is not where the loop ends, or the call's task is cancelled, before it comes.)
            wait_s = _DOUBTS_S[self._doubts]
            self._doubts += 1
            asyncio.get_running_loop().call_later(wait_s, _Later(self))
            return
        code = conventions.CODES.get(status.code(), grpc.StatusCode.UNKNOWN)
        self._core = None  # its callbacks lead here: leave no circle behind
        self.complete(
            code,
            details=status.details() or None,
            response_metadata=lambda: _both(core._initial_metadata, status.trailing_metadata()),
        )

    def believe(self) -> None:
        """Take what gRPC says of the call now for its last word."""
        self._doubts = len(_DOUBTS_S)
        self._ended()

    def receive_last(self, data: object) -> object:
        """Deserialize the one response, with which the call ends."""
        message = self.receive(data)
        self.responded()
        return message

    def responded(self) -> None:
        """Called when the one response is there: its status was, as a rule, before."""
        try:
            core = self._core
            if core is not None and self.plan.quiet and core._status.code() == 0:
                self.converts_response, self._core = False, None
                self.succeed()
            else:
                self._responded()
        except Exception:
            self.plan.complain("following a call")

    def _responded(self) -> None:
        self.converts_response = False
        self._ended()

    def unconverted(self, error: Exception) -> None:
        """Called when a message was unreadable. To gRPC that is no failure of the call."""
        self.note(error)
        if self._core is not None and self._core.done():
            self._responded()


class _Later:
    """Looks at a call's status once more: when the loop gets to it, or is closed before."""

    def __init__(self, rpc: AioClientCall) -> None:
        self._rpc: AioClientCall | None = rpc

    def __call__(self) -> None:
        rpc, self._rpc = self._rpc, None
        if rpc is not None:
            rpc._ended()

    def __del__(self) -> None:
        rpc = self._rpc
        if rpc is not None:
            rpc.believe()


def _both(initial: Iterable[Pair] | None, trailing: Iterable[Pair] | None) -> list[Pair]:
    return [*(initial or ()), *(trailing or ())]


def sender_in_task(serialize: Convert | None) -> Convert:
    """Return ``Rpc.send`` for the call whose task this is."""

    def send(message: object) -> object:
        rpc = handing.get()
        if rpc is None:
            return message if serialize is None else serialize(message)
        rpc.serialize = serialize
        return rpc.send(message)

    return send


def receiver_in_task(deserialize: Convert | None) -> Convert:
    """Return ``AioClientCall.receive_last`` for it."""

    def receive(data: object) -> object:
        rpc = handing.get()
        if not isinstance(rpc, AioClientCall):
            return data if deserialize is None else deserialize(data)
        rpc.deserialize = deserialize
        return rpc.receive_last(data)

    return receive
