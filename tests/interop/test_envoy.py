"""Envoy as an edge and as a sidecar around the example services: one unbroken trace."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
import urllib.error
import urllib.request
import uuid

import pytest
from ports import free_ports
from running import SOON, example, get, serving

ADMIN, EDGE, SIDECAR = range(3)
SOON_REPORTED = {
    f"tracing.{tracer}.{setting}": value
    for tracer in ("zipkin", "opentelemetry")
    for setting, value in (("flush_interval_ms", 100), ("min_flush_spans", 1))
}
"""Envoy sends its spans every five seconds otherwise."""


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, port, *, http2=False):
    made = {
        "name": name,
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    }
    if http2:
        kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        options = {"explicit_http_config": {"http2_protocol_options": {}}}
        made["typed_extension_protocol_options"] = {
            kind: {"@type": f"type.googleapis.com/{kind}", **options}
        }
    return made


def tracers(service):
    zipkin = {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "zipkin",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
            "shared_span_context": False,
        },
    }
    otel = {
        "name": "envoy.tracers.opentelemetry",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "service_name": service,
            "grpc_service": {"envoy_grpc": {"cluster_name": "otlp"}, "timeout": "1s"},
        },
    }
    return {"zipkin": zipkin, "opentelemetry": otel}


def listener(name, port, upstream, provider):
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "envoy.extensions.filters.http.router.v3.Router"
    host = {
        "name": name,
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": upstream}}],
    }
    config = {
        "@type": f"type.googleapis.com/{manager}",
        "stat_prefix": name,
        "generate_request_id": True,
        "tracing": {"provider": provider},
        "route_config": {"name": name, "virtual_hosts": [host]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"type.googleapis.com/{router}"},
            }
        ],
    }
    filters = [{"name": "hcm", "typed_config": config}]
    return {"name": name, "address": address(port), "filter_chains": [{"filters": filters}]}


@contextlib.contextmanager
def envoy(binary, folder, jaeger, tracer, ports, frontend, driver):
    """Run Envoy: the edge before ``frontend``, the sidecar before ``driver`` (ports)."""
    service = f"envoy-{uuid.uuid4().hex[:8]}"
    provider = tracers(service)[tracer]
    config = {
        "node": {"id": "edge", "cluster": service},
        "admin": {"address": address(ports[ADMIN])},
        "layered_runtime": {"layers": [{"name": "soon", "static_layer": SOON_REPORTED}]},
        "static_resources": {
            "listeners": [
                listener("edge", ports[EDGE], "frontend", provider),
                listener("sidecar", ports[SIDECAR], "driver", provider),
            ],
            "clusters": [
                cluster("frontend", frontend),
                cluster("driver", driver, http2=True),
                cluster("zipkin", jaeger.ports["zipkin"]),
                cluster("otlp", jaeger.ports["otlp_grpc"], http2=True),
            ],
        },
    }
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    command = [binary, "-c", file, "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    ready = f"http://127.0.0.1:{ports[ADMIN]}/ready"
    with serving(command, folder / "envoy.log", ready, says="LIVE"):
        yield service


def traced(jaeger, service, propagation):
    """Return the variables of an example service."""
    return {
        "JAEGER_SERVICE_NAME": service,
        "JAEGER_AGENT_HOST": "127.0.0.1",
        "JAEGER_AGENT_PORT": str(jaeger.ports["compact"]),
        "JAEGER_SAMPLER_TYPE": "const",
        "JAEGER_SAMPLER_PARAM": "0",  # whatever is sampled, Envoy has decided
        "JAEGER_PROPAGATION": propagation,
        "JAEGER_REPORTER_FLUSH_INTERVAL": "100ms",
    }


def tag(span, key):
    return next((each["value"] for each in span["tags"] if each["key"] == key), None)


@pytest.mark.parametrize(("tracer", "propagation"), [("zipkin", "b3"), ("opentelemetry", "w3c")])
def test_proxies_and_services_are_one_trace(
    jaeger, envoy_binary, noted, tmp_path, tracer, propagation
):
    """Envoy's spans are parents of ours and ours of Envoy's, with one x-request-id throughout."""
    ports = free_ports(3)
    names = {each: f"{each}-{uuid.uuid4().hex[:8]}" for each in ("frontend", "driver", "route")}
    variables = {each: traced(jaeger, name, propagation) for each, name in names.items()}
    with (
        example(tmp_path, variables["driver"], "grpc_service/server.py") as driver,
        example(tmp_path, variables["route"], "flask_app/app.py") as route,
        example(
            tmp_path,
            variables["frontend"],
            "flask_app/app.py",
            f"--driver=127.0.0.1:{ports[SIDECAR]}",
            f"--router=http://127.0.0.1:{route}",
        ) as frontend,
        envoy(envoy_binary, tmp_path, jaeger, tracer, ports, frontend, driver) as proxy,
    ):
        answer = json.loads(get(f"http://127.0.0.1:{ports[EDGE]}/dispatch?customer=123"))
        assert answer["car"]
        jaeger.search(names["driver"], 2)
        end = time.monotonic() + SOON
        while True:  # all of the trace: Envoy sends its spans when it likes
            spans = jaeger.search(names["frontend"], 1)
            by_id = {span["spanID"]: span for span in spans}
            missing = [
                ref for span in spans for ref in span["references"] if ref["spanID"] not in by_id
            ]
            envoys = [span for span in spans if span["process"]["serviceName"] == proxy]
            if (not missing and len(envoys) >= 3) or time.monotonic() > end:
                break
            time.sleep(0.1)
    assert not missing
    assert len({span["traceID"] for span in spans}) == 1
    parent_of = {
        span["spanID"]: by_id[span["references"][0]["spanID"]]
        for span in spans
        if span["references"]
    }
    (root,) = (span for span in spans if not span["references"])
    assert root in envoys

    def service(span):
        return span["process"]["serviceName"].rpartition("-")[0]

    edges = {(service(parent_of[span["spanID"]]), service(span)) for span in spans if span != root}
    assert ("envoy", "frontend") in edges
    assert ("frontend", "envoy") in edges
    assert ("envoy", "driver") in edges
    assert ("frontend", "driver") not in edges  # the sidecar is between them
    assert ("frontend", "route") in edges
    ids = {tag(span, "guid:x-request-id") for span in envoys}
    assert len(ids) == 1
    assert None not in ids
    states = {tag(span, "w3c.tracestate") for span in spans}
    assert states <= {None, ""}  # Envoy's tracer sends an empty one
    noted(
        "Envoy",
        f"{tracer} tracer with {propagation}",
        f"equal: {len(spans)} spans, {len(envoys)} of them Envoy's, one trace, one x-request-id",
    )


def test_without_forwarding_the_trace_breaks(jaeger, envoy_binary, noted, tmp_path):
    """The same proxies around a service that passes nothing on: two traces, two request ids."""
    ports = free_ports(3)

    class Deaf(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(urllib.error.HTTPError):
                get(f"http://127.0.0.1:{ports[SIDECAR]}/next")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_details):
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf)
    thread = threading.Thread(target=web.serve_forever, args=(0.01,))
    thread.start()
    try:
        with (
            example(
                tmp_path, traced(jaeger, "deaf-driver", "b3"), "grpc_service/server.py"
            ) as driver,
            envoy(
                envoy_binary, tmp_path, jaeger, "zipkin", ports, web.server_port, driver
            ) as proxy,
        ):
            get(f"http://127.0.0.1:{ports[EDGE]}/dispatch")
            spans = jaeger.search(proxy, 2)
    finally:
        web.shutdown()
        thread.join(SOON)
        web.server_close()
    assert len({span["traceID"] for span in spans}) == 2
    assert len({tag(span, "guid:x-request-id") for span in spans}) == 2
    noted("Envoy", "a service that forwards nothing", "lost, as it must be: two traces")
