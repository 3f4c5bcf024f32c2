"""The blocking client: traced channels and interceptors that hand back gRPC's own call objects.

A call object is never wrapped. The span of a future or a stream ends in a callback of the call,
and that callback must not keep the call alive: gRPC cancels a call whose last reference is
dropped, and so it must with us. Hence the look at the call's ``_state``, which outlives it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import grpc

from tracekit.grpc._rpc import ClientRpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tracekit._calls import Step
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._rpc import Convert, Pair

    Continuation = Callable[[grpc.ClientCallDetails, object], object]


class Calling(ClientRpc):
    """An RPC made by blocking code."""

    __slots__ = ("_state", "_weak_call")

    def raised(self, error: BaseException) -> None:
        """Hear what the bare call raised instead of returning."""
        code = getattr(error, "code", None)
        if isinstance(error, grpc.RpcError) and callable(code):
            self.finish(
                code(),
                details=error.details(),
                exception=self.failure,
                response_metadata=lambda: _metadata_of(error),
            )
        else:
            self.finish(None, details=str(error), exception=error)

    def answered(self, response: object, call: grpc.Call | None) -> None:
        """Hear that a blocking call returned."""
        if self.plan.has_hooks:
            self.response = response
        self.finish(
            grpc.StatusCode.OK,
            response_metadata=None if call is None else lambda: _metadata_of(call),
        )

    def watch(self, call: grpc.Call) -> None:
        """Finish when ``call`` does, without keeping it alive."""
        done = getattr(call, "done", None)
        if done is None:  # another interceptor's own idea of a call: nobody will tell us more
            self.finish(None)
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
            self.finish(
                state.code,
                details=_text(state.details),
                exception=self.failure,
                response_metadata=lambda: (
                    *(state.initial_metadata or ()),
                    *(state.trailing_metadata or ()),
                ),
            )
        elif call is None or state is not None:
            self.finish(grpc.StatusCode.CANCELLED, details="Cancelled upon garbage collection!")
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

    __slots__ = ("_rpc", "_source", "_step", "_tally")

    def __init__(self, source: Iterator[object], rpc: Calling, *, count: bool) -> None:
        assert rpc.call is not None  # noqa: S101 (begun)
        self._source = source
        self._rpc = rpc
        self._step: Step = rpc.call.step()
        self._tally = rpc.sent if count else None
        if count:
            rpc.sent.count = 0

    def __iter__(self) -> Requests:
        return self

    def __next__(self) -> object:
        try:
            with self._step:
                request = next(self._source)
        except StopIteration:
            raise
        except BaseException as error:
            self._rpc.failure = error
            raise
        if self._tally is not None:
            self._tally.count += 1  # type: ignore[operator]  # set to 0 above
        return request

    next = __next__  # gRPC's own iterators have both spellings


class _MultiCallable:
    """A method of a traced channel: gRPC's own, made anew for each traced call.

    Only so do the converters, where messages are counted, know which call they serve.
    """

    _request_streaming: bool
    _response_streaming: bool

    def __init__(
        self,
        plan: Plan,
        method: str,
        make: Callable[..., Callable[..., object]],
        serializer: Convert | None,
        deserializer: Convert | None,
    ) -> None:
        self._plan = plan
        self._method = method
        self._make = make
        self._serializer = serializer
        self._deserializer = deserializer
        self._bare = make(serializer, deserializer)

    def _run(
        self,
        verb: str,
        request: object,
        timeout: float | None,
        metadata: Iterable[Pair] | None,
        rest: tuple[tuple[object, ...], dict[str, object]],
    ) -> object:
        """Make the call by the method ``verb`` of gRPC's own multi-callable."""
        args, kwargs = rest
        method = self._plan.method(self._method)
        if method is None:
            return getattr(self._bare, verb)(request, timeout, metadata, *args, **kwargs)
        rpc = Calling(self._plan, method, metadata)
        if not rpc.begin(None if self._request_streaming else request):
            return getattr(self._bare, verb)(request, timeout, rpc.metadata, *args, **kwargs)
        if self._request_streaming:
            request = Requests(request, rpc, count=False)
        traced = self._make(
            rpc.counted(self._serializer, rpc.sent), rpc.counted(self._deserializer, rpc.received)
        )
        try:
            with rpc.invoking():
                result = getattr(traced, verb)(request, timeout, rpc.metadata, *args, **kwargs)
        except BaseException as error:
            rpc.raised(error)
            raise
        if self._response_streaming or verb == "future":
            rpc.watch(result)
        elif verb == "__call__":
            rpc.answered(result, None)
        else:
            rpc.answered(*result)
        return result


