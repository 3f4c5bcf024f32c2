"""Each variable of the environment table, with a good, a bad, an empty and an odd value."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tracekit._config import variables
from tracekit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

HTTP = {"JAEGER_ENDPOINT": "http://c:14268/api/traces"}
AUTH = {**HTTP, "JAEGER_USER": "u", "JAEGER_PASSWORD": "p"}
OTLP = {"OTEL_TRACES_EXPORTER": "otlp"}
RATIO = {"OTEL_TRACES_SAMPLER": "traceidratio"}
NOTHING = MappingProxyType({})
CONTROL = "a\x07b"
"""Bad for every text: no name, host or path has control characters."""


class Case(NamedTuple):
    """What a variable's values mean; ``odd`` is unusual and right. ``beside``: set as well."""

    setting: str
    good: tuple[str, object]
    bad: str
    odd: tuple[str, object]
    beside: Mapping[str, str] = NOTHING


def millis(setting, beside=NOTHING):
    return Case(setting, ("1m30s", 90.0), "-1s", ("1500", 1.5), beside)


def limit(setting):
    return Case(setting, ("16", 16), "-1", ("0", 0))


def path(setting, beside=NOTHING):
    return Case(setting, ("/etc/x.pem", "/etc/x.pem"), CONTROL, (" C:\\x y ", "C:\\x y"), beside)


def flag(setting):
    return Case(setting, ("true", True), "yes", ("T", True))


HOST = Case("agent_host", ("agent.tracing", "agent.tracing"), "http://a", ("[::1]", "::1"))
PORT = Case("agent_port", ("8888", 8888), "65536", (" +6832 ", 6832))
ENDPOINT = Case(
    "endpoint", ("http://c/x", "http://c/x"), "c:1", ("https://[::1]:1", "https://[::1]:1")
)
USER = Case("user", ("ann", "ann"), CONTROL, ("a:b", "a:b"), AUTH)
PASSWORD = Case("password", ("secret", "secret"), CONTROL, ("s,=%", "s,=%"), AUTH)
SERVER = Case(
    "sampling_endpoint",
    ("http://s:1/path", "http://s:1/path"),
    "ftp://s",
    ("http://s:14250", "grpc://s:14250"),
)
HEADERS = Case(
    "headers", ("A=b", {"a": "b"}), "a b=c", ("A=b%20c, d = e ,", {"a": "b c", "d": "e"}), OTLP
)
COMPRESSION = Case("compression", ("gzip", "gzip"), "zip", ("GZip", "gzip"), OTLP)
PROTOCOL = Case("transport", ("grpc", "otlp-grpc"), "http/json", ("GRPC", "otlp-grpc"), OTLP)
INSECURE = Case(
    "endpoint", ("true", "http://c:1"), "yes", ("TRUE", "http://c:1"),
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "c:1"},
)  # fmt: skip

