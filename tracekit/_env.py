"""The environment table: the only place that names JAEGER_*, OTEL_* and TRACEKIT_* variables.

One row a variable; the rows of one setting stand in order of precedence. Jaeger's and tracekit's
own variables form one layer, OpenTelemetry's a second one below it, so JAEGER_* beats OTEL_*.
``docs/reference/environment.md`` is printed from this table. Empty variables count as unset.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from tracekit import _otel
from tracekit import _values as v
from tracekit._layers import Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIG_FILE = "TRACEKIT_CONFIG_FILE"


class Joint(NamedTuple):
    """A parser that looks at other variables too."""

    parse: Callable[[str, Mapping[str, str]], object]


class Row(NamedTuple):
    """One variable: the setting it feeds, what reads its text, who knows it."""

    name: str
    setting: str
    parse: Callable[[str], object] | Joint
    help: str
    example: str
    known_to: str = "tracekit"
    wire: str = ""
    """Only for one receiver: "jaeger" (Thrift over HTTP) or "otlp"; "" for any."""
    instead: str = ""
    """What to write today, if the variable is deprecated."""


def _sampling_server(_written: str, environ: Mapping[str, str]) -> str:
    """Node's address in three variables; what is bad in one of them is reported by its own row."""
    host = _or_default(v.host, environ.get("JAEGER_SAMPLER_HOST"), "localhost")
    port = _or_default(v.port, environ.get("JAEGER_SAMPLER_PORT"), 5778)
    path = environ.get("JAEGER_SAMPLER_SAMPLING_PATH", "").strip() or "/sampling"
    host = f"[{host}]" if ":" in str(host) else host
    return f"http://{host}:{port}/{path.lstrip('/')}"


def _or_default(check: Callable[[object], object], written: str | None, default: object) -> object:
    try:
        return check(written) if written else default
    except ValueError:
        return default


def _server_host(written: str, environ: Mapping[str, str]) -> str:
    v.host(written)
    return _sampling_server(written, environ)


def _server_port(written: str, environ: Mapping[str, str]) -> str:
    v.port(written)
    return _sampling_server(written, environ)


def _otlp_protocol(environ: Mapping[str, str]) -> str:
    return (
        environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "").strip()
        or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip()
    )


def _otlp_endpoint(written: str, environ: Mapping[str, str]) -> v.Several:
    insecure = environ.get("OTEL_EXPORTER_OTLP_TRACES_INSECURE") or environ.get(
        "OTEL_EXPORTER_OTLP_INSECURE", ""
    )
    return _otel.endpoint(written, _otlp_protocol(environ), insecure=insecure)


def _otlp_base(written: str, environ: Mapping[str, str]) -> v.Several:
    insecure = environ.get("OTEL_EXPORTER_OTLP_INSECURE", "")
    return _otel.endpoint(written, _otlp_protocol(environ), insecure=insecure, base=True)


def _exporter(written: str, environ: Mapping[str, str]) -> v.Several:
    return _otel.exporter(written, _otlp_protocol(environ))


def _sampler_argument(written: str, environ: Mapping[str, str]) -> v.Several:
    return _otel.sampler_argument(written, environ.get("OTEL_TRACES_SAMPLER", ""))


def _formats(written: str) -> v.Several:
    """As Java: unknown names are skipped and named, double ones count once."""
    from tracekit._schema import SETTINGS

    known: list[str] = []
    wrong: list[str] = []
    for name in v.names(written):
        try:
            SETTINGS["propagation"].check([name])
        except ValueError as error:
            wrong.append(f"{name!r} {error} and is skipped")
        else:
            known.append(name)
    return v.Several({"propagation": known} if known else {}, tuple(wrong))


_ALL = "Go Java Node C++ C#"

