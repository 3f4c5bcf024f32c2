"""``tracekit.report()``: what ``env`` and ``check`` would say, of the handle that runs here."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tracekit._assembly.handle import resolve
from tracekit._cli import standing
from tracekit._cli.env import as_table
from tracekit._cli.verdict import Verdict, lines, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit._assembly.handle import HasTracing, Tracing
    from tracekit._cli.verdict import Result


def report(tracing: Tracing | HasTracing | None = None) -> str:
    """Return a text for an application's own admin route: settings, verdicts, figures.

    Of ``tracing`` (None: the process' handle). It asks nobody and sends nothing: whether spans
    arrive is told by what has happened so far. Secrets are masked. Any thread may call it.
    """
    running = resolve(tracing)
    verdicts = list(_verdicts(running))
    figures = {name: value for name, value in running.stats().as_dict().items() if value}
    return "\n".join(
        [
            *lines(verdicts),
            "",
            summary(verdicts),
            "",
            *(f"{name}: {value}" for name, value in figures.items()),
            "",
            as_table(running.settings),
        ]
    )


def _verdicts(running: Tracing) -> Iterator[Verdict]:
    settings = running.settings
    yield from standing.of_settings(settings)
    yield from standing.of_packages(settings)
    yield from standing.of_files(settings)
    yield from standing.of_process(os.environ, sys.modules.keys())
    yield from standing.of_sampling(settings)
    yield from _arrivals(running)
    yield from _departures(running)


def _arrivals(running: Tracing) -> Iterator[Verdict]:
    """Say which formats came and were not read."""
    read = ", ".join(running.propagator.formats) or "none"
    ignored = running.propagator.counters.ignored
    if not ignored:
        yield Verdict("propagation", "ok", f"reads {read}; nothing else came")
        return
    came = ", ".join(f"{name} on {count} requests" for (name,), count in sorted(ignored.items()))
    wide = ",".join((*running.propagator.formats, *(name for (name,) in sorted(ignored))))
    said = f"reads {read}; not joined: {came}"
    yield Verdict("propagation", "note", said, f"JAEGER_PROPAGATION={wide}")


def _departures(running: Tracing) -> Iterator[Verdict]:
    """Say what became of the spans so far, here and for each further destination."""
    for name, stats in [
        ("destination", running.stats()),
        *((f"also: {each.name}", each.stats()) for each in list(running._parts.added)),
    ]:
        lost = {reason: number for reason, number in stats.dropped.items() if number}
        said = f"{stats.sent} sent, {stats.queued + stats.in_flight} wait"
        if lost:
            said += ", dropped " + ", ".join(f"{why}: {number}" for why, number in lost.items())
        if stats.last_problem is None:
            yield Verdict(name, "note" if lost else "ok", said)
        else:
            bad: Result = "note" if stats.sent else "fail"
            yield Verdict(name, bad, f"{said}; last problem: {stats.last_problem}")
