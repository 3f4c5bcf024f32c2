"""Request iterators of asyncio code, whose failures are remembered."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from tracekit.grpc._client_call import ClientRpc


class AsyncRequests:
    """An asynchronous request iterator whose failure is remembered."""

    __slots__ = ("_count", "_iterator", "_rpc", "_source")

    def __init__(self, source: AsyncIterable[object], rpc: ClientRpc, *, count: bool) -> None:
        self._source = source
        self._rpc = rpc
        self._count = count
        rpc.sees_requests = True

    def __aiter__(self) -> AsyncRequests:
        self._iterator: AsyncIterator[object] = self._source.__aiter__()
        return self

    async def __anext__(self) -> object:
        try:
            request = await self._iterator.__anext__()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._rpc.note(error)
            raise
        if self._count:
            self._rpc.sent_count += 1
        return request


def requests_of(source: object, rpc: ClientRpc, *, count: bool) -> object:
    """Return a request iterator of the same kind; None, for the writer's way, as it is."""
    if source is None:
        return None
    if issubclass(type(source), AsyncIterable):
        return AsyncRequests(cast("AsyncIterable[object]", source), rpc, count=count)
    return _from_iterable(cast("Iterable[object]", source), rpc, count=count)


def _from_iterable(source: Iterable[object], rpc: ClientRpc, *, count: bool) -> Iterator[object]:
    rpc.sees_requests = True
    try:
        for request in source:
            if count:
                rpc.sent_count += 1
            yield request
    except Exception as error:
        rpc.note(error)
        raise
