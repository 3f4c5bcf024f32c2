"""The pipeline's figures, handed to a program's ``MetricsFactory`` as increments."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from tracekit.jaeger_client.metrics import LegacyMetricsFactory, MetricsFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit._assembly.handle import Tracing
    from tracekit.jaeger_client.metrics import Metrics

_log = logging.getLogger("tracekit")
_OURS, _THEIRS = "jaeger.tracer.", "jaeger:"
_INTERVAL_S = 1.0


class Figures:
    """Tells a factory what has changed, about once a second while spans start and at the end.

    The names are those of ``jaeger_client``. Whatever the factory raises is logged, once.
    """

    def __init__(
        self,
        factory: MetricsFactory,
        tracing: Tracing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._factory = factory
        self._tracing = tracing
        self._clock = clock
        self._due_s = clock() + _INTERVAL_S
        self._told: dict[tuple[str, tuple[str, ...]], tuple[Callable[..., object], float]] = {}
        self._busy = [None]
        self._failed = False

    def look(self) -> None:
        """Tell what has changed if that is due. Any thread may call it; it waits for nobody."""
        if self._clock() >= self._due_s:
            self.tell()

    def tell(self) -> None:
        """Tell what has changed, unless another thread (or what this interrupted) is at it."""
        try:
            self._busy.pop()  # atomic, so one caller gets in; a lock could be held by us below
        except IndexError:
            return
        try:
            self._due_s = self._clock() + _INTERVAL_S
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


def figures_for(
    tracing: Tracing, metrics: Metrics | None, factory: MetricsFactory | None
) -> Figures | None:
    """Return who tells the figures to what a tracer was given; None if nobody would listen."""
    if factory is None and metrics is not None:
        factory = LegacyMetricsFactory(metrics)
    if factory is None or type(factory) is MetricsFactory:  # the latter's functions do nothing
        return None
    return Figures(factory, tracing)
