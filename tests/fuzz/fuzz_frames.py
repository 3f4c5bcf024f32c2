"""Random facts through the native frames and the Python encoders: equal bytes, and no growth.

Invariant: for whatever a span's facts are, both encoders answer the same bytes or raise the same
type, for one span and for many in one call, which ends before the first that raises; and the
resident memory after the run is what it was after its first half.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
from pathlib import Path

from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanKind, Status, StatusCode, TraceState

from tracekit._protocols import UNSET, Facts
from tracekit.encoding import jaeger_binary, jaeger_compact, native_frames, otlp

KINDS = tuple(SpanKind)
SCOPE = InstrumentationScope("shop", "1")
STATES = (DEFAULT_TRACE_STATE,) * 9 + (TraceState([("a", "b")]),)
STATUSES = (UNSET,) * 5 + (Status(StatusCode.OK), Status(StatusCode.ERROR, "why"))
ALPHABET = "abcdefgh \u00e4\u20ac\U0001f30d\0"
LETTERS = 1_000_000

MANY = 32
"""Spans of one call."""
ROOM = 1 << 40


class Told:
    """A span that tells its facts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def _facts(self) -> Facts:
        return self.facts


class Drawn:
    """Draws facts; most are plain, some are not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.letters = "".join(self.random.choices(ALPHABET, k=LETTERS))

    def text(self) -> str:
        draw = self.random
        if draw.random() < 0.01:
            return "\ud800" + "x" * draw.randrange(5)
        at = draw.randrange(LETTERS)  # a piece of a long text: to draw each letter took a third
        return self.letters[at : at + draw.choice((0, 1, 8, 20, 150))]

    def value(self) -> object:
        draw = self.random
        match draw.randrange(12):
            case 0:
                return draw.random() < 0.5
            case 1:
                return draw.randrange(-(2**63), 2**63)
            case 2:
                return draw.choice((1e300, float("nan"), -0.0, draw.random()))
            case 3 if draw.random() < 0.1:
                return draw.choice((None, b"x", (1, 2), {"a": 1}, 2**70))
            case 4:
                return draw.randrange(1000)
        return self.text()

    def bag(self) -> tuple[dict[str, object], int]:
        draw = self.random
        held = {self.text(): self.value() for _ in range(draw.choice((0, 1, 3, 20)))}
        return held, int(draw.random() < 0.02)

    def one(self) -> Facts:
        draw = self.random
        start = draw.randrange(2**62)
        events = tuple(
            (self.text(), start + n, self.bag()) for n in range(draw.choice((0, 0, 1, 16)))
        )
        return Facts(
            draw.randrange(2 ** draw.choice((64, 128))),
            draw.randrange(2**64),
            draw.choice((0, draw.randrange(2**64))),
            draw.choice((0, 1, 0x301)),
            draw.choice(STATES),
            self.text(),
            draw.choice(KINDS),
            start,
            start + draw.randrange(-5, 10**12),
            self.bag()[0],
            events,
            (),
            draw.choice(STATUSES),
            draw.choice((None, SCOPE)),
            int(draw.random() < 0.02),
            0,
            0,
            draw.random() < 0.5,
        )


def outcome(encoder: object, span: Told) -> object:
    """Return the frame, or the type of what was raised."""
    try:
        return encoder.frame(span)
    except Exception as error:
        return type(error)


def together(encoder: object, spans: list[Told]) -> list[object]:
    """Return the outcome for each of ``spans``, made by as few calls as there can be."""
    outcomes: list[object] = []
    while left := spans[len(outcomes) :]:
        made: list[object] = []
        try:
            encoder.frames(left, made, ROOM)
        except Exception as error:
            made.append(type(error))
        outcomes += made
    return outcomes


def resident_kb() -> int:
    """Return what this process holds now, in KiB; its peak where /proc is not."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024


def main() -> int:
    """Run; 0: all equal and nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=1, help="native calls for each input")
    parser.add_argument("--max-growth-kib", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    native = native_frames()
    if native is None:
        print("the native frames were not built here")
        return 0
    pairs = [
        (jaeger_compact(), jaeger_compact(native=native)),
        (jaeger_binary(), jaeger_binary(native=native)),
        (otlp(), otlp(native=native)),
    ]
    drawn, before = Drawn(asked.seed), 0
    spans: list[Told] = []
    right: list[list[object]] = [[] for _ in pairs]
    for n in range(asked.inputs):
        told = Told(drawn.one())
        spans.append(told)
        for (pure, fast), outcomes in zip(pairs, right, strict=True):
            outcomes.append(outcome(pure, told))
            if outcomes[-1] != outcome(fast, told):
                print(f"input {n} (seed {asked.seed}) differs: {told.facts!r}")
                return 1
            for _ in range(asked.repeat - 1):
                outcome(fast, told)
        if len(spans) == MANY:
            for (_, fast), outcomes in zip(pairs, right, strict=True):
                if together(fast, spans) != outcomes:
                    print(f"the {MANY} inputs up to {n} (seed {asked.seed}) differ in one call")
                    return 1
                outcomes.clear()
            spans.clear()
        if n == asked.inputs // 2:
            before = resident_kb()
    grown = resident_kb() - before
    print(f"{asked.inputs} inputs equal, {grown} KiB grown")
    return int(grown > asked.max_growth_kib)


if __name__ == "__main__":
    sys.exit(main())
