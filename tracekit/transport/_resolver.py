"""Where the agent is: looked up in the background, so that no send waits for a name server."""

from __future__ import annotations

import ipaddress
import logging
import math
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

from tracekit._display import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("tracekit")

REFRESH_S = 30.0
"""How long an address is trusted (the Go client's interval)."""
DOUBT_S = 2.0
"""How often, at most, a refusal makes us look again."""


class Address(NamedTuple):
    """One address of the agent."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]

    @property
    def host(self) -> str:
        """The numeric host without a scope id."""
        return self.sockaddr[0].partition("%")[0]

    @property
    def is_here(self) -> bool:
        """Whether it surely is this host's own: a loopback address."""
        return ipaddress.ip_address(self.host).is_loopback


class Resolver:
    """The addresses of ``host``, IPv4 before IPv6. One thread at a time asks it.

    The first lookup is waited for, later ones run while the last answer is in use. A literal
    address is never looked up; with ``refresh_s`` infinite, any other only until it is known.
    ``family`` (``AF_INET``, ``AF_INET6``) leaves out the other's addresses.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        clock: Callable[[], float],
        refresh_s: float = REFRESH_S,
        family: int = socket.AF_UNSPEC,
    ) -> None:
        self._host = host.strip("[]")
        self._port = port
        self._refresh_s = refresh_s
        self._family = family
        self._clock = clock
        self._found: list[Address] = []
        self._choice = 0
        self._fresh_until_s = -math.inf
        self._doubted_s = -math.inf
        self._lookup: threading.Thread | None = None
        literal = _literal(self._host, port)
        if literal is not None:
            self._found = [literal]
            self._fresh_until_s = math.inf

    def address(self, deadline: float) -> Address | None:
        """Return the address to use; waits until ``deadline`` only while none is known."""
        if self._clock() >= self._fresh_until_s:
            self._refresh()
            if not self._found and self._lookup is not None:
                self._lookup.join(min(max(0.0, deadline - self._clock()), threading.TIMEOUT_MAX))
        found = self._found
        return found[self._choice % len(found)] if found else None

    @property
    def count(self) -> int:
        """How many addresses are known."""
        return len(self._found)

    def doubt(self) -> None:
        """Try the next address of several, and look again soon: this one did not answer."""
        self._choice += 1
        now = self._clock()
        if self._fresh_until_s != math.inf and now - self._doubted_s >= DOUBT_S:
            self._doubted_s = now
            self._fresh_until_s = now

    def _refresh(self) -> None:
        if self._lookup is not None and self._lookup.is_alive():
            return
        try:
            lookup = threading.Thread(target=self._look, name="tracekit-resolver", daemon=True)
            lookup.start()
        except RuntimeError:  # a subinterpreter without daemons, or one that is about to end
            self._look()
        else:
            self._lookup = lookup

    def _look(self) -> None:
        try:
            rows = socket.getaddrinfo(
                self._host, self._port, family=self._family, type=socket.SOCK_DGRAM
            )
        except (OSError, UnicodeError) as error:
            _log.debug("%s cannot be resolved: %s", quoted(self._host), quoted(error))
            self._fresh_until_s = self._clock() + DOUBT_S
            return
        found = [
            Address(family, sockaddr)  # type: ignore[arg-type]
            for family, _, _, _, sockaddr in rows
            if family in (socket.AF_INET, socket.AF_INET6)
        ]
        found.sort(key=lambda address: address.family != socket.AF_INET)
        # First: who sees the addresses may count on the time until which they are good.
        self._fresh_until_s = self._clock() + self._refresh_s
        if set(found) != set(self._found):
            self._found = found
            self._choice = 0


def _literal(host: str, port: int) -> Address | None:
    """Return an address that needs no lookup: what names an interface may have to wait for it."""
    try:
        ip = ipaddress.ip_address(host)
        if ip.version == 4:
            return Address(socket.AF_INET, (host, port))
        scope = getattr(ip, "scope_id", None)
        index = socket.if_nametoindex(scope) if scope else 0
    except (ValueError, OSError):
        return None
    return Address(socket.AF_INET6, (host, port, 0, index))
