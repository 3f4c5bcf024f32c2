"""The table of settings: one row each, with its name, place, check, default and meaning.

Whatever the source of a value (argument, variable, file), it passes the row's check, so a range is
said once.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tracekit import _values as v

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_QUEUE_SIZE = 2048
"""Spans that may wait. The Jaeger clients' 100 drops spans in the first burst of a busy service."""

FORMATS = ("jaeger", "b3", "b3single", "w3c", "baggage")
SAMPLERS = ("const", "probabilistic", "ratelimiting", "remote", "file")
TRANSPORTS = ("udp", "http", "otlp-http", "otlp-grpc")


class Setting(NamedTuple):
    """One setting: ``name`` is its flat name, ``part.attribute`` its place in ``Settings``."""

    name: str
    part: str
    attribute: str
    check: Callable[[object], object]
    default: object
    help: str
    secret: bool = False


def _propagation(value: object) -> tuple[str, ...]:
    known = v.one_of(*FORMATS, b3multi="b3", b3_single="b3single", tracecontext="w3c")
    return tuple(dict.fromkeys(known(name) for name in v.names(value)))


def _frozen_pairs(value: object) -> MappingProxyType[str, str]:
    return MappingProxyType(v.pairs(value))


_count = v.integer(0)
_bytes = v.integer(0)

