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
    name: str,
    setting: str,
    example: str,
    note: str = "",
    parse: Callable[[str], object] | Joint | None = None,
) -> Row:
    return Row(name, setting, example, "OpenTelemetry", note=note, parse=parse)


def _otlp(
    name: str,
    setting: str,
    example: str,
    note: str = "",
    parse: Callable[[str], object] | None = None,
) -> tuple[Row, Row]:
    """Return the rows of an OTLP variable: for traces, then for all signals."""
    named = f"{_OTLP}TRACES_{name}"
    of_traces = Row(named, setting, example, "OpenTelemetry", "otlp", note, parse=parse)
    return of_traces, of_traces._replace(name=_OTLP + name)


def _retired(name: str, setting: str, example: str) -> Row:
    """Return the row of a variable of OpenTelemetry's Jaeger exporters, which are no more.

    Their timeout is not among them: the specification counted milliseconds, Python seconds.
    """
    wire = "jaeger" if setting in ("endpoint", "user", "password") else ""
    row = Row(f"JAEGER_{name}", setting, example, wire=wire)
    return row.old(f"OTEL_EXPORTER_JAEGER_{name}", "OpenTelemetry")


# fmt: off
ROWS = (
    _row("OTEL_SERVICE_NAME", "service_name", "checkout"),
    _row("OTEL_RESOURCE_ATTRIBUTES", "tags", "zone=eu,version=1.2",
         "Percent-encoded; `service.name` names the service.", parse=otel.resource_attributes),
    _row("OTEL_SDK_DISABLED", "disabled", "true", "Only `true` means yes.", parse=otel.truth),
    _row("OTEL_PROPAGATORS", "propagation", "tracecontext,b3",
         "`tracecontext`, `baggage`, `b3`, `b3multi`, `jaeger`, `none`: the last one found wins.",
         parse=otel.propagators),
    # The argument stands before the sampler, whose own default gives way to it.
    _row("OTEL_TRACES_SAMPLER_ARG", "sampler_param", "0.25",
         "For `jaeger_remote`: `endpoint=…,pollingIntervalMs=…,initialSamplingRate=…`.",
         parse=Joint(_sampler_argument)),
    _row("OTEL_TRACES_SAMPLER", "sampler_type", "parentbased_traceidratio",
         "`always_on`, `always_off`, `traceidratio`, `jaeger_remote`; a caller's decision is"
         " always followed, so `parentbased_` changes nothing.", parse=otel.sampler),
    Row("OTEL_TRACES_EXPORTER", "transport", "otlp", "OpenTelemetry", "otlp",
        "Here `otlp`, `jaeger`, `console` or `none`.", parse=Joint(_exporter)),
    *_otlp("PROTOCOL", "transport", "grpc", "`http/protobuf` or `grpc`.", parse=otel.protocol),
    Row(f"{_OTLP}TRACES_ENDPOINT", "endpoint", "http://collector:4318/v1/traces",
        "OpenTelemetry", "otlp", "Used as it is.", parse=Joint(_endpoint)),
    Row(f"{_OTLP}ENDPOINT", "endpoint", "http://collector:4318",
        "OpenTelemetry", "otlp", "HTTP adds `/v1/traces`.", parse=Joint(_base_endpoint)),
    *_otlp("INSECURE", "endpoint", "true", "Plain text, if it names no scheme.",
           parse=otel.insecure),
    *_otlp("HEADERS", "headers", "x-tenant=a", "Percent-encoded.", parse=otel.headers),
    *_otlp("TIMEOUT", "timeout_s", "3s", "Plain numbers are milliseconds.", parse=otel.timeout),
    *_otlp("COMPRESSION", "compression", "gzip"),
    *_otlp("CERTIFICATE", "ca_file", "/etc/ssl/ca.pem"),
    *_otlp("CLIENT_CERTIFICATE", "cert_file", "/etc/ssl/client.pem"),
    *_otlp("CLIENT_KEY", "key_file", "/etc/ssl/client.key"),
    _retired("ENDPOINT", "endpoint", "http://collector:14268/api/traces"),
    _retired("USER", "user", "writer"),
    _retired("PASSWORD", "password", "secret"),
    _retired("AGENT_HOST", "agent_host", "agent"),
    _retired("AGENT_PORT", "agent_port", "6831"),
    _row("OTEL_BSP_SCHEDULE_DELAY", "flush_s", "5000", parse=v.milliseconds),
    _row("OTEL_BSP_MAX_QUEUE_SIZE", "queue_size", "4096"),
    _row("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "max_batch_spans", "256"),
    _row("OTEL_BSP_EXPORT_TIMEOUT", "timeout_s", "30000", parse=v.milliseconds),
    _row("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "max_attributes", "64"),
    _row("OTEL_ATTRIBUTE_COUNT_LIMIT", "max_attributes", "64"),
    _row("OTEL_SPAN_EVENT_COUNT_LIMIT", "max_events", "64"),
    _row("OTEL_SPAN_LINK_COUNT_LIMIT", "max_links", "64"),
    _row("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "max_event_attributes", "64"),
    _row("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "max_link_attributes", "64"),
    _row("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "max_span_attribute_length", "4096"),
    _row("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "max_attribute_length", "4096"),
    _row("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "disabled_instrumentations", "redis,kafka",
         parse=v.text),
    _row("OTEL_SEMCONV_STABILITY_OPT_IN", "semconv", "http/dup",
         "`http/dup` or `rpc/dup`: both, for HTTP and RPC alike.", parse=otel.stability),
)
# fmt: on
