"""The response body: where a request ends, and the context of each of its pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tracekit.wsgi._exchange import Exchange


def followed(result: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
    """Return the body so that its end is noticed, in the shape in which the server knows it."""
    wrapper = exchange.environ.get("wsgi.file_wrapper")
    if wrapper is not None and _is_file(result, wrapper):
        # The server looks for this very object, to send the file without reading it.
        try:
            result.close = _Closing(exchange, getattr(result, "close", None))  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            exchange.finish()
        return result
    if not hasattr(result, "__len__"):
        return Body(result, exchange)
    if isinstance(cast("object", result), bytes):  # not WSGI, yet uWSGI sends it as one piece
        exchange.finish()
        return result
    return SizedBody(result, exchange)


def _is_file(result: object, wrapper: object) -> bool:
    if isinstance(wrapper, type):
        return isinstance(result, wrapper)
    return hasattr(result, "fileno")  # uWSGI's is a function that hands the file itself back


class Body:
    """A response body that runs the application's code under its span, piece by piece."""

    __slots__ = ("_exchange", "_iterator", "_result", "_step")

    def __init__(self, result: Iterable[bytes], exchange: Exchange) -> None:
        self._result = result
        self._iterator: Iterator[bytes] | None = None
        self._exchange: Exchange | None = exchange
        self._step = exchange.step

    def __getattr__(self, name: str) -> object:
        if name[:2] == "__":  # what Python asks of types is not the application's to answer
            raise AttributeError(name)
        return getattr(self._result, name)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self._step:
                if self._iterator is None:
                    self._iterator = iter(self._result)
                piece = next(self._iterator)
        except StopIteration:
            self._end()
            raise
        except BaseException as error:
            self._end(error)
            raise
        if self._exchange is not None and self._exchange.completed_by(piece):
            self._end()
        return piece

    def close(self) -> None:
        """Close the application's iterable as the server asks to (PEP 3333)."""
        close = getattr(self._result, "close", None)
        try:
            if close is not None:
                with self._step:
                    close()
        except BaseException as error:
            self._end(error)
            raise
        self._end(aborted=True)

    def __del__(self) -> None:
        # A server that drops the iterable without closing it must not cost us the span.
        self._end(aborted=True)

    def _end(self, error: BaseException | None = None, *, aborted: bool = False) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.finish(error, aborted=aborted)


class SizedBody(Body):
    """A body whose number of pieces is known: servers derive Content-Length from a single one.

    While gevent's server takes the first piece it goes through all of them once more, to measure
    them. That needs an iterator of its own, and is not how the request ends.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        if self._iterator is not None:
            return iter(self._result)
        with self._step:
            self._iterator = iter(self._result)
        return self

    def __len__(self) -> int:
        return len(self._result)  # type: ignore[arg-type] # it has a length, or it were a Body


class _Closing:
    """The ``close`` of a file that the server sends: also the end of the exchange."""

    def __init__(self, exchange: Exchange, close: Callable[[], object] | None) -> None:
        self._exchange = exchange
        self._close = close

    def __call__(self) -> None:
        try:
            if self._close is not None:
                self._close()
        finally:
            self._exchange.finish()
