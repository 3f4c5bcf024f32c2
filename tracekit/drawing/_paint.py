"""Lines of pieces as text for a terminal, plain or coloured, and as an SVG picture."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tracekit.drawing._tree import BAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO

    from tracekit.drawing._tree import Line, Style

_ANSI: Mapping[Style, str] = {
    "plain": "",
    "dim": "2",
    "bold": "1",
    "error": "31",
    "hue0": "36",
    "hue1": "33",
    "hue2": "32",
    "hue3": "35",
}
_SVG: Mapping[Style, str] = {
    "plain": "#d7dae0",
    "dim": "#8b93a1",
    "bold": "#ffffff",
    "error": "#ff6b68",
    "hue0": "#56b6c2",
    "hue1": "#e5c07b",
    "hue2": "#98c379",
    "hue3": "#c678dd",
}
_COLUMN, _ROW, _MARGIN = 8, 19, 16


def text(lines: Iterable[Line], *, color: bool = False) -> str:
    """Return the lines as text; with ``color`` in ANSI escape sequences."""
    return "\n".join(_text_line(line, color=color).rstrip() for line in lines)


def wants_color(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether colours are for ``stream``: a terminal that has them, and no ``NO_COLOR``."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _text_line(line: Line, *, color: bool) -> str:
    if not color:
        return "".join(piece.text for piece in line)
    return "".join(
        f"\x1b[{_ANSI[piece.style]}m{piece.text}\x1b[0m" if _ANSI[piece.style] else piece.text
        for piece in line
    )


def svg(lines: Sequence[Line], title: str) -> str:
    """Return the lines as an SVG document; ``title`` describes it to who cannot see it.

    Every piece stands at its own column and bars are rectangles, so the picture is aligned
    whatever monospaced font the reader has.
    """
    columns = max(sum(len(piece.text) for piece in line) for line in lines)
    width = columns * _COLUMN + 2 * _MARGIN
    height = len(lines) * _ROW + 2 * _MARGIN
    body = [
        shape
        for number, line in enumerate(lines)
        for shape in _shapes(line, _MARGIN + number * _ROW)
    ]
    font = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {font}>',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#1e222a"/>',
            *body,
            "</svg>\n",
        ]
    )


def _shapes(line: Line, top: int) -> list[str]:
    shapes, column = [], 0
    for piece in line:
        words = piece.text.strip(" ")
        left = _MARGIN + (column + len(piece.text) - len(piece.text.lstrip(" "))) * _COLUMN
        column += len(piece.text)
        fill = _SVG[piece.style]
        if not words:
            continue
        if not words.strip(BAR):
            size = f'width="{len(words) * _COLUMN}" height="{_ROW - 7}"'
            shapes.append(f'<rect x="{left}" y="{top + 3}" {size} rx="2" fill="{fill}"/>')
        else:
            place = f'x="{left}" y="{top + 14}" textLength="{len(words) * _COLUMN}"'
            shapes.append(
                f'<text {place} fill="{fill}" xml:space="preserve">{escape(words)}</text>'
            )
    return shapes