JAEGER_ROWS = (
    Row("JAEGER_SERVICE_NAME", "service_name", v.text, "Name of the service.", "checkout", _ALL),
    Row(
        "JAEGER_DISABLED",
        "disabled",
        v.boolean,
        "No tracing; beats every validation.",
        "true",
        "Go Node C++",
    ),
    Row(
        "JAEGER_DISABLE",
        "disabled",
        v.boolean,
        "Old spelling.",
        "true",
        "Node",
        instead="JAEGER_DISABLED",
    ),
    Row(
        "JAEGER_TAGS",
        "tags",
        Joint(v.tags),
        "Tags of the process; `${VAR:default}` is taken from the environment.",
        "zone=eu,pod=${POD_NAME:none}",
        f"{_ALL} Python",
    ),
    Row(
        "JAEGER_TRACEID_128BIT",
        "traceid_128bit",
        v.boolean,
        "128-bit trace ids; unset means 64 bit, as in the clients.",
        "true",
        "Go Java Python C++ C#",
    ),
    Row(
        "JAEGER_RPC_METRICS",
        "rpc_metrics",
        v.boolean,
        "Request counts and latencies by endpoint.",
        "true",
        "Go",
    ),
    Row(
        "JAEGER_PROPAGATION",
        "propagation",
        _formats,
        "Header formats: jaeger, b3, b3single, w3c, or a list; all are written, the first one found is read.",
        "jaeger,b3,w3c",
        "Java C++ C#",
    ),
    Row(
        "TRACEKIT_EXTRACT_ORDER",
        "extract_order",
        v.text,
        "Which of several formats on a request wins: first or last of the list.",
        "first",
    ),
    Row(
        "JAEGER_SAMPLER_TYPE",
        "sampler_type",
        v.text,
        "const, probabilistic, ratelimiting, remote, or file.",
        "const",
        _ALL,
    ),
    Row(
        "JAEGER_SAMPLER_PARAM",
        "sampler_param",
        v.number,
        "const: 0 or 1; probabilistic: 0 to 1; ratelimiting: traces a second; remote: probability until the first answer.",
        "1",
        _ALL,
    ),
    Row(
        "JAEGER_SAMPLING_ENDPOINT",
        "sampling_endpoint",
        _otel.sampling_endpoint,
        "Where the remote sampler asks: a URL, `host:port`, or `grpc://host:port`.",
        "http://agent:5778/sampling",
        "Go C++ C#",
    ),
    Row(
        "JAEGER_SAMPLER_MANAGER_HOST_PORT",
        "sampling_endpoint",
        _otel.sampling_endpoint,
        "The same, `host:port` or a URL.",
        "agent:5778",
        "Go Java Node C#",
        instead="JAEGER_SAMPLING_ENDPOINT",
    ),
    Row(
        "JAEGER_SAMPLER_HOST",
        "sampling_endpoint",
        Joint(_server_host),
        "Host of the sampling server.",
        "agent",
        "Node",
        instead="JAEGER_SAMPLING_ENDPOINT",
    ),
    Row(
        "JAEGER_SAMPLER_PORT",
        "sampling_endpoint",
        Joint(_server_port),
        "Its port.",
        "5778",
        "Node",
        instead="JAEGER_SAMPLING_ENDPOINT",
    ),
    Row(
        "JAEGER_SAMPLER_SAMPLING_PATH",
        "sampling_endpoint",
        Joint(_sampling_server),
        "Its path.",
        "/sampling",
        "Node",
        instead="JAEGER_SAMPLING_ENDPOINT",
    ),
    Row(
        "JAEGER_SAMPLER_MAX_OPERATIONS",
        "sampler_max_operations",
        v.integer(1),
        "Operations that get a sampler of their own.",
        "2000",
        "Go",
    ),
    Row(
        "JAEGER_SAMPLER_REFRESH_INTERVAL",
        "sampler_refresh_s",
        v.milliseconds,
        "Time between two questions to the sampling server.",
        "60s",
        "Go Node",
    ),
    Row(
        "TRACEKIT_SAMPLER_FILE",
        "sampler_file",
        v.text,
        "Strategies file, in the format of Jaeger's `--sampling.strategies-file`.",
        "/etc/jaeger/strategies.json",
    ),
    Row(
        "TRACEKIT_TRANSPORT",
        "transport",
        v.text,
        "udp, http, otlp-http or otlp-grpc; follows from the variables below when unset.",
        "udp",
    ),
    Row(
        "JAEGER_ENDPOINT",
        "endpoint",
        v.url("http", "https"),
        "Collector for Thrift over HTTP; beats the agent.",
        "http://collector:14268/api/traces",
        _ALL,
        "jaeger",
    ),
    Row(
        "JAEGER_REPORTER_ENDPOINT",
        "endpoint",
        v.url("http", "https"),
        "The same.",
        "http://collector:14268/api/traces",
        "Node",
        "jaeger",
        "JAEGER_ENDPOINT",
    ),
    Row(
        "JAEGER_USER",
        "user",
        v.text,
        "User of basic authentication, with the endpoint.",
        "writer",
        "Go Java Node C#",
        "jaeger",
    ),
    Row(
        "JAEGER_REPORTER_USER",
        "user",
        v.text,
        "The same.",
        "writer",
        "Node",
        "jaeger",
        "JAEGER_USER",
    ),
    Row(
        "JAEGER_PASSWORD",
        "password",
        v.text,
        "Password of basic authentication.",
        "secret",
        "Go Java Node C#",
        "jaeger",
    ),
    Row(
        "JAEGER_REPORTER_PASSWORD",
        "password",
        v.text,
        "The same.",
        "secret",
        "Node",
        "jaeger",
        "JAEGER_PASSWORD",
    ),
    Row(
        "JAEGER_AUTH_TOKEN",
        "auth_token",
        v.text,
        "Bearer token, with the endpoint; user and password beat it.",
        "eyJhbGciOi",
        "Java C#",
        "jaeger",
    ),
    Row(
        "JAEGER_AGENT_HOST",
        "agent_host",
        v.host,
        "Host of the agent.",
        "localhost",
        f"{_ALL} Python",
    ),
    Row(
        "JAEGER_REPORTER_AGENT_HOST",
        "agent_host",
        v.host,
        "The same.",
        "localhost",
        "Node",
        instead="JAEGER_AGENT_HOST",
    ),
    Row(
        "JAEGER_AGENT_PORT",
        "agent_port",
        v.port,
        "UDP port of the agent.",
        "6831",
        f"{_ALL} Python",
    ),
    Row(
        "JAEGER_REPORTER_AGENT_PORT",
        "agent_port",
        v.port,
        "The same.",
        "6831",
        "Node",
        instead="JAEGER_AGENT_PORT",
    ),
    Row(
        "JAEGER_AGENT_SOCKET_TYPE",
        "agent_family",
        v.one_of("ipv4", "ipv6", udp4="ipv4", udp6="ipv6"),
        "Address family of the agent: udp4 or udp6.",
        "udp4",
        "Node",
    ),
    Row(
        "TRACEKIT_AGENT_PROTOCOL",
        "agent_protocol",
        v.text,
        "compact (port 6831) or binary (port 6832).",
        "binary",
    ),
    Row(
        "TRACEKIT_MAX_PACKET_BYTES", "max_packet_bytes", v.integer(0), "Largest datagram.", "65000"
    ),
    Row(
        "TRACEKIT_MAX_BURST_BYTES",
        "max_burst_bytes",
        v.integer(0),
        "Bytes of datagrams sent without a pause; 0 for no pacing.",
        "131072",
    ),
    Row(
        "TRACEKIT_BURST_PAUSE", "burst_pause_s", v.milliseconds, "Pause after such a burst.", "5ms"
    ),
    Row(
        "JAEGER_REPORTER_LOG_SPANS",
        "log_spans",
        v.boolean,
        "One log line for each reported span.",
        "true",
        _ALL,
    ),
    Row(
        "JAEGER_REPORTER_MAX_QUEUE_SIZE",
        "queue_size",
        v.integer(1),
        "Finished spans that may wait, to the letter.",
        "2048",
        "Go Java C++ C#",
    ),
    Row(
        "TRACEKIT_MAX_QUEUE_BYTES",
        "max_queue_bytes",
        v.integer(1),
        "Bytes of encoded spans that may wait.",
        "16777216",
    ),
    Row(
        "TRACEKIT_DROP_POLICY",
        "drop_policy",
        v.text,
        "Which span a full queue gives up: the newest (as Jaeger) or the oldest.",
        "newest",
    ),
    Row(
        "JAEGER_REPORTER_FLUSH_INTERVAL",
        "flush_s",
        v.milliseconds,
        "Longest time that a span waits for others.",
        "1s",
        _ALL,
    ),
    Row(
        "JAEGER_REPORTER_TIMEOUT",
        "timeout_s",
        v.milliseconds,
        "Time for one request to the endpoint, retries included.",
        "5s",
        "Node",
        "jaeger",
    ),
    Row(
        "JAEGER_REPORTER_ATTEMPT_RECONNECTING_DISABLED",
        "reconnect",
        v.negated,
        "Keep the agent's first address.",
        "true",
        "Go",
    ),
    Row(
        "JAEGER_REPORTER_ATTEMPT_RECONNECT_INTERVAL",
        "reconnect_s",
        v.milliseconds,
        "Time between two look-ups of the agent's address.",
        "30s",
        "Go",
    ),
    Row(
        "TRACEKIT_EXIT_BUDGET",
        "exit_budget_s",
        v.milliseconds,
        "Longest time that tracing may hold up the end of the process.",
        "2s",
    ),
    Row(
        "TRACEKIT_CA_FILE",
        "ca_file",
        v.text,
        "Certificates to trust, PEM.",
        "/etc/ssl/collector-ca.pem",
    ),
    Row(
        "TRACEKIT_CERT_FILE", "cert_file", v.text, "Client certificate, PEM.", "/etc/ssl/client.pem"
    ),
    Row("TRACEKIT_KEY_FILE", "key_file", v.text, "Its key, PEM.", "/etc/ssl/client.key"),
    Row("TRACEKIT_COMPRESSION", "compression", v.text, "none or gzip.", "gzip"),
    Row(
        "TRACEKIT_SEMCONV",
        "semconv",
        v.text,
        "Names of HTTP attributes: current, old, or both.",
        "current",
    ),
)

