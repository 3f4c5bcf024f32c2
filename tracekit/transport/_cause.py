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
    number = getattr(error, "errno", None)
    if number == errno.ECONNREFUSED:
        return Cause.NOBODY_HERE if here else Cause.REFUSED
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return Cause.REFUSED
    if number in (errno.EMFILE, errno.ENFILE):
        return Cause.DESCRIPTORS
    return Cause.OTHER if getattr(error, "filename", None) is None else Cause.FILE


_KINDS: tuple[tuple[type[Exception], Cause], ...] = (
    (NoAddressError, Cause.NO_ADDRESS),
    (TimeoutError, Cause.TIMED_OUT),
    (FileNotFoundError, Cause.FILE),
    (PermissionError, Cause.FILE),
    (IsADirectoryError, Cause.FILE),
    (NotADirectoryError, Cause.FILE),
    (ConnectionResetError, Cause.OTHER),  # among them http.client.RemoteDisconnected
)
