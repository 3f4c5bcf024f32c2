"""How cost grows: with the spans of a trace, with attributes, threads, and spans that are open."""

from __future__ import annotations

import gc
import statistics
import threading
import time

SPANS, ATTRIBUTES = (1, 10, 100, 1000, 10_000), (0, 2, 8, 32, 128)
THREADS, OPEN = (1, 4, 16, 64), (1, 100, 10_000, 100_000)


def scale(run):
    """CPU of the process for a span, export included; and the most times of linear growth.

    A thread, a span of a trace, an open span: the cost of one stays what it is where there is one.
    An attribute: the cost of a span is on the line through those with none and with eight.
    """
    side = run.side(queue=25_000)
    run.traces(40)
    side.flush()
    axes = {
        "spans a trace": {n: _cost(run, side, _traces(side, n, 10_000)) for n in SPANS},
        "attributes": {n: _cost(run, side, _attributes(side, n, 2_000)) for n in ATTRIBUTES},
        "threads": {n: _cost(run, side, _threads(side, n, 19_200)) for n in THREADS},
        "open spans": {},
    }
    for n in OPEN:
        kept = side.live(n)
        axes["open spans"][n] = _cost(run, side, _traces(side, 25, 5_000))
        del kept
    figures = {f"{n} {axis}": cost for axis, row in axes.items() for n, cost in row.items()}
    worst = max(times for axis, row in axes.items() for times in linear(axis, row).values())
    return {**figures, "ratio": worst}


def linear(axis, costs):
    """Return how many times of linear growth each cost is."""
    first = costs[min(costs)]
    slope = (costs[8] - first) / 8 if axis == "attributes" else 0.0
    return {n: cost / (first + n * slope) for n, cost in costs.items()}


def _cost(run, side, work):
    """Return \u00b5s of CPU for a span, all handed over; the median of five."""
    spent = []
    for _ in range(5):
        gc.collect()
        began = time.process_time_ns()
        made = work()
        side.flush()
        spent.append((time.process_time_ns() - began) / made / 1000)
        run.spans += made
    return statistics.median(spent)


def _traces(side, spans, total):
    def work():
        for _ in range(total // spans):
            side.trace(spans)
        return total

    return work


def _attributes(side, count, total):
    names = [f"attribute.{n}" for n in range(count)]
    start = side.tracer.start_as_current_span

    def work():
        for _ in range(total):
            with start("work") as span:
                for name in names:
                    span.set_attribute(name, "value")
        return total

    return work


def _threads(side, count, total):
    each = total // count // 25

    def traces():
        for _ in range(each):
            side.trace(25)

    def work():
        threads = [threading.Thread(target=traces) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return count * each * 25

    return work
