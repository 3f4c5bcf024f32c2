"""The pipeline's figures, handed to a program's ``MetricsFactory`` as increments."""

from __future__ import annotations

import functools
import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING

from tracekit.jaeger_client.metrics import LegacyMetricsFactory, MetricsFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit._assembly.handle import Tracing
    from tracekit.jaeger_client.metrics import Metrics

_log = logging.getLogger("tracekit")
_OURS, _THEIRS = "jaeger.tracer.", "jaeger:"
INTERVAL_S = 1.0
"""How old a figure may be that a factory has been told."""


class Figures:
    """Tells a factory the figures at once, then what has changed, every second, and at the end.

    The names are those of ``jaeger_client``. Whoever makes the spans, tracer or edges: a daemon
    thread reads the pipeline's own counters. A forked child has a thread and figures of its own.
    Whatever the factory raises is logged, once.
    """

    def __init__(
        self, factory: MetricsFactory, tracing: Tracing, interval_s: float = INTERVAL_S
    ) -> None:
        self._factory = factory
        self._tracing = tracing
        self._interval_s = interval_s
        self._told: dict[tuple[str, tuple[str, ...]], tuple[Callable[..., object], float]] = {}
        self._failed = False
        _all.add(self)
        _attend()
        self.start()

    def start(self) -> None:
        """Begin in this process, where every figure starts from 0."""
        self._busy = [None]
        self._stopped = threading.Event()
        self._told = {key: (take, 0) for key, (take, _) in self._told.items()}
        self.tell()
        work = (weakref.ref(self), self._stopped, self._interval_s)
        try:
            threading.Thread(target=_run, args=work, name="tracekit-figures", daemon=True).start()
        except RuntimeError as error:  # no more threads: the factory hears the rest at the end
            _log.warning("A metrics factory is told nothing until the end: %s", error)

    def stop(self) -> None:
        """Tell the last figures and end."""
        self._stopped.set()
        self.tell()

    def tell(self) -> None:
        """Tell what has changed, unless another thread (or what this interrupted) is at it."""
        try:
            self._busy.pop()  # atomic, so one caller gets in; a lock could be held by us below
        except IndexError:
            return
        try:
            self._tell()
        except Exception:  # the factory is the program's
            if not self._failed:
                _log.warning("A metrics factory raised", exc_info=True)
            self._failed = True
        finally:
            self._busy.append(None)

    def _tell(self) -> None:
        for instrument, points in self._tracing.metrics():
            if not instrument.name.startswith(_OURS):
                continue
            name = _THEIRS + instrument.name.removeprefix(_OURS)
            counts = instrument.kind == "counter"
            # The one whose labels jaeger_client did not know.
            labels = () if name == "jaeger:finished_spans" else instrument.labels
            for values, figure in points.items():
                if not isinstance(figure, int | float):
                    continue
                key = (name, values)
                if key not in self._told:
                    tags = dict(zip(labels, values, strict=False)) or None
                    create = self._factory.create_counter if counts else self._factory.create_gauge
                    self._told[key] = (create(name, tags), 0)
                take, before = self._told[key]
                if not counts or figure > before:
                    self._told[key] = (take, figure)
                    take(figure - before if counts else figure)


_all: weakref.WeakSet[Figures] = weakref.WeakSet()


@functools.cache
def _attend() -> None:
    """Follow forks, from the first factory on."""
    os.register_at_fork(after_in_child=_start_again)


def _start_again() -> None:
    for figures in list(_all):
        if not figures._stopped.is_set():
            figures.start()


def _run(of: weakref.ref[Figures], stopped: threading.Event, interval_s: float) -> None:
    """Tell until the tracer is closed, or gone."""
    while not stopped.wait(interval_s) and (figures := of()) is not None:
        figures.tell()
        del figures


def figures_for(
    tracing: Tracing, metrics: Metrics | None, factory: MetricsFactory | None
) -> Figures | None:
    """Return who tells the figures to what a tracer was given; None if nobody would listen."""
    if factory is None and metrics is not None:
        factory = LegacyMetricsFactory(metrics)
    if factory is None or type(factory) is MetricsFactory:  # the latter's functions do nothing
        return None
    return Figures(factory, tracing)
