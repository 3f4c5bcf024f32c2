"""Redaction where spans leave the process: of every span, whoever made it, on the worker's thread.

What edges of ours write is clean already; other instrumentations write whole URLs, statements and
exception texts. So before a span is encoded its URLs lose their secrets, and whatever the setting
``redact`` names is replaced. A span in which there is nothing to replace is encoded as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, Status, TraceFlags

from tracekit._calls.redaction import REDACTED, redact_query, redact_text, redact_url
from tracekit._protocols import MARKS_SHIFT, UNSET, Facts
from tracekit.encoding._facts import Told, fields_of
from tracekit.encoding._many import FactsEncoder, add_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.util.types import AnyValue

    from tracekit._protocols import Encoder, Fields, Frame, Loss, Payload

MAX_SEARCHED = 16_384
"""Characters of one text that patterns are searched in; what is beyond is cut off, unsearched."""

_CLEANERS: Mapping[str, Callable[[str], str]] = {
    "url.full": redact_url,
    "http.url": redact_url,
    "http.target": redact_url,
    "url.query": redact_query,
    "exception.message": redact_text,
    "exception.stacktrace": redact_text,
}
"""Attributes in which URLs stand, of OpenTelemetry's conventions old and new."""
_CLEANED = frozenset(_CLEANERS)
_KEPT = "_tracekit_frame"
_TWINS = {"db.statement": "db.query.text", "db.query.text": "db.statement"}
"""One thing under its old and its new name."""
_ATTRIBUTES: Final = 9
_EVENTS: Final = 10
_LINKS: Final = 11
_STATUS: Final = 12
"""Places of ``Facts``: most spans are looked at without its names."""


class Rule(NamedTuple):
    """What ``redact`` says, compiled: names, and patterns for the text of any value."""

    names: frozenset[str]
    patterns: re.Pattern[str] | None
    assigned: re.Pattern[str] | None
    """The names where a text or a query gives them a value: ``ssn=123``, ``"ssn": "123"``."""

    @classmethod
    def of(cls, entries: Iterable[str]) -> Rule:
        """Return the rule of names and ``/patterns/``. ``re.error`` for a pattern that is none."""
        names = {entry.lower() for entry in entries if not is_pattern(entry)}
        names |= {_TWINS[name] for name in names if name in _TWINS}
        patterns = [entry[1:-1] for entry in entries if is_pattern(entry)]
        for each in patterns:
            re.compile(each)
        written = "|".join(sorted(map(re.escape, names)))
        return cls(
            frozenset(names),
            re.compile("|".join(f"(?:{each})" for each in patterns)) if patterns else None,
            re.compile(
                rf"(?<![\w.-])((?:{written})['\"]?\s*[=:]\s*)(\"[^\"]*\"?|'[^']*'?|[^\s&;,'\")\]}}]+)",
                re.IGNORECASE,
            )
            if names
            else None,
        )

    def covers(self, key: str) -> bool:
        """Whether an attribute of that name is to be replaced: it, or the last of its parts."""
        key = key.lower()
        return key in self.names or key.rpartition(".")[2] in self.names

    def clean(self, text: str) -> str:
        """Return ``text`` without what the names are assigned in it, and what patterns match."""
        if len(text) > MAX_SEARCHED:
            text = text[:MAX_SEARCHED] + "…"
        if self.assigned is not None:
            text = self.assigned.sub(rf"\1{REDACTED}", text)
        return text if self.patterns is None else self.patterns.sub(REDACTED, text)


def is_pattern(entry: str) -> bool:
    """Whether an entry of the setting is a regular expression, and not a name."""
    return len(entry) > 2 and entry.startswith("/") and entry.endswith("/")


