"""Traces as lines: the shape of the tree, the bars, and what hostile spans may not do to it."""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.drawing._paint import svg, text, wants_color
from tracekit.drawing._tree import by_trace, lines, rows
from tracekit.local import Log, ReceivedSpan, Tags, draw


def _span(span_id, parent_id=None, *, start_us=0, duration_us=1000, **fields):
    values = {
        "service": "shop",
        "process_tags": Tags(),
        "trace_id": 0xABC,
        "operation": f"op{span_id}",
        "kind": "internal",
        "flags": 1,
        "tags": Tags(),
        "logs": (),
        "references": (),
    }
    return ReceivedSpan(
        span_id=span_id,
        parent_id=parent_id,
        start_us=start_us,
        duration_us=duration_us,
        **(values | fields),
    )


def test_a_trace_is_drawn_as_a_whole():
    """The whole picture: header, branches, columns, bars to scale, a failed span's reason below."""
    failed = Tags([("error", True), ("otel.status_description", "NOT_FOUND: no car")])
    trace = [
        _span(1, duration_us=100_000, service="front", operation="GET /", kind="server"),
        _span(2, 1, start_us=10_000, duration_us=50_000, service="front", kind="client"),
        _span(3, 2, start_us=50_000, duration_us=10_000, kind="server", tags=failed),
        _span(4, 1, start_us=90_000, duration_us=10),
    ]

    assert text(lines(trace, width=64)).splitlines() == [
        "trace 00000000000000000000000000000abc  4 spans, 2 services, 100.0 ms, 1 failed",
        "front GET /           server    100.0 ms  ██████████████████████",
        "├─ front op2          client     50.0 ms    ███████████",
        "│  └─ shop op3        server     10.0 ms             ██",
        "│        ✗ NOT_FOUND: no car",
        "└─ shop op4           internal    0.0 ms                     █",
    ]


def test_the_reason_has_fallbacks():
    """Without a description the exception's message is shown, without one the type of error."""
    raised = Log(0, Tags([("event", "exception"), ("exception.message", "redis\nis away")]))
    error = Tags([("error", True)])
    trace = [
        _span(1, tags=error, logs=(raised,)),
        _span(2, tags=Tags([*error.pairs, ("error.type", "503")])),
        _span(3, tags=error),
    ]

    reasons = [line.strip() for line in text(lines(trace)).splitlines() if "✗" in line]

    assert reasons == ["✗ redis is away", "✗ 503", "✗ failed"]


def test_spans_are_grouped_and_sorted():
    """The order of arrival does not matter."""
    late, early = _span(1, start_us=5), _span(2, start_us=1)
    other = _span(3, start_us=3, trace_id=7)

    assert by_trace([late, other, early]) == {0xABC: [early, late], 7: [other]}


SPANS = st.lists(
    st.builds(
        _span,
        st.integers(1, 8),
        st.none() | st.integers(1, 8),
        start_us=st.integers(-(2**63), 2**63 - 1),
        duration_us=st.integers(-(2**63), 2**63 - 1),
        operation=st.text(max_size=20),
        service=st.text(max_size=20),
        tags=st.sampled_from([Tags(), Tags([("error", True)])]),
    ),
    min_size=1,
    max_size=12,
)


@given(trace=SPANS)
def test_every_span_has_exactly_one_row(trace):
    """Missing parents, circles and repeated ids included: no span is lost or drawn twice."""
    drawn = [row.span for row in rows(trace)]

    assert sorted(map(id, drawn)) == sorted(map(id, trace))


@given(trace=SPANS, width=st.integers(60, 160))
def test_the_picture_keeps_its_form(trace, width):
    """Any names and times give printable lines of the asked width and well-formed SVG."""
    picture = lines(trace, width)

    for line in picture[1:]:
        plain = "".join(piece.text for piece in line)
        assert plain.isprintable()
        assert len(plain) <= width
    ET.fromstring(svg(picture, "a <trace>"))


def test_a_very_deep_trace_is_drawn():
    """Depth costs lines, not the interpreter's stack."""
    deep = [_span(number, number - 1) for number in range(1, 5001)]

    assert sum(1 for _ in rows(deep)) == 5000


def test_colour_is_added_only_when_asked():
    """Plain text has no escape sequence; with colour, taking them out gives the plain text."""
    picture = lines([_span(1, tags=Tags([("error", True)]))])

    coloured = text(picture, color=True)

    assert "\x1b" not in text(picture)
    assert "\x1b[31m" in coloured


@pytest.mark.parametrize(
    ("tty", "environ", "wanted"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"NO_COLOR": ""}, True),  # as no-color.org says: only a value counts
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals(tty, environ, wanted):
    """A pipe, a dumb terminal and NO_COLOR get plain text."""
    stream = io.StringIO()
    stream.isatty = lambda: tty

    assert wants_color(stream, environ) is wanted


def test_svg_has_all_words_and_bars():
    """The picture carries the title, every word as text and every bar as a shape."""
    root = ET.fromstring(svg(lines([_span(1), _span(2, 1)]), "two spans"))

    name = "{http://www.w3.org/2000/svg}"
    words = [element.text for element in root.iter(f"{name}text")]
    assert root.find(f"{name}title").text == "two spans"
    assert len(root.findall(f"{name}rect")) == 3  # the background and two bars
    assert {"op1", "op2"} <= set(words)


def test_draw_shows_every_trace():
    """The public function puts all traces below each other, an empty line between."""
    long_id = 0xA << 64
    spans = [_span(2, trace_id=long_id, start_us=9), _span(1, trace_id=1)]

    drawn = draw(spans, width=80).split("\n\n")

    assert drawn[0].splitlines()[0] == f"trace {1:032x}  1 span, 1 service, 1.0 ms"
    assert [picture.split()[1] for picture in drawn] == [f"{1:032x}", f"{long_id:032x}"]
    assert draw([]) == ""
