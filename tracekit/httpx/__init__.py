"""Trace what goes out through ``httpx``, and through ``httpx2``, its successor.

::

    undo = tracekit.httpx.instrument()              # every Client and AsyncClient
    undo = tracekit.httpx.instrument(client)        # this one

Each exchange with a transport (each redirect is one) has a client span, until its body is read or
closed. Whatever transport a client has, mounted, custom or a mock's, it is traced. The headers of
the trace and of the mesh are put on a copy: the caller's request keeps none of them.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
from typing import TYPE_CHECKING, Any

from tracekit._assembly.handle import HasTracing, Tracing, later
from tracekit._calls.http_client import ClientExchange, HttpClient
from tracekit._calls.patch import Patch, lock
from tracekit._context import attach, detach
from tracekit.httpx._stream import AsyncBody, SyncBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tracekit._calls.http_client import Hosts

__all__ = ["instrument"]

_MARK = "_tracekit_client"
_METHOD = "_send_single_request"
_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/2": "2"}
_PACKAGES = tuple(name for name in ("httpx", "httpx2") if importlib.util.find_spec(name))
if not _PACKAGES:
    raise ImportError("tracekit.httpx needs httpx: pip install 'tracekit-jaeger[httpx]'")


def instrument(
    client: object | None = None,
    *,
    tracing: Tracing | HasTracing | None = None,
    allow: Iterable[str] = (),
    hosts: Hosts = None,
    semconv: str | None = None,
) -> Callable[[], None]:
    """Trace ``client`` (None: every one, sync and async) from its next request on; return the undo.

    The other arguments are those of ``tracekit.requests.instrument``: ``hosts``, a predicate over
    host names or patterns like ``*.svc.cluster.local``, says where trace headers may go (default:
    everywhere); baggage and the application headers that ``allow`` lists go only where ``hosts``
    says so. What is traced already stays as it is, and the undo returned then does nothing. Any
    thread may call it. Raises ``TypeError`` for what is no client.
    """
    if client is None:
        packages = [importlib.import_module(name) for name in _PACKAGES]
        targets: list[Any] = [
            kind for package in packages for kind in (package.Client, package.AsyncClient)
        ]
    elif callable(getattr(client, _METHOD, None)) and not isinstance(client, type):
        targets = [client]
    else:
        raise TypeError(f"instrument() takes a client of httpx, not {type(client).__name__}")
    edge = _Client(later(tracing), "tracekit.httpx", allow, hosts, semconv)
    patches: list[tuple[Any, Patch]] = []
    with lock:
        for target in targets:
            if _MARK not in vars(target):
                setattr(target, _MARK, edge)
                patches.append((target, Patch(target, _METHOD, edge.sending)))

    def undo() -> None:
        with lock:
            edge.active = False
            while patches:
                target, patch = patches.pop()
                delattr(target, _MARK)
                patch.undo()

    return undo


class _Client(HttpClient):
    """The settings of one ``instrument``, and what they do to a client."""

    active = True

    def sending(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a client's method that sends one request, traced."""
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def send_async(*args: Any) -> Any:  # noqa: ANN401 (a client's own, and its answer)
                sending = self._begin(args)
                if sending is None:
                    return await original(*args)
                token = attach(sending.context)
                try:
                    response = await original(*args[:-1], sending.sent)
                except BaseException as error:
                    sending.failed(error)
                    raise
                finally:
                    detach(token)
                return sending.gives(response)

            return send_async

        @functools.wraps(original)
        def send(*args: Any) -> Any:  # noqa: ANN401
            sending = self._begin(args)
            if sending is None:
                return original(*args)
            token = attach(sending.context)
            try:
                response = original(*args[:-1], sending.sent)
            except BaseException as error:
                sending.failed(error)
                raise
            finally:
                detach(token)
            return sending.gives(response)

        return send

    def _begin(self, args: tuple[Any, ...]) -> Exchange | None:
        if not self.active or not args:
            return None
        exchange = None
        try:
            request = args[-1]
            exchange = self.begin(request.method, request.url, Exchange)
            if exchange is not None:
                exchange.copy(request)
        except Exception:  # a request of somebody's own kind, which is then sent as it is
            self.complain("tracing a request failed; it is sent untraced")
            if exchange is not None:
                exchange.finish()
            return None
        return exchange


class Exchange(ClientExchange):
    """One request on its way: the caller's, and the copy of it that is sent."""

    request: Any
    sent: Any

    def copy(self, request: Any) -> None:  # noqa: ANN401
        """Make what is sent: the caller's request, with the headers of the trace."""
        self.request = request
        kind: Any = type(request)
        self.sent = sent = kind.__new__(kind)  # ``copy`` would leave its body behind
        sent.__dict__.update(request.__dict__)
        held = request.headers
        gone, added = self.changes([name.decode("latin-1").lower() for name, _ in held.raw])
        headers = type(held)(held)
        encoding = held.__dict__.get("_encoding")
        if encoding is not None:
            headers.encoding = encoding
        for name in gone:
            del headers[name]
        for name, value in added:
            headers[name] = value
        sent.headers = headers

    def _hand_back(self) -> Any:  # noqa: ANN401
        """Have the caller's request know what a transport has made of it: a body that was read."""
        request, sent = self.request, self.sent
        del self.request, self.sent  # nothing of the program's stays here
        request.__dict__.update({**sent.__dict__, "headers": request.headers})
        return request, sent

    def failed(self, error: BaseException) -> None:
        """End it with what the transport raised, which names the request."""
        self.finish(error)
        request, sent = self._hand_back()
        if getattr(error, "_request", None) is sent:
            error.request = request  # type: ignore[attr-defined] # httpx's own errors have it

    def gives(self, response: Any) -> Any:  # noqa: ANN401
        """Return the response, whose body ends the exchange."""
        try:
            response.request, _ = self._hand_back()
            if self.live:
                version = response.extensions.get("http_version", b"")
                known = _VERSIONS.get(version) or version.decode().removeprefix("HTTP/")
                self.answered(response.status_code, known)
                if response.is_closed:  # a mock's
                    self.finish()
                else:
                    stream = response.stream
                    kind: Any = type(stream)
                    response.stream = _kind_of(kind)(stream, self)
        except Exception:  # no response: a mock, or a mistake that the client will complain of
            self.finish()
        return response


@functools.cache
def _kind_of(kind: Any) -> Any:  # noqa: ANN401
    """Return the class of bodies for streams of ``kind``: a base class tells httpx which they are.

    Streams that are both (a mock's plain bytes) reach here within the client's own of one kind.
    """
    bases = {base.__name__: base for base in kind.__mro__}
    if "SyncByteStream" in bases:
        return type("SyncBody", (SyncBody, bases["SyncByteStream"]), {})
    return type("AsyncBody", (AsyncBody, bases["AsyncByteStream"]), {})
