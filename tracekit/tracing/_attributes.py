"""Attribute values: cheap for plain ones, the installed SDK's own rules for all others.

OpenTelemetry's cleaning differs from version to version (bytes, None, nested values). So nothing
of it is copied here: whatever is not obviously clean goes through the ``BoundedAttributes`` of
the installed API at the time of the call, which also takes the snapshot of mutable values.
"""

from __future__ import annotations

import logging
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

from opentelemetry.attributes import BoundedAttributes

from tracekit._display import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.util.types import AttributeValue

_log = logging.getLogger(__name__)
_PLAIN = frozenset((str, bool, int, float))
"""Types that every version keeps as they are: immutable, exact (a subclass may do anything)."""

Cleaned = tuple[dict[str, "AttributeValue"], int]
"""A ``Bag`` that is a span's own: attributes that the rules admit, and how many were dropped.

A plain tuple: the collector lets go of it."""


def tell_unread(what: str, error: Exception) -> None:
    """Say in one line that ``what`` is left out, for its own code raised ``error``."""
    name = type(error).__name__
    _log.warning("%s cannot be read and was dropped: %s: %s", what, name, quoted(error))
    _log.debug("which is this error", exc_info=error)


def _copied(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue] | None:
    """Return a copy of what a view of a dictionary shows (a sampler's answer); None for others."""
    if type(attributes) is not MappingProxyType:
        return None
    try:  # it forwards to whatever it is a view of
        copy = attributes.copy()  # several times as fast as dict() of a view
    except Exception:
        return None
    return copy if type(copy) is dict else None


class Rules:
    """What one kind of attribute bag may hold. Immutable; shared by all spans of a provider."""

    __slots__ = ("max_count", "max_length", "plain", "room", "trusting")

    def __init__(self, max_count: int | None, max_length: int | None) -> None:
        self.max_count = max_count
        self.max_length = max_length
        self.room = sys.maxsize if max_count is None else max_count
        """Attributes that fit; compared on the hot path, so never None."""
        self.plain = _PLAIN if max_length is None else _PLAIN - {str}
        """Types that need no cleaning; with a limit a string is looked at."""
        self.trusting = max_length is None
        """Whether ``PlainAttributes`` are clean by these rules."""

    def clean(
        self, attributes: Mapping[str, AttributeValue] | None, *, bounded: bool = True
    ) -> Cleaned:
        """Return a snapshot of ``attributes``, and how many were dropped.

        Not ``bounded``: all that are valid, however many (they will meet others on a span).
        """
        if not attributes:
            return {}, 0
        copy = attributes.copy() if type(attributes) is dict else _copied(attributes)
        if copy is not None and (not bounded or len(copy) <= self.room):
            plain = self.plain
            for key, value in copy.items():
                if type(value) not in plain or type(key) is not str or not key:
                    break
            else:
                return copy, 0
        max_count = self.max_count if bounded or not self.room else None
        try:
            kept = BoundedAttributes(max_count, attributes, max_value_len=self.max_length)
        except Exception as error:  # no mapping, or a value whose __str__ raises
            return self._one_by_one(attributes, max_count, error)
        return dict(kept), kept.dropped

    def clean_one(self, key: str, value: AttributeValue) -> Cleaned:
        """Return ``{key: cleaned value}``, or nothing and 1 dropped where the version drops it."""
        if type(value) in self.plain and type(key) is str and key:
            return {key: value}, 0
        max_count = None if self.room else 0  # no room: even what is invalid counts as dropped
        scratch = BoundedAttributes(max_count, None, immutable=False, max_value_len=self.max_length)
        try:
            scratch[key] = value
        except Exception as error:
            tell_unread(f"The attribute {quoted(key)}", error)
            return {}, 1
        return dict(scratch), scratch.dropped

    def _one_by_one(
        self, attributes: Mapping[str, AttributeValue], max_count: int | None, error: Exception
    ) -> Cleaned:
        """Return as ``clean`` does those that can be read, of some that cannot be read at once."""
        try:
            items = [(key, value) for key, value in attributes.items()]
        except Exception:  # no mapping, or its items are no pairs
            tell_unread("What was given as attributes", error)
            return {}, 1
        kept = BoundedAttributes(max_count, None, immutable=False, max_value_len=self.max_length)
        unread = 0
        for key, value in items:
            try:
                kept[key] = value
            except Exception as each:  # noqa: PERF203 - seldom
                tell_unread(f"The attribute {quoted(key)}", each)
                unread += 1
        return dict(kept), kept.dropped + unread

    def sdk(self, bag: Cleaned) -> BoundedAttributes:
        """Return ``bag`` as the SDK's own immutable mapping."""
        values, dropped = bag
        bounded = BoundedAttributes(None, values)  # no limits: they were applied once already
        bounded.maxlen, bounded.max_value_len = self.max_count, self.max_length
        bounded.dropped = dropped
        return bounded


class Limits:
    """The three attribute rules and two list limits of a provider's spans."""

    __slots__ = ("event", "link", "max_events", "max_links", "span")

    def __init__(self, limits: SpanLimits) -> None:
        self.span = Rules(limits.max_span_attributes, limits.max_span_attribute_length)
        self.event = Rules(limits.max_event_attributes, limits.max_attribute_length)
        self.link = Rules(limits.max_link_attributes, limits.max_attribute_length)
        self.max_events = sys.maxsize if limits.max_events is None else limits.max_events
        self.max_links = limits.max_links
