"""What ``keep`` may say: rules over traces that are not sampled, and predicates."""
# ruff: noqa: TRY004 (as in ``values``: a value of the wrong type is a wrong value)

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._config.values import PartlyGoodError

if TYPE_CHECKING:
    from tracekit.sampling._keep import Entry


def keeps(value: object) -> tuple[Entry, ...]:
    """Return rules and predicates from a list, from a text with commas, or from one predicate.

    A bad one does not cost the others, as long as one is left that gives a reason.
    """
    from tracekit.sampling import keep_rule  # noqa: PLC0415 - only where somebody keeps anything

    if isinstance(value, str):
        value = value.split(",")
    elif callable(value):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError(f"wants rules and predicates, not {type(value).__name__}")
    entries = [each.strip() if isinstance(each, str) else each for each in value]
    complaints = {at: said for at, each in enumerate(entries) if (said := _complaint(each))}
    wrong = list(complaints.values())
    good = [
        each
        for at, each in enumerate(entries)
        if at not in complaints and not (isinstance(each, str) and not each)
    ]
    found = tuple(each for each in good if not (isinstance(each, str) and not each))
    if found:
        try:
            keep_rule(found)
        except ValueError as error:
            wrong.append(str(error))
            found = ()
    if wrong:
        raise PartlyGoodError("; ".join(wrong), found)
    return found


def _complaint(entry: Entry) -> str:
    from tracekit.sampling._keep import MODIFIERS, condition  # noqa: PLC0415 - as above

    try:
        if not isinstance(entry, str) or (entry and entry not in MODIFIERS):
            condition(entry)
    except ValueError as error:
        return str(error)
    return ""
