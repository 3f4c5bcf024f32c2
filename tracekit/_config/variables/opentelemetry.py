"""The rows of OpenTelemetry's variables, where they say what a Jaeger client can be told.

They form a layer below Jaeger's. What they mean in tracekit's terms is in ``otel_values``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._config import values as v
from tracekit._config.variables import otel_values as otel
from tracekit._config.variables.row import Joint, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OTLP = "OTEL_EXPORTER_OTLP_"


def _protocol(environ: Mapping[str, str]) -> str:
    return _of_traces(environ, "PROTOCOL") or environ.get(f"{_OTLP}PROTOCOL", "")


def _of_traces(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"{_OTLP}TRACES_{name}", "")


def _endpoint(written: str, environ: Mapping[str, str]) -> v.Several:
    insecure = _of_traces(environ, "INSECURE") or environ.get(f"{_OTLP}INSECURE", "")
    return otel.endpoint(written, _protocol(environ), insecure=insecure)


def _base_endpoint(written: str, environ: Mapping[str, str]) -> v.Several:
    insecure = environ.get(f"{_OTLP}INSECURE", "")
    return otel.endpoint(written, _protocol(environ), insecure=insecure, base=True)


def _exporter(written: str, environ: Mapping[str, str]) -> v.Several:
    return otel.exporter(written, _protocol(environ))


def _sampler_argument(written: str, environ: Mapping[str, str]) -> v.Several:
    return otel.sampler_argument(written, environ.get("OTEL_TRACES_SAMPLER", ""))


def _row(
    name: str, setting: str, parse: Callable[[str], object] | Joint, example: str, note: str = ""
) -> Row:
    return Row(name, setting, parse, example, "OpenTelemetry", note=note)


def _otlp(
    name: str, setting: str, parse: Callable[[str], object], example: str, note: str = ""
) -> tuple[Row, Row]:
    """Return the rows of an OTLP variable: for traces, then for all signals."""
    of_traces = Row(f"{_OTLP}TRACES_{name}", setting, parse, example, "OpenTelemetry", "otlp", note)
    return of_traces, of_traces._replace(name=_OTLP + name)


def _retired(name: str, setting: str, parse: Callable[[str], object], example: str) -> Row:
    """Return the row of a variable of OpenTelemetry's Jaeger exporters, which are no more.

    Their timeout is not among them: the specification counted milliseconds, Python seconds.
    """
    wire = "jaeger" if setting in ("endpoint", "user", "password") else ""
    row = Row(f"JAEGER_{name}", setting, parse, example, wire=wire)
    return row.old(f"OTEL_EXPORTER_JAEGER_{name}", "OpenTelemetry")


# fmt: off
ROWS = (
    _row("OTEL_SERVICE_NAME", "service_name", v.text, "checkout"),
    _row("OTEL_RESOURCE_ATTRIBUTES", "tags", otel.resource_attributes, "zone=eu,version=1.2",
         "Percent-encoded; `service.name` names the service."),
    _row("OTEL_SDK_DISABLED", "disabled", otel.truth, "true", "Only `true` means yes."),
    _row("OTEL_PROPAGATORS", "propagation", otel.propagators, "tracecontext,b3",
         "`tracecontext`, `baggage`, `b3`, `b3multi`, `jaeger`, `none`: the last one found wins."),
    # The argument stands before the sampler, whose own default gives way to it.
    _row("OTEL_TRACES_SAMPLER_ARG", "sampler_param", Joint(_sampler_argument), "0.25",
         "For `jaeger_remote`: `endpoint=…,pollingIntervalMs=…,initialSamplingRate=…`."),
    _row("OTEL_TRACES_SAMPLER", "sampler_type", otel.sampler, "parentbased_traceidratio",
         "`always_on`, `always_off`, `traceidratio`, `jaeger_remote`; a caller's decision is"
         " always followed, so `parentbased_` changes nothing."),
    Row("OTEL_TRACES_EXPORTER", "transport", Joint(_exporter), "otlp", "OpenTelemetry", "otlp",
        "Here `otlp`, `jaeger`, `console` or `none`."),
    *_otlp("PROTOCOL", "transport", otel.protocol, "grpc", "`http/protobuf` or `grpc`."),
    Row(f"{_OTLP}TRACES_ENDPOINT", "endpoint", Joint(_endpoint), "http://collector:4318/v1/traces",
        "OpenTelemetry", "otlp", "Used as it is."),
    Row(f"{_OTLP}ENDPOINT", "endpoint", Joint(_base_endpoint), "http://collector:4318",
        "OpenTelemetry", "otlp", "HTTP adds `/v1/traces`."),
    *_otlp("INSECURE", "endpoint", otel.insecure, "true", "Plain text, if it names no scheme."),
    *_otlp("HEADERS", "headers", otel.headers, "x-tenant=a", "Percent-encoded."),
    *_otlp("TIMEOUT", "timeout_s", otel.timeout, "3s", "Plain numbers are milliseconds."),
    *_otlp("COMPRESSION", "compression", v.text, "gzip"),
    *_otlp("CERTIFICATE", "ca_file", v.text, "/etc/ssl/ca.pem"),
    *_otlp("CLIENT_CERTIFICATE", "cert_file", v.text, "/etc/ssl/client.pem"),
    *_otlp("CLIENT_KEY", "key_file", v.text, "/etc/ssl/client.key"),
    _retired("ENDPOINT", "endpoint", v.url("http", "https"), "http://collector:14268/api/traces"),
    _retired("USER", "user", v.text, "writer"),
    _retired("PASSWORD", "password", v.text, "secret"),
    _retired("AGENT_HOST", "agent_host", v.host, "agent"),
    _retired("AGENT_PORT", "agent_port", v.port, "6831"),
    _row("OTEL_BSP_SCHEDULE_DELAY", "flush_s", v.milliseconds, "5000"),
    _row("OTEL_BSP_MAX_QUEUE_SIZE", "queue_size", v.integer(1), "4096"),
    _row("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "max_batch_spans", v.integer(1), "256"),
    _row("OTEL_BSP_EXPORT_TIMEOUT", "timeout_s", v.milliseconds, "30000"),
    _row("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "max_attributes", v.integer(0), "64"),
    _row("OTEL_ATTRIBUTE_COUNT_LIMIT", "max_attributes", v.integer(0), "64"),
    _row("OTEL_SPAN_EVENT_COUNT_LIMIT", "max_events", v.integer(0), "64"),
    _row("OTEL_SPAN_LINK_COUNT_LIMIT", "max_links", v.integer(0), "64"),
    _row("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "max_event_attributes", v.integer(0), "64"),
    _row("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "max_link_attributes", v.integer(0), "64"),
    _row("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "max_span_attribute_length", v.integer(0),
         "4096"),
    _row("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "max_attribute_length", v.integer(0), "4096"),
    _row("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "disabled_instrumentations", v.text,
         "redis,kafka"),
    _row("OTEL_SEMCONV_STABILITY_OPT_IN", "semconv", otel.stability, "http/dup",
         "`http/dup` or `rpc/dup`: both, for HTTP and RPC alike."),
)
# fmt: on
