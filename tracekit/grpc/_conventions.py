"""What a gRPC span is called, which attributes it carries and which code it ends with, as tables.

Source of the names: OpenTelemetry semantic conventions for RPC and gRPC spans, the current names
and the ones that were in use before them (``rpc.system``, ``rpc.service``, ``net.peer.*``).
"""

from __future__ import annotations

import base64
import enum
import functools
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import grpc

from tracekit._protocols import PlainAttributes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.util.types import AttributeValue

    from tracekit._calls.semconv import Semconv

    Attributes = dict[str, AttributeValue]
    Pair = tuple[str, str | bytes]

SERVER_ERRORS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""The codes that are a server's fault; the others are its client's. For a client all but OK are."""


class Ended(enum.Enum):
    """How an RPC that we serve ended, and which code gRPC's own servers send then.

    A row is the code that goes out, and whether a code that the handler has set goes out in its
    place. An abort is no row of its own: the handler has set a code and raised, so it is RAISED.
    """

    RETURNED = grpc.StatusCode.OK, True
    RAISED = grpc.StatusCode.UNKNOWN, True
    UNCONVERTED = None, True  # a message; the flavours of gRPC differ: INTERNAL, UNKNOWN
    CANCELLED = grpc.StatusCode.CANCELLED, False  # by the client, while the handler was at it
    LATE = grpc.StatusCode.DEADLINE_EXCEEDED, False
    UNSENDABLE = grpc.StatusCode.INTERNAL, False  # the status, for its trailing metadata

    def code(
        self, given: grpc.StatusCode | None, if_unconvertible: grpc.StatusCode
    ) -> grpc.StatusCode:
        """Return the code on the wire; ``given`` is what the handler set, if it set one."""
        code, yields = self.value
        return (given if yields else None) or code or if_unconvertible


UNTRACED = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        # What exporters and samplers call: tracing it would make spans out of spans.
        "opentelemetry.proto.collector.trace.v1.TraceService",
        "opentelemetry.proto.collector.metrics.v1.MetricsService",
        "opentelemetry.proto.collector.logs.v1.LogsService",
        "jaeger.api_v2.CollectorService",
        "jaeger.api_v2.SamplingManager",
    }
)
"""Services that are not traced unless ``exclude`` says otherwise."""

_NO_DEADLINE_S = 1e12

CODES = {code.value[0]: code for code in grpc.StatusCode}
"""The status code of each number on the wire."""


def code_of(value: object, *, numbers: bool = False) -> grpc.StatusCode | None:
    """Return the status code for what a handler set; None when it set nothing.

    What is no code goes out as UNKNOWN. With ``numbers`` (grpc.aio) an integer is one, up to 15.
    """
    if value is None or isinstance(value, grpc.StatusCode):
        return value
    if numbers and isinstance(value, int) and value <= grpc.StatusCode.DATA_LOSS.value[0]:
        return CODES.get(value, grpc.StatusCode.UNKNOWN)
    return grpc.StatusCode.UNKNOWN


def timeout_of(remaining_s: float | None) -> float | None:
    """Return the seconds that a caller gave; without a deadline gRPC says some 300 000 years."""
    return None if remaining_s is None or remaining_s > _NO_DEADLINE_S else remaining_s


def service_of(name: str) -> str:
    """Return ``package.Service`` of ``package.Service/Method``."""
    return name.rpartition("/")[0]


def method_attributes(name: str, semconv: Semconv) -> PlainAttributes:
    """Return what is known of every call of ``package.Service/Method``."""
    found = PlainAttributes()
    if semconv != "old":
        found["rpc.system.name"] = "grpc"
        found["rpc.method"] = name
    if semconv != "current":
        service, _, method = name.rpartition("/")
        found["rpc.system"] = "grpc"
        found["rpc.service"] = service
        # With both, the one key that both generations use keeps its current meaning.
        found.setdefault("rpc.method", method)
    return found


def status_attributes(code: grpc.StatusCode, semconv: Semconv) -> PlainAttributes:
    """Return how a span names its final code."""
    found = PlainAttributes()
    if semconv != "old":
        found["rpc.response.status_code"] = code.name
    if semconv != "current":
        found["rpc.grpc.status_code"] = code.value[0]
    return found


def call_labels(name: str, code: grpc.StatusCode | None) -> Attributes:
    """Return what tells the calls of ``package.Service/Method`` apart in metrics."""
    found: Attributes = {"rpc.system.name": "grpc", "rpc.method": name}
    if code is not None:
        found["rpc.response.status_code"] = code.name
    return found


class Address(NamedTuple):
    """A host (or path of a Unix socket) and the port, where there is one."""

    host: str
    port: int | None


@functools.lru_cache(maxsize=1024)
def parse_address(text: str) -> Address | None:
    """Parse a peer (``ipv4:10.0.0.7:51224``) or a channel's target (``dns:///shop:50051``)."""
    scheme, colon, rest = text.partition(":")
    if colon and (scheme in {"unix", "unix-abstract"}):
        path = rest.removeprefix("//")
        return Address(path, None) if path else None  # a server is told no client's path
    if colon and (rest.startswith("//") or scheme in {"ipv4", "ipv6", "dns", "xds", "passthrough"}):
        # scheme:[//authority/]endpoint; of a list of addresses the first one speaks for all
        text = rest[2:].partition("/")[2] if rest.startswith("//") else rest
        text = unquote(text).partition(",")[0]
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = text, ""
    host = host.removeprefix("[").removesuffix("]")
    return Address(host, int(port) if port else None) if host else None


@functools.lru_cache(maxsize=1024)
def peer_attributes(peer: str, semconv: Semconv) -> PlainAttributes:
    """Return who calls us, from ``ServicerContext.peer()``; shared, so to be left alone."""
    address = parse_address(peer)
    found = PlainAttributes()
    if address is None:
        return found
    if semconv != "old":
        found |= _named("network.peer.address", "network.peer.port", address)
    if semconv != "current":
        found |= _named("net.peer.ip", "net.peer.port", address)
    return found


@functools.lru_cache(maxsize=1024)
def served_attributes(name: str, semconv: Semconv, peer: str | bytes) -> PlainAttributes:
    """Return what the span of a call of ``name`` by ``peer`` starts with; to be left alone.

    ``name`` is remembered, so it has to be one that a plan remembers as well.
    """
    text = peer if isinstance(peer, str) else peer.decode("utf-8", "replace")
    found = method_attributes(name, semconv)
    found.update(peer_attributes(text, semconv))
    return found


def target_attributes(target: str | None, semconv: Semconv) -> PlainAttributes:
    """Return whom we call, from the target that the channel was made with."""
    address = parse_address(target) if target else None
    found = PlainAttributes()
    if address is None:
        return found
    if semconv != "old":
        found |= _named("server.address", "server.port", address)
    if semconv != "current":
        found |= _named("net.peer.name", "net.peer.port", address)
    return found


def _named(host_key: str, port_key: str, address: Address) -> PlainAttributes:
    found = PlainAttributes({host_key: address.host})
    if address.port is not None:
        found[port_key] = address.port
    return found


def kept(prefix: str, pairs: Iterable[Pair], keys: frozenset[str]) -> Attributes:
    """Return the allowed metadata as attributes: all values of a key, bytes as base64."""
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        if key.lower() in keys:
            text = value if isinstance(value, str) else base64.b64encode(value).decode()
            values.setdefault(prefix + key.lower(), []).append(text)
    return dict(values)
