"""Further destinations of a running handle: a second back end during a migration, say."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from tracekit._assembly import wiring
from tracekit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace.export import SpanExporter

    from tracekit._assembly.wiring import Parts
    from tracekit._protocols import Transport
    from tracekit.reporting import FlushResult, Reporter, Stats

_GRPC_PORT = 4317


class AddedExporter:
    """A destination beside the handle's own: its queue, worker, limits and figures are its own.

    ``name`` is the label ``exporter`` of its metrics. Any thread may use it.
    """

    def __init__(self, parts: Parts, name: str, settings: Settings, reporter: Reporter) -> None:
        self.name = name
        self.settings = settings
        self._parts = parts
        self.reporter = reporter

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def stats(self) -> Stats:
        """Return the figures of this destination in this process.

        A span is in them from its end on, so ``started`` is ``finished`` and none is ``open``.
        """
        return self.reporter.stats()

    def flush(self, timeout_s: float = 2.0) -> FlushResult:
        """Send what is queued for this destination; truthy when nothing is left."""
        return self.reporter.flush(timeout_s)

    def remove(self, timeout_s: float = 2.0) -> None:
        """Offer it no more spans, send what is queued within ``timeout_s`` seconds. Idempotent."""
        with self._parts.changing:
            if self in self._parts.added:
                self._parts.added.remove(self)
                wiring.fan_out(self._parts, [each.reporter for each in self._parts.added])
        self.reporter.shutdown(timeout_s)


def add(
    parts: Parts,
    transport: Transport | str | None,
    exporter: SpanExporter | None,
    name: str | None,
    fields: Mapping[str, object],
) -> AddedExporter:
    """Add a destination to ``parts`` and return its handle.

    ``fields`` are settings over the defaults; no environment is read, so nothing meant for the
    first receiver goes to this one. What must not be exported at all (``redact``) is as there.
    """
    if exporter is not None and transport is not None:
        raise TypeError("transport= and exporter= cannot be given together")
    stand_in = None if isinstance(transport, str) else transport
    first = parts.settings
    given: dict[str, object] = {
        "service_name": first.service_name,
        "redact": first.redact or None,
        **fields,
    }
    if isinstance(transport, str):
        given["transport"] = transport
    settings = Settings.from_fields(given, environ={}, strict=True)
    reporter = wiring.reporter_of(settings, stand_in, exporter)
    instead = stand_in if exporter is None else exporter
    kind = settings.transport.kind if instead is None else type(instead).__name__
    with parts.changing:
        added = AddedExporter(parts, _unused(name or kind, parts), settings, reporter)
        parts.added.append(added)
        wiring.fan_out(parts, [each.reporter for each in parts.added])
    return added


def also(settings: Settings) -> dict[str, object]:
    """Return the fields of the OTLP receiver that the setting ``also`` names."""
    url = urlsplit(settings.also or "")
    over_grpc = url.port == _GRPC_PORT
    path = "" if over_grpc else url.path if url.path.strip("/") else "/v1/traces"
    return {
        "transport": "otlp-grpc" if over_grpc else "otlp-http",
        "endpoint": urlunsplit((url.scheme, url.netloc, path, url.query, "")),
        "ca_file": settings.transport.ca_file,
    }


def _unused(name: str, parts: Parts) -> str:
    taken = {each.name for each in parts.added}
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found
