"""The mesh: which headers go from the request we serve to the requests we make, and where to.

A sidecar proxy cannot know which outgoing request belongs to which incoming one; the application
has to carry the headers over (Istio, "distributed tracing overview"; the set is the union of
Istio's documents and its Bookinfo sample).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tracekit.propagation._baggage import is_token
from tracekit.propagation._formats import FORMATS
from tracekit.propagation._headers import forwardable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

V = TypeVar("V")

# Headers of one family describe one thing together: they are forwarded together or not at all.
_FAMILIES: tuple[frozenset[str], ...] = (
    *dict.fromkeys(format_.identity for format_ in FORMATS.values() if format_.identity),
    frozenset({"x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority"}),
    frozenset({"x-request-id"}),  # Envoy encodes its decision in it: never change a letter
    frozenset({"x-ot-span-context"}),
    frozenset({"x-cloud-trace-context"}),
    frozenset({"grpc-trace-bin"}),
    frozenset({"sw8"}),
)
TRACE_HEADERS: frozenset[str] = frozenset().union(*_FAMILIES)
"""What is forwarded without being asked for, in lower case."""

BAGGAGE_HEADER = "baggage"
BAGGAGE_PREFIX = "uberctx-"

_FAMILY_OF = {name: family for family in _FAMILIES for name in family}

# Of one connection (RFC 9110, section 7.6.1) or of one message: on another request they are wrong.
_OF_ONE_REQUEST = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "host", "expect", "content-type", "content-length", "content-encoding"}
)


def is_baggage(name: str) -> bool:
    """Whether the header of that lower-case name carries baggage."""
    return name == BAGGAGE_HEADER or name.startswith(BAGGAGE_PREFIX)


def application_names(names: Iterable[str]) -> frozenset[str]:
    """Return listed application headers in lower case, without those that nobody can forward."""
    return frozenset(name.lower() for name in names if is_token(name)) - _OF_ONE_REQUEST


class ForwardRule(NamedTuple):
    """What an edge forwards, and to which hosts. Immutable; share it between threads.

    ``allow`` lists application headers (``end-user``, ``cookie``, ``authorization``, own names).
    ``hosts`` is a predicate over the host name, or patterns such as ``*.svc.cluster.local``:
    nothing goes to other hosts. Without ``hosts`` the trace headers go everywhere, application
    headers and baggage nowhere, so that a token never leaves the mesh by accident.
    """

    allow: frozenset[str] = frozenset()
    hosts: Callable[[str], bool] | tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        allow: Iterable[str] = (),
        hosts: Callable[[str], bool] | Sequence[str] | str | None = None,
    ) -> ForwardRule:
        """Return the rule of an edge's ``allow=`` and ``hosts=`` arguments."""
        names = application_names(allow)
        if hosts is None or callable(hosts):
            return cls(names, hosts)
        patterns = (hosts,) if isinstance(hosts, str) else tuple(hosts)
        return cls(names, tuple(pattern.lower() for pattern in patterns))

    def lets_trace(self, host: str) -> bool:
        """Whether trace headers may go to ``host``."""
        return self.hosts is None or self._matches(host)

    def lets_application(self, host: str) -> bool:
        """Whether listed application headers and baggage may go to ``host``."""
        return self.hosts is not None and self._matches(host)

    def _matches(self, host: str) -> bool:
        host = host.lower().rstrip(".")
        if callable(self.hosts):
            try:
                return bool(self.hosts(host))
            except Exception:  # the user's predicate: what it cannot judge stays at home
                return False
        return any(fnmatchcase(host, pattern) for pattern in self.hosts or ())


class Outgoing(NamedTuple):
    """The headers of one outgoing request, by the rule that ``merge_headers`` applies."""

    own: dict[str, str]
    """Headers of the configured formats, about the current span."""
    forwarded: dict[str, str]
    """Captured headers of other formats, ``x-request-id`` and listed application headers."""
    replaced: frozenset[str] = frozenset()
    """Lower-case names that may not stand beside ``own``, whoever set them."""


def merge_headers(outgoing: Outgoing, pairs: Iterable[tuple[str, V]]) -> list[tuple[str, V | str]]:
    """Return the caller's header ``pairs`` with ``outgoing`` put in, by the rule of ``changes``."""
    merged: list[tuple[str, V | str]] = [*pairs]
    names = [pair[0].lower() for pair in merged]
    gone, added = changes(outgoing, names)
    if gone:
        merged = [pair for name, pair in zip(names, merged, strict=True) if name not in gone]
    merged += added
    return merged


def changes(
    outgoing: Outgoing, names: Collection[str]
) -> tuple[Collection[str], list[tuple[str, str]]]:
    """Return which headers of the caller's go, by lower-case name, and which come after them.

    The one rule of forwarding: a header of a configured format describes the current span: it
    replaces the caller's, in any letter case, and stands there once. What was captured is added
    where the caller has set nothing of the same family. Nothing else of the caller's is touched.
    """
    own, forwarded, replaced = outgoing
    gone: Collection[str] = ()
    if not (replaced.isdisjoint(names) and own.keys().isdisjoint(names)):
        gone = {name for name in names if name in own or name in replaced}
    added = list(own.items())
    if forwarded:
        taken = {
            member for key in names if key not in gone for member in _FAMILY_OF.get(key, (key,))
        }
        added += [pair for pair in forwarded.items() if pair[0] not in taken]
    return gone, added


def missing(forwarded: dict[str, str], carrier: object) -> list[tuple[str, str]]:
    """Return what of ``forwarded`` has nothing of its family in a carrier of whatever kind."""
    named: Iterable[object] = ()
    if hasattr(carrier, "keys"):
        named = carrier.keys()
    elif isinstance(carrier, list):
        named = [pair[0] for pair in carrier if isinstance(pair, tuple) and pair]
    present = {text.lower() for name in named if (text := _name(name))}
    taken = {member for key in present for member in _FAMILY_OF.get(key, (key,))}
    return [pair for pair in forwarded.items() if pair[0] not in taken]


def _name(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode("latin-1")
    return name if isinstance(name, str) else ""


def select(pairs: Iterable[tuple[str, str]], allow: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the forwarding set of lower-case ``pairs``, verbatim; nothing that cannot be sent."""
    found = {}
    for name, written in pairs:
        if name in TRACE_HEADERS or name in allow:
            value = forwardable(written)
            if value is not None:
                found[name] = value
    return found
