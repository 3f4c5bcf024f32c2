"""The blocking client: its calls, and interceptors that hand back gRPC's own call objects.

A call object is never wrapped. The span of a future or a stream ends in a callback of the call,
and that callback must not keep the call alive: gRPC cancels a call whose last reference is
dropped, and so it must with us. Hence the look at the call's ``_state``, which outlives it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import grpc

from tracekit._calls.lifecycle import message_of
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._client_call import ClientRpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tracekit.grpc._plan import Plan
    from tracekit.grpc._rpc import Pair

    Continuation = Callable[[grpc.ClientCallDetails, object], object]


class _State(Protocol):
    """What gRPC knows of a call, which outlives the object that stands for it."""

    code: grpc.StatusCode | None
    details: str | bytes | None
    initial_metadata: tuple[Pair, ...] | None
    trailing_metadata: tuple[Pair, ...] | None


class BlockingClientCall(ClientRpc):
    """An RPC made by blocking code."""

    _state: _State | None
    _weak_call: weakref.ref[grpc.Call]

    def raised(self, error: BaseException) -> None:
        """Hear what the bare call raised instead of returning."""
        code = details = None
        if isinstance(error, grpc.RpcError) and callable(getattr(error, "code", None)):
            try:
                code = conventions.code_of(error.code(), numbers=True)
                details = _text(error.details())
            except Exception:  # an interceptor's own idea of such an error
                self.plan.complain("reading how a call failed")
        if code is None:
            self.complete(None, details=message_of(error), exception=error)
        else:
            self.complete(code, details=details, response_metadata=lambda: _metadata_of(error))

    def answered(self, response: object, call: grpc.Call | None) -> None:
        """Called when a blocking call returned."""
        if self.plan.has_hooks:
            self.response = response
        self.complete(
            grpc.StatusCode.OK,
            response_metadata=None if call is None else lambda: _metadata_of(call),
        )

    def watch(self, call: grpc.Call) -> None:
        """Finish when ``call`` does, without keeping it alive."""
        done = getattr(call, "done", None)
        if done is None:  # another interceptor's own idea of a call: nobody will tell us more
            self.complete(None)
            return
        self._weak_call = weakref.ref(call)
        self._state = getattr(call, "_state", None)
        if done() or not call.add_callback(self._ended):
            self._ended()
        elif _is_single_threaded(call):
            # It learns of its end only while somebody reads it; dropped half-read, it never does.
            weakref.finalize(call, self._ended).atexit = False

    def _ended(self) -> None:
        call: grpc.Call | None = self._weak_call()
        state, self._state = self._state, None
        if state is not None and state.code is not None:
            self.complete(
                state.code,
                details=_text(state.details),
                response_metadata=lambda: (
                    *(state.initial_metadata or ()),
                    *(state.trailing_metadata or ()),
                ),
            )
        elif call is None or state is not None:
            self.complete(grpc.StatusCode.CANCELLED, details="Cancelled upon garbage collection!")
        elif isinstance(call, grpc.RpcError):
            self.raised(call)
        elif (failure := call.exception()) is not None:
            self.raised(failure)
        else:
            self.answered(call.result(), call)


def _text(details: object) -> str | None:
    text = details.decode("utf-8", "replace") if isinstance(details, bytes) else details
    return str(text) if text else None


def _metadata_of(call: grpc.Call) -> list[Pair]:
    return [*(call.initial_metadata() or ()), *(call.trailing_metadata() or ())]


def _is_single_threaded(call: grpc.Call) -> bool:
    return type(call).__name__ == "_SingleThreadedRendezvous"


class Requests:
    """A request iterator as gRPC's sending thread sees it: its spans belong to the call."""

    __slots__ = ("_count", "_rpc", "_source", "_step")

    def __init__(self, source: Iterator[object], rpc: BlockingClientCall, *, count: bool) -> None:
        self._source = source
        self._rpc = rpc
        self._step = rpc.step()
        self._count = count
        rpc.sees_requests = True

    def __iter__(self) -> Requests:
        return self

    def __next__(self) -> object:
        try:
            with self._step:
                request = next(self._source)
        except StopIteration:
            raise
        except BaseException as error:
            self._rpc.note(error)
            raise
        if self._count:
            self._rpc.sent_count += 1
        return request

    next = __next__  # gRPC's own iterators have both spellings


class _CallDetails(NamedTuple):
    """What an interceptor hands on: the caller's details with our metadata."""

    method: str
    timeout: float | None
    metadata: Iterable[Pair] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class ClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Traces every RPC of a channel that it intercepts; one object for all four kinds."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def intercept_unary_unary(
        self,
        continuation: Continuation,
        client_call_details: grpc.ClientCallDetails,
        request: object,
    ) -> object:
        return self._intercept(continuation, client_call_details, request)

    def intercept_unary_stream(
        self,
        continuation: Continuation,
        client_call_details: grpc.ClientCallDetails,
        request: object,
    ) -> object:
        return self._intercept(continuation, client_call_details, request)

    def intercept_stream_unary(
        self,
        continuation: Continuation,
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[object],
    ) -> object:
        return self._intercept(continuation, client_call_details, request_iterator, streaming=True)

    def intercept_stream_stream(
        self,
        continuation: Continuation,
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[object],
    ) -> object:
        return self._intercept(continuation, client_call_details, request_iterator, streaming=True)

    def _intercept(
        self,
        continuation: Continuation,
        details: grpc.ClientCallDetails,
        request: object,
        *,
        streaming: bool = False,
    ) -> object:
        method = self._plan.method(details.method)
        if method is None:
            return continuation(details, request)
        rpc = BlockingClientCall(self._plan, method, getattr(details, "metadata", None))
        begun = rpc.begin(None if streaming else request)
        details = with_metadata(details, rpc.metadata)
        if not begun:
            return continuation(details, request)
        if streaming:
            request = Requests(cast("Iterator[object]", request), rpc, count=True)
        else:
            rpc.sent_count, rpc.sees_requests = 1, True
        try:
            with rpc:
                call = continuation(details, request)
        except BaseException as error:
            rpc.raised(error)
            raise
        if rpc.live:
            rpc.watch(call)
        return call


def with_metadata(
    details: grpc.ClientCallDetails, metadata: Iterable[Pair] | None
) -> grpc.ClientCallDetails:
    """Return ``details`` with other metadata; another interceptor's may lack most fields."""
    replace = getattr(details, "_replace", None)
    if replace is not None:
        return replace(metadata=metadata)
    given = (getattr(details, name, None) for name in _CallDetails._fields)
    return _CallDetails._make(given)._replace(metadata=metadata)
