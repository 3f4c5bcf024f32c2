"""Traces drawn as they complete, and lines for what an observer should know besides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tracekit import drawing
from tracekit.sampling import Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tracekit._cli.view.filters import Filter
    from tracekit.local import Backend, ReceivedSpan
    from tracekit.sampling import AdaptiveStrategy

_QUIET_S = 1.0
"""A trace whose root has come is complete when nothing more came for so long."""
_ORPHAN_S = 4.0
"""The same for one whose root has not come."""
_SILENCE_S = 10.0
"""When nothing has come for so long after the start, a hint says why that may be."""
_MAX_TRACES = 20
"""Drawn at once; of more, only the number is told."""
_MAX_ROWS = 200
_MAX_READ = 2_000
"""Spans of a trace that are read for the filters and the drawing."""
_LOST = {
    "full_queue_dropped_spans": "its queue was full",
    "too_large_dropped_spans": "they were too large",
    "failed_to_emit_spans": "they could not be sent",
}


class Live:
    """Draws what a back end receives. ``step`` is called again and again, on one thread."""

    def __init__(
        self,
        backend: Backend,
        wanted: Filter,
        say: Callable[[str], None],
        *,
        width: int,
        color: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._wanted = wanted
        self._say = say
        self._width = width
        self._color = color
        self._clock = clock
        self._started = clock()
        self._looked = self._started - 0.5
        self._waiting: dict[int, float] = {}
        self._drawn: dict[int, int] = {}
        self._told: dict[str, object] = {}

    def step(self) -> None:
        """Draw the traces that are complete by now, and tell what has changed."""
        now = self._clock()
        self._waiting.update(self._backend.store.changed_since(self._looked))
        self._looked = now - 0.5  # spans may be on their way into the store
        ready = [trace_id for trace_id in self._waiting if self._complete(trace_id, now)]
        shown = 0
        for trace_id in ready:
            del self._waiting[trace_id]
            shown += self._draw(trace_id, show=shown < _MAX_TRACES)
        if shown > _MAX_TRACES:
            self._say(f"… {shown - _MAX_TRACES} more traces at the same time: {self._backend.url}")
        for line in self._news(now):
            self._say(line)

    def _complete(self, trace_id: int, now: float) -> bool:
        changed = self._waiting[trace_id]
        if now - changed < _QUIET_S:
            return False
        records = self._backend.store.trace(trace_id)
        rooted = records is not None and any(not record.parent_id for record in records)
        return rooted or now - changed >= _ORPHAN_S

    def _draw(self, trace_id: int, *, show: bool) -> int:
        """Draw a trace if it is wanted and has not been drawn so; return how many that were."""
        spans = self._backend.spans(trace_id, _MAX_READ)
        count = len(self._backend.store.trace(trace_id) or ())
        before = self._drawn.get(trace_id, 0)
        # A large trace that grows and grows is drawn again when it has grown by a tenth.
        if count <= before + before // 10 * (before > _MAX_ROWS) or not self._wanted(spans):
            return 0
        self._drawn[trace_id] = count
        if len(self._drawn) > 10_000:
            del self._drawn[next(iter(self._drawn))]
        if show:
            late = f"  {_plural(count - before, 'more span')} of a trace above:\n" if before else ""
            self._say(late + self._picture(spans, count) + "\n")
        return 1

    def _picture(self, spans: list[ReceivedSpan], count: int) -> str:
        (trace,) = drawing.by_trace(spans).values()
        picture = drawing.lines(trace, self._width)
        more = len(picture) - _MAX_ROWS + count - len(spans)
        text = drawing.text(picture[:_MAX_ROWS], color=self._color)
        return f"{text}\n… {more} more lines: {self._backend.url}" if more > 0 else text

    def _news(self, now: float) -> Iterator[str]:
        state = self._backend
        malformed = state.intake.malformed()
        broken = state.intake.broken
        if broken is not None and self._new("malformed", malformed):
            count = sum(malformed.values())
            reason = drawing.printable(broken.reason)[:160]
            yield f"✗ {_plural(count, 'broken message')}, the last by {broken.wire}: {reason}"
        if self._new("dropped", state.dropped_datagrams):
            came = _plural(state.dropped_datagrams, "datagram")
            yield f"✗ {came} came faster than they could be read"
        if self._new("refused", state.store.refused):
            yield f"✗ {_plural(state.store.refused, 'span')} of traces that are too large to hold"
        if self._new("evicted", bool(state.store.evicted_traces)):
            yield "the memory is full: from now on the oldest traces go (--max-memory)"
        if self._new("failed", state.store.failed):
            yield f"✗ {state.store.failed}"
        yield from self._losses()
        silent = not state.store.spans and not state.store.evicted_spans
        if silent and now - self._started > _SILENCE_S and self._new("silence", value=True):
            yield from self._hints()

    def _losses(self) -> Iterator[str]:
        for client in self._backend.intake.clients():
            service = drawing.printable(client.service)[:60]
            lost = {} if client.stats is None else client.stats._asdict()
            if self._new(f"lost {client.service}", tuple(lost.values())) and any(lost.values()):
                reasons = (f"{count}: {_LOST[name]}" for name, count in lost.items() if count)
                spans = _plural(sum(lost.values()), "span")
                yield f"✗ {service} lost {spans} ({', '.join(reasons)})"
            if self._new(f"missed {client.service}", client.missed):
                yield f"✗ {_plural(client.missed, 'message')} of {service} did not arrive"

    def _hints(self) -> Iterator[str]:
        yield "Nothing has come yet. Listening on:"
        yield from (f"  {line}" for line in self._backend.listening())
        for service in self._backend.strategies.asked():
            told = self._backend.strategies.of(service)
            yield (
                f"  {drawing.printable(service)[:60]} has asked how to sample and was told"
                f" {_in_words(told)}"
            )
        yield "A service that sends elsewhere says so:  tracekit env  shows where it sends,"
        yield "and which share of its traces it samples (JAEGER_SAMPLER_TYPE, OTEL_TRACES_SAMPLER)."

    def _new(self, what: str, value: object) -> bool:
        before = self._told.get(what)
        if len(self._told) < 10_000:
            self._told[what] = value
        return bool(value) and value != before


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _in_words(strategy: Strategy | AdaptiveStrategy) -> str:
    if isinstance(strategy, Strategy) and strategy.type == "ratelimiting":
        return f"{strategy.param:g} traces a second"
    rate = strategy.param if isinstance(strategy, Strategy) else strategy.default
    return f"1 trace in {1 / rate:,.0f}" if rate else "none at all"
