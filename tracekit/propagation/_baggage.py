"""Baggage: its limits, and W3C's ``baggage`` header.

Source: W3C Baggage (grammar, and the limits that every implementation must at least bear). A
user's baggage is untrusted input that every service behind us pays for, so it is bounded here,
once, both ways, whatever the format.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from tracekit.propagation._headers import ignore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tracekit.propagation._headers import Note
    from tracekit.propagation._remote import ExtractedFields

MAX_ENTRIES = 64
MAX_BYTES = 8192
"""Keys, values, and the two characters between entries: one header of them is within the limit."""

HEADER = "baggage"

# RFC 9110 tokens; anything else would break the header it stands in.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

# W3C's "baggage-octet": printable, no blank, no quote, comma, semicolon or backslash.
_OCTETS = re.compile(r"[!#-+\--:<-\[\]-~]*").fullmatch


def is_token(text: str) -> bool:
    """Whether ``text`` can be (a part of) a header name or a baggage key as it is."""
    return bool(text) and _TOKEN.issuperset(text)


def percent(value: object) -> str:
    """Return ``value`` as percent-encoded text; a lone surrogate, which is no Unicode, as ``?``."""
    return quote(str(value), "", "utf-8", "replace")


def encoded(baggage: Mapping[str, object], note: Note = ignore) -> Iterator[tuple[str, str]]:
    """Yield keys as they are and values percent-encoded; an entry that is no text is noted."""
    for key, value in baggage.items():
        try:
            entry = str(key), percent(value)
        except Exception:  # noqa: PERF203 - somebody else's ``__str__``, each entry for itself
            note("baggage")
        else:
            yield entry


def within_limits(
    entries: Iterable[tuple[str, str]], note: Note = ignore
) -> Iterator[tuple[str, str]]:
    """Yield entries until a limit is met; note the first one left."""
    size_bytes = 0
    for count, (key, value) in enumerate(entries):
        size_bytes += len(key) + len(value) + 2
        if count >= MAX_ENTRIES or size_bytes > MAX_BYTES:
            note("limit")
            return
        yield key, value


def members(text: str, note: Note = ignore) -> Iterator[tuple[str, str]]:
    """Yield the ``key=value`` members of a comma-separated list, blanks around them removed."""
    for member in text.split(","):
        key, equals, value = member.partition("=")
        if equals:
            yield key.strip(" \t"), value.strip(" \t")
        elif member.strip(" \t"):
            note("baggage")


def decode(headers: Mapping[str, str], note: Note = ignore) -> ExtractedFields | None:
    """Read W3C ``baggage``. Properties (``;key=value``) stay in the value, as in OpenTelemetry."""
    header = headers.get(HEADER)
    if header is None:
        return None
    if len(header) > MAX_BYTES:
        note("too_long")
        return None
    found: dict[str, str] = {}
    # A member that is not legal costs itself alone: whoever wrote the others is not to blame.
    for key, value in within_limits(members(header, note), note):
        if is_token(key) and _is_value(value) and (name := unquote(key)):
            found[name] = unquote(value)
        else:
            note("baggage")
    return (0, 0, None, None, False, None, found, "", 0) if found else None


def _is_value(text: str) -> bool:
    """Whether what stands before the properties is a legal value."""
    return _OCTETS(text.partition(";")[0].rstrip(" \t")) is not None


def encode(baggage: Mapping[str, object], note: Note = ignore) -> dict[str, str]:
    """Return the ``baggage`` header of ``baggage``, percent-encoded, or nothing."""
    if not baggage:
        return {}
    entries = ((_escape(key, note), value) for key, value in encoded(baggage, note))
    kept = within_limits(((key, value) for key, value in entries if key), note)
    text = ",".join(f"{key}={value}" for key, value in kept)
    return {HEADER: text} if text else {}


def _escape(key: str, note: Note) -> str:
    # The grammar has tokens for keys; receivers unquote them all the same, so a "%" is escaped too.
    if not key:
        note("baggage")
    return key if is_token(key) and "%" not in key else percent(key)
