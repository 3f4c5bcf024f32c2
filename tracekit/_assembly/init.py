"""How a handle starts: from keyword arguments, the environment and a file, once a process."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from tracekit._assembly import ending, start_up
from tracekit._assembly.handle import Tracing, slot
from tracekit._process import exit as process_exit
from tracekit._process.tally import FREE_THREADED
from tracekit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace.export import SpanExporter
    from typing_extensions import Unpack

    from tracekit._config.fields import SettingsFields
    from tracekit._protocols import Transport

_log = logging.getLogger("tracekit")


def init(
    service_name: str | None = None,
    *,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
    strict: bool = False,
    set_global: bool = True,
    transport: Transport | str | None = None,
    exporter: SpanExporter | None = None,
    **settings_fields: Unpack[SettingsFields],
) -> Tracing:
    """Start tracing from the environment and return the handle.

    Keyword arguments (the names of ``Settings.flat()``) win over ``environ`` (default:
    ``os.environ``), that over the file which ``TRACEKIT_CONFIG_FILE`` names. A bad value costs
    one log line and its default; with ``strict`` all of them are raised together.

    With ``set_global`` this becomes the process' handle and OpenTelemetry's globals follow it:
    a second call with equal settings returns the running handle, with other settings it warns
    and returns the running one. Without, it is independent of any other: it ends at exit, too, but
    not on SIGTERM.

    ``transport`` is the setting of that name or an object that replaces the wire
    (``tracekit.testing.MemoryTransport``), ``exporter`` any OpenTelemetry exporter that takes the
    spans instead.

    Raises ``ConfigError`` only when ``strict``, also for a service without a name; ``TypeError``
    for an unknown keyword.
    """
    if exporter is not None and transport is not None:
        raise TypeError("transport= and exporter= cannot be given together")
    kind = transport if isinstance(transport, str) else None
    wire = None if isinstance(transport, str) else transport
    given = {"service_name": service_name, "transport": kind, **settings_fields}
    if settings is None:
        settings = Settings.from_fields(given, environ=_snapshot(environ), strict=strict)
    elif any(value is not None for value in given.values()):
        raise TypeError("settings= and single settings cannot be given together")
    if strict:
        start_up.refuse(settings)
    instead = exporter if wire is None else wire
    with slot.lock:
        ending.attend_exit()
    if not set_global:
        _report(settings, instead)
        apart = Tracing(settings, wire, exporter)
        with slot.lock:
            slot.apart[apart.provider] = settings.reporter.exit_budget_s
            apart._parts.let_go_with_provider()
        return apart
    with slot.lock:
        launched = slot.running
        if launched is not None and not _superseded(launched, settings, instead):
            return _keep(launched, settings)
        tracing = slot.running = Tracing(settings, wire, exporter)
        _report(settings, instead)  # after: a log line of ours carries the service's name, too
        slot.otel.point(tracing.provider, tracing.propagator)
        if settings.reporter.drain_on_sigterm:
            process_exit.drain_on_sigterm(ending.drain)
    if launched is not None:  # idle, as a rule: it was made before the program's first line
        launched.shutdown(settings.reporter.exit_budget_s)
    return tracing


def _superseded(
    launched: Tracing, asked: Settings, instead: Transport | SpanExporter | None
) -> bool:
    """Whether the program asks for another handle than the one that a launcher made for it."""
    if not launched.gives_way:
        return False
    launched.gives_way = False
    return instead is not None or asked != launched.settings


def _keep(running: Tracing, asked: Settings) -> Tracing:
    if asked != running.settings and not running.stands_in:
        _log.warning(
            "tracekit.init() was called again with other settings; the running ones are kept: %s",
            running.settings.summary(),
        )
    return running


def _report(settings: Settings, wire: Transport | SpanExporter | None) -> None:
    start_up.announce(settings, wire, free_threaded=FREE_THREADED and not slot.told_free_threaded)
    slot.told_free_threaded |= not settings.disabled


def _snapshot(environ: Mapping[str, str] | None) -> dict[str, str]:
    return dict(os.environ if environ is None else environ)
