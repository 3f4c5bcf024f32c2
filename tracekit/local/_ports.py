"""The ports of ``tracekit view``, and what is said when somebody else has one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Port(NamedTuple):
    """A port, and what comes there."""

    number: int
    network: str
    what: str


PORTS: Mapping[str, Port] = {
    "compact": Port(6831, "udp", "Jaeger's compact Thrift"),
    "binary": Port(6832, "udp", "Jaeger's binary Thrift"),
    "thrift": Port(14268, "tcp", "Jaeger's Thrift over HTTP"),
    "otlp": Port(4318, "tcp", "OTLP over HTTP"),
    "grpc": Port(4317, "tcp", "OTLP over gRPC"),
    "zipkin": Port(9411, "tcp", "Zipkin's JSON"),
    "sampling": Port(5778, "tcp", "sampling strategies"),
    "query": Port(16686, "tcp", "the page and Jaeger's query API"),
}
"""The ports by the names that ``--port NAME=NUMBER`` takes, with Jaeger's own numbers."""


class PortsTakenError(OSError):
    """Ports that somebody else listens on; the message says who to ask and what to do."""

    def __init__(self, taken: Mapping[str, tuple[int, str]]) -> None:
        self.taken = dict(taken)
        lines = [
            f"  {number}/{PORTS[name].network}  {PORTS[name].what}: {reason}"
            for name, (number, reason) in taken.items()
        ]
        numbers = " or ".join(f"sport = :{number}" for number, _ in taken.values())
        name, (number, _) = next(iter(taken.items()))
        super().__init__(
            "these ports cannot be listened on (does a Jaeger run here already?):\n"
            + "\n".join(lines)
            + f"\nWho has them:  ss -lntup '{numbers}'\n"
            + f"Other ports:   --port-offset 10000, or --port {name}={(number + 10_000) % 65_536}\n"
            + f"Free ports:    --port-offset free.   Do without one: --port {name}=off"
        )


def listening(ports: Mapping[str, int]) -> list[str]:
    """Return a line for each port: where to send what."""
    return [
        f"{number:>5}/{PORTS[name].network}  {PORTS[name].what}" for name, number in ports.items()
    ]
