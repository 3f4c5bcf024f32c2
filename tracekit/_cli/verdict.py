"""What one check found, and how all of them are shown: as lines, in colour, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Result = Literal["ok", "note", "fail", "skipped"]

_MARKS: dict[Result, tuple[str, str]] = {
    "ok": ("ok", "32"),
    "note": ("note", "33"),
    "fail": ("FAIL", "31;1"),
    "skipped": ("-", "2"),
}


class Verdict(NamedTuple):
    """One check: what it is called, how it ended, what was seen, what to do next."""

    check: str
    result: Result
    said: str
    next_step: str = ""


def failed(verdicts: Iterable[Verdict]) -> list[str]:
    """Return the names of the checks that failed."""
    return [each.check for each in verdicts if each.result == "fail"]


def lines(verdicts: Sequence[Verdict], *, color: bool = False) -> list[str]:
    """Return a line for each verdict, and an indented one for what to do next."""
    width = max((len(each.check) for each in verdicts), default=0)
    shown = []
    for each in verdicts:
        mark, code = _MARKS[each.result]
        padded = f"{mark:<4}"
        painted = f"\x1b[{code}m{padded}\x1b[0m" if color else padded
        shown.append(f"{painted}  {each.check:<{width}}  {each.said}".rstrip())
        if each.next_step:
            shown.append(f"      {'':<{width}}  -> {each.next_step}")
    return shown


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return the last line: what all of them come to."""
    bad = failed(verdicts)
    if bad:
        return f"{len(bad)} of {len(verdicts)} checks failed: {', '.join(bad)}"
    notes = sum(each.result == "note" for each in verdicts)
    return "all is well" + (f"; worth a look: {notes}" if notes else "")
