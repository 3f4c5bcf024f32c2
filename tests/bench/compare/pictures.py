"""The page's two pictures, as SVG: bars beside what is asked, lines beside linear growth."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WIDTH, _ROW, _LETTER = 400, 26, 6
"""A letter is seldom wider than half its height, which is 11."""
_MOST = 1.25
"""The longest bar, in times of the other."""


def bars(shares: Iterable[tuple[str, float, float]]) -> str:
    """Return a bar for each label: how long tracekit's is, the other being 1, and the limit."""
    rows = list(shares)
    height = 56 + _ROW * len(rows)
    left = 20 + _LETTER * max((len(label) for label, _, _ in rows), default=0)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + _WIDTH + 80} {height}" '
            'font-family="sans-serif" font-size="13">'
        ),
        f'<rect width="{left + _WIDTH + 80}" height="{height}" fill="#fff"/>',
        '<text x="12" y="22" font-size="15">What tracekit costs, the other being 1</text>',
        (
            f'<text x="{left + _WIDTH}" y="22" text-anchor="end" fill="#555">'
            "line: what is asked</text>"
        ),
    ]
    for row, (label, found, asked) in enumerate(rows):
        y = 40 + row * _ROW
        limit = left + asked / _MOST * _WIDTH
        bar = max(0.0, min(found, _MOST)) / _MOST * _WIDTH
        colour = "#2a7f62" if found <= asked else "#c2772b"
        parts += [
            (
                f'<text x="{left - 8}" y="{y + 14}" text-anchor="end" font-size="11">'
                f"{escape(label)}</text>"
            ),
            f'<rect x="{left}" y="{y}" width="{_WIDTH / _MOST:.0f}" height="18" fill="#e9e9e9"/>',
            f'<rect x="{left}" y="{y}" width="{bar:.0f}" height="18" fill="{colour}"/>',
            f'<path d="M{limit:.0f} {y - 2}v22" stroke="#222" stroke-width="2"/>',
            f'<text x="{left + _WIDTH + 8}" y="{y + 14}">{found:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


_COLOURS = ("#2a7f62", "#c2772b", "#2f5fa8", "#8a3f8f")
_W, _H, _X, _Y = 560, 220, 60, 40
_DECADES = 5
_TOP = 2.0
"""In times of linear growth."""


def lines(axes: Mapping[str, Mapping[int, float]]) -> str:
    """Return a line for each axis over the number of things, which grows by decades."""

    def place(number: float, times: float) -> str:
        x = _X + _W * (math.log10(max(number, 1)) / _DECADES)
        return f"{x:.0f},{_Y + _H * (1 - min(times, _TOP) / _TOP):.0f}"

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_X + _W + 40} {_Y + _H + 70}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{_X + _W + 40}" height="{_Y + _H + 70}" fill="#fff"/>',
        '<text x="12" y="22" font-size="15">Cost, beside linear growth</text>',
    ]
    for times in (0.0, 0.5, 1.0, 1.5, 2.0):
        x, _, y = place(1, times).partition(",")
        parts.append(f'<path d="M{x} {y}h{_W}" stroke="{"#222" if times == 1 else "#ddd"}"/>')
        parts.append(f'<text x="{_X - 8}" y="{int(y) + 4}" text-anchor="end">{times:g}</text>')
    for decade in range(_DECADES + 1):
        x = place(10**decade, 0).partition(",")[0]
        parts.append(f'<text x="{x}" y="{_Y + _H + 20}" text-anchor="middle">{10**decade:,}</text>')
    for index, (axis, row) in enumerate(axes.items()):
        colour, path = (
            _COLOURS[index % len(_COLOURS)],
            " ".join(place(n, row[n]) for n in sorted(row)),
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = _X + index * _W // 4
        parts.append(f'<text x="{x}" y="{_Y + _H + 50}" fill="{colour}">{escape(axis)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
