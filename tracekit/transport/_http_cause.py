"""From what TLS or HTTP raised to the cause that an operator can act upon."""

from __future__ import annotations

import http.client
import ssl

from tracekit._causes import Cause
from tracekit.transport._cause import cause_of


def cause_of_request(error: Exception, *, here: bool = False) -> Cause:
    """Return the cause of a failed request or handshake; ``here``: to an address of this host."""
    if isinstance(error, ssl.SSLError):
        return _cause_of_tls(error)
    if isinstance(error, http.client.BadStatusLine):
        if str(error).lstrip("'")[:1] == "\x15":
            return Cause.TLS_ONLY  # an alert of TLS
        if not isinstance(error, http.client.RemoteDisconnected):
            return Cause.NO_COLLECTOR
    return cause_of(error, here=here)


def _cause_of_tls(error: ssl.SSLError) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause.UNTRUSTED
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return Cause.NO_TLS
    # Of a file that was read and is none, OpenSSL says NO_CERTIFICATE_OR_CRL_FOUND or PEM_…
    of_file = not reason or any(word in reason for word in ("PEM", "_CRL", "NO_START"))
    return Cause.FILE if of_file else Cause.TLS
