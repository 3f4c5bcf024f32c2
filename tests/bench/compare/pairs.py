"""Times of one call, and of what instrumentation adds to one."""

from __future__ import annotations

import gc
import statistics
import time


def timed(call, count, rounds):
    """Return µs of CPU a call on this thread."""
    times = []
    for _ in range(rounds):
        began = time.thread_time_ns()
        for _ in range(count):
            call()
        times.append((time.thread_time_ns() - began) / count / 1000)
    return statistics.median(times)


def beside(bare, traced, flush, rounds, count, clock=time.perf_counter_ns):
    """Return what ``bare`` takes and what ``traced`` adds, in µs, from blocks in turns.

    ``clock`` decides what counts; a flush is within it where that is the process' CPU.
    """
    base, added = [], []
    for _ in range(rounds):
        pair = []
        for call in (bare, traced):
            gc.collect()
            began = clock()
            for _ in range(count):
                call()
            if clock is time.process_time_ns:
                flush()
            pair.append((clock() - began) / count / 1000)
            flush()
        base.append(pair[0])
        added.append(pair[1] - pair[0])
    return {"bare": statistics.median(base[1:]), "added": statistics.median(added[1:])}
