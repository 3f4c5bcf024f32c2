"""The table of settings: one row each, with its name, place, check, default and meaning.

Whatever the source of a value (argument, variable, file), it passes the row's check, so a range is
said once.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tracekit._calls.semconv import SEMCONVS
from tracekit._config import values as v
from tracekit._config.keeping import keeps
from tracekit._config.redactions import redactions
from tracekit._config.transports import TRANSPORTS
from tracekit.propagation._formats import FORMATS
from tracekit.propagation._jaeger import NAMES
from tracekit.reporting import DEFAULT_QUEUE_SIZE
from tracekit.sampling._sampler import MAX_OPERATIONS
from tracekit.tracing import DEFAULT_KEEP_BYTES, DEFAULT_KEEP_PER_SECOND, DEFAULT_KEEP_SPANS
from tracekit.transport._resolver import REFRESH_S
from tracekit.transport._udp import MAX_PACKET_BYTES, MIN_PACKET_BYTES, PACE_BYTES, PACE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FORMAT_ALIASES = {
    "b3multi": "b3",
    "b3-multi": "b3",
    "b3_multi": "b3",
    "b3-single": "b3single",
    "b3_single": "b3single",
}
SAMPLERS = ("const", "probabilistic", "ratelimiting", "remote", "file")


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
    known = v.one_of(*FORMATS, **_FORMAT_ALIASES)
    return tuple(dict.fromkeys(known(name) for name in v.names(value)))


def _instrumentations(value: object) -> tuple[str, ...]:
    names = v.names(value)
    wrong = [name for name in names if not re.fullmatch(_INSTRUMENTATION, name)]
    if wrong:
        good = tuple(name for name in names if name not in wrong)
        raise v.PartlyGoodError(f"{', '.join(map(repr, wrong))}: no name of a package", good)
    return names


def _frozen_pairs(value: object) -> MappingProxyType[str, str]:
    return MappingProxyType(v.pairs(value))


def _frozen_headers(value: object) -> MappingProxyType[str, str]:
    return MappingProxyType(v.headers(value))


_INSTRUMENTATION = r"-?([A-Za-z0-9_.-]+|\*)"
_NO_PAIRS: MappingProxyType[str, str] = MappingProxyType({})
_count = v.integer(0)
_interval = v.seconds(0.001)

# fmt: off
_ROWS = (
    Setting("service_name", "", "service_name", v.text, None, "name of the service"),
    Setting("disabled", "", "disabled", v.boolean, False, "no spans, no threads, no sockets"),
    Setting("tags", "", "tags", _frozen_pairs, _NO_PAIRS, "tags of the process"),
    Setting("traceid_128bit", "", "traceid_128bit", v.boolean, False, "new trace ids have 128 bit"),
    Setting("rpc_metrics", "", "rpc_metrics", v.boolean, False,
            "request counts and latencies by endpoint"),
    Setting("propagation", "", "propagation", _propagation, ("jaeger",), "formats of the headers"),
    Setting("extract_order", "", "extract_order", v.one_of("first", "last"), "first",
            "which of several formats on one request wins: the `first` or the `last` of the list"),
    Setting("semconv", "", "semconv", v.one_of(*SEMCONVS), "current",
            "names of HTTP and RPC attributes: `current`, `old`, or `both`"),
    Setting("also", "", "also", v.url("http", "https"), None,
            "an OTLP receiver that gets every span as well: by gRPC on port 4317, else by HTTP"),
    Setting("redact", "", "redact", redactions, (),
            "what no exported span may say, beside the secrets of its URLs: names"
            " (`email,db.statement`) and `/patterns/`"),
    Setting("instrument", "", "instrument", _instrumentations, (),
            "what `tracekit.instrument()` and `tracekit run` trace: only these, or, with a `-`"
            " before each, all but these"),
    Setting("disabled_instrumentations", "", "disabled_instrumentations", _instrumentations, (),
            "what they leave alone in any case; `*`: everything"),

    Setting("trace_id_header", "jaeger_headers", "trace_id", v.header, NAMES.trace_id,
            "header of Jaeger's format that carries the ids"),
    Setting("baggage_header_prefix", "jaeger_headers", "baggage_prefix", v.header,
            NAMES.baggage_prefix, "prefix of its baggage headers"),
    Setting("debug_id_header", "jaeger_headers", "debug_id", v.header, NAMES.debug_id,
            "header that forces a trace"),
    Setting("baggage_header", "jaeger_headers", "baggage", v.header, NAMES.baggage,
            "header with baggage written by hand"),

    Setting("sampler_type", "sampler", "type", v.one_of(*SAMPLERS, rate_limiting="ratelimiting"),
            "remote", "how new traces are sampled"),
    Setting("sampler_param", "sampler", "param", v.number, None,
            "`const`: 0 or 1; `probabilistic`: 0 to 1; `ratelimiting`: traces a second;"
            " `remote`: probability until the first answer"),
    Setting("sampling_endpoint", "sampler", "endpoint", v.url("http", "https", "grpc", "grpcs"),
            None, "where the remote sampler asks"),
    Setting("sampling_port", "sampler", "port", v.port, 5778,
            "port of the sampling server on the agent's host"),
    Setting("sampler_max_operations", "sampler", "max_operations", v.integer(1),
            MAX_OPERATIONS,
            "operations that get a sampler of their own"),
    Setting("sampler_refresh_s", "sampler", "refresh_s", _interval, 60.0,
            "time between two questions to the sampling server"),
    Setting("sampler_file", "sampler", "file", v.text, None,
            "strategies file, in the format of Jaeger's `--sampling.strategies-file`"),

    Setting("keep", "keep", "rules", keeps, (),
            "traces to keep of those that are not sampled: `errors`, `slow:500ms`, `status:5xx`, or"
            " any of a list (`override`: also where the caller said no; `defer`: say so in B3)"),
    Setting("keep_spans", "keep", "max_spans", v.integer(1), DEFAULT_KEEP_SPANS,
            "spans that may wait for the end of their local root"),
    Setting("keep_bytes", "keep", "max_bytes", v.integer(1), DEFAULT_KEEP_BYTES,
            "bytes of attributes that may wait so"),
    Setting("keep_per_second", "keep", "per_second", v.rate, DEFAULT_KEEP_PER_SECOND,
            "traces a second that are kept at most"),

    Setting("queue_size", "reporter", "queue_size", v.integer(1), DEFAULT_QUEUE_SIZE,
            "finished spans that may wait"),
    Setting("flush_s", "reporter", "flush_s", _interval, 1.0,
            "longest time that a span waits for others"),
    Setting("max_batch_spans", "reporter", "max_batch_spans", v.integer(1), None,
            "spans in one batch; unset: 512 to a collector (HTTP, OTLP), over UDP as many as fit"),
    Setting("drop_policy", "reporter", "drop_policy", v.one_of("newest", "oldest"), "newest",
            "span that a full queue gives up: the `newest` (as Jaeger) or the `oldest`"),
    Setting("log_spans", "reporter", "log_spans", v.boolean, False,
            "one log line for each reported span"),
    Setting("native", "reporter", "native", v.boolean, True,
            "encode spans natively, where that was built; the bytes are the same"),
    Setting("exit_budget_s", "reporter", "exit_budget_s", v.seconds(), 2.0,
            "longest time that tracing may hold up the end of the process"),
    Setting("drain_on_sigterm", "reporter", "drain_on_sigterm", v.boolean, True,
            "send on SIGTERM where the program has no handler, then let it kill as before"),

    Setting("transport", "transport", "kind", v.one_of(*TRANSPORTS), "udp",
            "`udp`, `http`, `otlp-http`, `otlp-grpc`, `console` (standard output) or `none`"),
    Setting("agent_host", "transport", "agent_host", v.host, "localhost", "host of the agent"),
    Setting("agent_port", "transport", "agent_port", v.port, 6831, "UDP port of the agent"),
    Setting("agent_protocol", "transport", "agent_protocol", v.one_of("compact", "binary"),
            "compact", "Thrift in datagrams: `compact` (port 6831) or `binary` (port 6832)"),
    Setting("agent_family", "transport", "agent_family", v.one_of("any", "ipv4", "ipv6"), "any",
            "address family of the agent"),
    Setting("max_packet_bytes", "transport", "max_packet_bytes", v.integer(MIN_PACKET_BYTES, 65507),
            MAX_PACKET_BYTES, "largest datagram"),
    Setting("max_burst_bytes", "transport", "max_burst_bytes", v.integer(0), PACE_BYTES,
            "bytes of datagrams sent without a pause; 0: no pacing"),
    Setting("burst_pause_s", "transport", "burst_pause_s", v.seconds(), PACE_S,
            "pause after such a burst"),
    Setting("reconnect", "transport", "reconnect", v.boolean, True,
            "look up the agent's address again from time to time"),
    Setting("reconnect_s", "transport", "reconnect_s", _interval, REFRESH_S,
            "time between two look-ups of the agent's address"),
    Setting("endpoint", "transport", "endpoint", v.url("http", "https"), None,
            "URL that spans are posted to"),
    Setting("user", "transport", "user", v.text, None, "user of basic authentication"),
    Setting("password", "transport", "password", v.text, None, "password of basic authentication",
            secret=True),
    Setting("auth_token", "transport", "auth_token", v.token, None, "bearer token", secret=True),
    Setting("headers", "transport", "headers", _frozen_headers, _NO_PAIRS,
            "further headers of every request", secret=True),
    Setting("timeout_s", "transport", "timeout_s", _interval, 5.0,
            "time for one request, retries included"),
    Setting("compression", "transport", "compression", v.one_of("none", "gzip"), "none",
            "`none` or `gzip`"),
    Setting("ca_file", "transport", "ca_file", v.text, None, "certificates to trust, PEM"),
    Setting("cert_file", "transport", "cert_file", v.text, None, "client certificate, PEM"),
    Setting("key_file", "transport", "key_file", v.text, None, "its key, PEM"),

    Setting("max_attributes", "limits", "max_attributes", _count, 128, "attributes of a span"),
    Setting("max_events", "limits", "max_events", _count, 128, "events of a span"),
    Setting("max_links", "limits", "max_links", _count, 128, "links of a span"),
    Setting("max_event_attributes", "limits", "max_event_attributes", _count, 128,
            "attributes of an event"),
    Setting("max_link_attributes", "limits", "max_link_attributes", _count, 128,
            "attributes of a link"),
    Setting("max_attribute_length", "limits", "max_attribute_length", _count, None,
            "characters of a text attribute; unset: no limit"),
    Setting("max_span_attribute_length", "limits", "max_span_attribute_length", _count, None,
            "the same for a span's own attributes; unset: as for all"),
)
# fmt: on

SETTINGS: Mapping[str, Setting] = MappingProxyType({row.name: row for row in _ROWS})

PARTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        part: {row.attribute: row.name for row in _ROWS if row.part == part}
        for part in dict.fromkeys(row.part for row in _ROWS)
        if part
    }
)
"""For each part of ``Settings``, flat names by attribute."""
