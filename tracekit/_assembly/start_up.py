"""What ``init`` says of the settings that it was given, and when it refuses them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tracekit.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from tracekit._protocols import Transport
    from tracekit.settings import Settings

_log = logging.getLogger("tracekit")


def refuse(settings: Settings) -> None:
    """Raise ``ConfigError`` for any problem, and for a service that nobody has named.

    The latter as Go's and Java's clients do when a tracer is made; disabled beats it, as in Go.
    """
    problems = settings.problems
    if not settings.disabled and settings.sources.get("service_name") == "default":
        problems = (*problems, settings.nameless())
    if problems:
        raise ConfigError(problems)


def announce(
    settings: Settings, wire: Transport | SpanExporter | None, *, free_threaded: bool
) -> None:
    """Log what is bad, what is worth saying, and in one line what happens to spans.

    ``wire`` stands in for the one that the settings name; ``free_threaded``: it is to be said that
    this interpreter has no GIL.
    """
    for said in (*settings.problems, *settings.notes):
        _log.warning("%s", said)
    if settings.disabled:
        return
    if free_threaded:
        _log.warning(
            "this Python runs without the GIL: tracekit works there, but that is experimental"
        )
    # Nobody chose a sampler, so next to nothing is sampled: a newcomer who sees no traces must
    # find the reason here, also where INFO is not shown.
    unchosen = settings.sources.get("sampler_type") == "default"
    destination = None if wire is None else f"spans to {type(wire).__name__}"
    summary = settings.summary(destination)
    _log.log(logging.WARNING if unchosen else logging.INFO, "%s", summary)
