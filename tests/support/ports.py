"""Ports that nobody listens on."""

from __future__ import annotations

import socket


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
