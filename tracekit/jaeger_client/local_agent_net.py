"""``jaeger_client.local_agent_net``: where an agent is, for those who put a tracer together."""

from __future__ import annotations

__all__ = ["LocalAgentSender"]


class LocalAgentSender:
    """An agent's host and ports: what ``Reporter`` and ``RemoteControlledSampler`` take as channel.

    It opens nothing and starts nothing: the pipeline has its own sockets. ``io_loop`` and
    ``throttling_port`` are accepted and have no effect.
    """

    io_loop = None

    def __init__(
        self,
        host: str,
        sampling_port: int,
        reporting_port: int,
        io_loop: object = None,
        throttling_port: int | None = None,
    ) -> None:
        self.host = host
        self.sampling_port = sampling_port
        self.reporting_port = reporting_port

    @property
    def netloc(self) -> str:
        """Host and port of the sampling server, as in a URL: an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.sampling_port}"

    def __repr__(self) -> str:
        return f"LocalAgentSender({self.host!r}, {self.sampling_port}, {self.reporting_port})"
