"""A UDP port: one thread does nothing but empty the socket, another works on what came."""

from __future__ import annotations

import queue
import selectors
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DATAGRAM_BYTES = 65_535
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Datagrams that are not worked on yet; what comes beyond is dropped and counted."""
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # the kernel grants what its own limit allows
_OVERHEAD_BYTES = 100  # what a small datagram costs beside its content


class DatagramPort:
    """Hands every datagram that comes to ``host:port`` to ``take``; port 0 takes a free one.

    The kernel's buffer holds a few hundred kilobytes, so the socket is emptied by a thread of its
    own. ``take`` runs on another one, and must not raise.
    """

    def __init__(self, host: str, port: int, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._put_bytes = self._taken_bytes = 0  # each written by one thread only
        self.dropped = 0
        """Datagrams that came while too many were waiting."""
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[
            0
        ]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._waker, self._woken = socket.socketpair()
        self._threads = (
            threading.Thread(target=self._listen, name="tracekit-view-udp", daemon=True),
            threading.Thread(target=self._work, name="tracekit-view-decode", daemon=True),
        )
        self._closed = False

    def start(self) -> None:
        """Start to listen; the port is bound already."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Work on what has arrived, stop listening and free the port. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._waker.close()  # the other end becomes readable
        if self._threads[0].ident is None:
            self._socket.close()
            self._woken.close()
            return
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        with self._socket, self._woken, selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            closing = False
            while not closing:
                ready = [key.fileobj for key, _ in selector.select()]
                closing = self._woken in ready  # what the kernel holds by now is still read
                self._drain()
        self._waiting.put(None)

    def _drain(self) -> None:
        while True:
            try:
                data = self._socket.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # a reply of ICMP, say: the next datagram is another matter
                continue
            if self._put_bytes - self._taken_bytes > MAX_WAITING_BYTES:
                self.dropped += 1
                continue
            self._put_bytes += len(data) + _OVERHEAD_BYTES
            self._waiting.put(data)

    def _work(self) -> None:
        while (data := self._waiting.get()) is not None:
            self._take(data)
            self._taken_bytes += len(data) + _OVERHEAD_BYTES
