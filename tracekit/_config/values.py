"""From text and Python values to settings: numbers, durations, booleans, addresses, tags.

Every function takes what somebody wrote and returns a checked value, or raises ``ValueError`` with
a message that makes sense after ``NAME='value': ``. Where one bad entry must not cost the others
(tags, lists), ``Several`` carries the good ones and what was wrong with the rest.
"""
# ruff: noqa: TRY004 (a value of the wrong type is a wrong value: readers catch one error)

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from tracekit._display import cited

if TYPE_CHECKING:
    from collections.abc import Callable


_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})
# Patterns as texts: ``re`` compiles one when it is first asked, and a start asks for few of them.
_INTEGER = r"[+-]?[0-9]{1,18}"
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
_GO_PART = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_GO_DURATION = rf"[+-]?({_GO_PART})+"
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_HOST = r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?"
_HEADER = r"[!#$%&'*+.^_`|~0-9a-z-]+"
_CONTROL = r"[\x00-\x1f\x7f]"
_SERVICE_LINK = r"(tcp|udp|sctp)://\S+"
_MAX_DURATION_S = 10 * 365 * 86400.0


class Several(NamedTuple):
    """Values by setting, from a text that says more than one thing, and what was wrong with it."""

    values: Mapping[str, object]
    complaints: tuple[str, ...] = ()
    note: str = ""
    """What is no mistake but worth saying."""


class PartlyGoodError(ValueError):
    """What is said of a list of which only ``good`` can be used."""

    def __init__(self, message: str, good: tuple[object, ...]) -> None:
        super().__init__(message)
        self.good = good


def text(value: object) -> str:
    """Return a text without surrounding blanks, at least one character long."""
    if not isinstance(value, str):
        raise ValueError(f"wants a text, not {type(value).__name__}")
    if not (stripped := clean(value).strip()):
        raise ValueError("is empty")
    if re.search(_CONTROL, stripped):
        raise ValueError("has control characters")
    return stripped


def clean(written: str) -> str:
    """Return a text that can be encoded: bytes that are no UTF-8 come as lone surrogates."""
    return written.encode("utf-8", "replace").decode("utf-8")


def token(value: object) -> str:
    """Return a text that a header can carry."""
    found = text(value)
    if not found.isprintable() or not found.isascii():
        raise ValueError("has characters that a header cannot carry")
    return found


def boolean(value: object) -> bool:
    """Return a truth value; as text what any Jaeger client took: 1 t true, 0 f false, any case."""
    if isinstance(value, bool):
        return value
    folded = value.strip().lower() if isinstance(value, str) else str(value)
    if folded in _TRUE or folded in _FALSE:
        return folded in _TRUE
    raise ValueError("is neither true nor false (1 t true, 0 f false)")


def negated(value: object) -> bool:
    """Return the opposite of a truth value (for variables that say what not to do)."""
    return not boolean(value)


