"""The body of an answer: where an exchange ends, in the two flavours of ``httpx``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tracekit._calls.http_client import ClientExchange


class Body:
    """What both flavours share: the stream, its exchange, and the end with the last reference."""

    def __init__(self, stream: Any, exchange: ClientExchange) -> None:  # noqa: ANN401 (either's)
        self._stream = stream
        self._exchange = exchange

    def __getattr__(self, name: str) -> object:
        if name in {"_stream", "_exchange"}:  # not there yet, or no more
            raise AttributeError(name)
        return getattr(self._stream, name)

    def __del__(self) -> None:
        # Nobody has read or closed the answer.
        exchange = self.__dict__.get("_exchange")
        if exchange is not None and exchange.live:
            exchange.finish()


class SyncBody(Body):
    """Read piece by piece on whatever thread."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:
            raise
        except BaseException as error:
            self._exchange.finish(error)
            raise

    def close(self) -> None:
        """Close it; the exchange is over."""
        try:
            self._stream.close()
        finally:
            self._exchange.finish()


class AsyncBody(Body):
    """Read piece by piece on whatever loop."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except GeneratorExit:
            raise
        except BaseException as error:
            self._exchange.finish(error)
            raise

    async def aclose(self) -> None:
        """Close it; the exchange is over."""
        try:
            await self._stream.aclose()
        finally:
            self._exchange.finish()
