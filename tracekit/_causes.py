"""Why spans are not sent: closed lists, and what an operator can do about each.

A transport names the cause where it meets it, so the warning, the exit and ``tracekit check`` say
the same. Advice in our log names variables, which are not the engines' business: it stands here.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cause(str, enum.Enum):
    """What stands between us and the receiver."""

    NO_ADDRESS = "no address"
    NOBODY_HERE = "nobody listens on this host"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    NO_TLS = "not TLS"
    TLS_ONLY = "TLS only"
    UNTRUSTED = "untrusted"
    TLS = "TLS"
    FILE = "file"
    DESCRIPTORS = "no descriptors"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not found"
    NO_COLLECTOR = "not a collector"
    BUSY = "busy"
    FORK = "fork"
    MISSING = "not installed"
    OTHER = "other"

    __hash__ = str.__hash__  # Enum's is Python code; this one is looked up while draining

    @property
    def remedy(self) -> str:
        """What to do about it; empty where only the receiver's own words can tell."""
        return _REMEDIES[self]

    @classmethod
    def of_status(cls, status: int) -> Cause:
        """Return what an HTTP status other than success means for who sends spans."""
        if status in (401, 403, 407):
            return cls.UNAUTHORIZED
        if status == 404:
            return cls.NOT_FOUND
        if status in (408, 429, 502, 503, 504):
            return cls.BUSY
        return cls.NO_COLLECTOR if 300 <= status < 400 or status in (405, 415, 501) else cls.OTHER


class DropReason(str, enum.Enum):
    """Why a finished span was not sent."""

    QUEUE_FULL = "queue_full"
    TOO_LARGE = "too_large"
    ENCODE_FAILED = "encode_failed"
    SEND_FAILED = "send_failed"
    REJECTED = "rejected"
    SHUTDOWN = "shutdown"
    NO_EXPORTER = "no_exporter"

    # Enum's is Python code, in which a signal could interrupt the counting of a loss.
    __hash__ = str.__hash__

    @property
    def remedy(self) -> str:
        """What to do about it, for the one warning about drops; empty where it was asked for."""
        return _LESS_LOSS[self]


def joining(formats: Sequence[str]) -> str:
    """Return how the traces of ``formats``, of which not all are read, would be joined."""
    return f"JAEGER_PROPAGATION={','.join(formats)} would join the one that it names"


_LESS_LOSS = {
    DropReason.QUEUE_FULL: "raise JAEGER_REPORTER_MAX_QUEUE_SIZE or sample less",
    DropReason.TOO_LARGE: "limit the attributes, or send over HTTP (JAEGER_ENDPOINT)",
    DropReason.ENCODE_FAILED: "see the traceback at level DEBUG of this logger",
    DropReason.SEND_FAILED: "check that the agent or collector can be reached and accepts spans",
    DropReason.REJECTED: "see what the collector says about these spans",
    DropReason.SHUTDOWN: "raise TRACEKIT_EXIT_BUDGET, or end spans before shutdown",
    DropReason.NO_EXPORTER: "",  # that none is there was asked for
}
_ADDRESS = (
    "JAEGER_AGENT_HOST and JAEGER_AGENT_PORT, JAEGER_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT"
)
_REMEDIES = {
    Cause.NO_ADDRESS: f"correct the host's name, or the name server ({_ADDRESS})",
    Cause.NOBODY_HERE: "start the agent or collector on this host,"
    f" or say where it is ({_ADDRESS})",
    Cause.REFUSED: f"start the agent or collector there, or say where it is ({_ADDRESS})",
    Cause.TIMED_OUT: "see whether a firewall stands in between, or the receiver is overloaded",
    Cause.NO_TLS: "the receiver speaks no TLS on that port: write http:// or take its TLS port",
    Cause.TLS_ONLY: "the receiver wants TLS on that port: write https://",
    Cause.UNTRUSTED: "name the authority that signed its certificate: TRACEKIT_CA_FILE"
    " (OTLP: OTEL_EXPORTER_OTLP_CERTIFICATE)",
    Cause.TLS: "see what the receiver's log says about the handshake; if it wants a client"
    " certificate: TRACEKIT_CERT_FILE and TRACEKIT_KEY_FILE",
    Cause.FILE: "correct the path or the rights of the certificate's file",
    Cause.DESCRIPTORS: "raise the limit of open files (ulimit -n, LimitNOFILE), or open fewer",
    Cause.UNAUTHORIZED: "give the right credentials: JAEGER_USER and JAEGER_PASSWORD,"
    " JAEGER_AUTH_TOKEN, or OTEL_EXPORTER_OTLP_HEADERS",
    Cause.NOT_FOUND: "correct the path: Jaeger's collector takes /api/traces, OTLP /v1/traces",
    Cause.NO_COLLECTOR: "whatever answers there is no collector for this transport: correct the"
    " endpoint, or TRACEKIT_TRANSPORT",
    Cause.BUSY: "the receiver is overloaded or not ready: see its own log",
    Cause.FORK: "OTLP over HTTP (OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf) bears such forks",
    Cause.MISSING: "",  # the reason says what to install
    Cause.OTHER: "",
}