_OTEL = "OpenTelemetry"

OTEL_ROWS = (
    Row("OTEL_SERVICE_NAME", "service_name", v.text, "Name of the service.", "checkout", _OTEL),
    Row(
        "OTEL_RESOURCE_ATTRIBUTES",
        "tags",
        _otel.resource_attributes,
        "Tags of the process, percent-encoded; `service.name` names the service.",
        "zone=eu,service.version=1.2",
        _OTEL,
    ),
    Row("OTEL_SDK_DISABLED", "disabled", v.boolean, "No tracing.", "true", _OTEL),
    Row(
        "OTEL_PROPAGATORS",
        "propagation",
        _otel.propagators,
        "tracecontext, baggage, b3, b3multi, jaeger, none; the last one found is read.",
        "tracecontext,baggage",
        _OTEL,
    ),
    # The argument stands before the sampler, whose own default gives way to it.
    Row(
        "OTEL_TRACES_SAMPLER_ARG",
        "sampler_param",
        Joint(_sampler_argument),
        "Ratio, or `endpoint=…,pollingIntervalMs=…,initialSamplingRate=…` of jaeger_remote.",
        "0.25",
        _OTEL,
    ),
    Row(
        "OTEL_TRACES_SAMPLER",
        "sampler_type",
        _otel.sampler,
        "always_on, always_off, traceidratio, jaeger_remote; `parentbased_` before them changes nothing.",
        "parentbased_traceidratio",
        _OTEL,
    ),
    Row(
        "OTEL_TRACES_EXPORTER",
        "transport",
        Joint(_exporter),
        "otlp: send over OTLP.",
        "otlp",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "transport",
        _otel.protocol,
        "http/protobuf or grpc.",
        "grpc",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "transport",
        _otel.protocol,
        "The same for all signals.",
        "grpc",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "endpoint",
        Joint(_otlp_endpoint),
        "OTLP receiver, used as it is.",
        "http://collector:4318/v1/traces",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "endpoint",
        Joint(_otlp_base),
        "OTLP receiver; HTTP adds `/v1/traces`.",
        "http://collector:4318",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "headers",
        _otel.headers,
        "Headers of every request, percent-encoded.",
        "x-tenant=a",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "headers",
        _otel.headers,
        "The same for all signals.",
        "x-tenant=a",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "timeout_s",
        v.milliseconds,
        "Time for one request, retries included.",
        "10s",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "timeout_s",
        v.milliseconds,
        "The same for all signals.",
        "10s",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "compression",
        v.text,
        "none or gzip.",
        "gzip",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "compression",
        v.text,
        "The same for all signals.",
        "gzip",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "ca_file",
        v.text,
        "Certificates to trust, PEM.",
        "/etc/ssl/ca.pem",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "ca_file",
        v.text,
        "The same for all signals.",
        "/etc/ssl/ca.pem",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "cert_file",
        v.text,
        "Client certificate, PEM.",
        "/etc/ssl/client.pem",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "cert_file",
        v.text,
        "The same for all signals.",
        "/etc/ssl/client.pem",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "key_file",
        v.text,
        "Its key, PEM.",
        "/etc/ssl/client.key",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "key_file",
        v.text,
        "The same for all signals.",
        "/etc/ssl/client.key",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
        "endpoint",
        _otel.insecure,
        "Plain text for an endpoint without a scheme.",
        "true",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_EXPORTER_OTLP_INSECURE",
        "endpoint",
        _otel.insecure,
        "The same for all signals.",
        "true",
        _OTEL,
        "otlp",
    ),
    Row(
        "OTEL_BSP_SCHEDULE_DELAY",
        "flush_s",
        v.milliseconds,
        "Longest time that a span waits for others.",
        "5000",
        _OTEL,
    ),
    Row(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "queue_size",
        v.integer(1),
        "Finished spans that may wait.",
        "2048",
        _OTEL,
    ),
    Row(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "max_batch_spans",
        v.integer(1),
        "Spans in one batch.",
        "512",
        _OTEL,
    ),
    Row(
        "OTEL_BSP_EXPORT_TIMEOUT",
        "timeout_s",
        v.milliseconds,
        "Time for one batch, retries included.",
        "30000",
        _OTEL,
    ),
    Row(
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "max_attributes",
        v.integer(0),
        "Attributes of a span.",
        "128",
        _OTEL,
    ),
    Row(
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "max_attributes",
        v.integer(0),
        "The same for all signals.",
        "128",
        _OTEL,
    ),
    Row(
        "OTEL_SPAN_EVENT_COUNT_LIMIT", "max_events", v.integer(0), "Events of a span.", "128", _OTEL
    ),
    Row("OTEL_SPAN_LINK_COUNT_LIMIT", "max_links", v.integer(0), "Links of a span.", "128", _OTEL),
    Row(
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "max_event_attributes",
        v.integer(0),
        "Attributes of an event.",
        "128",
        _OTEL,
    ),
    Row(
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        "max_link_attributes",
        v.integer(0),
        "Attributes of a link.",
        "128",
        _OTEL,
    ),
    Row(
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "max_attribute_length",
        v.integer(0),
        "Characters of a text attribute; unset: no limit.",
        "4096",
        _OTEL,
    ),
    Row(
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "max_attribute_length",
        v.integer(0),
        "The same for all signals.",
        "4096",
        _OTEL,
    ),
    Row(
        "OTEL_SEMCONV_STABILITY_OPT_IN",
        "semconv",
        _otel.stability,
        "`http/dup`: HTTP attributes under both their names.",
        "http/dup",
        _OTEL,
    ),
)

