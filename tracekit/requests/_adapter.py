"""The adapter that ``Session.send`` is given: the session's own, with a span around each send."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from requests import PreparedRequest
from requests.structures import CaseInsensitiveDict

from tracekit._calls.http_client import EXCHANGE
from tracekit._context import attach, detach
from tracekit.requests._exchange import follow

if TYPE_CHECKING:
    from requests import Response
    from requests.adapters import BaseAdapter

    from tracekit._calls.http_client import ClientExchange, HttpClient


_new = object.__new__


class Sending(Protocol):
    """The run of ``Session.send`` that the adapter serves."""

    client: HttpClient
    exchanges: list[ClientExchange]


class Adapter:
    """A session's adapter with a span around each ``send``; otherwise the adapter itself.

    A subclass's ``get_adapter`` and hooks see it: they may compare it, ask for its type and set
    what is the adapter's to have.
    """

    __slots__ = ("_tracekit_adapter", "_tracekit_sending")

    _tracekit_adapter: BaseAdapter
    _tracekit_sending: Sending

    def __init__(self, adapter: BaseAdapter, sending: Sending) -> None:
        object.__setattr__(self, "_tracekit_adapter", adapter)
        object.__setattr__(self, "_tracekit_sending", sending)

    @property  # type: ignore[misc] # what isinstance asks when the type itself says no
    def __class__(self) -> type:
        return type(self._tracekit_adapter)

    def __getattr__(self, name: str) -> object:
        return getattr(self._tracekit_adapter, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._tracekit_adapter, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._tracekit_adapter, name)

    def __eq__(self, other: object) -> bool:
        return self._tracekit_adapter == mounted(other)

    def __hash__(self) -> int:
        return hash(self._tracekit_adapter)

    def __repr__(self) -> str:
        return repr(self._tracekit_adapter)

    def send(
        self,
        request: PreparedRequest,
        *args: Any,  # noqa: ANN401 (whatever adapters take)
        **kwargs: Any,  # noqa: ANN401
    ) -> Response:
        """Send one request; its span ends with the response's body."""
        adapter, client = self._tracekit_adapter, self._tracekit_sending.client
        exchange = None
        try:
            exchange = client.begin(request.method or "", request.url or "")
            if exchange is not None:
                self._tracekit_sending.exchanges.append(exchange)
                sent = _to_send(request, exchange)
        except Exception:  # a request of somebody's own kind, which is then sent as it is
            client.complain("tracing a request failed; it is sent untraced")
            if exchange is not None:
                exchange.finish()
                exchange = None
        if exchange is None:
            return adapter.send(request, *args, **kwargs)
        try:
            token = attach(exchange.context)
            try:
                response = adapter.send(sent, *args, **kwargs)
            finally:
                detach(token)
        except BaseException as error:
            exchange.finish(error)
            raise
        try:
            if getattr(response, "connection", None) is adapter:
                # Digest authentication sends its second request through this.
                response.connection = self  # type: ignore[assignment] # one in all but type
            follow(exchange, response)
        except Exception:  # no response: a mock, or a mistake that the session will complain of
            exchange.finish()
        return response


def _to_send(request: PreparedRequest, exchange: ClientExchange) -> PreparedRequest:
    """Return a copy of the request with the headers of the trace and of the mesh.

    What nearly all requests are is copied without what ``copy`` does to find out how, and headers
    without asking for each: requests keeps them by lower-case name, as pairs of name and value.
    """
    if type(request) is PreparedRequest:
        sent = _new(PreparedRequest)
        sent.__dict__.update(request.__dict__)
    else:
        sent = copy.copy(request)
    held = request.headers
    store = held.__dict__.get("_store") if type(held) is CaseInsensitiveDict else None
    if type(store) is OrderedDict:
        kept = store.copy()
        gone, added = exchange.changes(kept)
        for name in gone:
            del kept[name]
        for name, value in added:
            kept[name.lower()] = name, value
        sent.headers = headers = _new(CaseInsensitiveDict)
        headers.__dict__["_store"] = kept
    else:
        pairs: Any = exchange.headers((held or {}).items())
        sent.headers = CaseInsensitiveDict(pairs)
    return sent


def mounted(adapter: object) -> object:
    """Return the adapter that is mounted: what a traced one stands for, any other itself."""
    return adapter._tracekit_adapter if type(adapter) is Adapter else adapter


def hand_over(response: object) -> None:
    """Let the caller have the response that ``Session.send`` made, which may be anything."""
    try:
        held = response.__dict__
        connection = held.get("connection")
        if type(connection) is Adapter:
            held["connection"] = mounted(connection)
        dropped = held.get(EXCHANGE)
        if dropped is not None and held.get("_content_consumed"):
            dropped.exchange.finish()
    except Exception:  # none of requests' own: there is nothing of ours on it
        return