CASES = {
    "JAEGER_SERVICE_NAME": Case("service_name", ("a", "a"), CONTROL, (" shop.ns ", "shop.ns")),
    "JAEGER_DISABLED": flag("disabled"),
    "JAEGER_DISABLE": flag("disabled"),
    "JAEGER_TAGS": Case("tags", ("a=b", {"a": "b"}), "a", (",a = ${X:b:c}, ", {"a": "b:c"})),
    "JAEGER_TRACEID_128BIT": flag("traceid_128bit"),
    "JAEGER_RPC_METRICS": flag("rpc_metrics"),
    "JAEGER_PROPAGATION": Case(
        "propagation",
        ("b3,w3c", ["b3", "w3c"]),
        "pigeon",
        ("W3C,, B3-Single,w3c", ["w3c", "b3single"]),
    ),
    "TRACEKIT_EXTRACT_ORDER": Case("extract_order", ("last", "last"), "middle", ("LAST", "last")),
    "JAEGER_SAMPLER_TYPE": Case(
        "sampler_type", ("const", "const"), "all", ("Rate_Limiting", "ratelimiting")
    ),
    "JAEGER_SAMPLER_PARAM": Case("sampler_param", ("0.5", 0.5), "half", ("+.5e-1", 0.05)),
    "JAEGER_SAMPLING_ENDPOINT": SERVER,
    "JAEGER_SAMPLER_MANAGER_HOST_PORT": SERVER._replace(odd=("s:1", "http://s:1/sampling")),
    "JAEGER_SAMPLER_HOST": Case(
        "sampling_endpoint",
        ("s", "http://s:5778/sampling"),
        "a b",
        ("::1", "http://[::1]:5778/sampling"),
    ),
    "JAEGER_SAMPLER_PORT": Case(
        "sampling_endpoint",
        ("80", "http://localhost:80/sampling"),
        "x",
        (" 081 ", "http://localhost:81/sampling"),
    ),
    "JAEGER_SAMPLER_SAMPLING_PATH": Case(
        "sampling_endpoint",
        ("/x", "http://localhost:5778/x"),
        CONTROL,
        ("x", "http://localhost:5778/x"),
    ),
    "JAEGER_SAMPLER_MAX_OPERATIONS": Case("sampler_max_operations", ("5", 5), "0", ("+07", 7)),
    "JAEGER_SAMPLER_REFRESH_INTERVAL": millis("sampler_refresh_s"),
    "TRACEKIT_SAMPLER_FILE": path("sampler_file"),
    "TRACEKIT_TRANSPORT": Case("transport", ("http", "http"), "tcp", ("OTLP-HTTP", "otlp-http")),
    "JAEGER_ENDPOINT": ENDPOINT,
    "JAEGER_REPORTER_ENDPOINT": ENDPOINT,
    "JAEGER_USER": USER,
    "JAEGER_REPORTER_USER": USER._replace(beside={**HTTP, "JAEGER_PASSWORD": "p"}),
    "JAEGER_PASSWORD": PASSWORD,
    "JAEGER_REPORTER_PASSWORD": PASSWORD._replace(beside={**HTTP, "JAEGER_USER": "u"}),
    "JAEGER_AUTH_TOKEN": Case("auth_token", ("t", "t"), "tökén", (" a.b-c== ", "a.b-c=="), HTTP),
    "JAEGER_AGENT_HOST": HOST,
    "OTEL_EXPORTER_JAEGER_ENDPOINT": ENDPOINT,
    "OTEL_EXPORTER_JAEGER_USER": USER._replace(beside={**HTTP, "JAEGER_PASSWORD": "p"}),
    "OTEL_EXPORTER_JAEGER_PASSWORD": PASSWORD._replace(beside={**HTTP, "JAEGER_USER": "u"}),
    "OTEL_EXPORTER_JAEGER_AGENT_HOST": HOST,
    "OTEL_EXPORTER_JAEGER_AGENT_PORT": PORT,
    "JAEGER_REPORTER_AGENT_HOST": HOST,
    "JAEGER_AGENT_PORT": PORT,
    "JAEGER_REPORTER_AGENT_PORT": PORT,
    "JAEGER_AGENT_SOCKET_TYPE": Case("agent_family", ("udp6", "ipv6"), "tcp", ("UDP4", "ipv4")),
    "TRACEKIT_AGENT_PROTOCOL": Case(
        "agent_protocol", ("binary", "binary"), "json", ("Binary", "binary")
    ),
    "TRACEKIT_MAX_PACKET_BYTES": Case("max_packet_bytes", ("9216", 9216), "65508", ("512", 512)),
    "TRACEKIT_MAX_BURST_BYTES": limit("max_burst_bytes"),
    "TRACEKIT_BURST_PAUSE": millis("burst_pause_s"),
    "JAEGER_REPORTER_LOG_SPANS": flag("log_spans"),
    "JAEGER_REPORTER_MAX_QUEUE_SIZE": Case("queue_size", ("1000", 1000), "0", ("1", 1)),
    "TRACEKIT_MAX_BATCH_SPANS": Case("max_batch_spans", ("9", 9), "0", ("1", 1)),
    "TRACEKIT_NATIVE": Case("native", ("false", False), "yes", ("F", False)),
    "TRACEKIT_DROP_POLICY": Case("drop_policy", ("oldest", "oldest"), "both", ("OLDEST", "oldest")),
    "JAEGER_REPORTER_FLUSH_INTERVAL": millis("flush_s"),
    "JAEGER_REPORTER_TIMEOUT": millis("timeout_s", HTTP),
    "JAEGER_REPORTER_ATTEMPT_RECONNECTING_DISABLED": Case(
        "reconnect", ("true", False), "never", ("1", False)
    ),
    "JAEGER_REPORTER_ATTEMPT_RECONNECT_INTERVAL": millis("reconnect_s"),
    "TRACEKIT_EXIT_BUDGET": millis("exit_budget_s"),
    "TRACEKIT_DRAIN_ON_SIGTERM": Case("drain_on_sigterm", ("false", False), "yes", ("F", False)),
    "TRACEKIT_CA_FILE": path("ca_file"),
    "TRACEKIT_CERT_FILE": path("cert_file"),
    "TRACEKIT_KEY_FILE": path("key_file"),
    "TRACEKIT_COMPRESSION": COMPRESSION._replace(beside=NOTHING),
    "TRACEKIT_ALSO": Case(
        "also", ("http://c:4318", "http://c:4318"), "c:4318", ("https://c", "https://c")
    ),
    "TRACEKIT_REDACT": Case(
        "redact", ("email,/a,b/", ["email", "/a,b/"]), "/(/", ("email", ["email"])
    ),
    "TRACEKIT_INSTRUMENT": Case(
        "instrument", ("flask,-redis", ["flask", "-redis"]), "a b", ("a b,*", ["*"])
    ),
    "TRACEKIT_KEEP": Case(
        "keep",
        ("errors,slow:500ms", ["errors", "slow:500ms"]),
        "slow:500",
        (" errors , override ", ["errors", "override"]),
    ),
    "TRACEKIT_KEEP_SPANS": Case("keep_spans", ("9", 9), "0", ("1", 1)),
    "TRACEKIT_KEEP_BYTES": Case("keep_bytes", ("9", 9), "0", ("1", 1)),
    "TRACEKIT_KEEP_PER_SECOND": Case("keep_per_second", ("0.5", 0.5), "-1", ("0", 0.0)),
    "TRACEKIT_SEMCONV": Case("semconv", ("old", "old"), "new", ("BOTH", "both")),
    "OTEL_SERVICE_NAME": Case("service_name", ("a", "a"), CONTROL, ("ä b", "ä b")),
    "OTEL_RESOURCE_ATTRIBUTES": Case(
        "tags", ("a=b", {"a": "b"}), "a", ("a=b%2Cc,service.name=x,", {"a": "b,c"})
    ),
    "OTEL_SDK_DISABLED": Case("disabled", ("true", True), "1", (" TRUE ", True)),
    "OTEL_PROPAGATORS": Case(
        "propagation",
        ("b3multi,jaeger", ["b3", "jaeger"]),
        "pigeon",
        ("TraceContext, baggage", ["w3c"]),
    ),
    "OTEL_TRACES_SAMPLER_ARG": Case("sampler_param", ("0.25", 0.25), "2", ("1e-3", 0.001), RATIO),
    "OTEL_TRACES_SAMPLER": Case(
        "sampler_type",
        ("always_off", "const"),
        "pigeon",
        ("ParentBased_TraceIDRatio", "probabilistic"),
    ),
    "OTEL_TRACES_EXPORTER": Case(
        "transport", ("otlp", "otlp-http"), "zipkin", ("OTLP, ", "otlp-http")
    ),
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": PROTOCOL,
    "OTEL_EXPORTER_OTLP_PROTOCOL": PROTOCOL,
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ENDPOINT._replace(
        bad="udp://c", odd=("c:1", "https://c:1")
    ),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT._replace(
        good=("http://c/x", "http://c/x/v1/traces"),
        bad="c",
        odd=("http://c:4317/", "http://c:4317"),
    ),
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE": INSECURE,
    "OTEL_EXPORTER_OTLP_INSECURE": INSECURE,
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": HEADERS,
    "OTEL_EXPORTER_OTLP_HEADERS": HEADERS,
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": millis("timeout_s", OTLP),
    "OTEL_EXPORTER_OTLP_TIMEOUT": millis("timeout_s", OTLP),
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": COMPRESSION,
    "OTEL_EXPORTER_OTLP_COMPRESSION": COMPRESSION,
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": path("ca_file", OTLP),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": path("ca_file", OTLP),
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": path("cert_file", OTLP),
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": path("cert_file", OTLP),
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": path("key_file", OTLP),
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": path("key_file", OTLP),
    "OTEL_BSP_SCHEDULE_DELAY": millis("flush_s"),
    "OTEL_BSP_MAX_QUEUE_SIZE": Case("queue_size", ("4096", 4096), "many", ("1", 1)),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": Case("max_batch_spans", ("9", 9), "-9", ("01", 1)),
    "OTEL_BSP_EXPORT_TIMEOUT": millis("timeout_s", HTTP),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": limit("max_attributes"),
    "OTEL_ATTRIBUTE_COUNT_LIMIT": limit("max_attributes"),
    "OTEL_SPAN_EVENT_COUNT_LIMIT": limit("max_events"),
    "OTEL_SPAN_LINK_COUNT_LIMIT": limit("max_links"),
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": limit("max_event_attributes"),
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": limit("max_link_attributes"),
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": limit("max_span_attribute_length"),
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": limit("max_attribute_length"),
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": Case(
        "disabled_instrumentations",
        ("redis,grpc_client", ["redis", "grpc_client"]),
        "a b",
        ("*,", ["*"]),
    ),
    "OTEL_SEMCONV_STABILITY_OPT_IN": Case(
        "semconv", ("http/dup", "both"), CONTROL, ("database, RPC/dup", "both")
    ),
}
NOTHING_IS_BAD = {"OTEL_SEMCONV_STABILITY_OPT_IN"}  # names of other conventions are none of ours

