"""Results as text: tables of medians, spread and ratios, the reference page and its chart."""

from __future__ import annotations

import statistics
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import growth
from cells import CELLS, OURS, TARGETS, Target
from peers import NEWEST, SIDES
from pictures import bars, lines
from runs import lost

Runs = dict[str, list[dict]]


class Facts(NamedTuple):
    """Where and with what it was measured."""

    machine: str
    python: str
    versions: dict[str, str]
    absent: dict[str, str]
    rounds: int
    native: bool
    """Whether the frames were native where a side does not say that it is Python alone."""


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
    text = [
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
            text.append(f"| {said} | | not installed | | | {absent[SIDES[side].peer]} |")
        elif runs.get(side):
            text += rows(name, side, runs)
    return "\n".join(text) + "\n"


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
        ours = median(runs, f"{OURS}-{NEWEST}" if side.endswith(NEWEST) else OURS, figure)
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


def ratio_of(target: Target, measured: dict[str, Runs], side: str = "") -> float | None:
    """Return what the target speaks of, of its side or another; None without a whole run of it."""
    runs = measured.get(target.cell, {})
    ours = median(runs, side or target.side, target.figure)
    if not target.peer:
        return ours
    theirs = median(runs, target.peer, target.theirs or target.figure)
    return None if ours is None or not theirs or theirs <= 0 else ours / theirs


class Verdict(NamedTuple):
    """What was found of a target; None: frames take no part, there is no such side, or no run."""

    target: Target
    pure: float | None
    native: float | None

    @property
    def missed(self) -> bool:
        target = self.target
        return any(
            found is not None
            and limit is not None
            and (found < limit if target.at_least else found > limit)
            for found, limit in ((self.pure, target.limit), (self.native, target.asked))
        )

    @property
    def measured(self) -> bool:
        return self.pure is not None or self.native is not None


def verdicts(measured: dict[str, Runs], *, native: bool):
    """Yield what was found of each target, in Python alone and with native frames."""
    for target in TARGETS:
        found = ratio_of(target, measured)
        if not CELLS[target.cell].frames or not native:
            yield Verdict(target, found, None)
        else:
            yield Verdict(target, ratio_of(target, measured, f"{target.side}-pure"), found)


def goals(measured: dict[str, Runs], *, native: bool):
    """Yield the table of what is asked for and what was found."""
    yield "| | | beside | Python: asked | found | native: asked | found | |"
    yield "|---|---|---|---:|---:|---:|---:|---|"
    for verdict in verdicts(measured, native=native):
        target = verdict.target
        cell = CELLS[target.cell]
        sign = "≥" if target.at_least else "≤"
        title = f"{cell.title}: {target.figure}" if "" in cell.figures else cell.title
        beside = SIDES[target.peer].said if target.peer else "itself, bare"
        columns = [
            f"{sign} {target.limit:g}" if target.limit is not None else "",
            "" if verdict.pure is None else f"{verdict.pure:.2f}",
            f"{sign} {target.asked:g}" if cell.frames else "",
            "" if verdict.native is None else f"{verdict.native:.2f}",
        ]
        if cell.frames and not native:
            columns[3] = "not built"
        said = "missed, see below" if verdict.missed else ""
        yield (
            f"| {title} | {SIDES[target.side].said} | {beside} | {' | '.join(columns)} "
            f"| {said if verdict.measured else 'not measured, or lost spans'} |"
        )


def reasons(text: str, measured: dict[str, Runs], *, native: bool) -> str:
    """Return, of the reasons by cell (``## cell``), those for what was missed in this run."""
    known = {}
    for part in text.split("\n## ")[1:]:
        names, _, reason = part.partition("\n")
        known |= dict.fromkeys(names.split(", "), reason.strip())
    cells = dict.fromkeys(
        verdict.target.cell for verdict in verdicts(measured, native=native) if verdict.missed
    )
    told: dict[str, list[str]] = {}
    for cell in cells:
        told.setdefault(known.get(cell, "No reason is known yet."), []).append(CELLS[cell].title)
    if not told:
        return ""
    parts = [f"**{'; '.join(titles)}.** {reason}\n" for reason, titles in told.items()]
    return "\n".join(["", "## What is missed, and why", "", *parts])


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

Ratios of medians, tracekit ÷ the other. *Python* is tracekit without, *native* with its optional
[native frames](../explanation/native-frames.md), which take part where a span is encoded.

{goals}

![Ratios beside what is asked](performance.svg)
{reasons}
{spans}

## How cost grows

Each line is a cost beside what linear growth from its smallest number would make of it: where it
stays at 1 or falls, nothing grows faster than linearly (`scale`, below).

![Cost beside linear growth](growth.svg)

## Every figure

{sections}"""


def write(folder: Path, measured: dict[str, Runs], facts: Facts) -> None:
    """Write ``performance.md``, ``performance.svg`` and ``growth.svg``."""
    loads = [each["load"] for runs in measured.values() for side in runs.values()
             for each in side if "load" in each]  # fmt: skip
    known, spans = (
        Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8")
        for name in ("reasons", "spans")
    )
    text = _PAGE.format(
        machine=facts.machine,
        python=facts.python,
        date=datetime.now(tz=timezone.utc).date(),
        load=f"{statistics.median(loads):.1f}, at most {max(loads):.1f}" if loads else "unknown",
        versions=", ".join(f"{name} {version}" for name, version in sorted(facts.versions.items())),
        absent="".join(f" {peer} does not install: {why}." for peer, why in facts.absent.items()),
        rounds=facts.rounds,
        goals="\n".join(goals(measured, native=facts.native)),
        reasons=reasons(known, measured, native=facts.native),
        spans=spans.strip(),
        sections="\n".join(section(name, runs, facts.absent) for name, runs in measured.items()),
    )
    (folder / "performance.md").write_text(text, encoding="utf-8")
    pictures = {"performance": bars(drawn(measured)), "growth": lines(grown(measured["scale"]))}
    for name, picture in pictures.items():
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")


def drawn(measured: dict[str, Runs]):
    """Yield label, found and asked of each target that is a share."""
    for target in TARGETS:
        found = ratio_of(target, measured)
        if not target.peer or target.at_least or found is None:
            continue
        label = f"{CELLS[target.cell].title} / {SIDES[target.peer].said.partition(',')[0]}"
        if target.side != OURS:
            label += f" ({SIDES[target.side].said.rpartition(', ')[2]})"
        elif target.figure not in ("us", "added", "ms"):
            label += f" ({target.figure})"
        yield label, found, target.asked


def grown(runs: Runs) -> dict[str, dict[int, float]]:
    """Return, for each thing that there may be more of, the cost beside linear growth."""
    axes: dict[str, dict[int, float]] = {}
    for figure, values in figures(runs.get(OURS, [])).items():
        number, _, axis = figure.partition(" ")
        if axis:
            axes.setdefault(axis, {})[int(number)] = statistics.median(values)
    return {axis: growth.linear(axis, row) for axis, row in axes.items()}
