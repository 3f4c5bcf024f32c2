"""Checks that ask the network: the receiver's address, the receiver, the sampling server."""

from __future__ import annotations

import dataclasses
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tracekit._assembly.exporters import also
from tracekit._assembly.handle import Tracing
from tracekit._assembly.resource import resource_of
from tracekit._assembly.wires import wire
from tracekit._causes import Cause
from tracekit._cli.verdict import Verdict
from tracekit._display import masked, quoted
from tracekit._protocols import Loss, Outcome
from tracekit.sampling._fetch import source_for
from tracekit.settings import Settings
from tracekit.transport._http_cause import cause_of_request
from tracekit.transport._probe import probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit._protocols import Payload, SendResult, Transport

SPAN = "tracekit check"
_SECOND_LOOK_S = 0.15
"""How long a refusal of a datagram may be on its way."""


def of_destination(settings: Settings, timeout_s: float) -> Iterator[Verdict]:
    """Resolve the receiver's address and send it a batch without spans."""
    kind = settings.transport.kind
    if kind in ("console", "none") or settings.disabled:
        yield Verdict("destination", "skipped", settings.summary())
        return
    host, port, shown = _where(settings)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        remedy = Cause.NO_ADDRESS.remedy
        yield Verdict("address", "fail", f"{quoted(host)} has no address: {quoted(error)}", remedy)
        return
    numeric = ", ".join(dict.fromkeys(str(row[4][0]) for row in found))
    yield Verdict("address", "ok", f"{quoted(host)} is {numeric}")
    result = _answer(settings, timeout_s)
    if result.outcome is Outcome.SENT:
        said = (
            f"nobody refuses datagrams at {shown}; UDP cannot say more"
            if kind == "udp"
            else f"{shown} takes batches"
        )
        step = "tracekit check --send, then look for the trace" if kind == "udp" else ""
        yield Verdict("destination", "ok", said, step)
        return
    cause = result.cause
    if cause is Cause.OTHER and kind in ("http", "otlp-http"):
        seen = probe(host, port, None, timeout_s=timeout_s)
        is_plain = urlsplit(settings.transport.endpoint or "").scheme == "http"
        if is_plain and seen is not None and seen.cause is Cause.TLS_ONLY:
            cause = Cause.TLS_ONLY
    yield Verdict(
        "destination",
        "fail",
        f"{cause.value}: {quoted(result.reason)}",
        cause.remedy or "see what the receiver's own log says",
    )


def of_second(settings: Settings, timeout_s: float) -> Iterator[Verdict]:
    """Do the same for the receiver that gets every span as well, if there is one."""
    if settings.also is not None:
        fields = {"service_name": settings.service_name, **also(settings)}
        second = Settings.from_fields(fields, environ={})
        for each in of_destination(second, timeout_s):
            yield each._replace(check=f"also: {each.check}")


def of_strategies(settings: Settings) -> Iterator[Verdict]:
    """Ask the sampling server for this service's strategy."""
    sampler = settings.sampler
    if sampler.type != "remote" or sampler.endpoint is None:
        return
    chosen = settings.sources["sampler_type"] != "default"
    where = quoted(masked(sampler.endpoint))
    try:
        source = source_for(sampler.endpoint, settings.service_name)
        strategy = source.parse(source.fetch() or b"")
    except Exception as error:  # whatever a server or a package can do
        yield Verdict(
            "sampling server",
            "fail" if chosen else "note",
            f"{where}: {quoted(error)}; until it answers, {sampler.param:g} of new traces",
            _sampling_step(error),
        )
    else:
        said = f"{where} orders for {quoted(settings.service_name)}: {quoted(strategy)}"
        yield Verdict("sampling server", "ok", said)


def of_span(settings: Settings, timeout_s: float) -> Iterator[Verdict]:
    """Send one marked span, whatever the sampler, and say its trace."""
    sampler = dataclasses.replace(settings.sampler, type="const", param=1.0)
    tracing = Tracing(dataclasses.replace(settings, sampler=sampler, also=None))
    try:
        with tracing.tracer(SPAN).start_as_current_span(SPAN) as span:
            span.set_attribute("tracekit.check", True)
        tracing.flush(timeout_s)
        stats = tracing.stats()
    finally:
        tracing.shutdown(0.1)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    service = quoted(settings.service_name)
    if stats.sent:
        taken = "left this host" if settings.transport.kind == "udp" else "was taken"
        said = f"span {SPAN!r} of service {service} {taken}; trace {trace_id}"
        yield Verdict("span", "ok", said, "look for that trace in your back end")
    else:
        why = stats.last_problem or "the time was up"
        yield Verdict("span", "fail", f"trace {trace_id} was not taken: {why}", "see above")


def _answer(settings: Settings, timeout_s: float) -> SendResult:
    """Return what the receiver says to a batch without spans."""
    encoder, connect = wire(settings.transport, ())
    payload = encoder.seal(encoder.process(resource_of(settings)), [], 1, Loss())
    transport = connect()
    deadline_s = time.monotonic() + timeout_s
    try:
        result = _sent(transport, payload, deadline_s)
        if result.ok and settings.transport.kind == "udp":  # a refusal comes after the datagram
            time.sleep(_SECOND_LOOK_S)
            result = _sent(transport, payload, deadline_s)
    finally:
        transport.close()
    return result


def _sent(transport: Transport, payload: Payload, deadline_s: float) -> SendResult:
    while (result := transport.send(payload, deadline_s)).outcome is Outcome.PACED:
        if time.monotonic() >= deadline_s:
            return result
        time.sleep(result.after_s or 0.0)
    return result


def _where(settings: Settings) -> tuple[str, int, str]:
    """Return host, port and how to write them."""
    to = settings.transport
    if to.kind == "udp":
        return to.agent_host, to.agent_port, f"{to.agent_host}:{to.agent_port}"
    endpoint = to.endpoint or ""
    url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    port = url.port or (443 if url.scheme == "https" else 80)
    return url.hostname or "", port, quoted(masked(endpoint))


def _sampling_step(error: Exception) -> str:
    cause = cause_of_request(error) if isinstance(error, OSError) else Cause.OTHER
    own = "JAEGER_SAMPLING_ENDPOINT says where it is; JAEGER_SAMPLER_TYPE=const does without"
    nobody = cause in (Cause.OTHER, Cause.NOBODY_HERE, Cause.REFUSED, Cause.NO_ADDRESS)
    return own if nobody else f"{cause.remedy}; {own}"
