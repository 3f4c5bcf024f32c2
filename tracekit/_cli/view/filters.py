"""Which traces are shown: words of the command line, each true of the trace or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.local import all_tags, as_text, parse_duration_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tracekit.local import ReceivedSpan

HELP = (
    "show only traces with: service=NAME, operation=NAME, error, min=100ms, max=2s (of the whole"
    " trace), KEY=VALUE (a tag), or any other text in a name or a tag; several: all of them"
)


class Filter:
    """All of ``words`` must be true of a trace; ``ValueError`` for a duration that is none."""

    def __init__(self, words: Sequence[str]) -> None:
        self._tests = [_test(word) for word in words]

    def __call__(self, trace: Sequence[ReceivedSpan]) -> bool:
        """Tell whether a trace is shown."""
        return all(test(trace) for test in self._tests)


def duration_us(trace: Sequence[ReceivedSpan]) -> int:
    """Return the time from the first start to the last end."""
    start = min(span.start_us for span in trace)
    return max(span.start_us + span.duration_us for span in trace) - start


def _test(word: str) -> Callable[[Sequence[ReceivedSpan]], bool]:
    name, equals, value = word.partition("=")
    if word == "error":
        return lambda trace: any(span.error for span in trace)
    if name in ("service", "operation") and equals:
        return lambda trace: any(getattr(span, name) == value for span in trace)
    if name in ("min", "max") and equals:
        limit_us = parse_duration_ns(value) / 1000
        if name == "min":
            return lambda trace: duration_us(trace) >= limit_us
        return lambda trace: duration_us(trace) <= limit_us
    if equals and name:
        return lambda trace: any(
            key == name and as_text(found) == value
            for span in trace
            for key, found in all_tags(span)
        )
    return lambda trace: any(_says(span, word.lower()) for span in trace)


def _says(span: ReceivedSpan, text: str) -> bool:
    if text in span.service.lower() or text in span.operation.lower():
        return True
    return any(text in key.lower() or text in as_text(v).lower() for key, v in all_tags(span))