ROWS = (*JAEGER_ROWS, *OTEL_ROWS)


def read(environ: Mapping[str, str]) -> tuple[Layer, Layer]:
    """Return the layer of Jaeger's and tracekit's variables, and that of OpenTelemetry's."""
    clean = {name: _clean(value) for name, value in environ.items() if value.strip()}
    return _layer(JAEGER_ROWS, clean), _layer(OTEL_ROWS, clean)


def config_file(environ: Mapping[str, str]) -> str | None:
    """Return the path of the configuration file, if a variable names one."""
    return _clean(environ.get(CONFIG_FILE, "")).strip() or None


def _layer(rows: tuple[Row, ...], environ: Mapping[str, str]) -> Layer:
    layer = Layer()
    for row in rows:
        if row.name in environ:
            _read_row(row, environ, layer)
    return layer


def _read_row(row: Row, environ: Mapping[str, str], layer: Layer) -> None:
    written = environ[row.name]
    try:
        parse = row.parse
        found = parse.parse(written, environ) if isinstance(parse, Joint) else parse(written)
    except ValueError as error:
        layer.complain(row.setting, row.name, written, str(error))
        return
    if not isinstance(found, v.Several):
        found = v.Several({row.setting: found})
    for complaint in found.complaints:
        layer.complain(row.setting, row.name, written, complaint)
    for setting, value in found.values.items():
        layer.give(setting, value, row.name, written=written, wire=row.wire)
    if row.instead:
        layer.notes.append(f"{row.name} is deprecated; today's name is {row.instead}")


def _clean(written: str) -> str:
    """Bytes that are no UTF-8 (``os.environ`` holds them as surrogates) become U+FFFD."""
    return written.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
