"""The rows of Jaeger's and tracekit's own variables.

Jaeger's are the union of what its Go, Java, Node, Python, C++ and C# clients read, where it makes
sense in Python. Rows of one setting stand in order of precedence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._config import values as v
from tracekit._config.schema import SETTINGS
from tracekit._config.variables.otel_values import sampling_endpoint
from tracekit._config.variables.row import Joint, Row
from tracekit._display import cited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CLIENTS = "Go Java Node C++ C#"
_COLLECTOR = "http://collector:14268/api/traces"


def _formats(written: str) -> v.Several:
    """Return the known formats of a list; as in Java, others are skipped and named."""
    known = [name for name in v.names(written) if _is_format(name)]
    wrong = [name for name in v.names(written) if not _is_format(name)]
    return v.Several(
        {"propagation": known} if known else {},
        tuple(f"{cited(name)} is no known format and is skipped" for name in wrong),
    )


def _exit_budget(written: str) -> v.Several:
    """Return the budget; who writes 2 means seconds, and would lose spans without a word."""
    seconds = v.milliseconds(written)
    doubtful = 0 < seconds < 0.1 and not written.strip()[-1].isalpha()
    note = "is read as milliseconds, as Jaeger's times are; write a unit"
    return v.Several({"exit_budget_s": seconds}, note=note if doubtful else "")


def _is_format(name: str) -> bool:
    return _or_default(SETTINGS["propagation"].check, name, None) is not None


def _sampling_server(environ: Mapping[str, str]) -> str:
    """Return Node's address in three variables; a bad one is reported by its own row."""
    host = _or_default(v.host, environ.get("JAEGER_SAMPLER_HOST"), "localhost")
    port = _or_default(v.port, environ.get("JAEGER_SAMPLER_PORT"), 5778)
    path = environ.get("JAEGER_SAMPLER_SAMPLING_PATH", "").strip() or "/sampling"
    return f"http://{v.bracketed(str(host))}:{port}/{path.lstrip('/')}"


def _or_default(check: Callable[[object], object], written: str | None, default: object) -> object:
    try:
        return check(written) if written else default
    except ValueError:
        return default


_ENDPOINT = Row(
    "JAEGER_ENDPOINT", "endpoint", _COLLECTOR, _CLIENTS, "jaeger",
    note="Thrift over HTTP; beats the agent.",
)  # fmt: skip
_USER = Row("JAEGER_USER", "user", "writer", "Go Java Node C#", "jaeger")
_PASSWORD = Row("JAEGER_PASSWORD", "password", "secret", "Go Java Node C#", "jaeger")
_AGENT_HOST = Row("JAEGER_AGENT_HOST", "agent_host", "agent", f"{_CLIENTS} Python")
_AGENT_PORT = Row("JAEGER_AGENT_PORT", "agent_port", "6831", f"{_CLIENTS} Python")
_DISABLED = Row(
    "JAEGER_DISABLED", "disabled", "true", "Go Node C++",
    note="Beats every validation.",
)  # fmt: skip
_SAMPLING = Row(
    "JAEGER_SAMPLING_ENDPOINT", "sampling_endpoint", "http://agent:5778/sampling", "Go C++ C#",
    note="A URL, `host:port`, or `grpc://host:port`.", parse=sampling_endpoint
)  # fmt: skip


def _one_third(name: str, check: Callable[[object], object], example: str) -> Row:
    def parse(written: str, environ: Mapping[str, str]) -> str:
        check(written)
        return _sampling_server(environ)

    return _SAMPLING.old(name, "Node")._replace(parse=Joint(parse), example=example)


