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
from collections import deque
from typing import TYPE_CHECKING

from tracekit._causes import Cause
from tracekit._protocols import SendResult
from tracekit.transport._cause import NoAddressError, cause_of
from tracekit.transport._owned import Owned
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
PACE_S = 0.002
"""33 MB a second, one full datagram at a time.

A default receive buffer (212 992 bytes) holds three datagrams of 60 kB, so the receiver may be away
for three pauses.
"""
MAX_PAUSE_S = 0.25
"""Between two refusals on the same host: they cost next to nothing, and each one is told."""
FAR_PAUSE_S = 1.1
MAX_FAR_PAUSE_S = 5.0
"""Between two refusals by another host, at first and at last. A Linux host tells each peer of six
refusals in a row, then of one a second: whoever tries more often takes silence for success."""
LINGER_S = 0.1
"""How long the refusal of another host may be on its way."""
_MAX_RECENT = 8
_SEND_BUFFER_FULL_S = 0.002
_REFUSALS = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENOPROTOOPT, errno.EACCES))
"""What ICMP's *unreachable* becomes on a connected socket: a closed port, a firewall's reject."""


class UdpTransport:
    """Datagrams to ``host:port``; opens its socket at the first send. One thread at a time.

    ``max_packet_bytes`` bounds a datagram; where a way carries less, fewer spans share one.
    ``pace`` is how many bytes may go within how many seconds, ``lookup_s`` how long an address is
    trusted (infinite: for ever), ``family`` the only address family if it is given. A refused
    payload is to be retried for ever: the agent may be restarting, and the queue bounds what waits.
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
        self._told_bytes = max_packet_bytes + 1  # of what was too large
        self._pace = Pace(*pace)
        self._clock = clock
        self._resolver = Resolver(host, port, clock=clock, refresh_s=lookup_s, family=family)
        self._name = f"{host}:{port}"
        self._owned: Owned | None = None
        self._address: Address | None = None
        self._local = False
        self._recent: deque[tuple[float, Payload]] = deque(maxlen=_MAX_RECENT)
        self._refusals = 0  # in a row
        self._watched: Payload | None = None  # sent after a refusal: is it refused as well?

    @property
    def max_bytes(self) -> int:
        """The largest datagram that may be sent."""
        return self._max_bytes

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Send one datagram and ask the kernel at once whether it was refused.

        The first one after a refusal by another host is watched for a moment before anything
        else is sent: so what was lost is known for certain, and no more than that is lost.
        """
        if payload is self._watched:
            return self._watch(payload)
        pause_s = self._pace.wait_s(len(payload.body), self._clock())
        if pause_s:
            return SendResult.paced(pause_s)
        try:
            connected = self._connected(deadline)
            connected.send(payload.body)
            error = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as raised:
            return self._failed(payload, raised, sent=False)
        if error:
            return self._failed(payload, OSError(error, os.strerror(error)), sent=True)
        if self._refusals and not self._local:
            self._watched = payload
            return SendResult.paced(LINGER_S)
        return self._accepted(payload)

    def _watch(self, payload: Payload) -> SendResult:
        """Answer for a datagram that was sent ``LINGER_S`` ago."""
        owned, error = self._owned, 0
        if owned is not None and owned.is_ours:
            error = owned.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            return self._failed(payload, OSError(error, os.strerror(error)), sent=True)
        return self._accepted(payload)

    def _accepted(self, payload: Payload) -> SendResult:
        now, recent = self._clock(), self._recent
        while recent and (self._local or recent[0][0] < now - LINGER_S):
            recent.popleft()
        recent.append((now, payload))
        self._watched = None
        self._refusals = 0
        return SendResult.sent()

    def close(self) -> None:
        """Close the socket; the next send opens one."""
        if self._owned is not None:
            self._owned.close()
            self._owned = None

    def _connected(self, deadline: float) -> socket.socket:
        address = self._resolver.address(deadline)
        if address is None:
            raise NoAddressError("it has no address (yet)")
        owned = self._owned
        if address != self._address or (owned is not None and not owned.is_ours):
            self.close()
            self._address = address
        if self._owned is None:
            opened = socket.socket(address.family, socket.SOCK_DGRAM)
            try:
                opened.setblocking(False)
                opened.connect(address.sockaddr)
                self._local = _is_here(address, opened)
            except OSError:
                opened.close()
                raise
            self._owned = Owned(opened)
        return self._owned.socket

    def _refused(self, payload: Payload, why: str, *, sent: bool) -> SendResult:
        """Answer a refusal: of ``payload`` if it was ``sent``, else of an earlier datagram.

        On the same host the kernel refuses before the send returns, so it is clear which one it
        was, unless the kernel was too busy for that. Across a network a refusal arrives later:
        what was sent in the last moment then is in doubt, and is sent once more.
        """
        certain = sent and (self._local or payload is self._watched)
        doubt = [] if certain else [each for _, each in self._recent]
        if sent and not certain:
            doubt.append(payload)
        self._recent.clear()
        self._watched = None
        pause_s = None
        if not self._local:
            pause_s = min(FAR_PAUSE_S * 2**self._refusals, MAX_FAR_PAUSE_S)
            pause_s /= max(1, self._resolver.count)  # the next address is asked, not this one
        self._refusals = min(self._refusals + 1, 8)
        self._resolver.doubt()
        result = SendResult.retry(
            f"the agent {self._name} refuses datagrams ({why})",
            after_s=pause_s,
            doubt=doubt,
            max_pause_s=MAX_PAUSE_S,
        )
        return result.because(Cause.NOBODY_HERE if self._local else Cause.REFUSED)

    def _failed(self, payload: Payload, error: OSError, *, sent: bool) -> SendResult:
        if error.errno in _REFUSALS:
            return self._refused(payload, error.strerror or str(error), sent=sent)
        if error.errno == errno.EMSGSIZE:
            return self._shrink(payload)
        if error.errno in (errno.EAGAIN, errno.ENOBUFS):
            return SendResult.paced(_SEND_BUFFER_FULL_S)
        self.close()
        self._resolver.doubt()
        why = f"UDP to {self._name}: {error.strerror or error}"
        return SendResult.retry(why, unreached=True).because(cause_of(error))

    def _shrink(self, payload: Payload) -> SendResult:
        size = len(payload.body)
        if size <= MIN_PACKET_BYTES:
            return SendResult.failed(f"{self._name} does not even take {size} bytes")
        if size < self._told_bytes:  # once each time that it is narrower than was known
            self._told_bytes = size
            _log.warning(
                "a datagram of %d bytes is too large for the way to %s: smaller ones are sent",
                size,
                self._name,
            )
        return SendResult.too_large(f"{size} bytes are too many for {self._name}")


def _is_here(address: Address, connected: socket.socket) -> bool:
    """Return whether ``address`` is one of this host's own."""
    own = str(connected.getsockname()[0]).partition("%")[0]
    return address.host == own or ipaddress.ip_address(address.host).is_loopback
