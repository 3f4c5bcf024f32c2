"""What a sampling decision costs an unsampled root, beyond the tracer itself.

Run ``python tests/bench/bench_sampling.py``. Every round times all subjects, one after the other,
so that a busy machine slows them alike; the best round of each counts. The bare line is a sampler
that returns one prepared answer: what the tracer costs without any rule.
"""

from __future__ import annotations

import itertools
import timeit

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased

from tracekit.sampling import AdaptiveStrategy, ParentRule, PerOperation, RootSampler, from_type
from tracekit.tracing import TracerProvider

ROUNDS, CALLS = 40, 5_000
TRACE_ID = (1 << 64) - 1
OPERATIONS = {f"GET /items/{number}": 0.0 for number in range(2000)}


class Bare(Sampler):
    """Returns one answer, whatever is asked."""

    answer = SamplingResult(Decision.DROP)

    def should_sample(self, *args, **kwargs):
        return self.answer

    def get_description(self):
        return "bare"


class BareRoot(RootSampler):
    """The same below a parent rule."""

    def decide(self, trace_id, name):
        return Bare.answer

    def get_description(self):
        return "bare root"


def samplers() -> dict[str, Sampler]:
    """Return what is compared, the base line first."""
    rules = {
        "parent rule alone": BareRoot(),
        "const": from_type("const", 0),
        "probabilistic": from_type("probabilistic", 0.0),
        "ratelimiting, empty": from_type("ratelimiting", 0.0),
        "per operation, 2000": PerOperation(AdaptiveStrategy(0.0, 0.0, OPERATIONS)),
    }
    return {
        "bare": Bare(),
        **{name: ParentRule(root) for name, root in rules.items()},
        "OpenTelemetry's ratio": TraceIdRatioBased(0.0),
    }


def best(subjects: dict[str, timeit.Timer]) -> dict[str, float]:
    """Return the best time of a call of each subject in µs, rounds interleaved."""
    seconds = dict.fromkeys(subjects, float("inf"))
    for _ in range(ROUNDS):
        for name, timer in subjects.items():
            seconds[name] = min(seconds[name], timer.timeit(CALLS))
    return {name: taken / CALLS * 1e6 for name, taken in seconds.items()}


def roots(sampler: Sampler) -> timeit.Timer:
    """Return a timer of unsampled roots of changing operations."""
    tracer = TracerProvider(sampler, None, Resource({})).get_tracer("bench")
    return timeit.Timer(
        "start(next(names), empty)",
        globals={
            "start": tracer.start_span,
            "names": itertools.cycle(OPERATIONS),
            "empty": Context(),
        },
    )


def main() -> None:
    """Print two tables: a root in the tracer, and the decision alone."""
    asked = samplers()
    for sampler in asked.values():  # the first trace of each operation is the lower bound's
        for name in OPERATIONS:
            sampler.should_sample(Context(), TRACE_ID, name)
    taken = best({name: roots(sampler) for name, sampler in asked.items()})
    print(f"{'unsampled root':<26}{'µs':>8}{'beyond bare':>14}")
    for name, microseconds in taken.items():
        print(f"{name:<26}{microseconds:8.3f}{microseconds - taken['bare']:14.3f}")
    decisions = {
        name: timeit.Timer(
            "decide(trace_id, next(names))",
            globals={
                "decide": rule.root.decide,
                "trace_id": TRACE_ID,
                "names": itertools.cycle(OPERATIONS),
            },
        )
        for name, rule in asked.items()
        if isinstance(rule, ParentRule)
    }
    print(f"\n{'decision alone':<26}{'µs':>8}")
    for name, microseconds in best(decisions).items():
        print(f"{name:<26}{microseconds:8.3f}")


if __name__ == "__main__":
    main()
