"""W3C ``tracestate``, level 2: parsed strictly, carried in order.

OpenTelemetry's own class refuses what level 2 allows in keys (an ``@`` anywhere but in front) and
drops the whole list over a repeated one; W3C's suite fails it for that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView

MAX_MEMBERS = 32

# Trace Context level 2, section 3.3.1.3: the value is 1 to 256 printable characters without "," and
# "=", and does not end in a blank.
_KEY = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}").fullmatch
_VALUE = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]").fullmatch


def parse(text: str) -> dict[str, str] | None:
    """Return the members in order, or None when one of them, or their number, is illegal.

    Of a repeated key the first, most recent, member counts.
    """
    found: dict[str, str] = {}
    for member in text.split(","):
        stripped = member.strip(" \t")
        if not stripped:
            continue
        key, _, value = stripped.partition("=")
        if _KEY(key) is None or _VALUE(value) is None or len(found) == MAX_MEMBERS:
            return None
        found.setdefault(key, value)
    return found


def render(members: Mapping[str, str]) -> str:
    """Return the header's text."""
    return ",".join(f"{key}={value}" for key, value in members.items())


class TraceState(trace.TraceState):
    """An OpenTelemetry trace state that holds what level 2 allows. Immutable."""

    def __init__(self, members: Mapping[str, str]) -> None:
        super().__init__()
        self._members = dict(members)

    def __contains__(self, key: object) -> bool:
        return key in self._members

    def __getitem__(self, key: str) -> str:
        return self._members[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"TraceState({self.to_header()!r})"

    def keys(self) -> KeysView[str]:
        """Return the keys, most recent first."""
        return self._members.keys()

    def items(self) -> ItemsView[str, str]:
        """Return the members, most recent first."""
        return self._members.items()

    def values(self) -> ValuesView[str]:
        """Return the values, most recent first."""
        return self._members.values()

    def to_header(self) -> str:
        """Return the text of the ``tracestate`` header."""
        return render(self._members)

    def add(self, key: str, value: str) -> TraceState:
        """Return this with one more member in front; unchanged where that is not legal."""
        return self if key in self._members else self.update(key, value)

    def update(self, key: str, value: str) -> TraceState:
        """Return this with ``key`` in front; unchanged where that is not legal."""
        if _KEY(key) is None or _VALUE(value) is None:
            return self
        rest = {name: held for name, held in self._members.items() if name != key}
        return self if len(rest) == MAX_MEMBERS else TraceState({key: value, **rest})

    def delete(self, key: str) -> TraceState:
        """Return this without ``key``."""
        return TraceState({name: held for name, held in self._members.items() if name != key})
