"""From what a socket, TLS or HTTP raised to the cause that an operator can act upon."""

from __future__ import annotations

import errno
import http.client
import ssl

from tracekit._causes import Cause


class NoAddressError(OSError):
    """The name server knows no address for a host, or has not said one yet."""


def cause_of(error: Exception, *, here: bool = False) -> Cause:
    """Return the cause of a failed connection or request; ``here``: to an address of this host."""
    if isinstance(error, ssl.SSLError):
        return _cause_of_tls(error)
    if isinstance(error, http.client.BadStatusLine) and str(error).lstrip("'")[:1] == "\x15":
        return Cause.TLS_ONLY  # an alert of TLS
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
    (http.client.BadStatusLine, Cause.NO_COLLECTOR),
)


def _cause_of_tls(error: ssl.SSLError) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause.UNTRUSTED
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return Cause.NO_TLS
    # Of a file that was read and is none, OpenSSL says NO_CERTIFICATE_OR_CRL_FOUND or PEM_…
    of_file = not reason or any(word in reason for word in ("PEM", "_CRL", "NO_START"))
    return Cause.FILE if of_file else Cause.TLS
