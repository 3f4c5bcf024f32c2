"""The strict handle in the place of the process' handle, and everything put back afterwards."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Sampler

from tracekit._assembly.handle import standing_in
from tracekit._context import attach, get_current
from tracekit._recording.handles import TestTracing
from tracekit._recording.recorder import Recorder
from tracekit._recording.spans import Spans
from tracekit.sampling import ParentRule
from tracekit.tracing import TracerProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from typing_extensions import Unpack

    from tracekit._config.fields import NamedSettingsFields

_END_S = 2.0
_THREADS = {"tracekit-worker", "tracekit-sampling"}
"""Those that belong to a handle; some others are the process' own and stay."""


class RecordingTracing(TestTracing):
    """The process' handle of a test: the program's ``init`` gets it, its ``shutdown`` flushes."""

    stands_in = True

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Send what is queued; the test goes on, and with it this handle."""
        self.flush(timeout_s)

    def end(self, timeout_s: float) -> None:
        """End the handle; for who made it."""
        super().shutdown(timeout_s)


@contextmanager
def recording(
    *,
    strict: bool = True,
    sampler: Sampler | float | None = None,
    **settings_fields: Unpack[NamedSettingsFields],
) -> Iterator[Spans]:
    """Record the spans of the block on a handle that is the process' handle meanwhile.

    ``tracekit.get_tracer``, the edges, OpenTelemetry's globals, and an ``init()`` in the program
    under test all lead to it; afterwards everything is as before. It samples everything, reads no
    environment, opens no socket; ``settings_fields`` are those of ``init``, ``sampler`` is the
    share of traces to sample (0 to 1) or a sampler of OpenTelemetry's. One at a time in a process,
    or one within another.

    With ``strict``, at the end no span may be open or belong to an earlier test, no context may be
    left attached, and no thread of tracekit's may be left.

    Raises:
        AssertionError: at the end, when ``strict``; it names each span and where it was started.

    """
    handle = _made(sampler, settings_fields)
    recorder = Recorder()
    handle.provider.add_span_processor(recorder)
    threads = set(threading.enumerate())
    before = get_current()
    try:
        with standing_in(handle):
            yield Spans(handle, recorder)
    finally:
        after = get_current()
        if after is not before:
            attach(before)
        handle.end(_END_S)
    if strict:
        _check(recorder, before, after, threads)


def _made(sampler: Sampler | float | None, fields: NamedSettingsFields) -> RecordingTracing:
    if sampler is not None and not isinstance(sampler, Sampler):
        fields = {**fields, "sampler_type": "probabilistic", "sampler_param": sampler}
    made = RecordingTracing.of(None, **fields)
    if isinstance(sampler, Sampler):
        assert isinstance(made.provider, TracerProvider)  # noqa: S101 - sampled, so not disabled
        made.provider.sampler = ParentRule(sampler)
    return made


def _check(
    recorder: Recorder, before: Context, after: Context, threads: set[threading.Thread]
) -> None:
    """Fail with everything that is left over."""
    said = [
        f"span {it.span.name!r} has not ended; it was started at {it.where}"
        for it in recorder.open()
    ]
    said += [
        f"span {it.span.name!r} (started at {it.where}) has a parent of an earlier test"
        for it in recorder.strangers()
    ]
    if after is not before:
        said.append(f"a context was left attached: {_current(after)} is still current")
    said += [
        f"thread {each.name!r} of tracekit's is left; shut down the handle that it belongs to"
        for each in threading.enumerate()
        if each not in threads and each.name in _THREADS and _stays(each)
    ]
    assert not said, "\n".join(said)  # noqa: S101 - what a test's helper raises


def _stays(thread: threading.Thread) -> bool:
    thread.join(0.5)  # it may be about to end
    return thread.is_alive()


def _current(context: Context) -> str:
    span = trace.get_current_span(context)
    return f"span {getattr(span, 'name', '(a remote one)')!r}" if context else "an empty one"
