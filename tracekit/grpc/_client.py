"""The blocking client: its calls, and interceptors that hand back gRPC's own call objects.

A call object of gRPC's is never wrapped. The span of a future or a stream ends in a callback of
the call, and that callback must not keep the call alive: gRPC cancels a call whose last reference
is dropped, and so it must with us. Hence the look at the call's ``_state``, which outlives it. What
interceptors of others answer with is followed as far as it tells of its end; see ``_foreign``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import functools
import weakref
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import grpc
from grpc._channel import _MultiThreadedRendezvous, _SingleThreadedRendezvous

from tracekit._calls.lifecycle import message_of
from tracekit.grpc import _foreign as foreign
from tracekit.grpc._client_call import ClientRpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeGuard

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._shared import Method

    Continuation = Callable[[grpc.ClientCallDetails, object], object]


class _State(Protocol):
    """What gRPC knows of a call, which outlives the object that stands for it."""

    code: grpc.StatusCode | None
    details: str | bytes | None
    initial_metadata: tuple[Pair, ...] | None
    trailing_metadata: tuple[Pair, ...] | None


class _Own(Protocol):
    """A call object of gRPC's own."""

    _state: _State

    def done(self) -> bool: ...
    def add_callback(self, callback: Callable[[], None]) -> bool: ...


_OWN: tuple[type, ...] = (_MultiThreadedRendezvous, _SingleThreadedRendezvous)


def _is_own(call: object) -> TypeGuard[_Own]:
    """Return whether ``call`` is gRPC's own and tells of its end."""
    return type(call) in _OWN


class BlockingClientCall(ClientRpc):
    """An RPC made by blocking code."""

    _state: _State | None

    def raised(self, error: BaseException) -> None:
        """Called with what the bare call raised instead of returning."""
        code = details = None
        if isinstance(error, grpc.RpcError):  # (an interceptor's own idea of one may say less)
            code = foreign.code_of(error)
            details = foreign.ask_text(error, "details")
        elif isinstance(error, grpc.FutureCancelledError | concurrent.futures.CancelledError):
            code = grpc.StatusCode.CANCELLED
        if code is None:
            self.complete(None, details=message_of(error), exception=error)
        else:
            self.complete(code, details=details, response_metadata=lambda: _metadata_of(error))

    def answered(self, response: object, call: object = None) -> None:
        """Called when a blocking call returned."""
        if self.plan.quiet:
            self.succeed()
            return
        if self.plan.has_hooks:
            self.response = response
        self.complete(
            grpc.StatusCode.OK,
            response_metadata=None if call is None else lambda: _metadata_of(call),
        )

    def watch(self, call: object, *, streams: bool) -> object:
        """Finish when ``call`` does, without keeping it alive; return what the caller is given.

        That is ``call``, but for what tells of its end to nobody but its reader: of this, only
        interceptors and channels of others make any.
        """
        try:
            if _is_own(call):
                self._follow(call)
            elif streams and (inner := foreign.held(call, _is_own)) is not None:
                self._follow(inner)
            elif not self._follow_foreign(call):
                if _is_stream(call) if streams else hasattr(type(call), "result"):
                    return foreign.follow(call, self)
                self.complete(grpc.StatusCode.OK)  # answered by itself
        except Exception:
            self.plan.complain("following a call")
            self.complete(None)
        return call

    def _follow(self, call: _Own) -> None:
        self._state = call._state
        if call.done() or not call.add_callback(self._ended):
            self._ended()
        elif type(call) is _SingleThreadedRendezvous:
            # It learns of its end only while somebody reads it; dropped half-read, it never does.
            weakref.finalize(call, self._ended).atexit = False

    def _ended(self) -> None:
        state, self._state = self._state, None
        if state is not None and state.code is not None:
            self.complete(
                state.code,
                details=foreign.text_of(state.details),
                response_metadata=lambda: (
                    *(state.initial_metadata or ()),
                    *(state.trailing_metadata or ()),
                ),
            )
        else:
            self.complete(grpc.StatusCode.CANCELLED, details="Cancelled upon garbage collection!")

    def _follow_foreign(self, call: object) -> bool:
        """Be told of the end of a future, or call, of another kind; False if it tells nobody."""
        if foreign.ask(call, "done", bool):
            self._tell(call)
            return True
        own = foreign.held(call, _is_own)
        tell = functools.partial(self._told, _reference(call))
        for name in ("add_done_callback", "add_callback"):
            if own is not None and not hasattr(type(call), name):
                # To be told by what is passed through to gRPC's own would keep that alive.
                self._follow(own)
                return True
            try:
                added = getattr(call, name)(tell)
            except Exception:  # noqa: S112 (then the next one, or nobody tells)
                continue
            if name == "add_callback" and added is False:
                self._tell(call)
            return True
        return False

    def _told(self, reference: Callable[[], object], *_: object) -> None:
        """Called by a future of another kind. Nothing may be raised into whoever completes it."""
        try:
            call = reference()
            if call is None:
                self.complete(grpc.StatusCode.CANCELLED)
            else:
                self._tell(call)
        except Exception:
            self.plan.complain("following a call")
            self.complete(None)

    def _tell(self, call: object) -> None:
        """Finish with what a future of another kind, which is done, can tell."""
        if foreign.ask(call, "cancelled", bool):
            self.complete(foreign.code_of(call) or grpc.StatusCode.CANCELLED)
        elif isinstance(call, grpc.RpcError):
            self.raised(call)
        elif (failure := foreign.ask(call, "exception", BaseException)) is not None:
            self.raised(failure)
        else:
            if self.plan.has_hooks:
                self.response = foreign.ask(call, "result", object)
            code = foreign.code_of(call) or grpc.StatusCode.OK
            details = foreign.ask_text(call, "details")
            self.complete(code, details=details, response_metadata=lambda: _metadata_of(call))


