"""A Jaeger agent's UDP port in this process: datagrams in, spans out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.local._datagrams import DatagramPort
from tracekit.local._jaeger import decode_datagram
from tracekit.local._store import Spans, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from tracekit.local._spans import ReceivedBatch


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
        self._malformed = 0
        self._last_error: str | None = None
        self._port: DatagramPort | None = None

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
        self._port = DatagramPort(*self._address, self._decode)
        self._address = (self.host, self._port.port)
        self._port.start()

    def close(self) -> None:
        """Decode what has arrived, stop listening and free the port. Safe to call twice."""
        if self._port is not None:
            self._port.close()

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

    def _decode(self, data: bytes) -> None:
        try:
            self._store.add(decode_datagram(data))
        except ValueError as error:
            self._malformed += 1
            self._last_error = str(error)