each_variable = pytest.mark.parametrize("name", CASES)


def settings(name, written):
    return Settings.from_env({**CASES[name].beside, name: written})


def effective(name, written):
    return settings(name, written).flat()[CASES[name].setting]


def test_every_row_of_the_table_is_tested():
    """A variable cannot be added without its four values."""
    assert set(CASES) == {row.name for row in variables.ROWS}


@each_variable
def test_a_good_value_is_used_and_its_source(name):
    """The effective value is the written one, and its source is the variable."""
    written, expected = CASES[name].good
    found = settings(name, written)
    assert found.problems == ()
    assert found.flat()[CASES[name].setting] == expected
    row = next(row for row in variables.ROWS if row.name == name)
    if row.setting == CASES[name].setting and not name.endswith(("PROTOCOL", "INSECURE")):
        assert found.sources[row.setting] == name


@each_variable
def test_a_bad_value_is_one_problem(name):
    """The problem names the variable; the settings are those without it."""
    case = CASES[name]
    found = settings(name, case.bad)
    if name in NOTHING_IS_BAD:
        assert found.problems == ()
        return
    without = Settings.from_env({key: value for key, value in case.beside.items() if key != name})
    assert name in [problem.name for problem in found.problems]
    assert found == without


@each_variable
def test_an_empty_value_counts_as_unset(name):
    """Empty and blank are what is left when a deployment's template has no value."""
    case = CASES[name]
    without = Settings.from_env({key: value for key, value in case.beside.items() if key != name})
    for written in ("", "  "):
        found = settings(name, written)
        assert found == without
        assert found.problems == without.problems


@each_variable
def test_an_odd_value_is_understood(name):
    """Blanks, letter case, signs, IPv6, escapes: what other clients took is taken."""
    written, expected = CASES[name].odd
    assert effective(name, written) == expected


@each_variable
def test_the_pages_example_is_a_good_one(name):
    """What the page shows can be copied."""
    row = next(row for row in variables.ROWS if row.name == name)
    assert settings(name, row.example).problems == ()
