"""UDP to a Jaeger agent, over a connected socket: the kernel then tells of refused datagrams.

What UDP can know is used: a refusal (nobody listens), a datagram that is too large for the way,
a network that is down. What it cannot know is not claimed: a datagram that the receiver's kernel
accepted and nobody read is *sent*.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import time
from typing import TYPE_CHECKING

from tracekit._protocols import SendResult
from tracekit.transport._pacing import Pace
from tracekit.transport._resolver import REFRESH_S, Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit._protocols import Payload
    from tracekit.transport._resolver import Address

_log = logging.getLogger("tracekit")

MAX_PACKET_BYTES = 65_000
"""What Jaeger's clients send and agents are ready to read."""
MIN_PACKET_BYTES = 512
PACE_BYTES = 65_536
PACE_S = 0.003
"""22 MB a second, one full datagram at a time: more than one core can make.

A default receive buffer (212 992 bytes) holds three datagrams of 60 kB. At twice this burst a
receiver that shares its cores with others was overrun now and then.
"""
MAX_PAUSE_S = 0.25
"""Between two refusals: they cost next to nothing, and an agent that is back is used at once."""
_SEND_BUFFER_FULL_S = 0.002
_REFUSALS = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENOPROTOOPT, errno.EACCES))
"""What ICMP's *unreachable* becomes on a connected socket: a closed port, a firewall's reject."""


class UdpTransport:
    """Datagrams to ``host:port``; opens its socket at the first send. One thread at a time.

    ``max_packet_bytes`` bounds a datagram; a way that cannot carry that much halves it. ``pace``
    is how many bytes may go within how many seconds, ``lookup_s`` how long an address is trusted
    (infinite: for ever), ``family`` the only address family if it is given. A refused payload is
    to be retried, for ever: the agent may be restarting, and the queue bounds what waits.
    """

    max_retry_s: float | None = None

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_packet_bytes: int = MAX_PACKET_BYTES,
        pace: tuple[int, float] = (PACE_BYTES, PACE_S),
        lookup_s: float = REFRESH_S,
        family: int = socket.AF_UNSPEC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_packet_bytes
        self._pace = Pace(*pace)
        self._clock = clock
        self._resolver = Resolver(host, port, clock=clock, refresh_s=lookup_s, family=family)
        self._name = f"{host}:{port}"
        self._socket: socket.socket | None = None
        self._address: Address | None = None
        self._latest: Payload | None = None  # its refusal may still be on the way

    @property
    def max_bytes(self) -> int:
        """The largest datagram that may be sent now."""
        return self._max_bytes

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Send one datagram and ask the kernel at once whether it was refused."""
        pause_s = self._pace.wait_s(len(payload.body), self._clock())
        if pause_s:
            return SendResult.paced(pause_s)
        try:
            connected = self._connected(deadline)
            if connected is None:
                return SendResult.retry(f"the agent {self._name} has no address (yet)")
            connected.send(payload.body)
            error = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as raised:
            return self._failed(payload, raised, sent=False)
        if error:
            return self._failed(payload, OSError(error, os.strerror(error)), sent=True)
        self._latest = payload
        return SendResult.sent()

    def close(self) -> None:
        """Close the socket; the next send opens one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self, deadline: float) -> socket.socket | None:
        address = self._resolver.address(deadline)
        if address != self._address:
            self.close()
            self._address = address
        if self._socket is None and address is not None:
            opened = socket.socket(address.family, socket.SOCK_DGRAM)
            try:
                opened.setblocking(False)
                opened.connect(address.sockaddr)
            except OSError:
                opened.close()
                raise
            self._socket = opened
        return self._socket

    def _refused(self, payload: Payload, why: str, *, sent: bool) -> SendResult:
        """Answer a refusal: of ``payload`` if it was ``sent``, else of an earlier datagram.

        On the same host the kernel refuses before the send returns, so it is clear which one it
        was, unless the kernel was too busy for that. Across a network the refusal of the datagram
        before arrives later. That one then is in doubt, and is sent once more.
        """
        certain = sent and self._is_local()
        doubt = [] if certain or self._latest is None else [self._latest]
        if sent and not certain:
            doubt.append(payload)
        self._latest = None
        self._resolver.doubt()
        return SendResult.retry(
            f"the agent {self._name} refuses datagrams ({why})",
            doubt=doubt,
            max_pause_s=MAX_PAUSE_S,
        )

    def _failed(self, payload: Payload, error: OSError, *, sent: bool) -> SendResult:
        if error.errno in _REFUSALS:
            return self._refused(payload, error.strerror or str(error), sent=sent)
        if error.errno == errno.EMSGSIZE:
            return self._shrink(payload)
        if error.errno in (errno.EAGAIN, errno.ENOBUFS):
            return SendResult.paced(_SEND_BUFFER_FULL_S)
        self.close()
        self._resolver.doubt()
        return SendResult.retry(f"UDP to {self._name}: {error.strerror or error}")

    def _shrink(self, payload: Payload) -> SendResult:
        size = len(payload.body)
        if size <= MIN_PACKET_BYTES:
            return SendResult.failed(f"{self._name} does not even take {size} bytes")
        self._max_bytes = max(MIN_PACKET_BYTES, min(size, self._max_bytes) // 2)
        _log.warning(
            "a datagram of %d bytes is too large for the way to %s: %d bytes from now on",
            size,
            self._name,
            self._max_bytes,
        )
        return SendResult.too_large(f"{size} bytes are too many for {self._name}")

    def _is_local(self) -> bool:
        if self._address is None:
            return False
        return ipaddress.ip_address(self._address.host).is_loopback
