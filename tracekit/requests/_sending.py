"""Which adapter a ``Session.send`` is given: the session's own, traced, wherever it comes from.

``Session.send`` asks for the adapter once. Only that one asking gets the traced one: whoever else
calls ``get_adapter`` gets the adapter that was mounted. The asking may be answered by a subclass,
or by what a mock has put over the method, on the class or on the session; so the method is looked
up through a descriptor, which stands in for it on whatever class defines it when something is sent.
A mock may also have put its own over our ``send`` (requests-mock calls the library's directly);
then the asking is known by who asks.
"""

from __future__ import annotations

import functools
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import requests

from tracekit.requests._adapter import Adapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests.adapters import BaseAdapter

    from tracekit._calls.http_client import ClientExchange, HttpClient

NAME = "get_adapter"
MARK = "_tracekit_client"
"""Where a class or a session holds its ``HttpClient``."""
_SEND = getattr(requests.Session.send, "__code__", None)
_lock = threading.Lock()
current: ContextVar[Sending | None] = ContextVar("tracekit_requests_sending", default=None)


class Sending:
    """One run of ``Session.send``, on one thread or task."""

    __slots__ = ("client", "exchanges", "session", "wants")

    def __init__(self, client: HttpClient, session: object) -> None:
        self.client = client
        self.session = session
        self.wants = True
        """Whether the adapter has not been asked for yet."""
        self.exchanges: list[ClientExchange] = []

    def adapter(
        self, own: Callable[..., BaseAdapter], *args: object, **kwargs: object
    ) -> BaseAdapter | Adapter:
        """Return the adapter that ``own`` gives, traced."""
        self.wants = False
        return Adapter(own(*args, **kwargs), self)

    def end(self) -> None:
        """End what a hook's exception has cut off: the call is over for the program."""
        for exchange in self.exchanges:
            exchange.finish()


class Lookup:
    """Stands for a class's ``get_adapter``; looks like it but for the one asking that is meant."""

    def __init__(self, original: Any) -> None:  # noqa: ANN401 (whatever a class may hold there)
        self.original = original

    def __get__(self, session: object | None, owner: type | None = None) -> object:
        bind = getattr(type(self.original), "__get__", None)
        if session is None:
            return self.original if bind is None else bind(self.original, None, owner)
        held = session.__dict__
        if NAME in held:
            own = held[NAME]
        else:
            own = self.original if bind is None else bind(self.original, session, owner)
        sending = current.get()
        if sending is None:
            client = getattr(session, MARK, None)
            if client is None or sys._getframe(1).f_code is not _SEND:
                return own
            sending = Sending(client, session)
        elif not sending.wants or sending.session is not session:
            return own
        return functools.partial(sending.adapter, own)

    def __set__(self, session: object, value: object) -> None:
        session.__dict__[NAME] = value

    def __delete__(self, session: object) -> None:
        try:
            del session.__dict__[NAME]
        except KeyError:
            raise AttributeError(NAME) from None


class Interception:
    """The classes whose ``get_adapter`` is looked up through us, while anybody is instrumented."""

    def __init__(self) -> None:
        self._users = 0
        self._classes: set[type] = set()

    def begin(self) -> None:
        """Count one more ``instrument``."""
        with _lock:
            self._users += 1

    def end(self) -> None:
        """Count one less; after the last one classes are what they were."""
        with _lock:
            self._users -= 1
            if self._users:
                return
            for kind in self._classes:
                found = vars(kind).get(NAME)
                if found.__class__ is Lookup:
                    setattr(kind, NAME, found.original)
            self._classes.clear()

    def cover(self, kind: type) -> None:
        """Have sessions of ``kind`` looked up through us, whoever defines their method today."""
        for base in kind.__mro__:
            found = vars(base).get(NAME)
            if found is not None:
                if found.__class__ is not Lookup:
                    self._put(base)
                return

    def _put(self, kind: type) -> None:
        with _lock:
            found = vars(kind)[NAME]
            if self._users and found.__class__ is not Lookup:
                setattr(kind, NAME, Lookup(found))
                self._classes.add(kind)


interception = Interception()
