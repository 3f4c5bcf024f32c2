"""Results as text: tables of medians, spread and ratios, the reference page and its chart."""

from __future__ import annotations

import statistics
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import NamedTuple

from cells import CELLS, OURS, TARGETS, Target
from peers import SIDES
from runs import lost

Runs = dict[str, list[dict]]


class Facts(NamedTuple):
    """Where and with what it was measured."""

    machine: str
    python: str
    versions: dict[str, str]
    absent: dict[str, str]
    rounds: int


def figures(runs: list[dict]) -> dict[str, list[float]]:
    """Return each figure's values over the runs that lost nothing."""
    values: dict[str, list[float]] = {}
    for each in runs:
        if not lost(each):
            for name, value in each["figures"].items():
                values.setdefault(name, []).append(value)
    return values


def median(runs: Runs, side: str, figure: str) -> float | None:
    values = figures(runs.get(side, [])).get(figure)
    return statistics.median(values) if values else None


def section(name: str, runs: Runs, absent: dict[str, str]) -> str:
    """Return a cell's heading and table, in Markdown."""
    cell = CELLS[name]
    lines = [
        f"### {cell.title}",
        "",
        f"{cell.said} (`{name}`)",
        "",
        "| | figure | median | lowest to highest | tracekit ÷ this | runs |",
        "|---|---|---:|---:|---:|---|",
    ]
    for side in cell.sides:
        said = SIDES[side].said
        if SIDES[side].peer in absent:
            lines.append(f"| {said} | | not installed | | | {absent[SIDES[side].peer]} |")
        elif runs.get(side):
            lines += rows(name, side, runs)
    return "\n".join(lines) + "\n"


def rows(name: str, side: str, runs: Runs):
    """Yield a side's line for each figure; one that names the loss if no run was whole."""
    said, mark = SIDES[side].said, runs_said(runs[side])
    values = figures(runs[side])
    if not values:
        yield f"| {said} | | **lost spans** | | | {mark} |"
        return
    units = CELLS[name].figures
    for figure, found in values.items():
        unit = units.get(figure, units.get("", ""))
        if not unit:
            continue
        middle = statistics.median(found)
        ours = median(runs, OURS, figure)
        comparable = ours is not None and not side.startswith("tracekit") and side != "bare"
        ratio = f"{ours / middle:.2f}" if comparable and figure != "bare" and middle > 0 else ""
        label = figure if figure != unit and figure not in ("us", "added") else ""
        yield (
            f"| {said} | {label or ('added' if figure == 'added' else '')} "
            f"| {number(middle)} {unit} | {number(min(found))} to {number(max(found))} "
            f"| {ratio} | {mark} |"
        )


def runs_said(runs: list[dict]) -> str:
    """Say how many runs there were, and how many of them do not count and why."""
    bad = [each for each in runs if lost(each)]
    if not bad:
        return str(len(runs))
    worst = min(bad, key=lambda each: each.get("arrived") or 0)
    why = worst.get("error") or f"{worst['arrived']:,} of {worst['expected']:,} spans arrived"
    return f"{len(runs) - len(bad)} of {len(runs)}; not counted: {why}"


def number(value: float) -> str:
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def ratio_of(target: Target, measured: dict[str, Runs]) -> float | None:
    """Return what the target speaks of; None without a whole run of either side."""
    runs = measured.get(target.cell, {})
    ours = median(runs, target.side, target.figure)
    if not target.peer:
        return ours
    theirs = median(runs, target.peer, target.figure)
    return None if ours is None or not theirs or theirs <= 0 else ours / theirs


def goals(measured: dict[str, Runs]):
    """Yield the table of what is asked for and what was found."""
    yield "| | | beside | asked | found | |"
    yield "|---|---|---|---:|---:|---|"
    for target in TARGETS:
        found = ratio_of(target, measured)
        sign = "≥" if target.at_least else "≤"
        beside = SIDES[target.peer].said if target.peer else "bare"
        met = found is not None and (
            found >= target.limit if target.at_least else found <= target.limit
        )
        verdict = "" if met else "missed, see below" if found is not None else "lost spans"
        yield (
            f"| {CELLS[target.cell].title} | {SIDES[target.side].said} | {beside} "
            f"| {sign} {target.limit:g} | {'' if found is None else f'{found:.2f}'} | {verdict} |"
        )


