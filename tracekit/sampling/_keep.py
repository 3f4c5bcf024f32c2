"""What is worth keeping of the traces that nobody sampled: rules over a local trace that is over.

Jaeger and OpenTelemetry know such rules in the collector only ("tail sampling"), to which every
span must be sent. Here they see the spans of one process below one local root, and nothing is
encoded or sent for what they do not want.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import StatusCode

from tracekit._display import cited
from tracekit._protocols import UNSET

if TYPE_CHECKING:
    from collections.abc import Mapping

Predicate = Callable[[Any, Sequence[Any]], object]
"""Is given the local root and all ended spans of its trace (``ReadableSpan``, all have ended);
true keeps them. It is called on the thread that ends the root, so it must be quick."""
Entry = str | Predicate

NONE = "none"
OVERRIDE = "override"
DEFER = "defer"
MODIFIERS = frozenset((NONE, OVERRIDE, DEFER))
"""Entries that are no reason to keep a trace."""
_DURATION = r"([0-9]+\.?[0-9]*|\.[0-9]+)(us|ms|s|m)"
_UNIT_NS = {"us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9}
_CLASS = r"[1-5]xx"
_CODE = r"[1-5][0-9][0-9]|[0-9]|1[0-6]|[A-Z_]{2,24}"
STATUS_KEYS = (
    "http.response.status_code",
    "http.status_code",
    "rpc.response.status_code",
    "rpc.grpc.status_code",
)
"""Where the root of a served call says how it ended; the first one that is there counts."""
_ERROR = StatusCode.ERROR


class KeepRule(NamedTuple):
    """Conditions, of which one is enough, and how decisions of others are met."""

    conditions: tuple[tuple[str, Predicate], ...] = ()
    override: bool = False
    """Whether a trace that the caller has decided not to sample may be kept, in part."""
    defer: bool = False
    """Whether headers say that it is undecided, where their format can (B3)."""
    looks: bool = False
    """Whether a predicate of the program's is among the conditions, which is shown all spans."""

    def reason(self, root: object, spans: Sequence[object]) -> str | None:
        """Return the first condition that holds, None if none does. Raises what a predicate does.

        ``spans`` are all that have ended, ``root`` among them. Where no predicate looks, those
        will do that were given a status.
        """
        for name, holds in self.conditions:
            if holds(root, spans):
                return name
        return None


class KeepRules(NamedTuple):
    """The rule of each operation, and of those that have none of their own (None: nothing said)."""

    default: KeepRule | None = None
    operations: Mapping[str, KeepRule] = {}

    def of(self, operation: str) -> KeepRule | None:
        """Return the rule of a local root of this name."""
        return self.operations.get(operation, self.default)


def keep_rule(entries: str | Sequence[Entry]) -> KeepRule:
    """Return the rule that a text (commas between its entries) or a list of entries describes.

    ``errors`` (any span has an error status), ``slow:500ms`` (the local root took at least that
    long), ``status:5xx``, ``status:503`` or ``status:UNAVAILABLE`` (how a served call ended), a
    predicate; ``override``, ``defer``; ``none`` keeps nothing.

    Raises:
        ValueError: an entry that is none of these, or no reason to keep anything among them.

    """
    written = entries.split(",") if isinstance(entries, str) else entries
    found = [each.strip() if isinstance(each, str) else each for each in written]
    said = {each for each in found if isinstance(each, str) and each in MODIFIERS}
    conditions = tuple(
        (_name(each), condition(each))
        for each in found
        if not isinstance(each, str) or (each and each not in MODIFIERS)
    )
    if not conditions and NONE not in said:
        raise ValueError("names no reason to keep a trace: errors, slow:500ms, status:5xx")
    if conditions and NONE in said:
        raise ValueError(f"{NONE} stands alone")
    looks = any(not isinstance(each, str) for each in found)
    return KeepRule(conditions, OVERRIDE in said, DEFER in said, looks)


def condition(entry: Entry) -> Predicate:
    """Return what one entry asks of a trace; ``ValueError`` if it says nothing that is known."""
    if not isinstance(entry, str):
        if not callable(entry):
            raise ValueError(f"{type(entry).__name__} is neither a rule nor a predicate")  # noqa: TRY004 - bad input
        return entry
    if entry == "errors":
        return _any_error
    kind, _, value = entry.partition(":")
    if kind == "slow" and (found := re.fullmatch(_DURATION, value)):
        return _Slow(float(found[1]) * _UNIT_NS[found[2]])
    if kind == "status" and (re.fullmatch(_CLASS, value) or re.fullmatch(_CODE, value)):
        return _Status(value)
    raise ValueError(
        f"{cited(entry)} is no rule: errors, slow:500ms, status:5xx, {OVERRIDE}, {DEFER}"
    )


def _name(entry: Entry) -> str:
    return entry if isinstance(entry, str) else predicate_name(entry)


def predicate_name(predicate: object) -> str:
    """Return what a predicate is called among the settings and in a promoted trace."""
    return str(getattr(predicate, "__name__", None) or type(predicate).__name__)


def _any_error(_root: Any, spans: Sequence[Any]) -> bool:  # noqa: ANN401 - see Predicate
    for span in spans:
        status = span._status
        if status is not UNSET and status.status_code is _ERROR:
            return True
    return False


class _Slow:
    def __init__(self, least_ns: float) -> None:
        self.least_ns = least_ns

    def __call__(self, root: Any, _spans: Sequence[Any]) -> bool:  # noqa: ANN401
        return bool(root.end_time - root.start_time >= self.least_ns)


class _Status:
    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._class = wanted[0] if wanted.endswith("xx") else ""

    def __call__(self, root: Any, _spans: Sequence[Any]) -> bool:  # noqa: ANN401
        attributes = root.attributes
        for key in STATUS_KEYS:
            if key in attributes:
                code = str(attributes[key])
                if self._class:
                    return len(code) == 3 and code[0] == self._class
                return code == self._wanted
        return False
