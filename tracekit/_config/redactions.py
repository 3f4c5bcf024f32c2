"""What ``redact`` may say: names of parameters and attributes, and ``/patterns/``."""
# ruff: noqa: TRY004 (as in ``values``: a value of the wrong type is a wrong value)

from __future__ import annotations

import re

from tracekit._config.values import PartlyGoodError
from tracekit.encoding._redacting import is_pattern

_REDACTION = r"\s*(/(?:\\.|[^\\])*?/(?=\s*(?:,|$))|[^,]*)\s*(?:,|$)"


def redactions(value: object) -> tuple[str, ...]:
    """Return names and ``/patterns/`` from a list, or from a text with commas between them.

    A bad pattern does not cost the others: what must not leave the process is asked for.
    """
    if isinstance(value, str):
        value = [found.group(1) for found in re.finditer(_REDACTION, value)]
    if not isinstance(value, list | tuple):
        raise ValueError(f"wants names and /patterns/, not {type(value).__name__}")
    good, wrong = [], []
    for written in value:
        entry = written.strip() if isinstance(written, str) else ""
        try:
            if is_pattern(entry) and re.compile(entry[1:-1]).match("") is not None:
                wrong.append(f"{entry} matches nothing at all, and so everywhere")
            elif is_pattern(entry) or re.fullmatch(r"[^\s/=&,]+", entry):
                good.append(entry)
            elif entry or not isinstance(written, str):
                wrong.append(f"{written!r} is neither a name nor a /pattern/")
        except re.error as error:
            wrong.append(f"{entry} is no regular expression: {error}")
    found = tuple(dict.fromkeys(good))
    if wrong:
        raise PartlyGoodError("; ".join(wrong), found)
    return found
