"""Blocking handlers on an asyncio server, which gRPC runs in threads.

Such a handler gets a context that cannot be asked for its code, so one that listens stands in for
it. Its thread may go on after the RPC was cancelled, as it does without us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tracekit.grpc._foreign_context import known
from tracekit.grpc._recording_context import ReadableContext, RecordingContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import grpc

    from tracekit._calls.lifecycle import Step
    from tracekit.grpc._handlers import Behavior
    from tracekit.grpc._server_call import ServerRpc


def threaded(rpc: ServerRpc, behavior: Behavior) -> Behavior:
    """Return a blocking function that serves ``rpc`` by ``behavior`` in a thread of gRPC's pool."""

    def traced(request: object, context: grpc.ServicerContext) -> object:
        asked = known(context)
        call = rpc.serving(asked)
        if call is not rpc:
            call.ends_with_handler = True
        readable = ReadableContext(asked)
        if not call.begin(request, readable):
            return behavior(request, context)
        told = RecordingContext(context, readable)
        step = call.step()
        try:
            with step:
                response = behavior(request, told)
        except BaseException as error:
            call.failed(error)
            raise
        if call.streaming:
            call.leave()
            return _responses(cast("Iterable[object]", response), call, step)
        call.returned(response)
        return response

    return traced


def _responses(source: Iterable[object], rpc: ServerRpc, step: Step) -> Iterator[object]:
    """Yield from what a blocking handler returned, in gRPC's thread for it."""
    rpc.attend()
    try:
        with step:
            iterator = iter(source)
        while True:
            with step:
                response = next(iterator)
            rpc.leave()
            yield response
            rpc.attend()
    except StopIteration:
        rpc.exhausted()
    except GeneratorExit:
        with step:
            del source, iterator
        rpc.dropped()
        raise
    except BaseException as error:
        rpc.failed(error)
        raise
