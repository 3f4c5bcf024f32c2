"""What the driver service knows: cars, kept in a store that is slow and sometimes times out.

It traces with the plain OpenTelemetry API, as any library would: it need not know tracekit.
"""

from __future__ import annotations

import itertools
import logging
import time

from opentelemetry import trace

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

CARS = {"T-701": 4, "T-702": 2, "T-703": 7}
"""Blocks from each car to Harbour Street."""
NOBODY_DRIVES = "Far Island"
_FLAKY = "T-703"


def nearest(street: str) -> dict[str, int]:
    """Return the cars near a street and how many blocks away they are; none: LookupError."""
    with tracer.start_as_current_span("find-cars") as span:
        span.set_attribute("street", street)
        if street == NOBODY_DRIVES:
            raise LookupError(f"no car near {street}")
        return {car_id: _load(car_id) for car_id in CARS}


def way(blocks: int, steps: int = 4) -> list[int]:
    """Return how far away a car is at each step of its way, down to 0."""
    return [blocks * left // steps for left in range(steps, -1, -1)]


def counter_offer(cents: int, lowest: int = 900) -> tuple[int, bool]:
    """Return the driver's answer to a fare: agreed, or the middle between it and the lowest."""
    return (cents, True) if cents >= lowest else ((cents + lowest + 1) // 2, False)


def _load(car_id: str) -> int:
    for attempt in itertools.count(1):
        try:
            return _read(car_id, attempt)
        except TimeoutError as error:  # noqa: PERF203 - the next attempt is the point
            log.warning("attempt %d to read %s failed: %s", attempt, car_id, error)
    raise AssertionError


def _read(car_id: str, attempt: int) -> int:
    with tracer.start_as_current_span("redis.get", kind=trace.SpanKind.CLIENT) as span:
        span.set_attributes({"db.system": "redis", "car": car_id, "attempt": attempt})
        if car_id == _FLAKY and attempt == 1:
            time.sleep(0.04)
            raise TimeoutError("redis did not answer in 40 ms")
        time.sleep(0.008)
        return CARS[car_id]