class _UnaryResponse(_MultiCallable):
    _response_streaming = False

    def __call__(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        if not self._plan.response_metadata:
            return self._run("__call__", request, timeout, metadata, (args, kwargs))
        result = self._run("with_call", request, timeout, metadata, (args, kwargs))
        return cast("tuple[object, grpc.Call]", result)[0]

    def with_call(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        return self._run("with_call", request, timeout, metadata, (args, kwargs))

    def future(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        return self._run("future", request, timeout, metadata, (args, kwargs))


class _StreamResponse(_MultiCallable):
    _response_streaming = True

    def __call__(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        return self._run("__call__", request, timeout, metadata, (args, kwargs))


MultiCallable = TypeVar("MultiCallable", bound=_MultiCallable)


class _UnaryUnary(_UnaryResponse, grpc.UnaryUnaryMultiCallable):
    _request_streaming = False


class _UnaryStream(_StreamResponse, grpc.UnaryStreamMultiCallable):
    _request_streaming = False


class _StreamUnary(_UnaryResponse, grpc.StreamUnaryMultiCallable):
    _request_streaming = True


class _StreamStream(_StreamResponse, grpc.StreamStreamMultiCallable):
    _request_streaming = True


class TracedChannel(grpc.Channel):
    """A channel whose calls are traced; everything else is the bare channel's."""

    def __init__(self, channel: grpc.Channel, plan: Plan) -> None:
        self._channel = channel
        self._plan = plan

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)

    def subscribe(self, *args: object, **kwargs: object) -> None:
        self._channel.subscribe(*args, **kwargs)

    def unsubscribe(self, *args: object, **kwargs: object) -> None:
        self._channel.unsubscribe(*args, **kwargs)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> TracedChannel:
        self._channel.__enter__()
        return self

    def __exit__(self, *raised: object) -> bool | None:
        return self._channel.__exit__(*raised)

    def unary_unary(self, method: str, *args: object, **kwargs: object) -> _UnaryUnary:
        return self._method(_UnaryUnary, self._channel.unary_unary, method, *args, **kwargs)

    def unary_stream(self, method: str, *args: object, **kwargs: object) -> _UnaryStream:
        return self._method(_UnaryStream, self._channel.unary_stream, method, *args, **kwargs)

    def stream_unary(self, method: str, *args: object, **kwargs: object) -> _StreamUnary:
        return self._method(_StreamUnary, self._channel.stream_unary, method, *args, **kwargs)

    def stream_stream(self, method: str, *args: object, **kwargs: object) -> _StreamStream:
        return self._method(_StreamStream, self._channel.stream_stream, method, *args, **kwargs)

    def _method(
        self,
        kind: type[MultiCallable],
        make: Callable[..., Callable[..., object]],
        method: str,
        request_serializer: Convert | None = None,
        response_deserializer: Convert | None = None,
        *args: object,
        **kwargs: object,
    ) -> MultiCallable:
        def remake(
            serializer: Convert | None, deserializer: Convert | None
        ) -> Callable[..., object]:
            return make(method, serializer, deserializer, *args, **kwargs)

        return kind(self._plan, method, remake, request_serializer, response_deserializer)


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
        rpc = Calling(self._plan, method, getattr(details, "metadata", None))
        begun = rpc.begin(None if streaming else request)
        details = with_metadata(details, rpc.metadata)
        if not begun:
            return continuation(details, request)
        if streaming:
            request = Requests(request, rpc, count=True)
        else:
            rpc.sent.count = 1
        try:
            with rpc.invoking():
                call = continuation(details, request)
        except BaseException as error:
            rpc.raised(error)
            raise
        rpc.watch(call)
        return call


def with_metadata(
    details: grpc.ClientCallDetails, metadata: Iterable[Pair] | None
) -> grpc.ClientCallDetails:
    """Return ``details`` with other metadata; another interceptor's may lack most fields."""
    replace = getattr(details, "_replace", None)
    if replace is not None:
        return replace(metadata=metadata)
    fields = {name: getattr(details, name, None) for name in _CallDetails._fields}
    return _CallDetails(**{**fields, "metadata": metadata})
