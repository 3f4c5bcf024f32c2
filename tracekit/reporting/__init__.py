"""Queue, batches, worker and the exact account of every span."""

from tracekit._causes import DropReason
from tracekit.reporting._fan_out import FanOut
from tracekit.reporting._pipeline import PATIENCE
from tracekit.reporting._reporter import DEFAULT_QUEUE_SIZE, Reporter
from tracekit.reporting._stats import FlushResult, Stats

__all__ = [
    "DEFAULT_QUEUE_SIZE",
    "PATIENCE",
    "DropReason",
    "FanOut",
    "FlushResult",
    "Reporter",
    "Stats",
]
