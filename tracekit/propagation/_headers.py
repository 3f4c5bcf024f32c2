"""Carriers as one shape: a dict of lower-case names to text, repetitions joined by commas.

Every codec reads that shape and nothing else. Joining is what HTTP allows any server on the way
to do (RFC 9110, section 5.3), so a codec has to live with it anyway.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Value: TypeAlias = str | bytes
    Pairs: TypeAlias = Iterable[tuple[str, Value]]
    Carrier: TypeAlias = Mapping[str, object] | Iterable[tuple[str | bytes, object]]

Note: TypeAlias = "Callable[[str], None]"
"""How a codec reports what it ignored: called with one word, the reason."""

MAX_VALUE_BYTES = 8192
"""A longer header value is refused: no format needs it, and every server's limit is near."""


_FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]+").fullmatch
"""Visible characters, blanks between them, and what is no ASCII but has always been let through."""
_METADATA_NAME = re.compile(r"[0-9a-z_.\-]+").fullmatch
_NEVER_METADATA = frozenset({"te", "content-type", "user-agent"})


def ignore(_reason: str) -> None:
    """Take note of nothing."""


def collect(pairs: Iterable[tuple[object, object]], note: Note = ignore) -> dict[str, str]:
    """Return ``pairs`` in the shape that codecs read. Never raises, whatever the values are."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key = _text(name)
        if key is None:
            continue
        text = value if type(value) is str else _joined(value)
        if text is None:
            continue
        key = key.lower()
        if key in found:
            text = f"{found[key]},{text}"
        if len(text) > MAX_VALUE_BYTES:
            note("too_long")
            continue
        found[key] = text
    return found


def pairs_of(carrier: object) -> Iterable[tuple[object, object]]:
    """Return the header pairs of any mapping or sequence of pairs.

    Knows Flask's and Django's headers, Starlette's, gRPC metadata, ASGI's list of byte pairs,
    and WSGI environs (Django's ``META`` is one), whose ``HTTP_X_REQUEST_ID`` is a header name.
    """
    items = getattr(carrier, "items", None)
    pairs = items() if callable(items) else carrier
    try:
        whole = [(pair[0], pair[1]) for pair in pairs]  # type: ignore[union-attr]
    except (TypeError, IndexError, KeyError):
        return ()
    if any(name == "REQUEST_METHOD" for name, _ in whole):
        return [
            (name[5:].replace("_", "-"), value)
            for name, value in whole
            if type(name) is str and name.startswith("HTTP_")
        ]
    return whole


def forwardable(value: str) -> str | None:
    """Return ``value`` as a request of ours can carry it on; None: the request would fail.

    Blanks around it are no part of it (RFC 9110, section 5.5). Some servers let controls and folded
    lines through, and a client refuses those, as it does what is not in latin-1 or begins with
    white space of another kind.
    """
    value = value.strip(" \t")
    return value if _FIELD_VALUE(value) is not None and not value[0].isspace() else None


def sendable(value: str) -> bool:
    """Whether ``value`` can stand in an HTTP header or in gRPC metadata as it is."""
    return value.isascii() and value.isprintable()


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return str.__str__(value)  # plain: a subclass (marked-up text) may do anything
    if isinstance(value, bytes):
        return value.decode("latin-1")  # what HTTP servers do with header bytes
    return None


def _joined(value: object) -> str | None:
    """Return the text of one value; getters of other libraries return lists."""
    if isinstance(value, (list, tuple)):
        return ",".join(text for text in map(_text, value) if text is not None)
    return _text(value)


def can_name(key: str) -> bool:
    """Return whether an entry of gRPC's metadata with text in it may be called that."""
    if _METADATA_NAME(key) is None or key in _NEVER_METADATA:
        return False
    return not (key.startswith("grpc-") or key.endswith("-bin"))
