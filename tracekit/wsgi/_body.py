"""The response body: where a request ends, and the context of each of its pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry import context as otel_context

from tracekit._context import attach, detach, get_current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import WSGIEnvironment

    from tracekit.wsgi._exchange import Exchange


_PASSIVE = frozenset((list, tuple))
"""Bodies that run no code of the application's while a server goes through them."""


def followed(
    result: Iterable[bytes],
    exchange: Exchange,
    environ: WSGIEnvironment,
    is_passive: Callable[[object], bool] | None,
) -> Iterable[bytes]:
    """Return the body so that its end is noticed, in the shape in which the server knows it.

    ``is_passive`` tells what a framework makes of bytes that it has: no code of the application's
    runs while a server takes and closes that, so no context is attached for it.
    """
    sized = type(result) in _PASSIVE
    if not sized and (is_passive is None or not is_passive(result)):
        return _followed_actively(result, exchange, environ)
    if exchange.quiet:
        exchange.over()
        return result
    if sized:
        return PassiveBody(result, exchange)
    body = _handed_on(result, exchange)
    next(body)
    return body


def _followed_actively(
    result: Iterable[bytes], exchange: Exchange, environ: WSGIEnvironment
) -> Iterable[bytes]:
    wrapper = environ.get("wsgi.file_wrapper")
    if wrapper is not None and _is_file(result, wrapper):
        # The server looks for this very object, to send the file without reading it.
        return _followed_file(result, exchange)
    kind: type = type(result)  # not ``isinstance``, which would ask the object
    if not hasattr(kind, "__len__"):
        return Body(result, exchange)
    if issubclass(kind, bytes):  # not WSGI, yet uWSGI sends it as one piece
        exchange.over()
        return result
    return SizedBody(result, exchange)


def _is_file(result: object, wrapper: object) -> bool:
    try:
        if issubclass(type(wrapper), type):
            return issubclass(type(result), cast("type", wrapper))
        return hasattr(result, "fileno")  # uWSGI's is a function that hands the file itself back
    except Exception:  # an object that does not like to be looked at: the server will see
        return False


def _followed_file(result: Iterable[bytes], exchange: Exchange) -> Iterable[bytes]:
    try:
        result.close = _Closing(exchange, getattr(result, "close", None))  # type: ignore[attr-defined]
    except Exception:  # it takes no attribute, or does not like to be asked for one
        exchange.over()
    return result


class Body:
    """A response body that runs the application's code under its span, piece by piece."""

    __slots__ = ("_closed", "_exchange", "_iterator", "_result")

    def __init__(self, result: Iterable[bytes], exchange: Exchange) -> None:
        self._result = result
        self._iterator: Iterator[bytes] | None = None
        self._exchange = exchange
        self._closed = False

    def __getattr__(self, name: str) -> object:
        if name[:2] == "__":  # what Python asks of types is not the application's to answer
            raise AttributeError(name)
        return getattr(self._result, name)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        token = attach(exchange.context)
        try:
            iterator = self._iterator
            if iterator is None:
                iterator = self._iterator = iter(self._result)
            piece = next(iterator)
        except BaseException as error:
            exchange.leave(token)
            if exchange.heard and not exchange.finished:
                exchange.finish(None if type(error) is StopIteration else error)
            raise
        exchange.context = get_current()  # ``leave``, without the call
        try:
            detach(token)
        except Exception:  # attached in another contextvars.Context: OpenTelemetry logs it
            otel_context.detach(token)
        left = exchange.left_bytes
        if left is not None and type(piece) is bytes:
            exchange.left_bytes = left = left - len(piece)
            if left <= 0 and not exchange.finished:  # it has its declared length
                exchange.finish()
        return piece

    def close(self) -> None:
        """Close the application's iterable as the server asks to (PEP 3333)."""
        exchange = self._exchange
        self._closed = True
        close = getattr(self._result, "close", None)
        try:
            if close is not None:
                token = attach(exchange.context)
                try:
                    close()
                finally:
                    exchange.leave(token)
        except BaseException as error:
            exchange.over(error)
            raise
        exchange.over(aborted=True)

    def __del__(self) -> None:
        # A server that drops the iterable without closing it must not cost us the span.
        if not self._closed:
            self._exchange.over(aborted=True)


class SizedBody(Body):
    """A body whose number of pieces is known: servers derive Content-Length from a single one.

    While gevent's server takes the first piece it goes through all of them once more, to measure
    them. That needs an iterator of its own, and is not how the request ends.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        if self._iterator is not None:
            return iter(self._result)
        exchange = self._exchange
        token = attach(exchange.context)
        try:
            self._iterator = iter(self._result)
        finally:
            exchange.leave(token)
        return self

    def __len__(self) -> int:
        return len(self._result)  # type: ignore[arg-type] # it has a length, or it were a Body


class PassiveBody(SizedBody):
    """A list or a tuple: nothing runs under the span any more, so nothing is attached."""

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        if self._iterator is not None:
            return iter(self._result)
        self._iterator = iter(self._result)
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        iterator = self._iterator
        try:
            if iterator is None:
                iterator = self._iterator = iter(self._result)
            piece = next(iterator)
        except StopIteration:
            if exchange.heard and not exchange.finished:
                exchange.finish()
            raise
        left = exchange.left_bytes
        if left is not None and type(piece) is bytes:
            exchange.left_bytes = left = left - len(piece)
            if left <= 0 and not exchange.finished:  # it has its declared length
                exchange.finish()
        return piece

    def close(self) -> None:
        """End the request; there is nothing to close."""
        self._closed = True
        self._exchange.over(aborted=True)


def _handed_on(result: Iterable[bytes], exchange: Exchange) -> Iterator[bytes]:
    """Yield nothing, which is for ``followed``, and then the pieces of a passive body.

    A generator hears of all that ``Body`` hears of in fewer calls: of each piece, of the end, and
    of being closed or dropped, but that only once it has begun.
    """
    error, aborted = None, True
    try:
        yield b""
        for piece in result:
            left = exchange.left_bytes
            if left is not None:
                exchange.left_bytes = left = left - len(piece)
                if left <= 0 and not exchange.finished:  # it has its declared length
                    exchange.finish()
            yield piece
        aborted = False
    except BaseException as raised:
        error = raised
        raise
    finally:
        try:
            result.close()  # type: ignore[attr-defined] # it is werkzeug's
        finally:
            exchange.over(error, aborted=aborted)
            del error  # whose traceback holds this frame


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
            self._exchange.over()
