"""A peer that is killed between the connection and the handshake leaves no socket open."""

from __future__ import annotations

import gc
import socket
import ssl
import warnings

import pytest

from tracekit.transport import _probe
from tracekit.transport._deadline import Connection
from tracekit.transport._resolver import Resolver

GONE = b"\1\0\0\0\0\0\0\0"


@pytest.fixture
def reset():
    """Return a connected socket whose peer has reset the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        plain = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, GONE)
        peer.close()
        plain.settimeout(1.0)
        yield plain
        plain.close()


def probed(plain):
    return _probe._shake(plain, "127.0.0.1", None, ("h2",))


def wrapped(plain):
    def clock():
        return 0.0

    connection = Connection(
        "127.0.0.1", 1, resolver=Resolver("127.0.0.1", 1, clock=clock), tls=None, clock=clock
    )
    connection.deadline.at_s = 5.0
    with pytest.raises(OSError):
        connection._wrap(plain, ssl.create_default_context())


@pytest.mark.parametrize("shake", [probed, wrapped])
def test_a_reset_before_the_handshake_closes(reset, shake):
    """Python would leave it to the garbage collector, with a warning in the program's log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shake(reset)
        gc.collect()
    assert not [each for each in caught if issubclass(each.category, ResourceWarning)]
