"""What tracing adds to a call, side by side in one process: for the benches of these groups.

Every side is asked in turns, round by round, so whatever else the machine does meets all of them.
What counts is the CPU of the thread that asks; exports run on threads of their own.
"""

from __future__ import annotations

import gc
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Ask = Callable[[int], Awaitable[None]]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "performance-services.md"
HEAD = """\
| request | bare | tracekit adds | others add | tracekit ÷ contrib | at most |
|---|---:|---:|---|---:|---:|"""
BARE, OURS, CONTRIB = "bare", "tracekit", "contrib"


class Row(NamedTuple):
    """One comparison: a title, µs of the bare call, µs that each side adds, the ratio asked for."""

    title: str
    bare: float
    added: dict[str, float]
    asked: float

    def __str__(self) -> str:
        """Return the line of the table."""
        others = (name for name in self.added if name != OURS)
        told = ", ".join(f"{name} {self.added[name]:.1f}" for name in others)
        ratio = self.added[OURS] / self.added[CONTRIB]
        return (
            f"| {self.title} | {self.bare:.0f} | {self.added[OURS]:.1f} | {told} "
            f"| {ratio:.2f} | {self.asked:.2f} |"
        )


async def compare(
    title: str,
    asked: float,
    sides: dict[str, Ask],
    flush: Callable[[], object],
    *,
    count: int,
    rounds: int = 30,
) -> Row:
    """Ask each side ``count`` times a round; ``flush`` runs off the clock."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 2):
        for name, ask in sides.items():
            gc.collect()
            began = time.thread_time()
            await ask(count)
            spent[name].append((time.thread_time() - began) / count * 1e6)
            flush()
    bare = spent.pop(BARE)[2:]
    added = {
        name: statistics.median(ours - none for ours, none in zip(each[2:], bare, strict=True))
        for name, each in spent.items()
    }
    return Row(title, statistics.median(bare), added, asked)


def tell(group: str, rows: list[Row]) -> None:
    """Print the table and put it into its place on the page."""
    table = "\n".join([HEAD, *map(str, rows)])
    print(table, flush=True)
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {group} -->", f"<!-- end of {group} -->"
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")
