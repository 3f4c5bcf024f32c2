"""Prometheus' multiprocess mode: every process writes its figures down, any of them shows all.

prometheus_client keeps the values of each process in files of its own and a scrape adds them up.
A worker cannot ask the others for theirs, so each has to write without being asked.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
from typing import TYPE_CHECKING, Protocol, cast

from prometheus_client import values

from tracekit._calls.metrics import Distribution, bounds
from tracekit._display import quoted
from tracekit._process.farewell import on_ended
from tracekit._process.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from tracekit.metrics import Family, Instrument

_log = logging.getLogger("tracekit")

INTERVAL_S = 1.0
"""How old a worker's figures may be when another one is scraped."""

_MODES = {"sum": "livesum", "max": "livemax"}


class Cell(Protocol):
    """One value in prometheus_client's files."""

    def set(self, value: float) -> None:
        """Write the value."""


Key = tuple[str, tuple[str, ...], str]
"""An instrument, the values of its labels, and which of its samples (for a histogram)."""


class Mirror:
    """Copies figures into prometheus_client's files: every second, at the end, and when collected.

    The end is when the spans have been sent or given up, whoever was set up first.

    As a collector it shows nothing itself, because ``MultiProcessCollector`` shows the files. The
    thread is a daemon; a forked child starts its own, and its figures are its own. Any thread may
    call ``copy``.
    """

    def __init__(self, read: Callable[[], list[Family]]) -> None:
        self._read = read
        self._cells: dict[Key, Cell] = {}
        _mirrors.append(self)
        _attend()
        self.start()

    def start(self) -> None:
        """Start copying in this process."""
        try:
            threading.Thread(target=self._run, name="tracekit-prometheus", daemon=True).start()
        except RuntimeError as error:  # no more threads: figures are copied at scrapes and at exit
            _log.warning("figures are not copied every second: %s", quoted(error))

    def collect(self) -> Iterator[Metric]:
        """Copy, and yield nothing."""
        self.copy()
        return iter(())

    describe = collect

    def copy(self) -> None:
        """Write down what the figures are now."""
        with _writing.now():
            for family in self._read():
                row = family.instrument
                for labels, value in family.points.items():
                    if isinstance(value, Distribution):
                        self._set_histogram(row, labels, value)
                    else:
                        self._cell(row, labels).set(value)

    def _set_histogram(self, row: Instrument, labels: tuple[str, ...], taken: Distribution) -> None:
        for bound, count in zip(bounds(), taken.counts, strict=True):
            self._cell(row, (*labels, bound), "_bucket", ("le",)).set(count)
        self._cell(row, labels, "_sum").set(taken.sum_s)

    def _cell(
        self,
        row: Instrument,
        labels: tuple[str, ...],
        suffix: str = "",
        further: tuple[str, ...] = (),
    ) -> Cell:
        key = (row.name, labels, suffix)
        cell = self._cells.get(key)
        if cell is None:
            name = row.prometheus
            made = values.ValueClass(
                row.kind,
                name.removesuffix("_total"),
                name + suffix,
                row.labels + further,
                labels,
                row.help,
                multiprocess_mode=_MODES[row.across],
            )
            cell = self._cells[key] = cast("Cell", made)
        return cell

    def _run(self) -> None:
        while not _exiting.wait(INTERVAL_S) and self._copied():
            pass

    def _copied(self) -> bool:
        try:
            self.copy()
        except Exception:
            _log.warning("no more figures for Prometheus: writing them failed", exc_info=True)
            return False
        return True


_mirrors: list[Mirror] = []
_exiting = threading.Event()
_writing = PerProcess(threading.RLock)
"""Held over a fork, too: prometheus_client's own lock, which every counter of the program takes,
must not be copied into the child while our thread has it. The child has a lock of its own, also
where C code has forked and no hook was called before."""


@functools.cache
def _attend() -> None:
    """Follow forks and the exit, from the first mirror on."""
    os.register_at_fork(
        before=lambda: _writing.now().acquire(),
        after_in_parent=lambda: _writing.now().release(),
        after_in_child=_start_again,
    )
    atexit.register(_finish)
    on_ended(_finish)


def _start_again() -> None:
    for mirror in _mirrors:
        mirror.start()


def _finish() -> None:
    _exiting.set()
    for mirror in _mirrors:
        mirror._copied()
