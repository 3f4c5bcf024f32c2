"""What Jaeger's query service does to a trace before it answers.

Ids shared by client and server are made unique, clock skew is told, numeric addresses become text,
fields of logs and tags of processes are sorted, and the reference to the parent comes first.
Source: Jaeger 1.48 ``model/adjuster``, with the adjustment of clocks off, which is its default.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from tracekit.local._spans import Reference, TagValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tracekit.local._spans import ReceivedSpan

Pair: TypeAlias = tuple[str, TagValue]
_ADDRESSES = ("ip", "peer.ipv4")
_TYPES = (str, bool, int, float, bytes)
_DUPLICATE = "duplicate span IDs; skipping clock skew adjustment"
_ORPHAN = "invalid parent span IDs={:016x}; skipping clock skew adjustment"
_SKEWED = "clock skew adjustment disabled; not applying calculated delta of {}"


class AdjustedSpan:
    """A span on its way into an answer; everything of it may be changed."""

    def __init__(self, span: ReceivedSpan) -> None:
        self.span = span
        self.span_id = span.span_id
        self.references = _with_parent(span.references, span.trace_id, span.parent_id)
        self.tags: list[Pair] = list(span.tags.pairs)
        self.process_tags: list[Pair] = list(span.process_tags.pairs)
        self.logs: list[tuple[int, list[Pair]]] = [
            (log.time_us, list(log.fields.pairs)) for log in span.logs
        ]
        self.warnings: list[str] = []

    @property
    def parent_id(self) -> int:
        """The first span of this trace that it is a child of, or else follows from; or 0."""
        here = [ref for ref in self.references if ref.trace_id == self.span.trace_id]
        children = [ref for ref in here if ref.kind == "child_of"]
        return (children or here)[0].span_id if here else 0

    def replace_parent(self, new: int) -> None:
        """Name another parent."""
        old = self.parent_id
        for place, ref in enumerate(self.references):
            if (ref.span_id, ref.trace_id) == (old, self.span.trace_id):
                self.references[place] = ref._replace(span_id=new)
                return
        self.references = _with_parent(self.references, self.span.trace_id, new)

    def is_kind(self, kind: str) -> bool:
        """Tell whether its first tag ``span.kind`` says ``kind``."""
        return self.span.tags.get("span.kind") == kind


def adjusted(spans: Iterable[ReceivedSpan]) -> list[AdjustedSpan]:
    """Return the spans of one trace, adjusted."""
    trace = [AdjustedSpan(span) for span in spans]
    _make_ids_unique(trace)
    _tell_skew(trace)
    for span in trace:
        span.tags = _addresses(span.tags)
        span.process_tags = sorted(_addresses(span.process_tags), key=_order)
        for _, fields in span.logs:
            _sort_fields(fields)
        _parent_first(span)
    return trace


def _with_parent(
    references: Sequence[Reference], trace_id: int, parent_id: int | None
) -> list[Reference]:
    """Return the references; the parent is one of them, the first if it is not there already."""
    known = any((ref.span_id, ref.trace_id) == (parent_id, trace_id) for ref in references)
    if not parent_id or known:
        return list(references)
    return [Reference("child_of", trace_id, parent_id), *references]


def _make_ids_unique(trace: Sequence[AdjustedSpan]) -> None:
    """Give new ids to server spans that share theirs with the client span, as Zipkin's do."""
    used = {span.span_id for span in trace}
    clients = {span.span_id for span in trace if span.is_kind("client")}
    renamed: dict[int, int] = {}
    last = 0
    for span in trace:
        if not (span.is_kind("server") and span.span_id in clients):
            continue
        last += 1
        while last in used:
            last += 1
        renamed[span.span_id] = last
        span.replace_parent(span.span_id)
        span.span_id = last
    for span in trace if renamed else ():
        new = renamed.get(span.parent_id)
        if new is not None and span.span_id != new:
            span.replace_parent(new)


def _tell_skew(trace: Sequence[AdjustedSpan]) -> None:
    """Warn of spans that lie outside their parent on another host, or whose parent is not there."""
    by_id: dict[int, AdjustedSpan] = {}
    for span in trace:
        if span.span_id in by_id:
            span.warnings.append(_DUPLICATE)
        else:
            by_id[span.span_id] = span
    children: dict[int, list[AdjustedSpan]] = defaultdict(list)
    roots = []
    for span in by_id.values():
        parent = span.parent_id
        if parent and parent in by_id:
            children[parent].append(span)
            continue
        if parent:
            span.warnings.append(_ORPHAN.format(parent))
        roots.append(span)
    stack: list[tuple[AdjustedSpan, AdjustedSpan | None, int, str]]
    stack = [(root, None, 0, _host(root)) for root in roots]
    while stack:
        span, above, delta, host = stack.pop()
        mine = _host(span)
        if above is not None and (mine != host or not mine):
            delta, host = _skew(span.span, above.span), mine
        if delta:
            span.warnings.append(_SKEWED.format(go_duration(delta)))
        stack.extend((child, span, delta, host) for child in children[span.span_id])


def _skew(child: ReceivedSpan, parent: ReceivedSpan) -> int:
    """Return by how many ns the child would have to be moved."""
    if child.duration_us > parent.duration_us:
        return max(0, parent.start_us - child.start_us) * 1000
    if (
        child.start_us >= parent.start_us
        and child.start_us + child.duration_us <= parent.start_us + parent.duration_us
    ):
        return 0
    latency_ns = (parent.duration_us - child.duration_us) * 500
    return (parent.start_us - child.start_us) * 1000 + latency_ns


def _host(span: AdjustedSpan) -> str:
    value = span.span.process_tags.get("ip")
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return str(ipaddress.ip_address(value)) if len(value) in (4, 16) else ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(ipaddress.IPv4Address(value & 0xFFFF_FFFF))
    return ""


def _addresses(tags: list[Pair]) -> list[Pair]:
    return [(key, _address(value)) if key in _ADDRESSES else (key, value) for key, value in tags]


def _address(value: TagValue) -> TagValue:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 2**63:
        return value
    return str(ipaddress.IPv4Address(int(value) & 0xFFFF_FFFF))


def _sort_fields(fields: list[Pair]) -> None:
    for place, (key, value) in enumerate(fields):
        if key == "event" and isinstance(value, str):
            fields[0], fields[place] = fields[place], fields[0]
            fields[1:] = sorted(fields[1:], key=_order)
            return
    fields.sort(key=_order)


def _order(pair: Pair) -> tuple[bytes, int, object]:
    key, value = pair
    # Go compares texts by their bytes.
    shown = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return key.encode("utf-8", "replace"), _TYPES.index(type(value)), shown


def _parent_first(span: AdjustedSpan) -> None:
    here = span.span.trace_id
    references = span.references
    of_trace = [place for place in range(1, len(references)) if references[place].trace_id == here]
    children = [place for place in of_trace if references[place].kind == "child_of"]
    if place := next(iter(children or of_trace), 0):
        references[0], references[place] = references[place], references[0]


def go_duration(ns: int) -> str:
    """Return a duration as Go's ``time.Duration`` prints it: ``1.5ms``, ``-2m0s``."""
    sign, left = ("-", -ns) if ns < 0 else ("", ns)
    for unit, name in ((1_000, "ns"), (1_000_000, "µs"), (1_000_000_000, "ms")):
        if left < unit:
            return sign + _decimal(left * 1000, unit) + name if left else "0s"
    minutes, left = divmod(left, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    ahead = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "")
    return f"{sign}{ahead}{_decimal(left, 1_000_000_000)}s"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
