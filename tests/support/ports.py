"""Ports that nobody listens on, and waiting until somebody does."""

from __future__ import annotations

import socket

from waiting import eventually


def free_port(kind=socket.SOCK_STREAM):
    """Return a port of the loopback that was free for ``kind`` a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    """Return whether somebody takes TCP connections on a port of the loopback."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until_listening(port, process, told=lambda: "it does not listen", timeout_s=60.0):
    """Return once ``process`` listens on ``port``; fail, with ``told()``, if it ends before."""

    def up():
        assert process.poll() is None, told()
        return listens(port)

    eventually(up, timeout_s, told, every_s=0.02)


def free_ports(count):
    """Return ports that are free for TCP and UDP; they are held until all are found."""
    held, ports = [], []
    while len(ports) < count:
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held += [tcp, udp]
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            continue
        ports.append(tcp.getsockname()[1])
    for each in held:
        each.close()
    return ports