def integer(minimum: int, maximum: int = 2**31 - 1) -> Callable[[object], int]:
    """Return a check for whole numbers from ``minimum`` to ``maximum``."""

    def check(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(_INTEGER, value.strip()):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("is not a whole number")
        if not minimum <= value <= maximum:
            raise ValueError(f"is not between {minimum} and {maximum}")
        return value

    return check


def number(value: object) -> float:
    """Return a finite number; true and false count as 1 and 0 (const samplers take them)."""
    if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        value = float(value)
    if not isinstance(value, int | float):
        raise ValueError("is not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError("is not a finite number")
    return found


def rate(value: object) -> float:
    """Return a number of things a second, 0 or more."""
    if (found := number(value)) < 0:
        raise ValueError("is negative")
    return found


def seconds(minimum: float = 0.0) -> Callable[[object], float]:
    """Return a check for durations: a number of seconds, or a text in Go's form (``1m30s``)."""

    def check(value: object) -> float:
        found = _go_duration(value) if isinstance(value, str) else None
        if found is None:
            try:
                found = number(value)
            except ValueError:
                raise ValueError("is no duration (seconds, or 500ms, 1s, 1m30s)") from None
        if not minimum <= found <= _MAX_DURATION_S:
            raise ValueError(f"is a duration below {minimum:g} s or beyond all measure")
        return found

    return check


def milliseconds(value: object) -> float:
    """Return seconds from Go's form (``1s``, ``1m30s``) or, as the other clients, plain ms."""
    if isinstance(value, str) and (found := _go_duration(value)) is not None:
        return found
    try:
        return number(value) / 1000.0
    except ValueError:
        raise ValueError("is no duration (500ms, 1s, 1m30s, or plain milliseconds)") from None


def _go_duration(written: str) -> float | None:
    stripped = written.strip()
    if not re.fullmatch(_GO_DURATION, stripped):
        return None
    total = sum(float(amount) * _UNIT_S[unit] for amount, unit in re.findall(_GO_PART, stripped))
    total = round(total, 9)
    return -total if stripped.startswith("-") else total


def one_of(*names: str, **aliases: str) -> Callable[[object], str]:
    """Return a check for one of ``names`` in any case; ``aliases`` are other spellings."""

    def check(value: object) -> str:
        folded = text(value).lower()
        found = aliases.get(folded, folded)
        if found not in names:
            raise ValueError(f"is none of {', '.join(names)}")
        return found

    return check


def port(value: object) -> int:
    """Return a port number; Kubernetes' service links are named as what they are."""
    if isinstance(value, str) and re.fullmatch(_SERVICE_LINK, value.strip()):
        raise ValueError(
            "is a Kubernetes service link, not a port: ignored"
            " (enableServiceLinks: false in the pod's spec keeps them out)"
        )
    return integer(1, 65535)(value)


def host(value: object) -> str:
    """Return a host name or an address, IPv6 without brackets."""
    found = text(value)
    if found.startswith("[") and found.endswith("]"):
        found = found[1:-1]
    is_ipv6 = found.count(":") >= 2 and re.fullmatch(r"[0-9A-Fa-f:.]+(%[\w.-]+)?", found)
    if not is_ipv6 and not re.fullmatch(_HOST, found):
        raise ValueError("is not a host name or an address")
    return found


def url(*schemes: str) -> Callable[[object], str]:
    """Return a check for absolute URLs of ``schemes`` that name a host."""

    def check(value: object) -> str:
        found = text(value)
        if re.search(r"\s", found):
            raise ValueError("is not a URL (it contains blanks)")
        try:
            parts = urlsplit(found)
            named, _ = parts.hostname, parts.port
        except ValueError:
            named, parts = None, urlsplit("")
        if parts.scheme not in schemes or not named:
            raise ValueError(f"is not a URL ({'://…, '.join(schemes)}://…)")
        return found

    return check


def header(value: object) -> str:
    """Return a header name in lower case."""
    found = text(value).lower()
    if not re.fullmatch(_HEADER, found):
        raise ValueError("is not a header name")
    return found


def bracketed(name: str) -> str:
    """Return a host as URLs write it: IPv6 addresses in brackets."""
    return f"[{name}]" if ":" in name else name


def host_port(value: object) -> str:
    """Return ``host:port`` (or ``[v6]:port``) as it came, checked."""
    found = text(value)
    name, colon, number_ = found.rpartition(":")
    if not colon:
        raise ValueError("is not host:port")
    host(name)
    port(number_)
    return found


def names(value: object) -> tuple[str, ...]:
    """Return the entries of a comma list (or of a sequence of texts), blanks removed."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
        raise ValueError("wants a list of names")
    entries = list(value)
    if not all(isinstance(entry, str) for entry in entries):
        raise ValueError("wants a list of names")
    return tuple(stripped for entry in entries if (stripped := entry.strip()))


def pairs(value: object) -> dict[str, str]:
    """Return a mapping (or pairs) as texts; booleans as JSON writes them."""
    try:
        held = dict(value)  # type: ignore[call-overload] # whatever it is, dict() is the judge
    except (TypeError, ValueError):
        raise ValueError("wants a mapping of names to values") from None
    found: dict[str, str] = {}
    for key, item in held.items():
        if not isinstance(key, str) or not isinstance(item, str | int | float):
            raise ValueError("has an entry that is no text or number")
        found[clean(key)] = clean(str(item).lower() if isinstance(item, bool) else str(item))
    return found


def headers(value: object) -> dict[str, str]:
    """Return a mapping of header names, in lower case, to values that a header can carry."""
    found = {header(name): item.strip() for name, item in pairs(value).items()}
    if not all(item.isprintable() and item.isascii() for item in found.values()):
        raise ValueError("has a value that a header cannot carry")
    return found


def tags(written: str, environ: Mapping[str, str]) -> Several:
    """Return the tags of ``k=v, k2=${VAR:default}`` (Jaeger's form, as its Go client reads it).

    The first ``=`` separates, later ones belong to the value. A value that is all
    ``${VAR:default}`` is taken from ``environ``, the default (which may contain ``:``) when VAR is
    unset or empty.
    """
    found, complaints = tag_pairs(written)
    for key, item in found.items():
        if item.startswith("${") and item.endswith("}"):
            name, _, default = item[2:-1].partition(":")
            found[key] = environ.get(name) or default
    return Several({"tags": found}, complaints)


def tag_pairs(written: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the pairs of ``k=v,k2=v2`` as they stand there, and the complaints about others."""
    return _entries(written, lambda entry: entry)


def percent_pairs(written: str, *, secret: bool = False) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the pairs of OpenTelemetry's ``k=v,k2=v%2C2``, and the complaints about others.

    An entry that is no pair may be a mistyped password: a ``secret`` one is told by its place.
    """
    return _entries(written, unquote, secret=secret)


def _entries(
    written: str, unescape: Callable[[str], str], *, secret: bool = False
) -> tuple[dict[str, str], tuple[str, ...]]:
    found: dict[str, str] = {}
    complaints: list[str] = []
    for place, entry in enumerate(written.split(","), start=1):
        key, equals, item = (unescape(piece.strip()) for piece in entry.partition("="))
        if key and equals:
            found[key] = item
        elif key or equals:  # neither: a trailing comma
            which = f"entry {place}" if secret else cited(entry.strip())
            complaints.append(f"{which} is not key=value and is skipped")
    return found, tuple(complaints)
