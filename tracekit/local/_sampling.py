"""A sampling server on loopback: what a Jaeger agent answers on 5778, a collector on 14250.

Nothing is shared with the client's reader of these answers, so that they check each other.
"""

from __future__ import annotations

import json
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tracekit.sampling import AdaptiveStrategy, Strategy

if TYPE_CHECKING:
    from types import TracebackType

    import grpc
    from typing_extensions import Self

_NOTHING_KNOWN = Strategy(
    "probabilistic", 0.001
)  # what a server says of a service it does not know


class SamplingServer:
    """Answers every service that asks with the strategy that ``serve`` set last.

    Use it as a context manager. HTTP always; gRPC if ``with_grpc``, which needs grpcio. Any
    thread may change the strategy while clients ask.
    """

    def __init__(self, port: int = 0, *, with_grpc: bool = False, grpc_port: int = 0) -> None:
        self._port = port
        self._with_grpc = with_grpc
        self._grpc_port = grpc_port
        self._answer: tuple[bytes, int] = b"", 500
        self._message = b""
        self._asked: list[str] = []
        self._http: ThreadingHTTPServer | None = None
        self._grpc: grpc.Server | None = None
        self.serve(_NOTHING_KNOWN)

    def serve(self, answer: Strategy | AdaptiveStrategy | bytes, status: int = 200) -> None:
        """Answer with ``answer`` from now on.

        Bytes go out as they are, over HTTP only, and so does ``status``. The maximum of a rate
        limit travels as an integer.
        """
        if isinstance(answer, bytes):
            self._answer = answer, status
        else:
            self._answer = json.dumps(as_json(answer)).encode(), status
            self._message = _as_protobuf(answer)

    @property
    def asked(self) -> list[str]:
        """The names of the services that asked, one for each question, in order."""
        return self._asked.copy()

    @property
    def endpoint(self) -> str:
        """Where HTTP clients ask, for ``JAEGER_SAMPLING_ENDPOINT``."""
        return f"http://127.0.0.1:{self._port}/sampling"

    @property
    def grpc_endpoint(self) -> str:
        """Where gRPC clients ask."""
        return f"grpc://127.0.0.1:{self._grpc_port}"

    def __enter__(self) -> Self:
        self._http = http = _HttpServer(("127.0.0.1", self._port), self)
        self._port = http.server_port
        threading.Thread(
            target=http.serve_forever, args=(0.02,), name="tracekit-sampling-server", daemon=True
        ).start()
        if self._with_grpc:
            self._serve_grpc()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
        if self._grpc is not None:
            self._grpc.stop(0).wait()

    def _serve_grpc(self) -> None:
        import grpc  # noqa: PLC0415 - optional

        def answer(request: bytes, _context: grpc.ServicerContext) -> bytes:
            self._asked.append(request[2:].decode())  # a key, a length below 128, the name
            return self._message

        handler = grpc.method_handlers_generic_handler(
            "jaeger.api_v2.SamplingManager",
            {"GetSamplingStrategy": grpc.unary_unary_rpc_method_handler(answer)},
        )
        self._grpc = server = grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((handler,))
        self._grpc_port = server.add_insecure_port(f"127.0.0.1:{self._grpc_port}")
        server.start()

    def _answer_http(self, target: str) -> tuple[bytes, int]:
        names = parse_qs(urlsplit(target).query).get("service", [])
        if len(names) != 1:
            return b"'service' parameter must be provided once", 400
        self._asked.append(names[0])
        return self._answer


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], owner: SamplingServer) -> None:
        self.owner = owner
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer

    def do_GET(self) -> None:
        """Answer a question for a strategy."""
        body, status = self.server.owner._answer_http(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep the console clean."""


def as_json(strategy: Strategy | AdaptiveStrategy) -> dict[str, object]:
    """Return a strategy as the JSON that a sampling server answers with."""
    if isinstance(strategy, AdaptiveStrategy):
        operations = {
            "defaultSamplingProbability": strategy.default,
            "defaultLowerBoundTracesPerSecond": strategy.lower_bound,
            "perOperationStrategies": [
                {"operation": name, "probabilisticSampling": {"samplingRate": rate}}
                for name, rate in strategy.operations.items()
            ],
        }
        default = as_json(Strategy("probabilistic", strategy.default))
        return {**default, "operationSampling": operations}  # servers send both
    if strategy.type == "probabilistic":
        return {
            "strategyType": "PROBABILISTIC",
            "probabilisticSampling": {"samplingRate": strategy.param},
        }
    limit = {"maxTracesPerSecond": int(strategy.param)}
    return {"strategyType": "RATE_LIMITING", "rateLimitingSampling": limit}


def _as_protobuf(strategy: Strategy | AdaptiveStrategy) -> bytes:
    if isinstance(strategy, AdaptiveStrategy):
        each = (
            _part(3, _part(1, name.encode()) + _part(2, _double(1, rate)))
            for name, rate in strategy.operations.items()
        )
        defaults = _double(1, strategy.default) + _double(2, strategy.lower_bound)
        return _part(2, _double(1, strategy.default)) + _part(4, defaults + b"".join(each))
    if strategy.type == "probabilistic":
        return _part(2, _double(1, strategy.param))
    return b"\x08\x01" + _part(3, b"\x08" + _size(int(strategy.param)))


def _double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def _part(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _size(len(content)) + content


def _size(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _size(rest) if rest else bytes([low])