_ROWS = (
    Setting("service_name", "", "service_name", v.text, None, "name of the service"),
    Setting("disabled", "", "disabled", v.boolean, False, "no spans, no threads, no sockets"),
    Setting("tags", "", "tags", _frozen_pairs, MappingProxyType({}), "tags of the process"),
    Setting("traceid_128bit", "", "traceid_128bit", v.boolean, False, "trace ids of 128 bit"),
    Setting("rpc_metrics", "", "rpc_metrics", v.boolean, False, "count calls per endpoint"),
    Setting(
        "propagation", "", "propagation", _propagation, ("jaeger",), "header formats, in order"
    ),
    Setting(
        "extract_order",
        "",
        "extract_order",
        v.one_of("first", "last"),
        "first",
        "which of several formats on one request wins",
    ),
    Setting(
        "semconv",
        "",
        "semconv",
        v.one_of("current", "both", "old"),
        "current",
        "names of HTTP attributes",
    ),
    Setting(
        "sampler_type",
        "sampler",
        "type",
        v.one_of(*SAMPLERS, rate_limiting="ratelimiting"),
        "remote",
        "how roots are sampled",
    ),
    Setting(
        "sampler_param",
        "sampler",
        "param",
        v.number,
        None,
        "const: 0 or 1; probabilistic: 0..1; ratelimiting: traces per second;"
        " remote: probability until the first answer",
    ),
    Setting(
        "sampling_endpoint",
        "sampler",
        "endpoint",
        v.url("http", "https", "grpc", "grpcs"),
        None,
        "where remote strategies come from",
    ),
    Setting(
        "sampler_max_operations",
        "sampler",
        "max_operations",
        v.integer(1),
        2000,
        "operations with a sampler of their own",
    ),
    Setting(
        "sampler_refresh_s",
        "sampler",
        "refresh_s",
        v.seconds(0.001),
        60.0,
        "time between two questions to the sampling server",
    ),
    Setting("sampler_file", "sampler", "file", v.text, None, "strategies file of the file sampler"),
    Setting(
        "queue_size",
        "reporter",
        "queue_size",
        v.integer(1),
        DEFAULT_QUEUE_SIZE,
        "finished spans that may wait",
    ),
    Setting(
        "max_queue_bytes",
        "reporter",
        "max_queue_bytes",
        v.integer(1),
        16 * 2**20,
        "bytes of encoded spans that may wait",
    ),
    Setting("flush_s", "reporter", "flush_s", v.seconds(0.001), 1.0, "time between two batches"),
    Setting(
        "max_batch_spans", "reporter", "max_batch_spans", v.integer(1), 512, "spans in one batch"
    ),
    Setting(
        "drop_policy",
        "reporter",
        "drop_policy",
        v.one_of("newest", "oldest"),
        "newest",
        "which span a full queue gives up",
    ),
    Setting("log_spans", "reporter", "log_spans", v.boolean, False, "one log line a reported span"),
    Setting(
        "exit_budget_s",
        "reporter",
        "exit_budget_s",
        v.seconds(),
        2.0,
        "time that the end of the process may take",
    ),
    Setting("transport", "transport", "kind", v.one_of(*TRANSPORTS), "udp", "the wire"),
    Setting("agent_host", "transport", "agent_host", v.host, "localhost", "host of the agent"),
    Setting("agent_port", "transport", "agent_port", v.port, 6831, "UDP port of the agent"),
    Setting(
        "agent_protocol",
        "transport",
        "agent_protocol",
        v.one_of("compact", "binary"),
        "compact",
        "Thrift protocol of the datagrams",
    ),
    Setting(
        "agent_family",
        "transport",
        "agent_family",
        v.one_of("any", "ipv4", "ipv6"),
        "any",
        "address family of the agent",
    ),
    Setting(
        "max_packet_bytes",
        "transport",
        "max_packet_bytes",
        v.integer(512, 65507),
        65000,
        "size of a datagram",
    ),
    Setting(
        "max_burst_bytes",
        "transport",
        "max_burst_bytes",
        v.integer(0),
        128 * 1024,
        "bytes of datagrams sent without a pause (0: no pacing)",
    ),
    Setting(
        "burst_pause_s",
        "transport",
        "burst_pause_s",
        v.seconds(),
        0.005,
        "pause after such a burst",
    ),
    Setting(
        "reconnect", "transport", "reconnect", v.boolean, True, "resolve the agent's address again"
    ),
    Setting(
        "reconnect_s",
        "transport",
        "reconnect_s",
        v.seconds(0.001),
        30.0,
        "time between two resolutions of the agent's address",
    ),
    Setting(
        "endpoint", "transport", "endpoint", v.url("http", "https"), None, "URL of the collector"
    ),
    Setting("user", "transport", "user", v.text, None, "user of basic authentication"),
    Setting(
        "password",
        "transport",
        "password",
        v.text,
        None,
        "password of basic authentication",
        secret=True,
    ),
    Setting("auth_token", "transport", "auth_token", v.text, None, "bearer token", secret=True),
    Setting(
        "headers",
        "transport",
        "headers",
        _frozen_pairs,
        MappingProxyType({}),
        "further headers of every request",
        secret=True,
    ),
    Setting(
        "timeout_s",
        "transport",
        "timeout_s",
        v.seconds(0.001),
        5.0,
        "time that one request may take, its retries included",
    ),
    Setting(
        "compression",
        "transport",
        "compression",
        v.one_of("none", "gzip"),
        "none",
        "compression of requests",
    ),
    Setting("ca_file", "transport", "ca_file", v.text, None, "certificates to trust"),
    Setting("cert_file", "transport", "cert_file", v.text, None, "client certificate"),
    Setting("key_file", "transport", "key_file", v.text, None, "key of the client certificate"),
    Setting("max_attributes", "limits", "max_attributes", _count, 128, "attributes of a span"),
    Setting("max_events", "limits", "max_events", _count, 128, "events of a span"),
    Setting("max_links", "limits", "max_links", _count, 128, "links of a span"),
    Setting(
        "max_event_attributes",
        "limits",
        "max_event_attributes",
        _count,
        128,
        "attributes of an event",
    ),
    Setting(
        "max_link_attributes", "limits", "max_link_attributes", _count, 128, "attributes of a link"
    ),
    Setting(
        "max_attribute_length",
        "limits",
        "max_attribute_length",
        _count,
        None,
        "characters of a text attribute",
    ),
)

SETTINGS: MappingProxyType[str, Setting] = MappingProxyType({row.name: row for row in _ROWS})
