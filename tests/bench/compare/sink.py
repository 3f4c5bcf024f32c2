"""The counting sink: a process that takes what every peer sends and tells how many spans it was.

It keeps what arrives and counts when it is asked, so that counting costs no sender anything.
``GET /count`` answers ``{"spans": n, "payloads": n, "last": monotonic seconds}``; ``GET /reset``
forgets. The first line of its output is the ports, as JSON; it ends with its standard input.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
MAX_DATAGRAM_BYTES = 65_536


# --- how many spans a payload holds ---


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def otlp(data: bytes) -> int:
    """Count ``resource_spans[].scope_spans[].spans[]`` of an ExportTraceServiceRequest."""
    return sum(
        sum(1 for _ in chunks(scope, 2))
        for resource in chunks(data, 1)
        for scope in chunks(resource, 2)
    )


def chunks(data: bytes, wanted: int):
    """Yield the length-delimited fields ``wanted`` of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            _, at = varint(data, at)
        elif kind == 2:
            size, at = varint(data, at)
            if key >> 3 == wanted:
                yield data[at : at + size]
            at += size
        else:
            at += 8 if kind == 1 else 4


def compact(data: bytes) -> int:
    """Return the length of ``Batch.spans`` in a Thrift compact ``emitBatch`` call.

    The spans are the second field of the batch, behind the process, which is skipped.
    """
    _, at = varint(data, 2)  # protocol and kind, then the sequence number
    size, at = varint(data, at)
    at += size + 1  # the name of the call; the header of its field 1, the batch
    at = skip(data, at + 1, data[at] & 0x0F)  # Batch.process
    head = data[at + 1]  # behind the header of Batch.spans
    return head >> 4 if head >> 4 < 15 else varint(data, at + 2)[0]


def skip(data: bytes, at: int, kind: int) -> int:  # noqa: C901, PLR0911 - one line a type
    """Return where the value of ``kind`` that begins at ``at`` ends."""
    if kind in (1, 2):  # booleans live in the field's header
        return at
    if kind == 3:
        return at + 1
    if kind in (4, 5, 6):
        return varint(data, at)[1]
    if kind == 7:
        return at + 8
    if kind == 8:
        size, at = varint(data, at)
        return at + size
    if kind in (9, 10):
        head = data[at]
        count, at = (head >> 4, at + 1) if head >> 4 < 15 else varint(data, at + 1)
        for _ in range(count):
            at = skip(data, at, head & 0x0F)
        return at
    if kind == 12:
        while head := data[at]:
            at += 1
            if not head >> 4:  # a field number in full
                _, at = varint(data, at)
            at = skip(data, at, head & 0x0F)
        return at + 1
    raise ValueError(f"no Thrift type {kind}")


def datadog(data: bytes, version: str) -> int:
    """Count the spans of Datadog's msgpack; 0.5 puts a table of strings before the traces."""
    import msgpack  # noqa: PLC0415 - only this peer needs it

    content = msgpack.unpackb(data, strict_map_key=False, raw=True)
    return sum(len(trace) for trace in (content[1] if version == "v0.5" else content))


def count(path: str, body: bytes) -> int:
    """Return the spans of a payload that came to ``path``."""
    if path == "udp":
        return compact(body)
    if path in ("grpc", "/v1/traces"):
        return otlp(body)
    if path == "/api/v2/spans":
        return len(json.loads(body))
    if path in ("/v0.4/traces", "/v0.5/traces"):
        return datadog(body, path[1:5])
    return 0


# --- where payloads arrive ---


class Store:
    """What has arrived. Any thread may put; counting is one thread's at a time."""

    def __init__(self) -> None:
        self._arrived: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._arrived.clear()
            self._spans = self._payloads = 0
            self._last = time.monotonic()

    def put(self, path: str, body: bytes) -> None:
        self._last = time.monotonic()
        self._arrived.append((path, body))

    def told(self) -> dict[str, float]:
        with self._lock:
            while self._arrived:
                path, body = self._arrived.pop()
                spans = count(path, body)
                self._spans += spans
                self._payloads += bool(spans)
            return {"spans": self._spans, "payloads": self._payloads, "last": self._last}


def datagrams(store: Store) -> int:
    """Receive UDP on a thread; return the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", 0))

    def receive() -> None:
        while True:
            store.put("udp", sock.recv(MAX_DATAGRAM_BYTES))

    threading.Thread(target=receive, daemon=True).start()
    return sock.getsockname()[1]


def posts(store: Store) -> int:
    """Serve HTTP on threads; return the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if self.path == "/reset":
                store.reset()
            self._answer(store.told() if self.path == "/count" else {})

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b"".join(self._chunks())
            else:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            store.put(self.path, body)
            # Datadog's client reads JSON, Zipkin's the status, OpenTelemetry's a protobuf message
            # whose fields are all optional.
            self._answer(None if self.path == "/v1/traces" else {})

        do_PUT = do_POST  # noqa: N815 - the base class asks for it

        def _chunks(self):
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _answer(self, content: object) -> None:
            body = b"" if content is None else json.dumps(content).encode()
            # In one write: two would wait for each other's acknowledgement.
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def calls(store: Store) -> tuple[object, int | None]:
    """Serve OTLP over gRPC; return the server, which ends when let go, and the port.

    Without grpcio there is neither.
    """
    try:
        import grpc  # noqa: PLC0415 - the sink of the smoke test does without
    except ImportError:
        return None, None
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    def export(body: bytes, _context: object) -> bytes:
        store.put("grpc", body)
        return b""

    class Service(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(export) if details.method == EXPORT else None

    server = grpc.server(
        ThreadPoolExecutor(2), [Service()], options=[("grpc.max_receive_message_length", -1)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def main() -> None:
    if hasattr(os, "sched_setaffinity"):  # the senders have the other end
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    store = Store()
    server, grpc_port = calls(store)
    ports = {"udp": datagrams(store), "http": posts(store), "grpc": grpc_port}
    print(json.dumps(ports), flush=True)
    sys.stdin.read()
    del server
    os._exit(0)


if __name__ == "__main__":
    main()
