"""From what a socket raised to the cause that an operator can act upon.

TLS and HTTP have a module of their own: a process that sends datagrams never loads them.
"""

from __future__ import annotations

import errno

from tracekit._causes import Cause


class NoAddressError(OSError):
    """The name server knows no address for a host, or has not said one yet."""


def cause_of(error: Exception, *, here: bool = False) -> Cause:
    """Return the cause of a failed connection; ``here``: to an address of this host."""
    for kind, cause in _KINDS:
        if isinstance(error, kind):
            return cause
    if getattr(error, "errno", None) == errno.ECONNREFUSED:
        return Cause.NOBODY_HERE if here else Cause.REFUSED
    unreachable = getattr(error, "errno", None) in (errno.EHOSTUNREACH, errno.ENETUNREACH)
    return Cause.REFUSED if unreachable else Cause.OTHER


_KINDS: tuple[tuple[type[Exception], Cause], ...] = (
    (NoAddressError, Cause.NO_ADDRESS),
    (TimeoutError, Cause.TIMED_OUT),
    (FileNotFoundError, Cause.FILE),
    (PermissionError, Cause.FILE),
    (IsADirectoryError, Cause.FILE),
    (ConnectionResetError, Cause.OTHER),  # among them http.client.RemoteDisconnected
)
