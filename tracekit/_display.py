"""How text from outside, and addresses, are shown: in log lines, figures, reports and on screens.

Whatever somebody else wrote (a server's status line, a gRPC status' details, an operation's name,
a variable's value) passes ``quoted`` before it stands in a line of ours, and an address that may
hold a secret passes ``masked``. Both are pure, total and linear in what they keep.
"""

from __future__ import annotations

import re

MAX_QUOTED = 200
"""Characters of one quoted text."""
MASK = "***"

_CUT = "…"
# Texts, which ``re`` compiles when it is first asked.
_BREAKS = r"[^\S ]+"
_QUERY = r"([?#&;])([^?#&;=]*)(=?)([^?#&;]*)"
# Without a scheme it may be any text: then only what cannot be anything but a query is masked.
_BARE_QUERY = r"([?&])([^?#&;=\s]+)(=)([^?#&;]*)"


def quoted(text: object, limit: int = MAX_QUOTED) -> str:
    r"""Return ``text`` as part of one line: at most ``limit`` characters, all of them printable.

    Line breaks and tabs become a blank; what else is not printable (escape sequences, NUL, marks
    that turn the direction of writing, lone surrogates) is written as ``\x1b``. So nothing can
    forge a line of a log or speak to a terminal. Anything may be given: an object is asked for its
    ``str``; if that is empty or raises, the name of its type is returned.
    """
    if not isinstance(text, str):
        text = _text_of(text)
    line = text[: limit + 1]
    if not line.isprintable():
        line = "".join(map(_printable, re.sub(_BREAKS, " ", line)))
        if len(text) > limit + 1:
            line = line[: limit - 1] + _CUT
    return line if len(line) <= limit else line[: limit - 1] + _CUT


def masked(address: str) -> str:
    """Return an address, good or bad, without the secrets that it may contain.

    User and password become ``***``, and so does the value of each parameter of the query and of
    the fragment, for any of them may be a token. As much as may be a password is masked: one that
    was not escaped can hold any character.
    """
    before, at, after = address.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    if at and (slashes or ":" in before):
        start = f"{scheme}//" if scheme.endswith(":") and slashes else ""
        known, rest = f"{start}{MASK}@", after
        is_url = bool(start)
    else:
        scheme, slashes, rest = address.partition("://")
        known, is_url = scheme + slashes, bool(slashes)
        if not is_url:
            known, rest = "", address
    return known + re.sub(_QUERY if is_url else _BARE_QUERY, _without_value, rest)


def cited(text: str) -> str:
    """Return ``text`` in quotation marks, masked and bounded: for the middle of a sentence."""
    return repr(quoted(masked(text)))


def _without_value(found: re.Match[str]) -> str:
    separator, name, equals, value = found.groups()
    if equals:
        return f"{separator}{name}{equals}{MASK if value else ''}"
    return f"{separator}{MASK if name else ''}"


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def _text_of(value: object) -> str:
    if isinstance(value, bytes):
        return value[: 64 * MAX_QUOTED].decode("utf-8", "replace")
    try:
        return str(value) or type(value).__name__
    except Exception:  # its ``__str__`` raises
        return type(value).__name__
