"""What a connection meets step by step, where a library's own words name only the last step."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import TYPE_CHECKING, NamedTuple

from tracekit._causes import Cause
from tracekit.transport._cause import cause_of
from tracekit.transport._deadline import make_context
from tracekit.transport._http_cause import cause_of_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.transport._http import Tls


class Finding(NamedTuple):
    """The step that failed."""

    cause: Cause
    words: str


def probe(
    host: str, port: int, tls: Tls | None, *, timeout_s: float, protocols: Sequence[str] = ()
) -> Finding | None:
    """Connect to ``host:port`` and shake hands as ``tls`` says; return what fails, None: nothing.

    Of several addresses, the first that can be connected to counts. A port that is to be used in
    plain text is asked whether it wants TLS. ``protocols`` are offered by ALPN. Blocks for the name
    server, and ``timeout_s`` seconds beyond it at most.
    """
    try:
        rows = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Finding(Cause.NO_ADDRESS, f"{host} has no address: {error}")
    deadline_s = time.monotonic() + timeout_s
    first: Finding | None = None
    for family, _, _, _, sockaddr in sorted(rows, key=lambda row: row[0] != socket.AF_INET):
        left_s = max(0.1, deadline_s - time.monotonic())
        where = str(sockaddr[0])
        try:
            plain = socket.socket(family, socket.SOCK_STREAM)
            plain.settimeout(left_s)
            plain.connect(sockaddr)
        except OSError as error:
            here = where.startswith("127.") or where == "::1"
            first = first or Finding(cause_of(error, here=here), f"{where} port {port}: {error}")
            plain.close()
            continue
        with contextlib.closing(plain):
            return _shake(plain, host, tls, protocols)
    return first


def _shake(
    plain: socket.socket, host: str, tls: Tls | None, protocols: Sequence[str]
) -> Finding | None:
    try:
        context = make_context(_any_tls if tls is None else tls.context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        plain.getpeername()  # of one that is gone, ``wrap_socket`` leaves a socket unclosed
        context.wrap_socket(plain, server_hostname=host.strip("[]")).close()
    except (OSError, ValueError) as error:
        if tls is None:  # no TLS, as told
            return None
        return Finding(cause_of_request(error), f"{host}: {error}")
    return Finding(Cause.TLS_ONLY, f"{host} speaks TLS on that port") if tls is None else None


def _any_tls() -> ssl.SSLContext:
    """Return what trusts everybody: it is only asked whether TLS is spoken, nothing is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