_PAGE = """\
# Performance

Written by `make bench`; how to repeat it, and how to read it:
[Measure it yourself](../how-to/benchmark.md).

{machine}. CPython {python}. {date}, load of the machine while it was measured: {load}.
{versions}.{absent}

Medians of {rounds} rounds, in which the sides take turns. Each measurement is a process in an
environment of its peer's own, pinned to one core, and sends to a counting process on the other. A
run counts only if all of its spans arrived. Only ratios travel from machine to machine.

## What is asked, and what was found

Ratios of medians, tracekit ÷ the other.

{goals}

![Ratios beside what is asked](performance.svg)
{reasons}
## Every figure

{sections}"""


def write(folder: Path, measured: dict[str, Runs], facts: Facts) -> None:
    """Write ``performance.md`` and ``performance.svg``."""
    loads = [each["load"] for runs in measured.values() for side in runs.values()
             for each in side if "load" in each]  # fmt: skip
    kept = (Path(__file__).with_name(name) for name in ("reasons.md", "spans.md"))
    reasons = "".join(f"\n{it.read_text(encoding='utf-8').strip()}\n" for it in kept if it.exists())
    text = _PAGE.format(
        machine=facts.machine,
        python=facts.python,
        date=datetime.now(tz=timezone.utc).date(),
        load=f"{statistics.median(loads):.1f}, at most {max(loads):.1f}" if loads else "unknown",
        versions=", ".join(f"{name} {version}" for name, version in sorted(facts.versions.items())),
        absent="".join(f" {peer} does not install: {why}." for peer, why in facts.absent.items()),
        rounds=facts.rounds,
        goals="\n".join(goals(measured)),
        reasons=reasons,
        sections="\n".join(section(name, runs, facts.absent) for name, runs in measured.items()),
    )
    (folder / "performance.md").write_text(text, encoding="utf-8")
    (folder / "performance.svg").write_text(chart(measured), encoding="utf-8")


# --- the chart ---

_LEFT, _WIDTH, _ROW = 500, 400, 26


def chart(measured: dict[str, Runs]) -> str:
    """Return a bar for each target that is a share: how long tracekit's is, and the limit."""
    bars = [
        (target, found)
        for target in TARGETS
        if target.peer and not target.at_least
        and (found := ratio_of(target, measured)) is not None
    ]  # fmt: skip
    height = 56 + _ROW * len(bars)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 80} {height}" '
            'font-family="sans-serif" font-size="13">'
        ),
        f'<rect width="{_LEFT + _WIDTH + 80}" height="{height}" fill="#fff"/>',
        '<text x="12" y="22" font-size="15">What tracekit costs, the other being 1</text>',
        (
            f'<text x="{_LEFT + _WIDTH}" y="22" text-anchor="end" fill="#555">'
            "line: what is asked</text>"
        ),
    ]
    for row, (target, found) in enumerate(bars):
        y = 40 + row * _ROW
        limit = _LEFT + target.limit * _WIDTH
        bar = max(0.0, min(found, 1.0)) * _WIDTH
        label = f"{CELLS[target.cell].title} / {SIDES[target.peer].said.partition(',')[0]}"
        if target.side != OURS:
            label += f" ({SIDES[target.side].said.partition(', ')[2]})"
        colour = "#2a7f62" if found <= target.limit else "#c2772b"
        parts += [
            (
                f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end" font-size="11">'
                f"{escape(label)}</text>"
            ),
            f'<rect x="{_LEFT}" y="{y}" width="{_WIDTH}" height="18" fill="#e9e9e9"/>',
            f'<rect x="{_LEFT}" y="{y}" width="{bar:.0f}" height="18" fill="{colour}"/>',
            f'<path d="M{limit:.0f} {y - 2}v22" stroke="#222" stroke-width="2"/>',
            f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 14}">{found:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