def _reference(call: object) -> Callable[[], object]:
    try:
        return weakref.ref(call)
    except TypeError:
        return lambda: call


def _metadata_of(call: object) -> list[Pair]:
    names = ("initial_metadata", "trailing_metadata")
    return [pair for name in names for pair in foreign.ask_pairs(call, name) or ()]


def _is_stream(call: object) -> bool:
    """Return whether more is to come of ``call``; not of a list."""
    kind: type = type(call)
    return hasattr(kind, "__next__") or (hasattr(kind, "__iter__") and not hasattr(kind, "__len__"))


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
        return self._intercept(continuation, client_call_details, request, streams=True)

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
        return self._intercept(
            continuation, client_call_details, request_iterator, streaming=True, streams=True
        )

    def _intercept(
        self,
        continuation: Continuation,
        details: grpc.ClientCallDetails,
        request: object,
        *,
        streaming: bool = False,
        streams: bool = False,
    ) -> object:
        plan = self._plan
        method, metadata, timeout = read_details(plan, details)
        if method is None:
            return continuation(details, request)
        rpc = BlockingClientCall(plan, method, metadata)
        begun = rpc.begin(None if streaming else request, timeout)
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
        return rpc.watch(call, streams=streams) if rpc.live else call


def read_details(
    plan: Plan, details: grpc.ClientCallDetails
) -> tuple[Method | None, Iterable[Pair] | None, object]:
    """Return the method that ``details`` name, None if it is not traced, metadata and timeout."""
    try:
        method = plan.method(details.method)
    except Exception:  # another interceptor's own idea of details
        return None, None, None
    try:
        return method, details.metadata, details.timeout
    except Exception:
        return method, foreign.ask_pairs(details, "metadata"), None


def with_metadata(
    details: grpc.ClientCallDetails, metadata: Iterable[Pair] | None
) -> grpc.ClientCallDetails:
    """Return ``details`` with other metadata; another interceptor's may lack most fields."""
    with contextlib.suppress(Exception):
        return details._replace(metadata=metadata)  # gRPC's own are named tuples
    with contextlib.suppress(Exception):
        changed = copy.copy(details)  # which keeps what an interceptor of theirs tells the next
        changed.metadata = metadata
        if changed.metadata is metadata:
            return changed
    given = (foreign.ask(details, name, object) for name in _CallDetails._fields)
    return _CallDetails._make(given)._replace(metadata=metadata)
