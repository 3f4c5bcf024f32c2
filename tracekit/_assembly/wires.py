"""Settings of the destination → format and wire. Of each, only what is asked for is imported."""

from __future__ import annotations

import logging
import math
import socket
from typing import TYPE_CHECKING, TypedDict

from tracekit._assembly.resource import jaeger_tags
from tracekit._causes import Cause
from tracekit.encoding import jaeger_binary, jaeger_compact, otlp
from tracekit.encoding._redacting import Redacting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from opentelemetry.sdk.trace.export import SpanExporter

    from tracekit._protocols import Encoder, Transport
    from tracekit.encoding import Frames
    from tracekit.settings import TransportSettings
    from tracekit.transport._http import Tls

    class _HttpOptions(TypedDict):
        headers: dict[str, str]
        gzipped: bool
        tls: Tls
        timeout_s: float


_log = logging.getLogger("tracekit")

Wire = tuple["Encoder", "Callable[[], Transport]"]
"""A format, and what makes the transport, once per process."""

_FORMATS = {"http": "binary", "otlp-http": "otlp", "otlp-grpc": "otlp"}
_FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def wire(
    settings: TransportSettings, redact: Collection[str], native: Frames | None = None
) -> Wire:
    """Return format and wire of ``settings.kind``. Nothing is opened before the first send.

    ``redact``: what no span may say (the setting). ``native``: the compiled frames, if they are
    to be used.
    """
    if settings.kind == "console":
        from tracekit.transport._console import ConsoleTreeExporter  # noqa: PLC0415 - as below

        return handing_to(ConsoleTreeExporter(), None, redact)
    make = {
        "udp": _datagrams,
        "http": _posts,
        "otlp-http": _otlp_posts,
        "otlp-grpc": _otlp_calls,
        "none": _nothing,
    }
    encoder, connect = make[settings.kind](settings, native)
    name = settings.agent_protocol if settings.kind == "udp" else _FORMATS.get(settings.kind, "")
    return Redacting(encoder, redact, format_name=name), connect


def handing_to(
    exporter: SpanExporter, max_batch_spans: int | None, redact: Collection[str]
) -> Wire:
    """Return what hands batches of ``max_batch_spans`` at most to ``exporter``."""
    from tracekit.transport import _exporter  # noqa: PLC0415 - as below

    max_spans = max_batch_spans or _exporter.MAX_BATCH_SPANS
    encoder = Redacting(_exporter.Unencoded(), redact, hands_over=True)
    return encoder, lambda: _exporter.ExporterTransport(exporter, max_spans)


def _datagrams(settings: TransportSettings, native: Frames | None) -> Wire:
    from tracekit.transport import UdpTransport  # noqa: PLC0415 - one wire is imported, not all

    encoder = (
        jaeger_compact(jaeger_tags, native=native)
        if settings.agent_protocol == "compact"
        else jaeger_binary(jaeger_tags, call=True, native=native)
    )
    return encoder, lambda: UdpTransport(
        settings.agent_host,
        settings.agent_port,
        max_packet_bytes=settings.max_packet_bytes,
        pace=(settings.max_burst_bytes, settings.burst_pause_s),
        lookup_s=settings.reconnect_s if settings.reconnect else math.inf,
        family=_FAMILIES[settings.agent_family],
    )


def _posts(settings: TransportSettings, native: Frames | None) -> Wire:
    from tracekit.transport._http import HttpTransport  # noqa: PLC0415 - as above

    endpoint, options = settings.endpoint or "", _http_options(settings)
    return jaeger_binary(jaeger_tags, native=native), lambda: HttpTransport(endpoint, **options)


def _otlp_posts(settings: TransportSettings, native: Frames | None) -> Wire:
    from tracekit.transport import _otlp  # noqa: PLC0415
    from tracekit.transport._http import HttpTransport  # noqa: PLC0415

    endpoint, options = settings.endpoint or "", _http_options(settings)
    return otlp(native=native), lambda: HttpTransport(
        endpoint,
        content_type=_otlp.CONTENT_TYPE,
        retryable=_otlp.RETRYABLE,
        rejected=_otlp.rejected,
        **options,
    )


def _otlp_calls(settings: TransportSettings, native: Frames | None) -> Wire:

    try:
        from tracekit.transport._otlp_grpc import OtlpGrpcTransport  # noqa: PLC0415
    except ImportError as error:
        from tracekit._protocols import SendResult  # noqa: PLC0415
        from tracekit.transport._absent import AbsentTransport  # noqa: PLC0415

        reason = f"OTLP over gRPC needs grpcio: pip install 'tracekit-jaeger[otlp]' ({error})"
        _log.error("spans cannot be sent: %s", reason)
        return otlp(native=native), lambda: AbsentTransport(
            SendResult.failed(reason).because(Cause.MISSING)
        )
    endpoint, options = settings.endpoint or "", _http_options(settings)
    return otlp(native=native), lambda: OtlpGrpcTransport(endpoint, **options)


def _nothing(_settings: TransportSettings, _native: Frames | None) -> Wire:
    from tracekit._protocols import SendResult  # noqa: PLC0415 - as above
    from tracekit.transport import _absent, _exporter  # noqa: PLC0415

    return _exporter.Unencoded(), lambda: _absent.AbsentTransport(SendResult.unwanted())


def _http_options(settings: TransportSettings) -> _HttpOptions:
    from tracekit.transport._http import Tls  # noqa: PLC0415 - as above

    headers = dict(settings.headers)
    if settings.authorization is not None:
        headers["Authorization"] = settings.authorization
    return {
        "headers": headers,
        "gzipped": settings.compression == "gzip",
        "tls": Tls(settings.ca_file, settings.cert_file, settings.key_file),
        "timeout_s": settings.timeout_s,
    }
