"""The back end behind ``tracekit view``: every receiver, the store, sampling and the query API."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from typing import TYPE_CHECKING, Protocol

from tracekit.local._datagrams import DatagramPort
from tracekit.local._formats import read
from tracekit.local._http import HttpServer, Request, Response
from tracekit.local._intake import Intake
from tracekit.local._listeners import who_listens
from tracekit.local._page import Page
from tracekit.local._ports import PORTS, PortsTakenError, listening
from tracekit.local._query import QueryApp
from tracekit.local._strategies import Strategies
from tracekit.local._traces import TraceStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from tracekit.local._spans import ReceivedSpan


class _Listening(Protocol):
    port: int

    def start(self) -> None: ...

    def close(self) -> None: ...


class Backend:
    """Receives what tracing clients send, keeps it in ``store``, and answers who asks for it.

    Use it as a context manager. ``ports`` maps names of ``PORTS`` to numbers: 0 takes a free port,
    None leaves one out, and what is not named gets Jaeger's number. Without grpcio, ``grpc`` is
    left out. ``hosts`` are names that HTTP requests may be for, beside addresses and localhost.
    Nothing here asks for a password: let it listen on loopback.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        ports: Mapping[str, int | None] | None = None,
        store: TraceStore | None = None,
        strategies: Strategies | None = None,
        hosts: Iterable[str] = (),
    ) -> None:
        self.host = host
        self.store = TraceStore() if store is None else store
        self.strategies = Strategies() if strategies is None else strategies
        self.intake = Intake(self.store)
        self.ports: dict[str, int] = {}
        """Where it listens, by name; empty until it is started."""
        self._hosts = tuple(hosts)
        wanted = {name: port.number for name, port in PORTS.items()} | dict(ports or {})
        self._wanted = {name: number for name, number in wanted.items() if number is not None}
        self._open: list[_Listening] = []
        if importlib.util.find_spec("grpc") is None:
            self._wanted.pop("grpc", None)

    @classmethod
    def on_free_ports(cls, **options: object) -> Self:
        """Return one that takes free ports everywhere; ``ports`` says which."""
        return cls(ports=dict.fromkeys(PORTS, 0), **options)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """Where the page and the query API are."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.ports['query']}"

    def start(self) -> None:
        """Take the ports and start to listen; ``PortsTakenError`` if one cannot be taken."""
        taken: dict[str, tuple[int, str]] = {}
        for name, number in self._wanted.items():
            if reason := self._take(name, number):
                taken[name] = number, reason
        if taken:
            self.close()
            raise PortsTakenError(taken)
        for each in self._open:
            each.start()

    def close(self) -> None:
        """Stop listening and free the ports; what has arrived is kept. Safe to call twice."""
        with contextlib.ExitStack() as stack:
            while self._open:
                stack.callback(self._open.pop().close)

    def spans(self, trace_id: int, max_spans: int | None = None) -> list[ReceivedSpan]:
        """Return the first spans of a trace in the order of arrival; none if it is not held."""
        return [read(record) for record in (self.store.trace(trace_id) or ())[:max_spans]]

    def all_spans(self) -> list[ReceivedSpan]:
        """Return every span that is held, trace by trace."""
        return [read(record) for _, records in self.store.traces() for record in records]

    def wait_until(
        self, enough: Callable[[list[ReceivedSpan]], bool], timeout_s: float = 5.0
    ) -> bool:
        """Wait until ``enough(spans)`` is true of all that is held; False if it was not in time."""
        deadline = time.monotonic() + timeout_s
        seen = -1
        while True:
            if seen != self.store.version:
                seen = self.store.version
                if enough(self.all_spans()):
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)

    def listening(self) -> list[str]:
        """Return a line for each port: where to send what."""
        return listening(self.ports)

    def state(self) -> dict[str, object]:
        """Return figures about what came and what is held, as JSON can carry them."""
        store, broken = self.store, self.intake.broken
        return {
            "ports": self.ports,
            "host": self.host,
            "received": self.intake.received(),
            "malformed": self.intake.malformed(),
            "broken": None if broken is None else broken._asdict(),
            "dropped_datagrams": self.dropped_datagrams,
            "spans": store.spans,
            "bytes": store.size_bytes,
            "max_bytes": store.max_bytes,
            "evicted_traces": store.evicted_traces,
            "evicted_spans": store.evicted_spans,
            "refused_spans": store.refused,
            "store_failed": store.failed,
            "version": store.version,
            "clients": [
                {
                    "service": client.service,
                    "missed_messages": client.missed,
                    "lost": None if client.stats is None else client.stats._asdict(),
                }
                for client in self.intake.clients()
            ],
            "sampling": self.strategies.state(),
        }

    @property
    def dropped_datagrams(self) -> int:
        """Datagrams that came faster than they could be worked on."""
        return sum(each.dropped for each in self._open if isinstance(each, DatagramPort))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, name: str, number: int) -> str | None:
        """Bind a port; return why not."""
        try:
            opened = self._listen(name, number)
        except OSError as error:
            who = who_listens(PORTS[name].network, number) if number else None
            return f"{who} has it" if who else error.strerror or str(error)
        self._open.append(opened)
        self.ports[name] = opened.port
        return None

    def _listen(self, name: str, number: int) -> _Listening:
        if name in ("compact", "binary"):
            return DatagramPort(self.host, number, self.intake.datagram)
        if name == "grpc":
            from tracekit.local._otlp_grpc import OtlpGrpcServer  # noqa: PLC0415 - optional, slow

            return OtlpGrpcServer(self.host, number, self.intake)
        return HttpServer(self.host, number, self._app(name), hosts=self._hosts, name=name)

    def _app(self, name: str) -> Callable[[Request], Response]:
        apps: dict[str, Callable[[Request], Response]] = {
            "thrift": self._collector,
            "otlp": self.intake.otlp,
            "zipkin": self.intake.zipkin,
            "sampling": self.strategies,
            "query": QueryApp(self.store, Page(self)),
        }
        return apps[name]

    def _collector(self, request: Request) -> Response:
        # A collector tells strategies on its own port, too.
        app = self.strategies if request.path == "/api/sampling" else self.intake.collector
        return app(request)
