"""OTLP receivers made of OpenTelemetry's protobuf services, on real sockets."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
import trustme
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    DESCRIPTOR,
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

SOON = 20.0
SERVICE = DESCRIPTOR.services_by_name["TraceService"]
CODES = {
    "overloaded": (429, grpc.StatusCode.RESOURCE_EXHAUSTED),
    "unavailable": (503, grpc.StatusCode.UNAVAILABLE),
    "invalid": (400, grpc.StatusCode.INVALID_ARGUMENT),
    "unauthenticated": (401, grpc.StatusCode.UNAUTHENTICATED),
    "internal": (500, grpc.StatusCode.INTERNAL),
    "too large": (413, grpc.StatusCode.RESOURCE_EXHAUSTED),
}


class Mood(NamedTuple):
    """How a receiver answers one request; ``error`` is a key of ``CODES``."""

    error: str = ""
    after_s: float | None = None
    rejected: int = 0
    words: str = ""

    def response(self):
        if not self.rejected and not self.words:
            return ExportTraceServiceResponse()
        partial = ExportTracePartialSuccess(rejected_spans=self.rejected, error_message=self.words)
        return ExportTraceServiceResponse(partial_success=partial)

    def retry_info(self):
        status = Status(code=8, message=self.words)
        delay = Duration()
        delay.FromNanoseconds(round(self.after_s * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
        return status.SerializeToString()


class Certificates(NamedTuple):
    """An authority and certificates for both ends, as files and as bytes."""

    ca: str
    cert: str
    key: str

    def read(self):
        for file in self:
            yield Path(file).read_bytes()


class Receiver:
    """Keeps every request it has said yes to; ``moods`` answer the next ones first."""

    def __init__(self, certificates=None):
        self.moods = []
        self.requests = []
        self.arrivals = []
        self.headers = []
        self.certificates = certificates
        self.port = 0
        self._changed = threading.Condition()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_details):
        self.stop()

    def take(self, request, headers):
        with self._changed:
            mood = self.moods.pop(0) if self.moods else Mood()
            self.arrivals.append(time.monotonic())
            self.headers.append({name.lower(): value for name, value in headers})
            if not mood.error:
                self.requests.append(request)
            self._changed.notify_all()
            return mood

    def wait(self, arrivals):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.arrivals) >= arrivals, SOON)

    @property
    def spans(self):
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def environ(self):
        secure = self.certificates is not None
        variables = {
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http{'s' * secure}://127.0.0.1:{self.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
        }
        if secure:
            variables |= {
                "OTEL_EXPORTER_OTLP_CERTIFICATE": self.certificates.ca,
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": self.certificates.cert,
                "OTEL_EXPORTER_OTLP_CLIENT_KEY": self.certificates.key,
            }
        return variables


class HttpReceiver(Receiver):
    """OTLP over HTTP."""

    protocol = "http/protobuf"
    connections = 0  # so far

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = SOON

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.gzipped = self.headers["Content-Encoding"] == "gzip"
                if receiver.gzipped:
                    body = gzip.decompress(body)
                assert self.headers["Content-Type"] == "application/x-protobuf"
                pairs = [*self.headers.items(), (":path", self.path)]
                mood = receiver.take(ExportTraceServiceRequest.FromString(body), pairs)
                status = CODES[mood.error][0] if mood.error else 200
                answer = mood.words.encode() if mood.error else mood.response().SerializeToString()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                if mood.after_s is not None:
                    self.send_header("Retry-After", str(mood.after_s))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_details):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def shutdown_request(self, request):
                receiver._open.discard(request)
                super().shutdown_request(request)

            def process_request(self, request, address):
                receiver._open.add(request)
                receiver.connections += 1
                super().process_request(request, address)

            def handle_error(self, request, address):
                pass  # a client that went away

        self._open = set()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        if self.certificates is not None:
            context = ssl.create_default_context(
                ssl.Purpose.CLIENT_AUTH, cafile=self.certificates.ca
            )
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_cert_chain(self.certificates.cert, self.certificates.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        for request in list(self._open):  # keep-alive connections die with a server
            with contextlib.suppress(OSError):
                request.shutdown(2)
        self._server.server_close()
        self._thread.join(SOON)


class GrpcReceiver(Receiver):
    """OTLP over gRPC."""

    protocol = "grpc"
    options = ()
    after_s = 0.0  # how long each answer takes

    def start(self):
        options = [("grpc.so_reuseport", 0), *self.options]
        self._server = grpc.server(ThreadPoolExecutor(2), options=options)
        handlers = {
            SERVICE.methods[0].name: grpc.unary_unary_rpc_method_handler(
                self._export,
                ExportTraceServiceRequest.FromString,
                ExportTraceServiceResponse.SerializeToString,
            )
        }
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)]
        )
        address = f"127.0.0.1:{self.port}"
        if self.certificates is None:
            self.port = self._server.add_insecure_port(address)
        else:
            ca, cert, key = self.certificates.read()
            credentials = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    def stop(self):
        self._server.stop(0).wait(SOON)

    def _export(self, request, context):
        metadata = context.invocation_metadata()
        mood = self.take(request, metadata)
        time.sleep(self.after_s)
        self.gzipped = "gzip" in str(dict(metadata).get("grpc-encoding", ""))
        if mood.error:
            if mood.after_s is not None:
                details = ("grpc-status-details-bin", mood.retry_info())
                context.set_trailing_metadata((details,))
            context.abort(CODES[mood.error][1], mood.words)
        return mood.response()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Make an authority, and a certificate for 127.0.0.1 that is used on both ends."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = Certificates(*(str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")))
    authority.cert_pem.write_to_path(files.ca)
    issued.cert_chain_pems[0].write_to_path(files.cert)
    issued.private_key_pem.write_to_path(files.key)
    return files


@pytest.fixture
def mood():
    """Return what makes a receiver's answer."""
    return Mood


@pytest.fixture(params=[HttpReceiver, GrpcReceiver], ids=["http", "grpc"])
def make_receiver(request):
    """Return the class of a receiver: each test runs over both wires."""
    return request.param


@pytest.fixture
def receiver(make_receiver):
    """Return a running receiver."""
    with make_receiver() as running:
        yield running


@pytest.fixture
def grpc_receiver():
    """Return a running receiver of OTLP over gRPC."""
    with GrpcReceiver() as running:
        yield running