class Redacting:
    """An encoder before which spans are redacted. As ``Encoder``: one thread at a time.

    ``hands_over`` says that the encoder takes spans as they are (for a ``SpanExporter``): it gets a
    copy of a span in which something was replaced.
    """

    def __init__(
        self,
        encoder: Encoder,
        entries: Collection[str] = (),
        *,
        hands_over: bool = False,
        format_name: str = "",
    ) -> None:
        self.encoder = encoder
        self.process = encoder.process
        self.overhead_bytes = encoder.overhead_bytes
        self.seal = encoder.seal
        self._frame = encoder.frame
        self._rule = Rule.of(entries) if entries else None
        self._hands_over = hands_over
        self.makes = (format_name, frozenset(entries))
        """What its frames are told by: equal ones make equal frames of a span."""
        self.shared = False
        """Whether another destination wants the same frames: a span is encoded once for both."""

    # What the instance holds instead, said for the protocol's sake.
    process: Callable[[Resource], bytes]
    overhead_bytes: Callable[[bytes, int, Collection[bytes], int, Loss], int]
    seal: Callable[[bytes, Sequence[Frame], int, Loss], Payload]

    def frame(self, span: ReadableSpan) -> Frame:
        """Encode ``span`` without what must not leave the process."""
        if not self.shared:
            return self._encoded(span)
        kept = vars(span).pop(_KEPT, None)
        if kept is not None and kept[0] == self.makes:
            found: Frame = kept[1]
            return found
        frame = self._encoded(span)
        vars(span)[_KEPT] = self.makes, frame  # goes when the other one, or the span, does
        return frame

    def frames(self, spans: Sequence[ReadableSpan], into: list[Frame], room: int) -> None:
        """As ``FactsEncoder.frames``."""
        encoder = self.encoder
        if isinstance(encoder, FactsEncoder) and not self.shared:
            try:
                many = self._redacted([span._facts() for span in spans])  # type: ignore[attr-defined]
            except Exception:  # noqa: S110 - of another SDK; or broken, which its own turn shows
                pass
            else:
                encoder.frames_of(many, into, room)
                return
        add_frames(self.frame, spans, into, room)

    def _encoded(self, span: ReadableSpan) -> Frame:
        fields = fields_of(span)
        (redacted,) = self._redacted((fields,))
        if isinstance(self.encoder, FactsEncoder):
            return self.encoder.frame_of(redacted)
        facts = Facts._make(redacted)
        if not self._hands_over:
            return self._frame(Told(facts))
        return self._frame(span if redacted is fields else _copy(facts, span.resource))

    def _redacted(self, many: Iterable[Fields]) -> list[Fields]:
        """Return the facts of spans, those of each itself where there is nothing to replace."""
        rule, rewritten, has_none_of = self._rule, self._rewritten, _CLEANED.isdisjoint
        return [
            fields
            if rule is None  # as with most spans: one look, no call of ours, and nothing is made
            and fields[_STATUS] is UNSET
            and not fields[_EVENTS]
            and not fields[_LINKS]
            and has_none_of(fields[_ATTRIBUTES])
            else rewritten(fields)
            for fields in many
        ]

    def _rewritten(self, fields: Fields) -> Fields:
        """Return the facts of one, from a look at all of them."""
        facts = Facts._make(fields)
        attributes = self._bag(facts.attributes)
        events = tuple((name, at, (self._bag(bag), lost)) for name, at, (bag, lost) in facts.events)
        links = tuple((to, (self._bag(bag), lost)) for to, (bag, lost) in facts.links)
        name, status = facts.name, facts.status
        if self._rule is not None and isinstance(name, str):
            name = self._text(name)
        if status is not UNSET and status.description:
            said = self._text(redact_text(status.description))
            status = status if said == status.description else Status(status.status_code, said)
        if (
            attributes is facts.attributes
            and name == facts.name
            and status is facts.status
            and all(new[2][0] is old[2][0] for new, old in zip(events, facts.events, strict=True))
            and all(new[1][0] is old[1][0] for new, old in zip(links, facts.links, strict=True))
        ):
            return fields
        return facts._replace(
            attributes=attributes, events=events, links=links, name=name, status=status
        )

    def _bag(self, attributes: Mapping[str, AnyValue]) -> Mapping[str, AnyValue]:
        if self._rule is None and _CLEANED.isdisjoint(attributes):
            return attributes
        cleaned = {key: self._value(key, value) for key, value in attributes.items()}
        return attributes if cleaned == attributes else cleaned

    def _value(self, key: str, value: AnyValue) -> AnyValue:
        if type(key) is str and self._rule is not None and self._rule.covers(key):
            return REDACTED
        if isinstance(value, str):
            clean = _CLEANERS.get(key)
            return self._text(value if clean is None else clean(value))
        if self._rule is not None and isinstance(value, tuple | list):
            return [self._text(each) if isinstance(each, str) else each for each in value]
        return value

    def _text(self, text: str) -> str:
        return text if self._rule is None else self._rule.clean(text)


def _copy(facts: Facts, resource: Resource) -> ReadableSpan:
    """Return a span of the SDK's own that says what ``facts`` say."""
    flags, state = TraceFlags(facts.bits & (1 << MARKS_SHIFT) - 1), facts.state
    parent = None
    if facts.parent_id:
        parent = SpanContext(facts.trace_id, facts.parent_id, facts.parent_is_remote, flags, state)
    return ReadableSpan(
        facts.name,
        SpanContext(facts.trace_id, facts.span_id, False, flags, state),
        parent,
        resource,
        facts.attributes,
        [Event(name, bag, at) for name, at, (bag, _) in facts.events],
        [Link(to, bag) for to, (bag, _) in facts.links],
        facts.kind,
        None,
        facts.status,
        facts.start_ns,
        facts.end_ns,
        facts.scope,
    )
