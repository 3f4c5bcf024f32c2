"""The spans of a test: a sequence of those that have ended, and ways to ask it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from opentelemetry.trace import StatusCode

from tracekit._recording.tree import drawn, forest, like

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit._recording.handles import TestTracing
    from tracekit._recording.recorder import Recorder
    from tracekit._recording.tree import Node


class Spans(Sequence["ReadableSpan"]):
    """The ended spans, in the order in which they ended. Any thread may end spans meanwhile."""

    def __init__(self, tracing: TestTracing, recorder: Recorder) -> None:
        self.tracing = tracing
        """The handle that is the process' handle as long as this lasts."""
        self._recorder = recorder

    @overload
    def __getitem__(self, index: int) -> ReadableSpan: ...

    @overload
    def __getitem__(self, index: slice) -> list[ReadableSpan]: ...

    def __getitem__(self, index: int | slice) -> ReadableSpan | list[ReadableSpan]:
        return self._recorder.ended()[index]

    def __len__(self) -> int:
        return len(self._recorder.ended())

    def __iter__(self) -> Iterator[ReadableSpan]:
        return iter(self._recorder.ended())

    def __repr__(self) -> str:
        return f"<Spans: {', '.join(span.name for span in self) or 'none has ended'}>"

    @property
    def open(self) -> list[str]:
        """The names of spans that have started and not ended, with where they were started."""
        return [f"{it.span.name} (started at {it.where})" for it in self._recorder.open()]

    def where(
        self,
        name: str | None = None,
        *,
        kind: str | None = None,
        error: bool | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> list[ReadableSpan]:
        """Return the ended spans that are like this, in the order of their ends.

        ``name`` may hold ``*`` and ``?``; ``kind`` is internal, server, client, producer or
        consumer; ``error`` asks for the status; ``attributes`` must all be there and be equal.
        """
        return [
            span
            for span in self
            if (name is None or like(span.name, name))
            and (kind is None or span.kind.name.lower() == kind.lower())
            and (error is None or (span.status.status_code is StatusCode.ERROR) is error)
            and all((span.attributes or {}).get(k) == v for k, v in (attributes or {}).items())
        ]

    def one(
        self,
        name: str | None = None,
        *,
        kind: str | None = None,
        error: bool | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> ReadableSpan:
        """Return the one span that is like this (see ``where``); AssertionError unless it is."""
        found = self.where(name, kind=kind, error=error, attributes=attributes)
        assert len(found) == 1, (  # noqa: S101 - what a test's helper raises
            f"{len(found)} spans are like that, not 1; ended are:\n{self.tree() or '(none)'}"
        )
        return found[0]

    def wait(self, count: int, timeout_s: float = 5.0) -> list[ReadableSpan]:
        """Return the ended spans once ``count`` have, on whatever thread; else AssertionError."""
        ended = self._recorder.ended
        with self._recorder.changed:
            self._recorder.changed.wait_for(lambda: len(self) >= count, timeout_s)
        found = ended()
        assert len(found) >= count, (  # noqa: S101 - as above
            f"{count} spans expected, {len(found)} have ended:\n{self.tree() or '(none)'}"
        )
        return found

    def clear(self) -> None:
        """Forget the spans that have ended."""
        self._recorder.clear()

    def tree(self, *attributes: str) -> str:
        """Return the traces as text: a line a span, children indented, in the order of the starts.

        A line is the name, ``[kind]`` unless internal, ``ERROR`` if so, and of ``attributes`` those
        that the span has: ``{http.route=/hello}``. ``assert_trace`` reads the same form.
        """
        return drawn(self.forest(), attributes)

    def forest(self) -> list[Node]:
        """Return the traces as nodes; for ``assert_trace``."""
        return forest(sorted(self, key=self._recorder.order))
