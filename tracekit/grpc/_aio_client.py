"""The asyncio client: its calls, and interceptors that hand back gRPC's own call objects.

``grpc.aio`` starts tasks for a call while it is made, and a task inherits the context. So the
client span is current in a request iterator without anything being held over an ``await``.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from tracekit._calls.lifecycle import message_of
from tracekit.grpc import _conventions as conventions
from tracekit.grpc import _foreign as foreign
from tracekit.grpc._aio_own import InterceptedCall, OwnCall, ResponseIterator, is_own
from tracekit.grpc._client_call import ClientRpc

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
    )

    from tracekit.grpc._aio_own import Core, Own
    from tracekit.grpc._conventions import Pair

    Continuation = Callable[[grpc.aio.ClientCallDetails, object], Awaitable[grpc.aio.Call]]


_PROVISIONAL = "Internal error from Core"
"""What gRPC says of a call, as INTERNAL, whose write failed."""
_DOUBTS_S = (0.0, 0.01, 0.1, 1.0)
"""How long to wait, each time, for the status that explains a failed write."""


class AioClientCall(ClientRpc):
    """An RPC made by asyncio code; only the loop's thread touches it."""

    _core: Core | None = None
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

    def convert(self, call: object, *, streams: bool) -> object:
        """Convert the messages of gRPC's own ``call``, just made, and finish when it does."""
        if not isinstance(call, OwnCall):  # of a patch of somebody else's
            self.converts_response = False
            return self.watch(call, streams=streams)
        try:
            call._request_serializer = self.send
            call._response_deserializer = self.receive if streams else self.receive_last
            ended = self._ended  # ``_follow``, without the call
            self._core = core = call._cython_call
            core.add_done_callback(ended)
            (call._preparation if streams else call._call_response).add_done_callback(ended)
        except Exception:
            self.plan.complain("following a call")
            self.complete(None)
        return call

    def watch(self, call: object, *, streams: bool) -> object:
        """Finish when ``call`` does, without keeping it alive; return what the caller is given.

        See the blocking one.
        """
        try:
            if isinstance(call, OwnCall):
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
        if isinstance(call, OwnCall):
            if getattr(call, "_response_deserializer", None) != self.receive_last:
                self.converts_response = False  # another channel's call: we hear of no response
            self._follow(call)
        elif isinstance(call, InterceptedCall):
            call._interceptors_task.add_done_callback(
                functools.partial(self._intercepted, streams=streams)
            )
        elif isinstance(call, ResponseIterator):
            # What interceptors made of the responses: around a call, or in place of it.
            if call._call is not None:
                return self._observe(call._call, streams=streams)
            call._response_iterator = cast(
                "AsyncIterator[object]", foreign.follow(call._response_iterator, self)
            )
        elif isinstance(call, grpc.aio._interceptor.UnaryUnaryCallResponse):
            self.complete(grpc.StatusCode.OK)
        elif streams and (inner := foreign.held(call, is_own)) is not None:
            return self._observe(inner, streams=streams)
        else:
            return self._follow_foreign(call)
        return True

    def _follow(self, call: Own) -> None:
        """Finish with gRPC's own ``call``.

        ``add_done_callback`` of a call would keep it, that of the core inside it does not.
        """
        self._core = core = call._cython_call
        core.add_done_callback(self._ended)
        # What runs the call: to its one response, or until a stream has begun.
        task = getattr(call, "_call_response", None) or getattr(call, "_preparation", None)
        if task is not None:
            task.add_done_callback(self._ended)

    def _follow_foreign(self, call: object) -> bool:
        if not hasattr(type(call), "add_done_callback"):
            # To be told by what is passed through to gRPC's own would keep that alive.
            own = foreign.held(call, is_own)
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

    def _ended(self, task: asyncio.Task[object] | None = None) -> None:
        """Called when there is a status, and when gRPC's own ``task`` for the call is done.

        gRPC would fail the call for anything raised here.
        """
        core = self._core
        if core is None:
            return
        if task is not None:
            # Not ``exception()``: for asyncio that would be somebody who has dealt with it.
            error = getattr(task, "_exception", None)
            if error is not None:
                self._failed(error, core)
            return
        status = core._status
        if self.converts_response and status.code() == 0:
            return  # gRPC does that next, and then we are told (if it fails, by its task)
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

    def _failed(self, error: BaseException, core: Core) -> None:
        """Called when gRPC's task failed, and the call has not ended: nobody else may tell."""
        if core.done():  # of a callback, or a converter: no response is going to be converted
            self.spoilt(error)
        else:
            self._core = None
            self.raised(error)

    def believe(self) -> None:
        """Take what gRPC says of the call now for its last word."""
        self._doubts = len(_DOUBTS_S)
        self._ended()

    def receive_last(self, data: object) -> object:
        """Deserialize the one response, with which the call ends: nearly all end well here."""
        core = self._core
        if core is None or not self.plan.quiet:
            message = self.receive(data)
            self._heed(self._responded)
            return message
        deserialize = self.deserialize
        try:
            message = data if deserialize is None else deserialize(data)
        except BaseException as error:
            self.spoilt(error)
            raise
        try:
            self.received_count += 1
            if data.__class__ is bytes or isinstance(data, bytes):
                self.received_bytes += len(data)
            if core._status.code() == 0:  # it came before the response, as a rule
                self.converts_response, self._core = False, None
                self.succeed()
            else:
                self._responded()
        except Exception:
            self.plan.complain("following a call")
        return message

    def _responded(self) -> None:
        self.converts_response = False
        self._ended()

    def unconverted(self, error: BaseException) -> None:
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
