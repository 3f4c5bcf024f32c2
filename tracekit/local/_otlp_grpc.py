"""OTLP over gRPC: the export call of port 4317, on grpcio's server, read by our reader."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from tracekit.local._http import MAX_BODY_BYTES, MAX_INFLATED_BYTES
from tracekit.local._otlp_scan import scan_otlp

if TYPE_CHECKING:
    from tracekit.local._intake import Intake

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BODY_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 32),
    # gRPC would inflate without a limit: it hands us the bytes, and we do.
    ("grpc.per_message_decompression", 0),
)


class OtlpGrpcServer:
    """Takes spans by gRPC on ``host:port`` (0: a free one); ``OSError`` if the port is taken."""

    def __init__(self, host: str, port: int, intake: Intake) -> None:
        self._intake = intake
        self._server = grpc.server(
            ThreadPoolExecutor(2, thread_name_prefix="tracekit-view-grpc"),
            options=_OPTIONS,
            maximum_concurrent_rpcs=64,
        )
        handler = grpc.method_handlers_generic_handler(
            _SERVICE, {"Export": grpc.unary_unary_rpc_method_handler(self._export)}
        )
        self._server.add_generic_rpc_handlers((handler,))
        name = f"[{host}]" if ":" in host else host
        try:
            self.port: int = self._server.add_insecure_port(f"{name}:{port}")
        except RuntimeError as error:
            raise OSError(str(error)) from None
        if not self.port:
            raise OSError(f"port {port} cannot be bound")

    def start(self) -> None:
        """Start to answer; the port is bound already."""
        self._server.start()

    def close(self) -> None:
        """Stop, and free the port."""
        self._server.stop(0).wait(5)

    def _export(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            self._intake.take("otlp-grpc", scan_otlp, plain(message))
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:300])
        return b""


def plain(message: bytes) -> bytes:
    """Return a message without its compression; a request begins with 0x0a, gzip's do not."""
    if message[:2] != b"\x1f\x8b" and message[:1] != b"\x78":
        return message
    inflating = zlib.decompressobj(wbits=47)  # either header
    try:
        plain = inflating.decompress(message, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise ValueError(f"the message does not inflate: {error}") from None
    if inflating.unconsumed_tail:
        raise ValueError(f"a message that inflates to more than {MAX_INFLATED_BYTES} bytes")
    return plain
