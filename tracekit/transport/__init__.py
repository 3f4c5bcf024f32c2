"""Wires: one verb ``send`` and ``close``."""

from tracekit._protocols import Payload, SendResult, Transport
from tracekit.transport._udp import UdpTransport

__all__ = ["Payload", "SendResult", "Transport", "UdpTransport"]
