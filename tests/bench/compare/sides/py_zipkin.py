"""py_zipkin with the one transport that it ships: a POST on the caller's thread for each trace."""

from __future__ import annotations

from py_zipkin import Kind
from py_zipkin.encoding import Encoding, create_endpoint
from py_zipkin.encoding._encoders import get_encoder
from py_zipkin.encoding._helpers import Span
from py_zipkin.request_helpers import create_http_headers, extract_zipkin_attrs_from_headers
from py_zipkin.storage import Tracer
from py_zipkin.transport import SimpleHTTPTransport
from py_zipkin.util import ZipkinAttrs
from py_zipkin.zipkin import zipkin_span

TAGS = {"http.request.method": "GET", "http.response.status_code": "200", "cache.hit": "true"}


class Side:
    """See ``measure.py`` for what each method is asked for."""

    def __init__(self, name, ports, *, sampled=True, disabled=False, queue=None):
        self._root = {
            "service_name": "bench",
            "span_name": "root",
            "transport_handler": SimpleHTTPTransport("127.0.0.1", ports["http"]),
            "sample_rate": 100.0 if sampled else 0.0,
            "encoding": Encoding.V2_JSON,
            "max_span_batch_size": 1000,
        }

    def trace(self, spans):
        with zipkin_span(**self._root) as root:
            root.update_binary_annotations(TAGS)
            for _ in range(spans - 1):
                with zipkin_span(service_name="bench", span_name="child") as span:
                    span.update_binary_annotations(TAGS)

    def queued(self):
        return 0

    def flush(self, timeout_s=10.0):
        pass

    def encoders(self):
        endpoint = create_endpoint(9411, "127.0.0.1", "bench")
        spans = [
            Span("80f198ee56343ba8", "child", None, "e457b5a2e4d86bd1", Kind.LOCAL, 1e9,
                 0.01, local_endpoint=endpoint, tags=TAGS)
            for _ in range(1000)
        ]  # fmt: skip

        def encode():
            encoder = get_encoder(Encoding.V2_JSON)
            encoder.encode_queue([encoder.encode_span(span) for span in spans])

        return len(spans), {"Zipkin JSON": encode}

    def propagators(self):
        tracer = Tracer()
        tracer.push_zipkin_attrs(
            ZipkinAttrs("80f198ee56343ba8", "64fe8b2a57d3eff7", None, "0", is_sampled=True)
        )
        extract = extract_zipkin_attrs_from_headers
        return {
            "b3": (extract, lambda: create_http_headers(tracer=tracer, new_span_id=True)),
            "b3single": (extract, None),
        }
