"""A trace as lines of a terminal: who called whom, how long it took, what failed.

Lines are made of pieces with a meaning, not with a colour: ``_paint`` gives them one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Style: TypeAlias = Literal["plain", "dim", "bold", "error", "hue0", "hue1", "hue2", "hue3"]
_HUES: tuple[Style, ...] = ("hue0", "hue1", "hue2", "hue3")

BAR = "█"
_MIN_BAR_COLUMNS = 12


class DrawnLog(Protocol):
    """Something that happened within a span: only an exception's message is drawn."""

    @property
    def fields(self) -> Mapping[str, object]:
        """What is said of it."""


class DrawnSpan(Protocol):
    """What is drawn of a span. Ids are whole numbers; times are µs, ``start_us`` since 1970."""

    @property
    def trace_id(self) -> int: ...

    @property
    def span_id(self) -> int: ...

    @property
    def parent_id(self) -> int | None: ...

    @property
    def service(self) -> str: ...

    @property
    def operation(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def start_us(self) -> int: ...

    @property
    def duration_us(self) -> int: ...

    @property
    def error(self) -> bool: ...

    @property
    def tags(self) -> Mapping[str, object]: ...

    @property
    def logs(self) -> Sequence[DrawnLog]: ...


_Span = TypeVar("_Span", bound=DrawnSpan)


class Piece(NamedTuple):
    """A stretch of text with one meaning."""

    text: str
    style: Style = "plain"


Line: TypeAlias = "list[Piece]"


class Row(NamedTuple):
    """A span and where it hangs: ``rails`` is the drawing of branches before its name."""

    rails: str
    below: str
    """What continues those branches on a line below the span's own."""
    span: DrawnSpan


def by_trace(spans: Iterable[_Span]) -> dict[int, list[_Span]]:
    """Group spans by trace id; traces and their spans in the order of their start."""
    traces: dict[int, list[_Span]] = {}
    for span in sorted(spans, key=lambda span: span.start_us):
        traces.setdefault(span.trace_id, []).append(span)
    return traces


def rows(trace: Sequence[DrawnSpan]) -> Iterator[Row]:
    """Yield each span of a trace once, below its parent and by start.

    A span whose parent is not there is a root. So is the first of a circle of parents, which no
    tracer makes, but a datagram may say.
    """
    ids = {span.span_id for span in trace}
    children: dict[int | None, list[int]] = {}
    for index, span in enumerate(trace):
        parent = span.parent_id if span.parent_id in ids else None
        children.setdefault(parent, []).append(index)
    seen: set[int] = set()
    for first in [*children.get(None, ()), *range(len(trace))]:
        # A stack of our own: the depth of a trace is the sender's, the recursion limit is ours.
        stack = [(first, "", "")]
        while stack:
            index, rails, under = stack.pop()
            if index in seen:
                continue
            seen.add(index)
            mine = children.get(trace[index].span_id, [])
            yield Row(rails, under + ("│  " if mine else "   "), trace[index])
            for place, child in enumerate(reversed(mine)):
                branch, beyond = ("├─ ", "│  ") if place else ("└─ ", "   ")
                stack.append((child, under + branch, under + beyond))


def lines(trace: Sequence[DrawnSpan], width: int = 100) -> list[Line]:
    """Return the picture of one trace, a header and at least a line a span, ``width`` columns."""
    table = list(rows(trace))
    hues = _hues(trace)
    scale = _Scale.of(trace, table, width)
    picture = [_header(trace, scale.total_us)]
    for row in table:
        hue = hues[row.span.service]
        rails = _fitting(row.rails, scale.names // 2)
        picture.append(
            [
                Piece(rails, "dim"),
                *_named(row.span, hue, scale.names - len(rails)),
                Piece(f"  {printable(row.span.kind)[: scale.kinds]:<{scale.kinds}}", "dim"),
                Piece(f" {duration(row.span.duration_us):>9}  "),
                *scale.bar(row.span, hue),
            ]
        )
        if row.span.error:
            below = _fitting(row.below, scale.names // 2)
            reason = f"✗ {_reason(row.span)}"[: width - len(below)]
            picture.append([Piece(below, "dim"), Piece(reason, "error")])
    return picture


class _Scale(NamedTuple):
    """The columns of a picture: of the names, the kinds, the bars; and the time they show."""

    names: int
    kinds: int
    bars: int
    start_us: int
    total_us: int

    @classmethod
    def of(cls, trace: Sequence[DrawnSpan], table: Sequence[Row], width: int) -> _Scale:
        start_us = min(span.start_us for span in trace)
        end_us = max(span.start_us + span.duration_us for span in trace)
        kinds = max(min(len(span.kind), 10) for span in trace)
        left = width - kinds - 14  # the duration and the gaps
        wanted = max(len(row.rails) + len(row.span.service + row.span.operation) for row in table)
        names = max(20, min(wanted + 1, left - _MIN_BAR_COLUMNS))
        bars = max(_MIN_BAR_COLUMNS, left - names)
        return cls(names, kinds, bars, start_us, max(1, end_us - start_us))

    def bar(self, span: DrawnSpan, hue: Style) -> Line:
        """Draw when a span ran; one that took no time at all is still one column wide."""
        since_us = span.start_us - self.start_us
        before = min(self.bars - 1, since_us * self.bars // self.total_us)
        columns = round(span.duration_us * self.bars / self.total_us)
        columns = max(1, min(self.bars - before, columns))
        return [Piece(" " * before), Piece(BAR * columns, "error" if span.error else hue)]


def _header(trace: Sequence[DrawnSpan], total_us: int) -> Line:
    services = len({span.service for span in trace})
    errors = sum(span.error for span in trace)
    figures = f"{_plural(len(trace), 'span')}, {_plural(services, 'service')}, {duration(total_us)}"
    trace_id = trace[0].trace_id
    # As log lines have it: a search by these 32 digits finds both, and so does one by the 16 that
    # Jaeger's page shows of an id whose upper half is zero.
    header = [Piece(f"trace {trace_id:032x}", "bold"), Piece(f"  {figures}", "dim")]
    if errors:
        header.append(Piece(f", {errors} failed", "error"))
    return header


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _fitting(rails: str, columns: int) -> str:
    # Far down only the nearest branches are drawn, so that there is room for a name.
    return rails if len(rails) <= columns else "…" + rails[1 - columns :]


def _named(span: DrawnSpan, hue: Style, columns: int) -> Line:
    service = printable(span.service)[:columns]
    operation = f" {printable(span.operation)}"
    left = columns - len(service)
    if len(operation) > left:
        operation = operation[: max(0, left - 1)] + "…" * min(1, left)
    style: Style = "error" if span.error else "plain"
    return [Piece(service, hue), Piece(f"{operation:<{left}}", style)]


def _hues(trace: Sequence[DrawnSpan]) -> dict[str, Style]:
    services = dict.fromkeys(span.service for span in trace)
    return {service: _HUES[place % len(_HUES)] for place, service in enumerate(services)}


def duration(microseconds: int) -> str:
    """Return a duration in at most nine characters, whatever the sender claims."""
    if microseconds < 0:
        return "?"
    if microseconds < 1_000_000:
        return f"{microseconds / 1e3:.1f} ms"
    seconds = microseconds / 1e6
    return f"{seconds:.2f} s" if seconds < 3600 else f"{seconds / 3600:.2g} h"


def _reason(span: DrawnSpan) -> str:
    """Return why a span failed: its description, else its exception, else its type of error."""
    raised = (log.fields.get("exception.message") for log in reversed(span.logs))
    told = [span.tags.get("otel.status_description"), *raised, span.tags.get("error.type")]
    return " ".join(printable(str(next(filter(None, told), "failed"))).split())


def printable(text: str) -> str:
    """Return the text without what would steer a terminal: it comes from whoever sent the span."""
    return "".join(char if char.isprintable() else " " for char in text)
