"""Connections whose every step ends by one deadline, however slowly the peer trickles.

A socket's own timeout bounds a single read, so a peer that sends one byte a second could hold a
request for ever. Here each operation gets what is left of one deadline for all of them.
"""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
import time
from typing import TYPE_CHECKING, TypeVar

from tracekit._process.undivided import Undivided
from tracekit.transport._cause import NoAddressError
from tracekit.transport._owned import Owned

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from tracekit.transport._resolver import Resolver


T = TypeVar("T", bound=socket.socket)


_making = Undivided()


def make_context(by: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return a context that ``by()`` makes, while Python's forks wait.

    OpenSSL locks what the whole process shares for each certificate that it loads. A child that is
    forked meanwhile inherits the lock as it is, and stands still in it, at its exit at the latest.
    """
    with _making.work():
        return by()


class Deadline:
    """Until when everything on a connection has to be done; moved by each request."""

    __slots__ = ("_clock", "at_s")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.at_s = 0.0

    def left_s(self) -> float:
        """Return the seconds left; TimeoutError when there are none."""
        left = self.at_s - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


@functools.lru_cache(maxsize=8)
def _bounded(kind: type[T]) -> type[T]:
    """Return a kind of socket that asks a deadline before each operation of ``http.client``.

    Of the kind that ``socket`` or ``ssl`` has now: gevent or eventlet may have put theirs there
    after this module was loaded.
    """

    class Bounded(kind):  # type: ignore[misc, valid-type] # a class known at run time only
        deadline = Deadline(time.monotonic)

        def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
            self.settimeout(self.deadline.left_s())
            size = len(memoryview(buffer)) if nbytes is None else nbytes
            received: int = super().recv_into(buffer, size, flags)
            return received

        def sendall(self, data: Buffer, flags: int = 0) -> None:
            self.settimeout(self.deadline.left_s())
            super().sendall(data, flags)

    return Bounded


class Connection(http.client.HTTPConnection):
    """A keep-alive connection to one host, plain or over TLS. One thread at a time."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        resolver: Resolver,
        tls: Callable[[], ssl.SSLContext] | None,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(host, port)
        self.deadline = Deadline(clock)
        self.reached = False
        """Whether the latest attempt to connect found somebody there."""
        self.here = False
        """Whether the latest address that was tried is one of this host's own."""
        self._resolver = resolver
        self._tls = tls
        self._owned: Owned | None = None

    def connect(self) -> None:
        """Connect by the deadline. OSError when that does not work."""
        self.reached = False
        address = self._resolver.address(self.deadline.at_s)
        if address is None:
            raise NoAddressError(f"{self.host} has no address (yet)")
        plain = _bounded(socket.socket)(address.family, socket.SOCK_STREAM)
        try:
            plain.deadline = self.deadline
            plain.settimeout(self.deadline.left_s())
            self.here = address.is_here
            plain.connect(address.sockaddr)
            self.reached = True
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = plain if self._tls is None else self._wrap(plain, make_context(self._tls))
        except OSError:
            plain.close()
            raise
        self._owned = Owned(self.sock)

    @property
    def is_ours(self) -> bool:
        """Whether nobody has taken the descriptor; see ``Owned``."""
        return self._owned is None or self._owned.is_ours

    def close(self) -> None:
        """Close the connection; the next request opens one."""
        owned, self._owned = self._owned, None
        if owned is not None and self.sock is owned.socket:
            self.sock = None
            owned.close()
        super().close()

    def _wrap(self, plain: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        context.sslsocket_class = kind = _bounded(ssl.SSLSocket)
        plain.settimeout(self.deadline.left_s())
        plain.getpeername()  # of one that is gone, ``wrap_socket`` leaves a socket unclosed
        wrapped = context.wrap_socket(plain, server_hostname=self.host)
        if isinstance(wrapped, kind):
            wrapped.deadline = self.deadline
        return wrapped
