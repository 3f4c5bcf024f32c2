"""A Jaeger agent's UDP port in this process: datagrams in, spans out."""

from __future__ import annotations

import queue
import selectors
import socket
import threading
from typing import TYPE_CHECKING

from tracekit.local._jaeger import decode_datagram
from tracekit.local._store import Spans, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from tracekit.local._spans import ReceivedBatch

MAX_DATAGRAM_BYTES = 65_535
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # the kernel grants what its own limit allows


class Receiver:
    """Listens on ``host:port`` as a context manager; port 0 takes a free one.

    Two threads serve it: one does nothing but empty the socket, whose buffer holds only a few
    hundred kilobytes, and one decodes. Every method may be called from any thread.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, store: Store | None = None
    ) -> None:
        self._address = (host, port)
        self._store = Store() if store is None else store
        self._undecoded: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._malformed = 0
        self._last_error: str | None = None
        self._socket: socket.socket | None = None
        self._threads: tuple[threading.Thread, ...] = ()

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._address[0]

    @property
    def port(self) -> int:
        """The UDP port that it listens on; 0 before the start if any will do."""
        return self._address[1]

    @property
    def malformed(self) -> int:
        """How many datagrams were no batch of spans."""
        return self._malformed

    @property
    def last_error(self) -> str | None:
        """Why the latest malformed datagram was refused."""
        return self._last_error

    def spans(self) -> Spans:
        """Return what arrived so far, in the order of arrival."""
        return self._store.spans()

    def batches(self) -> tuple[ReceivedBatch, ...]:
        """Return what arrived so far, one batch a datagram, with the sender's own figures."""
        return self._store.batches()

    def wait(self, n: int, timeout_s: float = 5.0) -> Spans:
        """Return all spans as soon as there are ``n``; raise ``TimeoutError`` otherwise."""
        return self._store.wait(n, timeout_s)

    def wait_until(self, enough: Callable[[Spans], bool], timeout_s: float = 5.0) -> bool:
        """Wait until ``enough(spans)`` is true; return False if it was not in time."""
        return self._store.wait_until(enough, timeout_s)

    def clear(self) -> None:
        """Forget what arrived so far."""
        self._store.clear()

    def start(self) -> None:
        """Bind the port and start to listen; raise ``OSError`` if it is taken."""
        family, kind, protocol, _, address = socket.getaddrinfo(
            *self._address, type=socket.SOCK_DGRAM
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
        listening.setblocking(False)
        self._socket = listening
        self._address = (self.host, listening.getsockname()[1])
        waker, self._waker = socket.socketpair()
        self._threads = (
            threading.Thread(target=self._listen, args=(listening, waker), daemon=True),
            threading.Thread(target=self._decode, daemon=True),
        )
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Decode what has arrived, stop listening and free the port. Safe to call twice."""
        if self._socket is None:
            return
        self._socket = None
        self._waker.close()  # the other end becomes readable
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _listen(self, listening: socket.socket, waker: socket.socket) -> None:
        with listening, waker, selectors.DefaultSelector() as selector:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(waker, selectors.EVENT_READ)
            closing = False
            while not closing:
                ready = [key.fileobj for key, _ in selector.select()]
                closing = waker in ready  # what the kernel holds by now is still read
                self._drain(listening)
        self._undecoded.put(None)

    def _drain(self, listening: socket.socket) -> None:
        while True:
            try:
                self._undecoded.put(listening.recv(MAX_DATAGRAM_BYTES))
            except BlockingIOError:  # noqa: PERF203 - the way out
                return

    def _decode(self) -> None:
        while (data := self._undecoded.get()) is not None:
            try:
                self._store.add(decode_datagram(data))
            except ValueError as error:  # noqa: PERF203 - one datagram's fault
                self._malformed += 1
                self._last_error = str(error)
