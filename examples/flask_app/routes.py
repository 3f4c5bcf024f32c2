"""What the route service knows: how long a car takes, and where the traffic jam is.

Like the driver service's fleet it traces with the plain OpenTelemetry API.
"""

from __future__ import annotations

import time

from opentelemetry import trace

tracer = trace.get_tracer(__name__)

_IN_A_JAM = "T-702"


def minutes(car: str, blocks: int, request_id: str) -> int:
    """Return how long a car takes for a number of blocks."""
    with tracer.start_as_current_span("compute-route") as span:
        jam = car == _IN_A_JAM
        span.set_attributes({"car": car, "traffic-jam": jam, "request-id": request_id})
        time.sleep(0.12 if jam else 0.02)  # the slow step that the trace shows
        return blocks * (6 if jam else 2)
