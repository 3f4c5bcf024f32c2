"""The sampling port of ``tracekit view``: strategies from a file, or as they are set meanwhile."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from tracekit.local._go_json import dumps
from tracekit.local._http import RefusedError, Request, Response
from tracekit.local._sampling import as_json
from tracekit.sampling import Strategy, parse_strategies_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.sampling import AdaptiveStrategy

MAX_SERVICES = 1000
"""Names that are remembered; the one that asked longest ago goes first."""
_EVERYTHING = Strategy("probabilistic", 1.0)
_NUMBERS = {"PROBABILISTIC": 0, "RATE_LIMITING": 1}


class Strategies:
    """What services are told when they ask how to sample. Any thread may call its methods.

    ``text`` is a file of Jaeger's ``--sampling.strategies-file``; without one every service gets
    ``default``, where a Jaeger server would say 1 in 1 000: here somebody waits for a trace.
    """

    def __init__(self, text: str | None = None, *, default: Strategy = _EVERYTHING) -> None:
        self._text = text
        self._default = default
        self._lock = threading.Lock()
        self._set: dict[str, Strategy] = {}
        self._asked: OrderedDict[str, None] = OrderedDict()
        self.of("")  # a file that is none is an error now, not with the first question

    def of(self, service: str) -> Strategy | AdaptiveStrategy:
        """Return what ``service`` is told; ``StrategyError`` if the file is no such file."""
        with self._lock:
            found = self._set.get(service) or self._set.get("")
        if found is not None:
            return found
        return self._default if self._text is None else parse_strategies_file(self._text, service)

    def order(self, service: str, strategy: Strategy) -> None:
        """Tell ``service`` this from now on; an empty name means every one without its own."""
        with self._lock:
            if service not in self._set and len(self._set) >= MAX_SERVICES:
                raise ValueError(f"more than {MAX_SERVICES} services have a strategy of their own")
            self._set[service] = strategy

    def asked(self) -> list[str]:
        """Return the services that have asked, the latest last."""
        with self._lock:
            return list(self._asked)

    def state(self) -> Mapping[str, object]:
        """Return what the services that asked are told, by their names, as the servers' JSON."""
        return {service: as_json(self.of(service)) for service in self.asked()}

    def __call__(self, request: Request) -> Response:
        """Answer on port 5778 as a Jaeger agent does."""
        if request.path == "/baggageRestrictions":
            return Response(b"[]", 200, "application/json")
        if request.path not in ("/", "/sampling", "/api/sampling"):
            raise RefusedError(404, "strategies are at /sampling?service=NAME")
        names = request.query.get("service", [])
        if len(names) != 1:
            raise RefusedError(400, "'service' parameter must be provided once")
        service = names[0][:200]
        with self._lock:
            self._asked.pop(service, None)
            self._asked[service] = None
            if len(self._asked) > MAX_SERVICES:
                self._asked.popitem(last=False)
        answer = as_json(self.of(service))
        kind = answer.pop("strategyType")
        if request.path == "/":  # the older answer says the type as a number
            shown = {"strategyType": _NUMBERS[str(kind)], **answer}
        else:
            shown = {"strategyType": kind, **answer}
        return Response(dumps(shown).encode(), 200, "application/json")