# fmt: off
ROWS = (
    Row("JAEGER_SERVICE_NAME", "service_name", "checkout", _CLIENTS),
    _DISABLED,
    _DISABLED.old("JAEGER_DISABLE", "Node"),
    Row("JAEGER_TAGS", "tags", "zone=eu,pod=${POD_NAME:none}", f"{_CLIENTS} Python",
        note="`${VAR:default}` is taken from the environment.", parse=Joint(v.tags)),
    Row("JAEGER_TRACEID_128BIT", "traceid_128bit", "true", "Go Java Python C++ C#",
        note="Unset means 64 bit, as in the clients."),
    Row("JAEGER_RPC_METRICS", "rpc_metrics", "true", "Go"),
    Row("JAEGER_PROPAGATION", "propagation", "jaeger,b3,w3c", "Java C++ C#",
        note="`jaeger`, `b3`, `b3single`, `w3c` or a list: all are written, the first one found"
             " is read.", parse=_formats),
    Row("TRACEKIT_EXTRACT_ORDER", "extract_order", "last"),
    Row("JAEGER_SAMPLER_TYPE", "sampler_type", "ratelimiting", _CLIENTS,
        note="`const`, `probabilistic`, `ratelimiting`, `remote`, or `file`."),
    Row("JAEGER_SAMPLER_PARAM", "sampler_param", "1", _CLIENTS),
    _SAMPLING,
    _SAMPLING.old("JAEGER_SAMPLER_MANAGER_HOST_PORT", "Go Java Node C#"),
    _one_third("JAEGER_SAMPLER_HOST", v.host, "agent"),
    _one_third("JAEGER_SAMPLER_PORT", v.port, "5778"),
    _one_third("JAEGER_SAMPLER_SAMPLING_PATH", v.text, "/sampling"),
    Row("JAEGER_SAMPLER_MAX_OPERATIONS", "sampler_max_operations", "500", "Go"),
    Row("JAEGER_SAMPLER_REFRESH_INTERVAL", "sampler_refresh_s", "30s", "Go Node",
        parse=v.milliseconds),
    Row("TRACEKIT_SAMPLER_FILE", "sampler_file", "/etc/jaeger/strategies.json"),
    Row("TRACEKIT_KEEP", "keep", "errors,slow:500ms,status:5xx", parse=v.text),
    Row("TRACEKIT_KEEP_SPANS", "keep_spans", "50000"),
    Row("TRACEKIT_KEEP_BYTES", "keep_bytes", "8388608"),
    Row("TRACEKIT_KEEP_PER_SECOND", "keep_per_second", "50"),
    Row("TRACEKIT_TRANSPORT", "transport", "http",
        note="Unset, it follows from the endpoint or the agent that is named."),
    _ENDPOINT,
    _ENDPOINT.old("JAEGER_REPORTER_ENDPOINT", "Node"),
    _USER,
    _USER.old("JAEGER_REPORTER_USER", "Node"),
    _PASSWORD,
    _PASSWORD.old("JAEGER_REPORTER_PASSWORD", "Node"),
    Row("JAEGER_AUTH_TOKEN", "auth_token", "eyJhbGciOi", "Java C#", "jaeger",
        note="User and password beat it."),
    _AGENT_HOST,
    _AGENT_HOST.old("JAEGER_REPORTER_AGENT_HOST", "Node"),
    _AGENT_PORT,
    _AGENT_PORT.old("JAEGER_REPORTER_AGENT_PORT", "Node"),
    Row("JAEGER_AGENT_SOCKET_TYPE", "agent_family",
        "udp4", "Node", parse=v.one_of("ipv4", "ipv6", udp4="ipv4", udp6="ipv6")),
    Row("TRACEKIT_AGENT_PROTOCOL", "agent_protocol", "binary"),
    Row("TRACEKIT_MAX_PACKET_BYTES", "max_packet_bytes", "9216"),
    Row("TRACEKIT_MAX_BURST_BYTES", "max_burst_bytes", "65536"),
    Row("TRACEKIT_BURST_PAUSE", "burst_pause_s", "10ms", parse=v.milliseconds),
    Row("JAEGER_REPORTER_LOG_SPANS", "log_spans", "true", _CLIENTS),
    Row("JAEGER_REPORTER_MAX_QUEUE_SIZE", "queue_size", "5000", "Go Java C++ C#",
        note="To the letter."),
    Row("TRACEKIT_MAX_BATCH_SPANS", "max_batch_spans", "100"),
    Row("TRACEKIT_NATIVE", "native", "false"),
    Row("TRACEKIT_DROP_POLICY", "drop_policy", "oldest"),
    Row("JAEGER_REPORTER_FLUSH_INTERVAL", "flush_s", "500ms", _CLIENTS, parse=v.milliseconds),
    Row("JAEGER_REPORTER_TIMEOUT", "timeout_s", "3s", "Node", "jaeger", parse=v.milliseconds),
    Row("JAEGER_REPORTER_ATTEMPT_RECONNECTING_DISABLED", "reconnect", "true", "Go",
        note="This variable says no.", parse=v.negated),
    Row("JAEGER_REPORTER_ATTEMPT_RECONNECT_INTERVAL", "reconnect_s", "15s", "Go",
        parse=v.milliseconds),
    Row("TRACEKIT_EXIT_BUDGET", "exit_budget_s", "4s", parse=_exit_budget),
    Row("TRACEKIT_DRAIN_ON_SIGTERM", "drain_on_sigterm", "false"),
    Row("TRACEKIT_CA_FILE", "ca_file", "/etc/ssl/collector-ca.pem"),
    Row("TRACEKIT_CERT_FILE", "cert_file", "/etc/ssl/client.pem"),
    Row("TRACEKIT_KEY_FILE", "key_file", "/etc/ssl/client.key"),
    Row("TRACEKIT_COMPRESSION", "compression", "gzip"),
    Row("TRACEKIT_ALSO", "also", "http://collector:4318"),
    Row("TRACEKIT_REDACT", "redact", r"email,ssn,db.statement,/\d{3}-\d\d-\d{4}/", parse=v.text),
    Row("TRACEKIT_INSTRUMENT", "instrument", "flask,requests,-redis", parse=v.text),
    Row("TRACEKIT_SEMCONV", "semconv", "old"),
)
# fmt: on
